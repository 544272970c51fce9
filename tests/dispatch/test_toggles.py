"""The flags that the oracle itself obeys."""

from dataclasses import replace

from cmo.dispatch.toggles import FlagToggles
from cmo.policy.flags import MAIN_ROLLOUT, FlagReason
from cmo.values import Question
from tests.dispatch.test_assignments import TEST, World
from tests.dispatch.test_flags import NOON


async def test_who_has_no_id_is_served_as_if_there_were_no_flag_for_the_rollout() -> None:
    world = World(replace(TEST, name=MAIN_ROLLOUT))
    await world.flags.refresh()
    toggles = FlagToggles(world.flags, world.assignments, {}, frozenset)
    question = Question(text="What is alanine?", user_id="", thread_id="t", asked_at=NOON)

    assert await toggles.rollout(question) is None
    known = await toggles.rollout(replace(question, user_id="alice"))
    assert known is not None
    assert known.reason is FlagReason.AB_TEST
