"""Which experiments can be run, by which flag, and what is measured of what people got."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cmo.errors import OracleError
from cmo.policy.experiment import Arm, Experiment, Guardrail
from cmo.policy.experiment_in_service import Outcome, engine_in, flag_of, measured, refuse_unfit
from cmo.policy.flags import FlagContext, FlagStatus, Segmentation, evaluate
from cmo.policy.measuring import Better, Kind, Metric
from cmo.values import Thumb

ENGINES, MODES = ("lightrag", "perplexity"), ("hybrid", "mix")
WEB = Arm(name="perplexity", weight=40, overrides={"engine": "perplexity"})
PAPERS = Arm(name="papers", weight=60, overrides={"mode": "hybrid", "top_k": 5})
CONVERSION = Metric(name="conversion", kind=Kind.PROPORTION)
PLAN = Experiment(
    name="graph",
    hypothesis="The graph helps.",
    arms=(WEB, PAPERS),
    primary=CONVERSION,
    guardrails=(
        Guardrail(metric=Metric(name="error", kind=Kind.PROPORTION, better=Better.LOWER), ceiling=0.05),
        Guardrail(metric=Metric(name="cost_usd", kind=Kind.MEAN, better=Better.LOWER), margin=0.01),
    ),
    start=datetime(2026, 3, 1, tzinfo=UTC),
    duration=timedelta(days=28),
    planned_users=100,
    share_percent=50,
)
ANSWERED = Outcome(outcome="answered", missed=False, answered=True, seconds=2.5, quality=0.8, cost_usd=0.01, thumb=None)


def test_the_flag_spreads_the_share_of_people_over_the_arms_by_their_weights() -> None:
    flag = flag_of(PLAN)

    assert (flag.name, flag.status, flag.rollout_percentage) == ("lightrag_rollout", FlagStatus.AB_TEST, 50)
    assert [(each.name, each.weight, each.config_overrides) for each in flag.variants] == [
        ("perplexity", 40, {"engine": "perplexity"}),
        ("papers", 60, {"mode": "hybrid", "top_k": 5}),
    ]
    assert (flag.segmentation, flag.expires_at) == (Segmentation.HASH, None)


def test_two_experiments_do_not_give_the_same_people_the_same_arms() -> None:
    def arm(name: str, user: str) -> str | None:
        flag = flag_of(replace(PLAN, name=name))
        found = evaluate(flag, FlagContext(user_id=user), salt="s", now=PLAN.start, chance=lambda: 0.0)
        return found.variant and found.variant.name

    arms = [(arm("graph", f"u{number}"), arm("other", f"u{number}")) for number in range(2_000)]
    inside = sum(one is not None for one, _ in arms)
    in_both = [pair for pair in arms if None not in pair]
    assert inside == pytest.approx(1_000, abs=100)
    assert len(in_both) == pytest.approx(500, abs=80)
    assert sum(one == other for one, other in in_both) / len(in_both) == pytest.approx(0.4**2 + 0.6**2, abs=0.08)


def test_an_arm_without_an_engine_is_served_by_the_home_engine() -> None:
    assert [engine_in(arm, home="lightrag") for arm in PLAN.arms] == ["perplexity", "lightrag"]


def test_an_experiment_that_can_be_run_passes() -> None:
    refuse_unfit(PLAN, engines=ENGINES, modes=MODES)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"arms": (WEB, replace(PAPERS, overrides={"temprature": 1}))}, 'Arm "papers": The override "temprature" is'),
        ({"arms": (WEB, replace(PAPERS, overrides={"mode": "deep"}))}, "Allowed: hybrid, mix"),
        ({"arms": (WEB, replace(PAPERS, overrides={"engine": "bing"}))}, "Allowed: lightrag, perplexity"),
        ({"arms": (WEB, replace(PAPERS, overrides={"top_k": 0}))}, '"top_k" is 0'),
        ({"arms": (replace(WEB, overrides={}), PAPERS)}, 'Arm "perplexity" would be served by lightrag'),
        (
            {"arms": (PAPERS, replace(PAPERS, name="again", overrides={**PAPERS.overrides, "engine": "lightrag"}))},
            "served alike",
        ),
        ({"arms": (WEB, replace(PAPERS, name="Papers & Co"))}, 'variant\'s "name" is missing or wrong'),
        ({"arms": (WEB, replace(PAPERS, weight=0.0001))}, 'variant "papers": "weight" is too fine'),
        ({"primary": replace(CONVERSION, name="clicks")}, 'metric "clicks" is not measured in service. Allowed: impre'),
        ({"secondaries": (Metric(name="error", kind=Kind.MEAN),)}, '"error" has better = "higher". Allowed: "lower"'),
        ({"primary": replace(CONVERSION, better=Better.LOWER)}, '"conversion" has better = "lower". Allowed: "higher"'),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(changed: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(OracleError) as refused:
        refuse_unfit(replace(PLAN, **changed), engines=ENGINES, modes=MODES)
    assert problem in str(refused.value)


ALL = {"impression": 1, "conversion": 1, "error": 0, "response_time_ms": 2500, "quality_score": 0.8, "cost_usd": 0.01}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ALL),
        ({"thumb": Thumb.UP}, {**ALL, "satisfaction": 1}),
        ({"thumb": Thumb.DOWN}, {**ALL, "conversion": 0, "satisfaction": 0}),
        ({"missed": True}, {**ALL, "error": 1}),
        (
            {"outcome": "refused", "answered": False, "quality": None},
            {**ALL, "conversion": 0, "quality_score": None},
        ),
        ({"custom": {"tone": 0.4}}, {**ALL, "custom:tone": 0.4}),
        (
            {"outcome": "failed", "answered": False, "quality": None},
            {**ALL, "conversion": 0, "error": 1, "response_time_ms": None, "quality_score": None},
        ),
        (
            {"outcome": "stopped", "answered": False, "quality": None},
            {"impression": 1, "conversion": 0, "response_time_ms": None, "cost_usd": 0.01},
        ),
    ],
)
def test_a_question_is_measured_by_what_the_person_got(
    changed: Mapping[str, Any], expected: Mapping[str, float | None]
) -> None:
    assert measured(replace(ANSWERED, **changed)) == expected


def test_a_question_that_was_lost_is_an_error_and_its_other_values_are_missing() -> None:
    assert measured(None) == {
        "impression": 1,
        "conversion": 0,
        "error": 1,
        "response_time_ms": None,
        "quality_score": None,
        "cost_usd": None,
    }
