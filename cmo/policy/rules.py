"""Conditional rules: which engine a question goes to by what it is like. Pure.

A rule is data. It holds when all of its conditions hold, and the first rule that holds decides. What a condition says
goes to people, so it never repeats what came from outside: no text, cohort or region of a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from cmo.phrases import Phrase, joined
from cmo.values import QuestionKind, QuestionType

LIKELY_FRESH = 0.5
"""Probability from which a question counts as one for recent information, where a rule says nothing else."""

NOT_COVERED_BELOW = 0.365
"""Coverage below which the default rule takes a question for one the papers know nothing about.

Coverage is the cosine of the question with the passage most like it, by the embedded model. The value is the one
cmo/models/answerability.py refuses by (FOREIGN_BELOW): between the highest off-topic question (0.33) and the lowest
answerable one (0.40) of benchmarks/evidence_questions.jsonl. Vectors of another model have another scale.
"""


class QuestionFacts(Protocol):
    """What rules may know of a question."""

    @property
    def characters(self) -> int:
        """Its length."""

    @property
    def words(self) -> int:
        """Its length."""

    @property
    def kind(self) -> QuestionKind:
        """What it asks for."""

    @property
    def coverage(self) -> float | None:
        """How well the papers cover it, as the cosine with the passage most like it; None when nobody looked."""

    @property
    def cohort(self) -> str:
        """The group the person belongs to, "" when unknown."""

    @property
    def region(self) -> str:
        """Where the person is, "" when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Sends questions that meet all of its conditions to `engine`; None or () is no condition.

    Lengths are inclusive. `needs_fresh` compares the probability that recent information is needed with `fresh_from`.
    `coverage_below` is exclusive, `coverage_at_least` inclusive. `cohorts` and `regions` are in small letters.
    """

    name: str
    engine: str
    min_characters: int | None = None
    max_characters: int | None = None
    min_words: int | None = None
    max_words: int | None = None
    types: tuple[QuestionType, ...] = ()
    needs_fresh: bool | None = None
    fresh_from: float = LIKELY_FRESH
    coverage_below: float | None = None
    coverage_at_least: float | None = None
    cohorts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


class Finding(NamedTuple):
    """Whether a condition, or a whole rule, holds for a question, and why in words for a person."""

    holds: bool
    words: str


DEFAULT_RULES = (
    Rule(name="news", engine="perplexity", needs_fresh=True),
    Rule(name="not_covered", engine="perplexity", coverage_below=NOT_COVERED_BELOW),
)
"""The rules in force when an admin has written none."""


def needs_coverage(rules: Iterable[Rule]) -> bool:
    """Whether any rule asks how well the papers cover the question, which takes a search to find out."""
    return any(rule.coverage_below is not None or rule.coverage_at_least is not None for rule in rules)


def judge(rule: Rule, question: QuestionFacts) -> Finding:
    """Whether the rule holds. The words tell all conditions when it does, the first that fails when it does not."""
    words = []
    for condition in _CONDITIONS:
        finding = condition(rule, question)
        if finding is None:
            continue
        if not finding.holds:
            return finding
        words.append(finding.words)
    return Finding(holds=True, words=joined(words))


def _characters(rule: Rule, question: QuestionFacts) -> Finding | None:
    return _length(question.characters, rule.min_characters, rule.max_characters, Phrase("characters"))


def _words(rule: Rule, question: QuestionFacts) -> Finding | None:
    return _length(question.words, rule.min_words, rule.max_words, Phrase("words"))


def _length(length: int, least: int | None, most: int | None, unit: str) -> Finding | None:
    if least is None and most is None:
        return None
    if least is not None and length < least:
        words = Phrase(
            "The question is short ({n} {unit}; the rule asks for {least}).", n=length, unit=unit, least=least
        )
        return Finding(holds=False, words=words)
    if most is not None and length > most:
        words = Phrase("The question is long ({n} {unit}; the rule allows {most}).", n=length, unit=unit, most=most)
        return Finding(holds=False, words=words)
    return Finding(holds=True, words=Phrase("The question has the length for it ({n} {unit}).", n=length, unit=unit))


def _type(rule: Rule, question: QuestionFacts) -> Finding | None:
    if not rule.types:
        return None
    return Finding(holds=question.kind.type in rule.types, words=_TYPE_WORDS[question.kind.type])


def _fresh(rule: Rule, question: QuestionFacts) -> Finding | None:
    if rule.needs_fresh is None:
        return None
    fresh = question.kind.freshness >= rule.fresh_from
    p = question.kind.freshness
    words = (
        Phrase("The question needs recent information (probability {p:.2f}).", p=p)
        if fresh
        else Phrase("The question does not need recent information (probability {p:.2f}).", p=p)
    )
    return Finding(holds=fresh is rule.needs_fresh, words=words)


def _coverage(rule: Rule, question: QuestionFacts) -> Finding | None:
    if rule.coverage_below is None and rule.coverage_at_least is None:
        return None
    coverage = question.coverage
    if coverage is None:
        return Finding(holds=False, words=Phrase("How well the papers cover this question is not known."))
    if rule.coverage_below is not None and not coverage < rule.coverage_below:
        return Finding(holds=False, words=Phrase("The papers cover this question well ({c:.2f}).", c=coverage))
    if rule.coverage_at_least is not None and not coverage >= rule.coverage_at_least:
        return Finding(holds=False, words=_hardly_covered(coverage))
    if rule.coverage_at_least is None:
        return Finding(holds=True, words=_hardly_covered(coverage))
    return Finding(holds=True, words=Phrase("The papers cover this question ({c:.2f}).", c=coverage))


def _hardly_covered(coverage: float) -> Phrase:
    return Phrase("The papers hardly cover this question ({c:.2f}).", c=coverage)


def _cohort(rule: Rule, question: QuestionFacts) -> Finding | None:
    return _group(
        question.cohort,
        rule.cohorts,
        within=Phrase("Your group is one of the rule's."),
        outside=Phrase("Your group is not one of the rule's."),
    )


def _region(rule: Rule, question: QuestionFacts) -> Finding | None:
    return _group(
        question.region,
        rule.regions,
        within=Phrase("Your region is one of the rule's."),
        outside=Phrase("Your region is not one of the rule's."),
    )


def _group(group: str, wanted: tuple[str, ...], *, within: str, outside: str) -> Finding | None:
    if not wanted:
        return None
    holds = group.casefold() in wanted
    return Finding(holds=holds, words=within if holds else outside)


_Condition: TypeAlias = Callable[[Rule, QuestionFacts], Finding | None]

_CONDITIONS: tuple[_Condition, ...] = (_characters, _words, _type, _fresh, _coverage, _cohort, _region)
"""Each tells whether its part of a rule holds, or None when the rule has no such condition."""

_TYPE_WORDS = {
    QuestionType.DEFINITION: Phrase("The question asks what something is."),
    QuestionType.MECHANISM: Phrase("The question asks how something works."),
    QuestionType.METHOD: Phrase("The question asks for a method."),
    QuestionType.VALUE: Phrase("The question asks for a value."),
    QuestionType.COMPARISON: Phrase("The question asks for a comparison."),
    QuestionType.EVIDENCE: Phrase("The question asks for evidence."),
    QuestionType.NEWS: Phrase("The question asks for news."),
    QuestionType.OTHER: Phrase("The question is of no particular type."),
}
