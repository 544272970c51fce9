"""The table of checks, row by row and where they meet; then what holds for all facts."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmo.policy.assignment import bucket
from cmo.policy.flags import FeatureVariant, FlagReason, FlagValue
from cmo.policy.routing import EngineFacts, Reason, RoutingFacts, decide
from cmo.policy.rules import Rule
from cmo.values import Decision, Exposure, QuestionKind, QuestionType, Tuning

SALT = "cmo_lightrag_2025"
EARLY, LATE = "user123", "alice"
"""People with the places 38.94 and 90.74."""

NEWS = Rule(name="news", engine="perplexity", needs_fresh=True)
SHORT = Rule(name="short", engine="lightrag", max_words=3)


def engine(
    name: str,
    *,
    available: bool = True,
    resting: bool = False,
    poor: bool = False,
    usd: float = 0.01,
    affordable: bool = True,
    free: bool = False,
) -> EngineFacts:
    return EngineFacts(
        name=name,
        available=available,
        breaker_open=resting,
        quality_low=poor,
        estimate_usd=usd,
        affordable=affordable,
        can_be_free=free,
    )


PAPERS, WEB, THIRD = engine("lightrag"), engine("perplexity"), engine("third")


def facts(
    *engines: EngineFacts,
    stopped: tuple[str, ...] = (),
    integration: bool = True,
    forced: str | None = None,
    chosen: str | None = None,
    user_id: str = EARLY,
    percentage: float = 50,
    fallback: bool = True,
    rules: tuple[Rule, ...] | None = None,
    words: int = 8,
    freshness: float = 0.1,
    coverage: float | None = None,
    flag: FlagValue | None = None,
) -> RoutingFacts:
    return RoutingFacts(
        engines=engines or (PAPERS, WEB),
        emergency_stopped=frozenset(stopped),
        integration_enabled=integration,
        forced=forced,
        chosen=chosen,
        user_id=user_id,
        salt=SALT,
        rollout_percentage=percentage,
        flag=flag,
        fallback_allowed=fallback,
        conditional_routing=rules is not None,
        rules=rules or (),
        characters=50,
        words=words,
        kind=QuestionKind(type=QuestionType.VALUE, freshness=freshness),
        coverage=coverage,
        cohort="",
        region="",
        configuration="c1",
    )


def resting(of: EngineFacts) -> EngineFacts:
    return replace(of, breaker_open=True)


def poor(of: EngineFacts) -> EngineFacts:
    return replace(of, quality_low=True)


def absent(of: EngineFacts) -> EngineFacts:
    return replace(of, available=False)


def too_dear(of: EngineFacts, *, free: bool = False) -> EngineFacts:
    return replace(of, affordable=False, can_be_free=free)


FREE_PAPERS = too_dear(PAPERS, free=True)
"""They cannot be paid, but can answer for nothing."""


def outcome(decision: Decision) -> tuple[str | None, str]:
    return decision.engine, decision.reason


def words_of(decision: Decision, name: str) -> str:
    (words,) = [check.words for check in decision.checks if check.name == name]
    return words


TABLE = {
    "emergency stop of one: the other": (facts(stopped=("lightrag",)), "perplexity", "emergency_stop"),
    "emergency stop of the web: the papers": (facts(stopped=("perplexity",)), "lightrag", "emergency_stop"),
    "emergency stop of all: nobody": (facts(stopped=("lightrag", "perplexity")), None, "emergency_stop"),
    "emergency stop of the only one: nobody": (facts(PAPERS, stopped=("lightrag",)), None, "emergency_stop"),
    "emergency stop of an absent one": (facts(PAPERS, absent(WEB), stopped=("perplexity",)), "lightrag", "only_engine"),
    "integration off: the other": (facts(integration=False), "perplexity", "integration_disabled"),
    "forced to the papers": (facts(forced="lightrag", user_id=LATE), "lightrag", "forced_cohort"),
    "forced to the web": (facts(forced="perplexity"), "perplexity", "forced_cohort"),
    "chosen papers": (facts(chosen="lightrag", user_id=LATE), "lightrag", "user_choice"),
    "chosen web": (facts(chosen="perplexity"), "perplexity", "user_choice"),
    "papers resting": (facts(resting(PAPERS), WEB), "perplexity", "circuit_open"),
    "web resting": (facts(PAPERS, resting(WEB), user_id=LATE), "lightrag", "circuit_open"),
    "papers poor": (facts(poor(PAPERS), WEB), "perplexity", "quality_below_threshold"),
    "web poor": (facts(PAPERS, poor(WEB), user_id=LATE), "lightrag", "quality_below_threshold"),
    "web too dear": (facts(PAPERS, too_dear(WEB), user_id=LATE), "lightrag", "budget_exhausted"),
    "web too dear for somebody of the papers": (facts(PAPERS, too_dear(WEB)), "lightrag", "budget_exhausted"),
    "both too dear, one can be free": (facts(FREE_PAPERS, too_dear(WEB)), "lightrag", "budget_exhausted"),
    "both too dear, nothing is free": (facts(too_dear(PAPERS), too_dear(WEB)), None, "budget_exhausted"),
    "a rule for the web": (facts(rules=(NEWS,), freshness=0.9), "perplexity", "rule:news"),
    "a rule for the papers": (facts(rules=(NEWS, SHORT), words=2, user_id=LATE), "lightrag", "rule:short"),
    "the first rule that holds": (facts(rules=(NEWS, SHORT), words=2, freshness=0.9), "perplexity", "rule:news"),
    "no rule holds": (facts(rules=(NEWS, SHORT)), "lightrag", "rollout"),
    "inside the rollout": (facts(), "lightrag", "rollout"),
    "outside the rollout": (facts(user_id=LATE), "perplexity", "rollout"),
    "rollout to nobody": (facts(percentage=0), "perplexity", "rollout"),
    "rollout to everybody": (facts(percentage=100, user_id=LATE), "lightrag", "rollout"),
    "only the papers": (facts(PAPERS, user_id=LATE), "lightrag", "only_engine"),
    "only the web": (facts(absent(PAPERS), WEB), "perplexity", "only_engine"),
    "nothing configured": (facts(absent(PAPERS), absent(WEB)), None, "no_engine"),
}  # fmt: skip


@pytest.mark.parametrize(("given_facts", "chosen", "reason"), TABLE.values(), ids=TABLE.keys())
def test_each_row_of_the_table(given_facts: RoutingFacts, chosen: str | None, reason: str) -> None:
    assert outcome(decide(given_facts)) == (chosen, reason)


EARLIER_WINS = {
    "stop before integration": (facts(stopped=("perplexity",), integration=False), "lightrag", "emergency_stop"),
    "stop before forced": (facts(stopped=("lightrag",), forced="lightrag"), "perplexity", "emergency_stop"),
    "stop before choice": (facts(stopped=("lightrag",), chosen="lightrag"), "perplexity", "emergency_stop"),
    "stop before breaker": (facts(PAPERS, resting(WEB), stopped=("lightrag",)), "perplexity", "emergency_stop"),
    "integration before forced": (facts(integration=False, forced="lightrag"), "perplexity", "integration_disabled"),
    "integration before choice": (facts(integration=False, chosen="lightrag"), "perplexity", "integration_disabled"),
    "forced before choice": (facts(forced="perplexity", chosen="lightrag"), "perplexity", "forced_cohort"),
    "forced before breaker": (facts(PAPERS, resting(WEB), forced="perplexity"), "perplexity", "forced_cohort"),
    "choice before breaker": (facts(resting(PAPERS), WEB, chosen="lightrag"), "lightrag", "user_choice"),
    "choice before quality": (facts(poor(PAPERS), WEB, chosen="lightrag"), "lightrag", "user_choice"),
    "choice before rules": (facts(chosen="lightrag", rules=(NEWS,), freshness=1), "lightrag", "user_choice"),
    "breaker before quality": (facts(resting(PAPERS), poor(WEB)), "perplexity", "circuit_open"),
    "breaker before rules": (facts(PAPERS, resting(WEB), rules=(NEWS,), freshness=1), "lightrag", "circuit_open"),
    "quality before rules": (facts(poor(PAPERS), WEB, rules=(SHORT,), words=2), WEB.name, "quality_below_threshold"),
    "budget before rules": (facts(PAPERS, too_dear(WEB), rules=(NEWS,), freshness=1), "lightrag", "budget_exhausted"),
    "rules before rollout": (facts(rules=(NEWS,), freshness=1, percentage=100), "perplexity", "rule:news"),
    "only engine before integration": (facts(PAPERS, absent(WEB), integration=False), "lightrag", "only_engine"),
    "only engine before forced": (facts(PAPERS, absent(WEB), forced="perplexity"), "lightrag", "only_engine"),
    "only engine before choice": (facts(PAPERS, absent(WEB), chosen="perplexity"), "lightrag", "only_engine"),
    "only engine before breaker": (facts(resting(PAPERS), absent(WEB)), "lightrag", "only_engine"),
}  # fmt: skip


@pytest.mark.parametrize(("given_facts", "chosen", "reason"), EARLIER_WINS.values(), ids=EARLIER_WINS.keys())
def test_the_earlier_check_wins(given_facts: RoutingFacts, chosen: str | None, reason: str) -> None:
    assert outcome(decide(given_facts)) == (chosen, reason)


MONEY = {
    "for the engine forced": (facts(PAPERS, too_dear(WEB), forced="perplexity"), "lightrag", False),
    "for the engine chosen": (facts(PAPERS, too_dear(WEB), chosen="perplexity"), "lightrag", False),
    "chosen papers rather free than the web paid": (facts(FREE_PAPERS, WEB, chosen="lightrag"), "lightrag", True),
    "chosen web too dear, papers only free": (facts(FREE_PAPERS, too_dear(WEB), chosen="perplexity"), "lightrag", True),
    "for what a stop leaves": (facts(PAPERS, too_dear(WEB), stopped=("lightrag",)), None, False),
    "for the web when integration is off": (facts(PAPERS, too_dear(WEB), integration=False), "lightrag", False),
    "for what the breakers leave": (facts(resting(PAPERS), too_dear(WEB)), "lightrag", False),
    "for what quality leaves": (facts(poor(FREE_PAPERS), too_dear(WEB)), "lightrag", True),
    "for the only engine": (facts(FREE_PAPERS), "lightrag", True),
    "for the only engine, never free": (facts(too_dear(WEB)), None, False),
    "free and healthy before paid and resting": (facts(FREE_PAPERS, resting(WEB)), "lightrag", True),
}  # fmt: skip


@pytest.mark.parametrize(("given_facts", "chosen", "free"), MONEY.values(), ids=MONEY.keys())
def test_money_counts(given_facts: RoutingFacts, chosen: str | None, free: bool) -> None:
    decision = decide(given_facts)
    assert (decision.engine, decision.reason, decision.free) == (chosen, "budget_exhausted", free)


def test_a_choice_that_cannot_be_paid_has_not_decided() -> None:
    decision = decide(facts(PAPERS, too_dear(replace(WEB, estimate_usd=0.25)), chosen="perplexity"))
    assert [check.name for check in decision.checks if check.matched] == ["budget_exhausted"]
    assert words_of(decision, "user_choice") == "You chose the web."
    assert words_of(decision, "budget_exhausted") == "More than may still be spent: the web (up to $0.2500)."


THREE = {
    "a stop leaves two": (facts(PAPERS, WEB, THIRD, stopped=("lightrag",)), "perplexity", "rollout"),
    "two stops leave one": (facts(PAPERS, WEB, THIRD, stopped=("lightrag", "perplexity")), "third", "emergency_stop"),
    "integration off: the next": (facts(PAPERS, WEB, THIRD, integration=False), "perplexity", "integration_disabled"),
    "integration off, the next absent": (
        facts(PAPERS, absent(WEB), THIRD, integration=False), "third", "integration_disabled",
    ),
    "integration off, the next too dear": (
        facts(PAPERS, too_dear(WEB), THIRD, integration=False), "third", "budget_exhausted",
    ),
    "forced to the third": (facts(PAPERS, WEB, THIRD, forced="third"), "third", "forced_cohort"),
    "forced to an absent one": (facts(PAPERS, WEB, absent(THIRD), forced="third"), "lightrag", "rollout"),
    "forced to a stopped one": (facts(PAPERS, WEB, THIRD, forced="third", stopped=("third",)), "lightrag", "rollout"),
    "chosen: unknown": (facts(PAPERS, WEB, THIRD, chosen="fourth"), "lightrag", "rollout"),
    "one rests, two go on": (facts(resting(PAPERS), WEB, THIRD), "perplexity", "rollout"),
    "two rest": (facts(resting(PAPERS), resting(WEB), THIRD), "third", "circuit_open"),
    "one rests, one is poor": (facts(resting(PAPERS), poor(WEB), THIRD), "third", "quality_below_threshold"),
    "one rests, those left are both poor": (facts(resting(PAPERS), poor(WEB), poor(THIRD)), "perplexity", "rollout"),
    "the cheapest that can be paid": (
        facts(too_dear(PAPERS), engine("perplexity", usd=0.03), engine("third", usd=0.02)), "third", "budget_exhausted",
    ),
    "equally cheap: the first": (facts(too_dear(PAPERS), WEB, THIRD), "perplexity", "budget_exhausted"),
    "a rule for one that rests is passed": (
        facts(PAPERS, resting(WEB), THIRD, rules=(NEWS, SHORT), freshness=1, words=2), "lightrag", "rule:short",
    ),
    "outside the rollout: the next": (facts(PAPERS, WEB, THIRD, user_id=LATE), "perplexity", "rollout"),
    "outside the rollout, the next absent": (facts(PAPERS, absent(WEB), THIRD, user_id=LATE), "third", "rollout"),
    "home absent: the first left": (facts(absent(PAPERS), WEB, THIRD), "perplexity", "rollout"),
}  # fmt: skip


@pytest.mark.parametrize(("given_facts", "chosen", "reason"), THREE.values(), ids=THREE.keys())
def test_three_engines(given_facts: RoutingFacts, chosen: str | None, reason: str) -> None:
    assert outcome(decide(given_facts)) == (chosen, reason)


def test_breakers_are_never_heeded_when_all_are_open() -> None:
    decision = decide(facts(resting(PAPERS), resting(WEB)))
    assert outcome(decision) == ("lightrag", "rollout")
    assert words_of(decision, "circuit_open") == "Every engine is resting after failures, so none is passed over."


def test_quality_is_never_heeded_when_all_are_poor() -> None:
    decision = decide(facts(poor(PAPERS), poor(WEB)))
    assert outcome(decision) == ("lightrag", "rollout")
    assert "so none is passed over" in words_of(decision, "quality_below_threshold")


def test_a_chosen_engine_that_rests_is_told_to_rest() -> None:
    assert "resting" in decide(facts(resting(PAPERS), WEB, chosen="lightrag")).checks[-1].words
    assert "resting" not in decide(facts(chosen="lightrag")).checks[-1].words


def test_fallbacks_are_the_other_engines_that_may_be_asked_in_order() -> None:
    assert decide(facts(PAPERS, WEB, THIRD, chosen="perplexity")).fallbacks == ("lightrag", "third")
    assert decide(facts(PAPERS, absent(WEB), THIRD)).fallbacks == ("third",)
    assert decide(facts(PAPERS, WEB, THIRD, stopped=("third",))).fallbacks == ("perplexity",)


def test_there_are_no_fallbacks_where_they_are_not_allowed_or_nobody_is_asked() -> None:
    assert decide(facts(fallback=False)).fallbacks == ()
    assert decide(facts(too_dear(PAPERS), too_dear(WEB))).fallbacks == ()


def test_the_decision_carries_place_rule_and_configuration() -> None:
    decision = decide(facts(rules=(NEWS,), freshness=0.9))
    assert decision.bucket == bucket(EARLY, SALT) == pytest.approx(38.9368344422)
    assert (decision.rule, decision.configuration) == ("news", "c1")


def test_all_checks_passed_are_told_in_the_order_of_the_table() -> None:
    names = [check.name for check in decide(facts(rules=(NEWS, SHORT))).checks]
    assert names == [
        "no_engine",
        "emergency_stop",
        "only_engine",
        "integration_disabled",
        "forced_cohort",
        "user_choice",
        "circuit_open",
        "quality_below_threshold",
        "budget_exhausted",
        "rule:news",
        "rule:short",
        "rollout",
    ]


def test_rules_that_are_switched_off_do_not_decide() -> None:
    decision = decide(replace(facts(rules=(NEWS,), freshness=1), conditional_routing=False))
    assert outcome(decision) == ("lightrag", "rollout")
    assert words_of(decision, "rule") == "Rules about the question are switched off."


def test_a_rule_about_a_coverage_nobody_knows_says_so() -> None:
    rule = Rule(name="not_covered", engine="perplexity", coverage_below=0.4)
    decision = decide(facts(rules=(rule,)))
    assert outcome(decision) == ("lightrag", "rollout")
    assert "not known" in words_of(decision, "rule:not_covered")


def test_words_repeat_nothing_that_came_from_outside() -> None:
    strange = facts(PAPERS, WEB, THIRD, chosen="<script>", user_id="<script>")
    assert not any("<" in check.words for check in decide(strange).checks)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_on_the_page_about_routing(reason: Reason) -> None:
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text(encoding="utf-8")
    assert (f"`{reason}`" if reason is not Reason.RULE else "`rule:<name>`") in page


NAMES = ("lightrag", "perplexity", "third", "fourth")

some_engines = st.lists(st.sampled_from(NAMES), unique=True, max_size=4).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(
                EngineFacts,
                name=st.just(name),
                available=st.booleans(),
                breaker_open=st.booleans(),
                quality_low=st.booleans(),
                estimate_usd=st.sampled_from((0.0, 0.01, 0.02)),
                affordable=st.booleans(),
                can_be_free=st.booleans(),
            )
            for name in names
        )
    )
)
some_rules = st.lists(st.sampled_from(NAMES), max_size=3, unique=True).map(
    lambda names: tuple(Rule(name=f"to_{name}", engine=name, needs_fresh=True) for name in names)
)
all_facts = st.builds(
    RoutingFacts,
    engines=some_engines,
    emergency_stopped=st.frozensets(st.sampled_from(NAMES), max_size=2),
    integration_enabled=st.booleans(),
    forced=st.none() | st.sampled_from((*NAMES, "unknown")),
    chosen=st.none() | st.sampled_from((*NAMES, "unknown")),
    user_id=st.text(max_size=8),
    salt=st.text(max_size=4),
    rollout_percentage=st.floats(min_value=0, max_value=100),
    fallback_allowed=st.booleans(),
    flag=st.none(),
    conditional_routing=st.booleans(),
    rules=some_rules,
    characters=st.integers(min_value=0, max_value=2_000),
    words=st.integers(min_value=0, max_value=300),
    kind=st.builds(QuestionKind, type=st.sampled_from(QuestionType), freshness=st.floats(min_value=0, max_value=1)),
    coverage=st.none() | st.floats(min_value=-1, max_value=1),
    cohort=st.text(max_size=4),
    region=st.text(max_size=4),
    configuration=st.just("c1"),
)


def usable(given_facts: RoutingFacts) -> dict[str, EngineFacts]:
    return {
        engine.name: engine
        for engine in given_facts.engines
        if engine.available and engine.name not in given_facts.emergency_stopped
    }


@given(all_facts)
@settings(max_examples=300)
def test_only_engines_that_may_be_asked_are_ever_named(given_facts: RoutingFacts) -> None:
    decision = decide(given_facts)
    assert {decision.engine, *decision.fallbacks} - {None} <= usable(given_facts).keys()


@given(all_facts)
@settings(max_examples=300)
def test_nobody_is_asked_only_when_nobody_may_be_or_nobody_can_be_paid(given_facts: RoutingFacts) -> None:
    may = usable(given_facts).values()
    payable = any(engine.affordable or engine.can_be_free for engine in may)
    assert (decide(given_facts).engine is not None) == payable


@given(all_facts)
@settings(max_examples=300)
def test_nothing_is_asked_that_cannot_be_paid(given_facts: RoutingFacts) -> None:
    decision = decide(given_facts)
    if decision.engine is not None:
        asked = usable(given_facts)[decision.engine]
        assert asked.can_be_free if decision.free else asked.affordable
        assert not decision.free or decision.reason == "budget_exhausted"


@given(all_facts)
@settings(max_examples=300)
def test_the_last_check_and_only_it_has_decided(given_facts: RoutingFacts) -> None:
    decision = decide(given_facts)
    *before, last = decision.checks
    assert last.matched
    assert last.name == decision.reason
    assert not any(check.matched for check in before)
    assert len({check.name for check in decision.checks}) == len(decision.checks)
    assert all(check.words for check in decision.checks)
    assert (decision.rule != "") == decision.reason.startswith("rule:")


@given(all_facts)
def test_an_engine_is_no_fallback_of_its_own(given_facts: RoutingFacts) -> None:
    decision = decide(given_facts)
    assert decision.engine not in decision.fallbacks
    assert len(set(decision.fallbacks)) == len(decision.fallbacks)


@given(all_facts)
def test_the_same_facts_give_the_same_decision(given_facts: RoutingFacts) -> None:
    assert decide(given_facts) == decide(replace(given_facts))


@given(all_facts)
def test_a_person_gets_the_engine_they_chose_whenever_it_may_be_asked_and_paid(given_facts: RoutingFacts) -> None:
    given_facts = replace(given_facts, integration_enabled=True, forced=None)
    chosen = usable(given_facts).get(given_facts.chosen or "")
    if chosen is not None and chosen.affordable:
        assert decide(given_facts).engine == chosen.name


ON = FlagValue(value=True, reason=FlagReason.ROLLOUT, version=3)
OFF = FlagValue(value=False, reason=FlagReason.DISABLED, version=3)


def test_a_flag_of_the_rollout_takes_the_place_of_its_percentage() -> None:
    assert decide(facts(percentage=0, flag=ON)).engine == "lightrag"
    assert decide(facts(percentage=100, flag=OFF)).engine == "perplexity"
    assert decide(facts(flag=ON)).reason == decide(facts(flag=OFF)).reason == "rollout"


def test_a_variant_of_the_rollouts_flag_is_the_reason_and_the_rule() -> None:
    variant = FeatureVariant(name="balanced", weight=1.0)
    decision = decide(facts(flag=replace(ON, variant=variant, reason=FlagReason.AB_TEST)))

    assert (decision.engine, decision.reason, decision.rule) == ("lightrag", "variant:balanced", "balanced")


def test_what_comes_before_the_rollout_comes_before_its_flag() -> None:
    assert decide(facts(chosen="perplexity", flag=ON)).engine == "perplexity"
    assert decide(facts(replace(PAPERS, breaker_open=True), WEB, flag=ON)).reason == "circuit_open"


def in_variant(name: str, *, value: bool = True, **overrides: object) -> FlagValue:
    variant = FeatureVariant(name=name, weight=1.0, config_overrides=overrides)
    return replace(ON, value=value, variant=variant, reason=FlagReason.AB_TEST)


def test_a_variant_can_name_the_engine() -> None:
    flag = in_variant("control", engine="perplexity")
    decision = decide(facts(percentage=100, flag=flag))

    assert (decision.engine, decision.reason) == ("perplexity", "variant:control")


def test_a_variant_that_names_no_engine_there_is_leads_home() -> None:
    assert decide(facts(flag=in_variant("odd", engine="google"))).engine == "lightrag"


def test_those_who_take_no_part_in_a_test_are_served_as_if_there_were_none() -> None:
    outside = FlagValue(value=False, reason=FlagReason.AB_TEST, version=3)
    everybody, nobody = decide(facts(percentage=100, flag=outside)), decide(facts(percentage=0, flag=outside))

    assert (everybody.engine, nobody.engine) == ("lightrag", "perplexity")
    assert everybody.exposure is nobody.exposure is None


def test_a_decision_tells_where_the_flag_has_led_and_how_to_work_there() -> None:
    decision = decide(facts(flag=in_variant("local", mode="local", top_k=5)))

    assert decision.exposure == Exposure(flag="lightrag_rollout", version=3, variant="local", engine="lightrag")
    assert decision.tuning == Tuning(mode="local", top_k=5)


def test_a_person_of_the_share_is_exposed_without_a_variant_and_others_are_not_exposed() -> None:
    inside, outside = decide(facts(flag=ON)), decide(facts(flag=OFF))

    assert inside.exposure == Exposure(flag="lightrag_rollout", version=3, variant="", engine="lightrag")
    assert outside.exposure is None


def test_the_matched_control_of_a_canary_is_exposed_to_the_other_engine() -> None:
    decision = decide(facts(flag=replace(in_variant("control", value=False), reason=FlagReason.CANARY)))

    assert decision.exposure == Exposure(flag="lightrag_rollout", version=3, variant="control", engine="perplexity")


def test_who_is_decided_on_before_the_flag_is_asked_is_exposed_to_nothing() -> None:
    assert decide(facts(chosen="perplexity", flag=ON)).exposure is None
    assert decide(facts(replace(PAPERS, breaker_open=True), WEB, flag=ON)).exposure is None
    assert decide(facts()).exposure is None


def test_where_money_decides_it_does_so_for_both_arms_and_nobody_is_exposed() -> None:
    web, papers = in_variant("web", engine="perplexity", max_tokens=90), in_variant("papers", max_tokens=90)
    decisions = [decide(facts(PAPERS, too_dear(WEB), flag=flag)) for flag in (web, papers)]

    assert {(each.engine, each.reason) for each in decisions} == {("lightrag", "budget_exhausted")}
    assert {(each.exposure, each.tuning) for each in decisions} == {(None, Tuning())}


def test_an_emergency_stop_of_everything_says_what_to_do() -> None:
    words = decide(facts(stopped=("lightrag", "perplexity"))).checks[-1].words

    assert words == (
        "Emergency stop: your papers, the web. The people who run this service have stopped it. Please ask again later."
    )


def test_ways_of_the_only_engine_can_be_compared() -> None:
    decision = decide(facts(PAPERS, absent(WEB), flag=in_variant("local", mode="local")))

    assert (decision.engine, decision.reason, decision.tuning.mode) == ("lightrag", "only_engine", "local")
    assert decision.exposure == Exposure(flag="lightrag_rollout", version=3, variant="local", engine="lightrag")


def test_nobody_is_exposed_to_a_variant_whose_engine_is_not_there() -> None:
    of_web = decide(facts(PAPERS, absent(WEB), flag=in_variant("web", engine="perplexity", max_tokens=90)))
    control = decide(facts(PAPERS, absent(WEB), flag=in_variant("control", value=False)))

    assert (of_web.exposure, of_web.tuning, control.exposure) == (None, Tuning(), None)
