"""Which engine a question goes to, and why. Pure: all it depends on comes in as facts, no I/O, no clock.

A decision passes an ordered row of checks. Each is a function of the facts and of the engines that are left, and either
lets them pass, or takes some away, or decides. A further check is one such function with its reason, put in its place
in `_checks`. The words of a check are for people and repeat nothing that came from outside.

Money holds for every check: an engine that one of them decides for, but that cannot be paid, goes to the check of the
budget, which then decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple, TypeAlias

from cmo.phrases import Phrase, joined
from cmo.policy.arms import engine_of, tuning_of
from cmo.policy.assignment import bucket, within
from cmo.policy.flags import MAIN_ROLLOUT, FlagReason, FlagValue
from cmo.policy.rules import Rule, judge
from cmo.values import Decision, Exposure, QuestionKind, RoutingCheck, Tuning


class Reason(StrEnum):
    """Why an engine was chosen, or none. The reason of a conditional rule is "rule:" and its name."""

    NO_ENGINE = "no_engine"
    EMERGENCY_STOP = "emergency_stop"
    ONLY_ENGINE = "only_engine"
    INTEGRATION_DISABLED = "integration_disabled"
    FORCED_COHORT = "forced_cohort"
    USER_CHOICE = "user_choice"
    CIRCUIT_OPEN = "circuit_open"
    QUALITY_BELOW_THRESHOLD = "quality_below_threshold"
    BUDGET_EXHAUSTED = "budget_exhausted"
    RULE = "rule"
    ROLLOUT = "rollout"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What matters of one engine for one question.

    `available`: it is configured and has something to look into. `estimate_usd` is the most the question can cost
    there, `affordable` whether that may still be spent. `can_be_free`: it can also answer without spending anything.
    """

    name: str
    available: bool
    breaker_open: bool
    quality_low: bool
    estimate_usd: float
    affordable: bool
    can_be_free: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingFacts:
    """All that a decision depends on.

    `engines` are in order of preference; the first is the home engine, to which the rollout leads. `forced` is the
    engine set for everybody, `chosen` the one this person chose. `rollout_percentage` is the share of people for the
    home engine; where there is a `flag` for it, that says instead whether this person belongs to them. From
    `characters` on it is about the question, as rules.QuestionFacts says. `configuration` names the version of
    everything an admin has set.
    """

    engines: tuple[EngineFacts, ...]
    emergency_stopped: frozenset[str]
    integration_enabled: bool
    forced: str | None
    chosen: str | None
    user_id: str
    salt: str
    rollout_percentage: float
    flag: FlagValue | None
    fallback_allowed: bool
    conditional_routing: bool
    rules: tuple[Rule, ...]
    characters: int
    words: int
    kind: QuestionKind
    coverage: float | None
    cohort: str
    region: str
    configuration: str


Engines: TypeAlias = tuple[EngineFacts, ...]


class Verdict(NamedTuple):
    """What a check says: its name, why, and the engines it leaves.

    With a `reason` it has decided: for the first engine left, or for none. `free` allows only what costs nothing;
    `by_flag` tells that the flag of the rollout has decided. A named tuple, because a frozen dataclass takes three
    times as long to make, and a decision makes a dozen.
    """

    name: str
    words: str
    left: Engines
    reason: str = ""
    rule: str = ""
    free: bool = False
    by_flag: bool = False

    @property
    def overspends(self) -> bool:
        """Whether it has decided for an engine that cannot be paid."""
        return bool(self.reason and self.left and not self.free and not self.left[0].affordable)


Check: TypeAlias = Callable[[RoutingFacts, Engines], Verdict]


def decide(facts: RoutingFacts) -> Decision:
    """The engine for the question, with all checks passed; the last one is the one that decided."""
    verdicts = tuple(_verdicts(facts))
    last = verdicts[-1]
    engine = last.left[0].name if last.left else None
    flag = facts.flag if last.by_flag or _meets_variant(facts, last) else None
    return Decision(
        engine=engine,
        reason=str(last.reason),
        bucket=bucket(facts.user_id, facts.salt),
        configuration=facts.configuration,
        rule=last.rule,
        free=last.free,
        fallbacks=_fallbacks(facts, engine),
        checks=tuple(
            RoutingCheck(name=str(verdict.name), matched=verdict.reason != "", words=verdict.words)
            for verdict in verdicts
        ),
        exposure=_exposure(flag, engine),
        tuning=tuning_of(flag.variant.config_overrides) if flag and flag.variant else Tuning(),
    )


