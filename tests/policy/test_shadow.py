"""What pairs of an answer and its shadow say together."""

import random
from statistics import fmean

import pytest

from cmo.policy.shadow import LEAST_PEOPLE, Direction, Given, Outcome, Pair, Shadowed, directions, finding


def pair(
    user_id: str = "ann",
    given: float | None = 0.8,
    shadowed: float | None = 0.7,
    *,
    engine: str = "lightrag",
    shadow: str = "perplexity",
    outcome: Outcome = Outcome.ANSWERED,
    overlap: float | None = None,
    cost_usd: float = 0.0,
    seconds: float = 1.0,
) -> Pair:
    return Pair(
        user_id=user_id,
        given=Given(question_id="q", engine=engine, answered=True, quality=given, cost_usd=0.01, seconds=2.0),
        shadow=shadow,
        shadowed=Shadowed(outcome=outcome, quality=shadowed, overlap=overlap, cost_usd=cost_usd, seconds=seconds),
    )


def only(*pairs: Pair) -> Direction:
    (direction,) = directions(pairs)
    return direction


def many(difference: float, *, people: int = LEAST_PEOPLE, spread: float = 0.1, seed: int = 1) -> list[Pair]:
    """Two pairs of each person, whose own differences from the mean are the same in both."""
    chance, found = random.Random(seed), []
    for person in range(people):
        own = chance.uniform(-spread, spread)
        found += [pair(f"user{person}", 0.5, 0.5 + difference + own) for _ in range(2)]
    return found


def test_directions_are_told_apart() -> None:
    found = directions([pair(), pair(engine="perplexity", shadow="lightrag"), pair()])

    assert [(each.engine, each.shadow, each.questions) for each in found] == [
        ("lightrag", "perplexity", 2),
        ("perplexity", "lightrag", 1),
    ]


def test_every_outcome_is_counted_also_those_that_did_not_happen() -> None:
    found = only(pair(), pair(outcome=Outcome.LATE), pair(outcome=Outcome.LATE))

    assert found.outcomes == {**dict.fromkeys(Outcome, 0), Outcome.ANSWERED: 1, Outcome.LATE: 2}


def test_quality_is_that_of_pairs_in_which_both_were_scored() -> None:
    found = only(pair(given=0.9, shadowed=0.6), pair(given=0.7, shadowed=None), pair(given=None, shadowed=0.2)).quality

    assert found is not None
    assert (found.pairs, found.people, found.mean, found.shadow_mean) == (1, 1, 0.9, 0.6)
    assert found.difference == pytest.approx(-0.3)


def test_cost_and_time_are_those_of_shadows_that_ended_by_themselves() -> None:
    found = only(
        pair(cost_usd=0.02, seconds=3.0, overlap=0.5),
        pair(cost_usd=0.04, seconds=5.0, outcome=Outcome.REFUSED),
        pair(cost_usd=9.0, seconds=60.0, outcome=Outcome.LATE),
    ).figures

    assert found is not None
    assert (found.pairs, found.overlaps, found.overlap) == (2, 1, 0.5)
    assert (found.shadow_cost_usd, found.shadow_seconds) == (pytest.approx(0.03), 4.0)
    assert (found.cost_usd, found.seconds) == (0.01, 2.0)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.LATE, Outcome.TOO_DEAR, Outcome.UNFINISHED])
def test_shadows_that_gave_nothing_have_no_figures_and_that_is_said(outcome: Outcome) -> None:
    found = only(pair(shadowed=None, outcome=outcome))

    assert found.figures is None
    assert found.quality is None
    assert finding(found.quality, found.shadow).startswith("Too little to tell")


def test_too_few_people_give_no_interval_however_many_questions_they_ask() -> None:
    found = only(*many(-0.3, people=LEAST_PEOPLE - 1) * 50)

    assert found.quality is not None
    assert found.quality.interval is None
    assert finding(found.quality, found.shadow).startswith("Too little to tell")


@pytest.mark.parametrize(
    ("difference", "words"), [(-0.3, "were worse"), (0.3, "were better"), (0.0, "No difference in quality")]
)
def test_what_the_interval_excludes_is_said(difference: float, words: str) -> None:
    found = only(*many(difference))

    assert words in finding(found.quality, found.shadow)


def test_answers_that_are_all_alike_differ_in_nothing() -> None:
    found = only(*many(0.0, spread=0.0))

    assert found.quality is not None
    assert found.quality.interval is not None
    assert (found.quality.interval.low, found.quality.interval.high) == (0.0, 0.0)
    assert "No difference" in finding(found.quality, found.shadow)


def test_one_persons_questions_asked_again_and_again_make_nothing_surer() -> None:
    once, often = only(*many(0.1)).quality, only(*many(0.1) * 10).quality

    assert once is not None
    assert once.interval is not None
    assert often is not None
    assert often.interval is not None
    assert often.interval.low == pytest.approx(once.interval.low)
    assert often.interval.high == pytest.approx(once.interval.high)


def test_with_one_pair_of_each_person_it_is_the_interval_of_the_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    chance = random.Random(2)
    scores = [(chance.random(), chance.random()) for _ in range(30)]
    found = only(*(pair(f"user{number}", one, other) for number, (one, other) in enumerate(scores))).quality
    expected = ttest_rel([other for _, other in scores], [one for one, _ in scores]).confidence_interval(0.95)

    assert found is not None
    assert found.interval is not None
    assert found.difference == pytest.approx(fmean(other - one for one, other in scores))
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
