from dataclasses import dataclass

import pytest

from cmo.models.answerability import FOREIGN_BELOW
from cmo.policy.rules import DEFAULT_RULES, NOT_COVERED_BELOW, Rule, judge, needs_coverage
from cmo.values import QuestionKind, QuestionType

VALUE = QuestionKind(type=QuestionType.VALUE, freshness=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    characters: int = 50
    words: int = 8
    kind: QuestionKind = VALUE
    coverage: float | None = None
    cohort: str = ""
    region: str = ""


def fresh(probability: float) -> QuestionKind:
    return QuestionKind(type=QuestionType.VALUE, freshness=probability)


def holds(question: Facts, **conditions: object) -> bool:
    return judge(Rule(name="r", engine="perplexity", **conditions), question).holds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conditions", "lengths"),
    [
        ({"min_characters": 50}, {49: False, 50: True, 51: True}),
        ({"max_characters": 50}, {49: True, 50: True, 51: False}),
        ({"min_characters": 50, "max_characters": 51}, {49: False, 50: True, 51: True, 52: False}),
    ],
)
def test_lengths_in_characters_include_their_ends(conditions: dict[str, int], lengths: dict[int, bool]) -> None:
    for length, expected in lengths.items():
        assert holds(Facts(characters=length), **conditions) is expected


@pytest.mark.parametrize(
    ("conditions", "lengths"),
    [({"min_words": 8}, {7: False, 8: True}), ({"max_words": 8}, {8: True, 9: False})],
)
def test_lengths_in_words_include_their_ends(conditions: dict[str, int], lengths: dict[int, bool]) -> None:
    for length, expected in lengths.items():
        assert holds(Facts(words=length), **conditions) is expected


def test_a_type_is_one_of_those_listed() -> None:
    assert holds(Facts(), types=(QuestionType.METHOD, QuestionType.VALUE))
    assert not holds(Facts(), types=(QuestionType.METHOD,))


def test_the_need_for_recent_information_is_asked_for_or_excluded() -> None:
    assert holds(Facts(kind=fresh(0.5)), needs_fresh=True)
    assert not holds(Facts(kind=fresh(0.49)), needs_fresh=True)
    assert holds(Facts(kind=fresh(0.49)), needs_fresh=False)
    assert not holds(Facts(kind=fresh(0.5)), needs_fresh=False)


def test_the_probability_from_which_it_counts_can_be_set() -> None:
    assert not holds(Facts(kind=fresh(0.7)), needs_fresh=True, fresh_from=0.8)
    assert holds(Facts(kind=fresh(0.8)), needs_fresh=True, fresh_from=0.8)


def test_coverage_below_is_exclusive_and_at_least_inclusive() -> None:
    assert holds(Facts(coverage=0.39), coverage_below=0.4)
    assert not holds(Facts(coverage=0.4), coverage_below=0.4)
    assert holds(Facts(coverage=0.4), coverage_at_least=0.4)
    assert not holds(Facts(coverage=0.39), coverage_at_least=0.4)


@pytest.mark.parametrize("condition", [{"coverage_below": 0.4}, {"coverage_at_least": 0.0}])
def test_a_coverage_nobody_knows_meets_no_rule_about_it(condition: dict[str, float]) -> None:
    finding = judge(Rule(name="r", engine="perplexity", **condition), Facts(coverage=None))  # type: ignore[arg-type]
    assert not finding.holds
    assert "not known" in finding.words


def test_cohorts_and_regions_are_compared_without_regard_to_capitals() -> None:
    assert holds(Facts(cohort="Power_Users"), cohorts=("new", "power_users"))
    assert not holds(Facts(cohort="general"), cohorts=("new", "power_users"))
    assert holds(Facts(region="europe"), regions=("europe",))
    assert not holds(Facts(region=""), regions=("europe",))


def test_all_conditions_have_to_hold() -> None:
    both = {"min_words": 5, "regions": ("europe",)}
    assert holds(Facts(words=6, region="europe"), **both)
    assert not holds(Facts(words=4, region="europe"), **both)
    assert not holds(Facts(words=6, region="other"), **both)


def test_a_rule_that_fails_tells_the_first_condition_that_fails() -> None:
    rule = Rule(name="r", engine="perplexity", min_words=20, needs_fresh=True)
    assert judge(rule, Facts(words=3)).words == "The question is short (3 words; the rule asks for 20)."


def test_a_rule_that_holds_tells_all_its_conditions() -> None:
    rule = Rule(name="r", engine="perplexity", needs_fresh=True, coverage_below=0.4)
    assert judge(rule, Facts(kind=fresh(0.91), coverage=0.2)).words == (
        "The question needs recent information (probability 0.91). The papers hardly cover this question (0.20)."
    )


def test_what_comes_from_outside_is_never_repeated() -> None:
    rule = Rule(name="r", engine="perplexity", regions=("europe",), cohorts=("<b>x",))
    question = Facts(region="<script>", cohort="<b>x")
    assert "<" not in judge(rule, question).words


@pytest.mark.parametrize("kind", QuestionType)
def test_every_type_has_its_words(kind: QuestionType) -> None:
    question = Facts(kind=QuestionKind(type=kind, freshness=0))
    assert judge(Rule(name="r", engine="lightrag", types=tuple(QuestionType)), question).words


def test_coverage_is_needed_only_when_a_rule_asks_for_it() -> None:
    assert not needs_coverage(())
    assert not needs_coverage([Rule(name="r", engine="perplexity", needs_fresh=True)])
    assert needs_coverage([Rule(name="r", engine="perplexity", coverage_below=0.0)])
    assert needs_coverage([Rule(name="r", engine="perplexity", coverage_at_least=0.0)])


def test_without_a_file_news_and_what_the_papers_do_not_cover_go_to_the_web() -> None:
    news, not_covered = DEFAULT_RULES
    assert (news.name, news.engine) == ("news", "perplexity")
    assert judge(news, Facts(kind=fresh(0.9))).holds
    assert not judge(news, Facts()).holds
    assert (not_covered.name, not_covered.engine) == ("not_covered", "perplexity")
    assert judge(not_covered, Facts(coverage=0.2)).holds
    assert not judge(not_covered, Facts(coverage=0.6)).holds


def test_the_default_rule_and_the_answering_model_agree_on_what_is_foreign_to_the_papers() -> None:
    assert NOT_COVERED_BELOW == FOREIGN_BELOW