def spoken(engine: str) -> str:
    """The engine's name inside a sentence for people."""
    return _SPOKEN.get(engine, engine)


def titled(engine: str) -> str:
    """The engine's name at the beginning of a sentence or alone."""
    return _TITLED.get(engine) or engine[:1].upper() + engine[1:]


def _verdicts(facts: RoutingFacts) -> Iterator[Verdict]:
    left = tuple(engine for engine in facts.engines if engine.available)
    for check in _checks(facts):
        verdict = check(facts, left)
        left = verdict.left
        if verdict.overspends:
            yield verdict._replace(reason="")
            yield _budget(facts, left)
            return
        yield verdict
        if verdict.reason:
            return


def _checks(facts: RoutingFacts) -> tuple[Check, ...]:
    """The checks in order; the last one always decides."""
    return (
        _no_engine,
        _emergency_stop,
        _only_engine,
        _integration,
        _forced,
        _chosen,
        _circuit,
        _quality,
        _budget,
        *_rule_checks(facts),
        _rollout,
    )


def _no_engine(facts: RoutingFacts, left: Engines) -> Verdict:
    if not left:
        return Verdict(Reason.NO_ENGINE, Phrase("No engine is ready to answer."), left, Reason.NO_ENGINE)
    return Verdict(Reason.NO_ENGINE, Phrase("Ready to answer: {engines}.", engines=_names(left)), left)


def _emergency_stop(facts: RoutingFacts, left: Engines) -> Verdict:
    going = tuple(engine for engine in left if engine.name not in facts.emergency_stopped)
    if len(going) == len(left):
        return Verdict(Reason.EMERGENCY_STOP, Phrase("No emergency stop is in the way."), left)
    stopped = _names(engine for engine in left if engine.name in facts.emergency_stopped)
    reason = Reason.EMERGENCY_STOP if len(going) < 2 else ""
    words = Phrase("Emergency stop: {engines}.", engines=stopped)
    if not going:
        words = joined((words, Phrase("The people who run this service have stopped it. Please ask again later.")))
    return Verdict(Reason.EMERGENCY_STOP, words, going, reason)


def _only_engine(facts: RoutingFacts, left: Engines) -> Verdict:
    if len(left) > 1:
        return Verdict(Reason.ONLY_ENGINE, Phrase("There is more than one engine to choose from."), left)
    only = spoken(left[0].name)
    words = Phrase("Only {engine} can be asked; no other engine is ready to answer.", engine=only)
    return Verdict(Reason.ONLY_ENGINE, words, left, Reason.ONLY_ENGINE)


def _integration(facts: RoutingFacts, left: Engines) -> Verdict:
    home = facts.engines[0].name
    if facts.integration_enabled:
        words = Phrase("Asking {engine} is switched on.", engine=spoken(home))
        return Verdict(Reason.INTEGRATION_DISABLED, words, left)
    others = tuple(engine for engine in left if engine.name != home)
    words = Phrase("Asking {engine} is switched off in the settings.", engine=spoken(home))
    return Verdict(Reason.INTEGRATION_DISABLED, words, others, Reason.INTEGRATION_DISABLED)


def _forced(facts: RoutingFacts, left: Engines) -> Verdict:
    if facts.forced is None:
        return Verdict(Reason.FORCED_COHORT, Phrase("No engine is set for everybody."), left)
    if not (named := _named(facts.forced, left)):
        return Verdict(Reason.FORCED_COHORT, Phrase("The engine set for everybody cannot be asked."), left)
    words = Phrase("The settings send everybody to {engine}.", engine=spoken(facts.forced))
    return Verdict(Reason.FORCED_COHORT, _but_resting(words, named), named, Reason.FORCED_COHORT)


