"""Four verdicts: what a criterion says of many, few and no values, beside a control, and of a breaker."""

from collections.abc import Sequence
from math import inf, nan
from typing import Any

import pytest

from cmo.policy.gates import (
    GUARDRAILS,
    Criterion,
    Finding,
    GateResult,
    GateVerdict,
    Measure,
    Observed,
    Role,
    Track,
    is_broken,
    judged,
    limit_words,
    tracked,
)

ERRORS, QUALITY, SLOW, BREAKER = GUARDRAILS
SATISFACTION = Criterion(measure=Measure.SATISFACTION, limit=0.7, role=Role.SIGNAL)
COST = Criterion(measure=Measure.COST_USD, limit=0.02, role=Role.SIGNAL)


def answers(number: int, **measured: Any) -> list[Observed]:
    return [Observed(number=each, **measured) for each in range(1, number + 1)]


def result(
    criterion: Criterion, exposed: Sequence[Observed], control: Sequence[Observed] = (), rests: int | None = 0
) -> GateResult:
    return judged(tracked(Track(), criterion, exposed, control), criterion, breaker_rests=rests)


def failing(good: int, bad: int) -> list[Observed]:
    return answers(good, failed=False) + answers(bad, failed=True)


@pytest.mark.parametrize(
    ("criterion", "exposed", "finding", "value"),
    [
        (ERRORS, failing(97, 3), Finding.WITHIN, 0.03),
        (ERRORS, failing(28, 2), Finding.DOUBTFUL, 2 / 30),
        (ERRORS, failing(30, 20), Finding.PROVEN, 0.4),
        (ERRORS, failing(9, 0), Finding.TOO_FEW, 0.0),
        (ERRORS, failing(10, 0), Finding.WITHIN, 0.0),
        (ERRORS, [], Finding.NO_READING, None),
        (QUALITY, answers(20, quality=0.8), Finding.WITHIN, 0.8),
        (QUALITY, answers(20, quality=0.58), Finding.DOUBTFUL, 0.58),
        (QUALITY, answers(60, quality=0.2), Finding.PROVEN, 0.2),
        (QUALITY, answers(50, failed=False), Finding.NO_READING, None),
        (QUALITY, answers(50, quality=nan), Finding.NO_READING, None),
        (SLOW, answers(30, seconds=10.0), Finding.WITHIN, 0.0),
        (SLOW, answers(19, seconds=2.0) + answers(1, seconds=60.0), Finding.WITHIN, 0.05),
        (SLOW, answers(18, seconds=2.0) + answers(2, seconds=60.0), Finding.DOUBTFUL, 0.1),
        (SLOW, answers(20, seconds=10.1), Finding.PROVEN, 1.0),
        (SATISFACTION, answers(8, satisfied=True) + answers(2, satisfied=False), Finding.WITHIN, 0.8),
        (SATISFACTION, answers(5, satisfied=True) + answers(5, satisfied=False), Finding.DOUBTFUL, 0.5),
        (SATISFACTION, answers(60, satisfied=False), Finding.PROVEN, 0.0),
        (COST, answers(10, cost_usd=0.01), Finding.WITHIN, 0.01),
        (COST, answers(10, cost_usd=0.03), Finding.DOUBTFUL, 0.03),
        (COST, answers(30, cost_usd=5.0), Finding.PROVEN, 0.2),
    ],
)
def test_each_measure_is_held_against_its_limit(
    criterion: Criterion, exposed: list[Observed], finding: Finding, value: float | None
) -> None:
    found = result(criterion, exposed)

    assert found.finding is finding
    assert found.value == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (Finding.WITHIN, GateVerdict.PASS),
        (Finding.PROVEN, GateVerdict.FAIL),
        (Finding.DOUBTFUL, GateVerdict.INCONCLUSIVE),
        (Finding.WORSE_THAN_CONTROL, GateVerdict.INCONCLUSIVE),
        (Finding.TOO_FEW, GateVerdict.INCONCLUSIVE),
        (Finding.NO_READING, GateVerdict.ERROR),
    ],
)
def test_each_finding_is_one_of_four_verdicts(finding: Finding, verdict: GateVerdict) -> None:
    found = GateResult(criterion=ERRORS, finding=finding, values=9, value=0.1, control=0.01, evidence=1.0)

    assert found.verdict is verdict
    assert found.words.startswith("error rate 10.0%: ")
    assert found.words.endswith(".")


