"""What the application that answers is put together from."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from cmo.bootstrap.answering import answer_keys
from cmo.interfaces import Book
from cmo.values import EngineEvent, EngineRequest, Question, Tuning


class FakeEngine:
    """Is there."""

    name = "lightrag"

    async def is_available(self) -> bool:
        return True

    async def version(self) -> str:
        return "1"

    def ceiling_usd(self, request: EngineRequest) -> float:
        return 0.0

    def ask(self, request: EngineRequest, book: Book) -> AsyncIterator[EngineEvent]:
        raise NotImplementedError


REQUEST = EngineRequest(
    question=Question(text="Why?", user_id="ann", thread_id="t", asked_at=datetime(2026, 3, 1, tzinfo=UTC)),
    search_text="Why?",
    seconds=3.0,
)


async def test_an_answer_made_in_one_variants_way_is_given_to_nobody_of_another() -> None:
    key = answer_keys([FakeEngine()])
    tunings = (
        Tuning(),
        Tuning(top_k=3),
        Tuning(top_k=30),
        Tuning(max_tokens=3),
        Tuning(temperature=0.0),
        Tuning(temperature=0.7),
        Tuning(top_k=3, temperature=0.7),
    )
    ways = [replace(REQUEST, mode=mode, tuning=each) for mode in ("mix", "local") for each in tunings]
    ways += [replace(REQUEST, free=True), replace(REQUEST, fresh=True)]

    assert len({await key("lightrag", way) for way in ways}) == len(ways)


async def test_who_asks_and_how_much_time_is_left_make_no_other_answer() -> None:
    key = answer_keys([FakeEngine()])
    other = replace(REQUEST, question=replace(REQUEST.question, id="2", user_id="bob"), seconds=1.0)

    assert await key("lightrag", other) == await key("lightrag", REQUEST)
