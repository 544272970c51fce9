"""A service that fails is left alone for a while; a service that is late is not waited for."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from cmo.errors import TranslationUnavailable
from cmo.interfaces import Book
from cmo.translation.services import LONGEST_REST_SECONDS, REST_SECONDS, Declined, Order, RestingService, batches
from tests.translation.fakes import ORDER, no_calls


@dataclass
class ScriptedService:
    """Does what is planned for each call: fails, hangs, or sends these texts."""

    plan: list[Exception | tuple[str, ...] | None] = field(default_factory=list)
    asked: int = 0

    @property
    def name(self) -> str:
        return "Scripted"

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        self.asked += 1
        match self.plan.pop(0) if self.plan else ("bien",):
            case Exception() as error:
                raise error
            case None:
                await asyncio.Event().wait()
                raise AssertionError
            case texts:
                return texts


@dataclass
class Watch:
    """Time as the test wants it."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def resting(*plan: Exception | tuple[str, ...] | None) -> tuple[RestingService, ScriptedService, Watch]:
    service, watch = ScriptedService(list(plan)), Watch()
    return RestingService(service, now=watch), service, watch


GONE = TranslationUnavailable("gone")
SOON = replace(ORDER, seconds=0.01)


async def test_what_the_service_says_is_passed_on() -> None:
    service, *_ = resting(("bien",))

    assert await service.translate(ORDER, no_calls) == ("bien",)
    assert service.name == "Scripted"


async def test_after_a_failure_nobody_asks_until_the_rest_is_over() -> None:
    service, scripted, watch = resting(GONE)
    with pytest.raises(TranslationUnavailable, match="gone"):
        await service.translate(ORDER, no_calls)

    watch.seconds = REST_SECONDS - 1
    with pytest.raises(TranslationUnavailable, match="Scripted did not answer a moment ago"):
        await service.translate(ORDER, no_calls)
    assert scripted.asked == 1

    watch.seconds = REST_SECONDS
    assert await service.translate(ORDER, no_calls) == ("bien",)


async def test_the_rest_doubles_with_each_failure_up_to_a_limit_and_starts_anew_after_a_success() -> None:
    service, scripted, watch = resting(*[GONE] * 9, ("bien",), GONE)
    rests = []
    for _ in range(9):
        rests.append(await seconds_of_rest(service, scripted, watch))
    assert rests[:3] == [REST_SECONDS, 2 * REST_SECONDS, 4 * REST_SECONDS]
    assert rests[-1] == LONGEST_REST_SECONDS

    await service.translate(ORDER, no_calls)
    assert await seconds_of_rest(service, scripted, watch) == REST_SECONDS


async def seconds_of_rest(service: RestingService, scripted: ScriptedService, watch: Watch) -> float:
    """Lets it fail, and passes the time until it is asked again."""
    with pytest.raises(TranslationUnavailable):
        await service.translate(ORDER, no_calls)
    asked, began = scripted.asked, watch.seconds
    scripted.plan.insert(0, Declined("only to see whether it is asked"))
    while scripted.asked == asked:
        watch.seconds += 30
        with pytest.raises(TranslationUnavailable):
            await service.translate(ORDER, no_calls)
    return watch.seconds - began


async def test_many_who_meet_the_same_failure_at_once_count_as_one() -> None:
    service, scripted, watch = resting(GONE, GONE, GONE)
    both = await asyncio.gather(*(service.translate(ORDER, no_calls) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in both] == ["gone"] + [
        "Scripted did not answer a moment ago and is not asked for a while."
    ] * 2

    watch.seconds = REST_SECONDS
    scripted.plan.clear()
    assert await service.translate(ORDER, no_calls) == ("bien",)


async def test_an_order_that_is_declined_is_no_failure() -> None:
    service, *_ = resting(Declined("no Klingon"))
    with pytest.raises(Declined):
        await service.translate(ORDER, no_calls)

    assert await service.translate(ORDER, no_calls) == ("bien",)


async def test_a_late_service_is_not_waited_for_and_rests_when_it_is_late_again() -> None:
    service, scripted, _ = resting(None, None)
    for _ in range(2):
        with pytest.raises(TranslationUnavailable, match="Scripted did not answer in time"):
            await service.translate(SOON, no_calls)
    with pytest.raises(TranslationUnavailable, match="not asked for a while"):
        await service.translate(SOON, no_calls)
    assert scripted.asked == 2


async def test_late_once_and_then_in_time_is_no_failure() -> None:
    service, *_ = resting(None, ("bien",), None, ("bien",))
    for _ in range(2):
        with pytest.raises(TranslationUnavailable):
            await service.translate(SOON, no_calls)
        assert await service.translate(ORDER, no_calls) == ("bien",)


async def test_another_number_of_texts_than_asked_for_is_none() -> None:
    service, *_ = resting(("bien", "trop"))

    with pytest.raises(TranslationUnavailable, match="unexpected"):
        await service.translate(ORDER, no_calls)


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([], 10, []),
        ([4, 5, 1], 10, [[0, 1], [2]]),
        ([10, 10], 10, [[0], [1]]),
        ([3, 11, 3], 10, [[0, 2]]),
        ([11], 10, []),
    ],
)
def test_texts_go_together_as_long_as_they_fit_and_too_long_ones_not_at_all(
    lengths: list[int], most: int, expected: list[list[int]]
) -> None:
    assert list(batches(["x" * length for length in lengths], most)) == expected