@pytest.mark.parametrize(
    ("rests", "verdict"),
    [(None, GateVerdict.ERROR), (0, GateVerdict.PASS), (1, GateVerdict.INCONCLUSIVE), (2, GateVerdict.FAIL)],
)
def test_a_breaker_holds_while_it_rests_and_fails_when_its_probes_have_failed(
    rests: int | None, verdict: GateVerdict
) -> None:
    assert result(BREAKER, [], rests=rests).verdict is verdict
    assert is_broken(Track(), BREAKER, breaker_rests=rests) is (verdict is GateVerdict.FAIL)


def test_a_stage_within_its_limits_does_not_pass_when_clearly_worse_than_the_control() -> None:
    exposed, control = answers(24, failed=False) + answers(1, failed=True), failing(2000, 0)
    exposed *= 12

    assert result(ERRORS, exposed).verdict is GateVerdict.PASS
    assert result(ERRORS, exposed, control).finding is Finding.WORSE_THAN_CONTROL
    assert result(ERRORS, exposed, failing(97, 3)).verdict is GateVerdict.PASS
    assert "the control's 0.0%" in result(ERRORS, exposed, control).words


def test_a_guardrail_fails_when_the_odds_against_it_pass_100_to_1() -> None:
    tracks = [tracked(Track(), ERRORS, answers(number, failed=True), ()) for number in range(8)]
    broken = [is_broken(track, ERRORS, breaker_rests=0) for track in tracks]

    assert broken == [track.evidence.value >= 100 for track in tracks]
    assert broken.index(True) == 4


def test_what_guardrails_have_proved_stays_proved_and_what_signals_show_may_pass() -> None:
    recovered = [*answers(6, failed=True), *answers(2000, failed=False)]
    signal = Criterion(measure=Measure.ERROR_RATE, limit=0.05, role=Role.SIGNAL)

    assert result(ERRORS, recovered).verdict is GateVerdict.FAIL
    assert result(signal, recovered).verdict is GateVerdict.PASS
    assert not is_broken(tracked(Track(), signal, answers(50, failed=True), ()), signal, breaker_rests=0)


def test_a_next_stage_counts_anew_but_keeps_the_evidence() -> None:
    track = tracked(Track(), ERRORS, failing(10, 2), failing(3, 0))
    following = track.in_next_stage()

    assert (following.values, following.harm, following.control_values, following.control_harm) == (0, 0, 0, 0)
    assert following.evidence == track.evidence
    assert track.evidence.trials == 12


@pytest.mark.parametrize(
    ("measure", "limit", "minimum"),
    [
        (Measure.ERROR_RATE, 0.0, 1),
        (Measure.ERROR_RATE, 5.0, 1),
        (Measure.QUALITY, 1.0, 1),
        (Measure.P95_SECONDS, -1.0, 1),
        (Measure.COST_USD, inf, 1),
        (Measure.COST_USD, nan, 1),
        (Measure.QUALITY, 0.5, 0),
    ],
)
def test_limits_that_nothing_could_pass_or_fail_are_refused(measure: Measure, limit: float, minimum: int) -> None:
    with pytest.raises(ValueError, match="Allowed"):
        Criterion(measure=measure, limit=limit, minimum=minimum)


def test_limits_can_be_said() -> None:
    assert [limit_words(criterion) for criterion in (*GUARDRAILS, SATISFACTION, COST)] == [
        "error rate at most 5.0%",
        "quality at least 0.60",
        "95 % of answers within 10 s",
        "breaker under 2 rests in a row",
        "satisfaction at least 70%",
        "cost per answer at most $0.0200",
    ]