def _chosen(facts: RoutingFacts, left: Engines) -> Verdict:
    if facts.chosen is None:
        return Verdict(Reason.USER_CHOICE, Phrase("You left the choice of the engine open."), left)
    if not (named := _named(facts.chosen, left)):
        return Verdict(Reason.USER_CHOICE, Phrase("The engine you chose cannot be asked."), left)
    words = Phrase("You chose {engine}.", engine=spoken(facts.chosen))
    return Verdict(Reason.USER_CHOICE, _but_resting(words, named), named, Reason.USER_CHOICE)


def _circuit(facts: RoutingFacts, left: Engines) -> Verdict:
    good = tuple(engine for engine in left if not engine.breaker_open)
    if len(good) == len(left):
        words = Phrase("No engine is resting after failures.")
    elif not good:
        words = Phrase("Every engine is resting after failures, so none is passed over.")
    else:
        others = _names(engine for engine in left if engine.breaker_open)
        words = Phrase("Passed over, because resting after failures: {engines}.", engines=others)
    return _passed_over(Reason.CIRCUIT_OPEN, words, left, good)


def _quality(facts: RoutingFacts, left: Engines) -> Verdict:
    good = tuple(engine for engine in left if not engine.quality_low)
    if len(good) == len(left):
        words = Phrase("No engine is short of the quality wanted in recent answers.")
    elif not good:
        words = Phrase("Every engine is short of the quality wanted in recent answers, so none is passed over.")
    else:
        others = _names(engine for engine in left if engine.quality_low)
        words = Phrase("Passed over, because short of the quality wanted in recent answers: {engines}.", engines=others)
    return _passed_over(Reason.QUALITY_BELOW_THRESHOLD, words, left, good)


def _passed_over(reason: Reason, words: str, left: Engines, good: Engines) -> Verdict:
    """Go on with the good engines; with all of them when none is good, because somebody has to answer."""
    if not good or len(good) == len(left):
        return Verdict(reason, words, left)
    return Verdict(reason, words, good, reason if len(good) == 1 else "")


def _budget(facts: RoutingFacts, left: Engines) -> Verdict:
    """The cheapest engine that may be asked, as soon as one of those left cannot be paid.

    Of those left first, then of those passed over before: it is better to ask one of them than nobody.
    """
    if all(engine.affordable for engine in left):
        return Verdict(Reason.BUDGET_EXHAUSTED, Phrase("What this question may cost can still be spent."), left)
    words = Phrase("More than may still be spent: {engines}.", engines=_prices(left))
    others = tuple(engine for engine in _usable(facts) if engine not in left)
    for group in (left, others):
        if payable := [engine for engine in group if engine.affordable]:
            cheapest = min(payable, key=lambda engine: engine.estimate_usd)
            return Verdict(Reason.BUDGET_EXHAUSTED, words, (cheapest,), Reason.BUDGET_EXHAUSTED)
        if free := tuple(engine for engine in group if engine.can_be_free):
            words = joined((words, Phrase("Only what costs nothing is done.")))
            return Verdict(Reason.BUDGET_EXHAUSTED, words, free[:1], Reason.BUDGET_EXHAUSTED, free=True)
    words = joined((words, Phrase("No engine can answer for nothing.")))
    return Verdict(Reason.BUDGET_EXHAUSTED, words, (), Reason.BUDGET_EXHAUSTED)


def _rule_checks(facts: RoutingFacts) -> tuple[Check, ...]:
    return tuple(partial(_rule, rule) for rule in facts.rules) if facts.conditional_routing else (_no_rules,)


def _no_rules(facts: RoutingFacts, left: Engines) -> Verdict:
    return Verdict(Reason.RULE, Phrase("Rules about the question are switched off."), left)


def _rule(rule: Rule, facts: RoutingFacts, left: Engines) -> Verdict:
    name = f"rule:{rule.name}"
    finding = judge(rule, facts)
    if not finding.holds:
        return Verdict(name, finding.words, left)
    if not (named := _named(rule.engine, left)):
        words = joined((finding.words, Phrase("But the engine for that cannot be asked.")))
        return Verdict(name, words, left)
    return Verdict(name, finding.words, named, name, rule.name)


