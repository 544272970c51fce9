"""Plans and states as JSON: the same after reading, and refused when they are something else."""

import json

import pytest

from cmo.policy.gates import GUARDRAILS, Observed, Readings, judged
from cmo.policy.rollout import pause, started, step
from cmo.policy.rollout_documents import gates_from, gates_text, plan_document, plan_from, state_from, state_text
from cmo.policy.rollout_plan import RolloutPlan, canary, exponential, linear, staged, with_approval

STATE = step(
    started(with_approval(staged(), [15]), now=1_800_000_000.1),
    Readings(exposed=tuple(Observed(number=n, failed=n % 7 == 0, quality=0.7, seconds=n / 3) for n in range(1, 60))),
    now=1_800_000_060.3,
).state


@pytest.mark.parametrize("plan", [linear(), exponential(), canary(), with_approval(staged(), [5, 50])])
def test_a_plan_is_read_as_it_was_written(plan: RolloutPlan) -> None:
    assert plan_from(json.dumps(plan_document(plan))) == plan


def test_a_state_is_read_as_it_was_written_to_the_last_digit() -> None:
    paused = pause(STATE, by="Ann", reason="r", now=1_800_000_100.7).state

    assert STATE.tracks[0].evidence.trials == 59
    assert [state_from(state_text(state)) for state in (STATE, paused)] == [STATE, paused]


def test_what_gates_found_is_read_as_it_was_written() -> None:
    gates = tuple(judged(track, each, breaker_rests=1) for track, each in zip(STATE.tracks, GUARDRAILS, strict=True))
    assert gates_from(gates_text(gates)) == gates
    assert gates_from(gates_text(())) == ()
    with pytest.raises(ValueError, match="criterion"):
        gates_from('[{"values": 1}]')


def test_what_else_stands_in_a_document_does_not_disturb() -> None:
    assert plan_from(json.dumps({**plan_document(canary()), "timetable": []})) == canary()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 2}, "version 1"),
        ({"plan": None}, "plan: "),
        ({"plan": {"strategy": "jump", "stages": []}}, "strategy: "),
        ({"plan": {"strategy": "staged", "stages": []}}, r"^plan: A rollout needs stages.*percent\.$"),
        ({"plan": {"strategy": "staged", "stages": [{"percentage": 5}]}}, "stages.0.minimum_seconds: Field required"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_place(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        plan_from(json.dumps({**plan_document(staged()), **change}))


def test_a_misspelt_name_in_a_plan_is_refused() -> None:
    misspelt = json.dumps(plan_document(with_approval(staged(), [50]))).replace("needs_approval", "needs_aproval")
    with pytest.raises(ValueError, match='"needs_aproval" means nothing'):
        plan_from(misspelt)


@pytest.mark.parametrize("text", ["", "[]", "1", '{"version": 1}', b"\xff", "[" * 100_000])
def test_what_is_no_document_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        plan_from(text)


@pytest.mark.parametrize("change", [{"stage": 5}, {"stage": -1}, {"tracks": []}])
def test_a_state_that_does_not_fit_its_plan_is_refused(change: dict[str, object]) -> None:
    document = json.loads(state_text(STATE))
    document["state"].update(change)

    with pytest.raises(ValueError, match="fit its plan"):
        state_from(json.dumps(document))
