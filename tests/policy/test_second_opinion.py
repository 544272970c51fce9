from dataclasses import replace

import pytest

from cmo.policy.routing import Reason
from cmo.policy.second_opinion import is_better, is_poor, whom_to_ask
from cmo.quality.assessment import scored
from cmo.values import Decision, Quality

DECISION = Decision(engine="lightrag", reason="rollout", bucket=1.0, configuration="c", fallbacks=("perplexity",))


def quality(composite: float) -> Quality:
    return replace(scored(0, []), composite=composite)


@pytest.mark.parametrize(
    ("composite", "answered", "floor", "poor"),
    [
        (0.59, True, 0.6, True),
        (0.6, True, 0.6, False),
        (None, True, 0.6, False),
        (None, False, 0.6, True),
        (0.0, True, 0.0, False),
        (None, False, 0.0, False),
    ],
)
def test_an_answer_under_the_floor_and_no_answer_at_all_are_poor(
    composite: float | None, answered: bool, floor: float, poor: bool
) -> None:
    found = None if composite is None else quality(composite)

    assert is_poor(found, answered=answered, floor=floor) is poor


def test_the_first_engine_not_asked_yet_is_turned_to() -> None:
    decision = replace(DECISION, fallbacks=("perplexity", "third"))

    assert whom_to_ask(decision, {"lightrag"}, seconds=60) == "perplexity"
    assert whom_to_ask(decision, {"lightrag", "perplexity"}, seconds=60) == "third"
    assert whom_to_ask(decision, {"lightrag", "perplexity", "third"}, seconds=60) is None


@pytest.mark.parametrize(
    "reason",
    [
        Reason.USER_CHOICE,
        Reason.FORCED_COHORT,
        Reason.INTEGRATION_DISABLED,
        Reason.EMERGENCY_STOP,
        Reason.BUDGET_EXHAUSTED,
    ],
)
def test_an_engine_that_was_settled_on_is_left_alone(reason: Reason) -> None:
    assert whom_to_ask(replace(DECISION, reason=str(reason)), {"lightrag"}, seconds=60) is None


def test_nobody_is_asked_when_time_or_money_are_out() -> None:
    assert whom_to_ask(DECISION, {"lightrag"}, seconds=4.9) is None
    assert whom_to_ask(replace(DECISION, free=True), {"lightrag"}, seconds=60) is None


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [(0.4, 0.5, True), (0.5, 0.5, False), (0.5, 0.4, False), (0.4, None, False), (None, 0.9, False)],
)
def test_of_two_answers_the_one_known_to_be_better_is_shown(
    first: float | None, second: float | None, better: bool
) -> None:
    one, other = (None if value is None else quality(value) for value in (first, second))

    assert is_better(other, one, answered=True, first_answered=True) is better


def test_an_answer_is_better_than_none_and_none_is_better_than_nothing() -> None:
    assert is_better(None, None, answered=True, first_answered=False)
    assert not is_better(quality(1.0), None, answered=False, first_answered=False)