def _rollout(facts: RoutingFacts, left: Engines) -> Verdict:
    """The home engine, which comes first, for its share of people; the next one for the others."""
    if facts.flag is not None and not _takes_no_part(facts.flag):
        return _by_flag(facts, facts.flag, left)
    home = facts.engines[0].name
    share, place = facts.rollout_percentage, bucket(facts.user_id, facts.salt)
    if within(place, share):
        words = Phrase(
            "You are among the {share:g} % of people whose questions go to {engine} (your place: {place:.2f}).",
            share=share,
            engine=spoken(home),
            place=place,
        )
        return Verdict(Reason.ROLLOUT, words, left, Reason.ROLLOUT)
    words = Phrase(
        "You are not among the {share:g} % of people whose questions go to {engine} (your place: {place:.2f}).",
        share=share,
        engine=spoken(home),
        place=place,
    )
    others = tuple(engine for engine in left if engine.name != home)
    return Verdict(Reason.ROLLOUT, words, others, Reason.ROLLOUT)


def _takes_no_part(flag: FlagValue) -> bool:
    """Whether a test is under way in which the person is not: they are served as if there were none."""
    return flag.reason is FlagReason.AB_TEST and flag.variant is None


def _by_flag(facts: RoutingFacts, flag: FlagValue, left: Engines) -> Verdict:
    """The engine that the person's variant names, else the home engine for those who have it by the flag."""
    home = facts.engines[0].name
    if named := _named((engine_of(flag.variant.config_overrides) if flag.variant else None) or "", left):
        chosen, words = named, Phrase("The flag of the rollout sends you to {engine}.", engine=spoken(named[0].name))
    elif flag.value:
        chosen, words = left, Phrase("The flag of the rollout sends you to {engine}.", engine=spoken(home))
    else:
        chosen = tuple(engine for engine in left if engine.name != home)
        words = Phrase("The flag of the rollout does not send you to {engine}.", engine=spoken(home))
    if flag.variant is None:
        return Verdict(Reason.ROLLOUT, words, chosen, Reason.ROLLOUT, by_flag=True)
    name = f"variant:{flag.variant.name}"
    return Verdict(name, words, chosen, name, flag.variant.name, by_flag=True)


def _meets_variant(facts: RoutingFacts, last: Verdict) -> bool:
    """Whether the only engine there is happens to be that of the person's variant: then its ways can be compared."""
    if last.reason != Reason.ONLY_ENGINE or facts.flag is None or facts.flag.variant is None:
        return False
    home = facts.engines[0].name if facts.flag.value else None
    return last.left[0].name == (engine_of(facts.flag.variant.config_overrides) or home)


def _exposure(flag: FlagValue | None, engine: str | None) -> Exposure | None:
    """What the flag has exposed the person to. Those whom it leaves where they were are not exposed to anything."""
    if flag is None or engine is None or not (flag.value or flag.variant):
        return None
    variant = flag.variant.name if flag.variant else ""
    return Exposure(flag=MAIN_ROLLOUT, version=flag.version, variant=variant, engine=engine)


def _usable(facts: RoutingFacts) -> Engines:
    """The engines that may be asked at all."""
    return tuple(engine for engine in facts.engines if engine.available and engine.name not in facts.emergency_stopped)


def _fallbacks(facts: RoutingFacts, engine: str | None) -> tuple[str, ...]:
    if engine is None or not facts.fallback_allowed:
        return ()
    return tuple(other.name for other in _usable(facts) if other.name != engine)


def _named(name: str, left: Engines) -> Engines:
    return tuple(engine for engine in left if engine.name == name)


def _but_resting(words: str, named: Engines) -> str:
    if not named[0].breaker_open:
        return words
    return joined((words, Phrase("It is resting after failures, so another engine may have to answer.")))


def _names(engines: Iterable[EngineFacts]) -> str:
    return joined((spoken(engine.name) for engine in engines), ", ")


def _prices(engines: Iterable[EngineFacts]) -> str:
    """The engines that cannot be paid, each with its price."""
    return joined(
        (
            Phrase("{engine} (up to ${usd:.4f})", engine=spoken(engine.name), usd=engine.estimate_usd)
            for engine in engines
            if not engine.affordable
        ),
        "; ",
    )


_SPOKEN = {"lightrag": Phrase("your papers"), "perplexity": Phrase("the web")}
_TITLED = {"lightrag": Phrase("Your papers"), "perplexity": Phrase("The web")}
