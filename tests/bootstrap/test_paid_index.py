"""An index made by paid models: asked for first, paid for, and never searched by another model."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cmo.bootstrap.answering import open_application
from cmo.bootstrap.indexing import cost_of_new_index, open_indexer
from cmo.errors import BudgetExhausted
from cmo.library.generations import current, serve
from cmo.settings import Extraction, Settings
from cmo.values import Answer, FileStatus, Finished, IndexReport, Question
from tests.servers import FakeOpenAI

TEXT = (
    "In patients with sepsis a blood lactate above four millimoles per litre goes with a high mortality. Repeated "
    "measurement of lactate guides the treatment during the first hours on the ward."
)
DIMENSIONS = 1_536
"""What the fake server makes without being asked for another length."""


@dataclass(frozen=True, slots=True)
class Library:
    """A papers folder with its settings, with and without the server's models."""

    folder: Path
    url: str

    def settings(self, **more: object) -> Settings:
        known = {"papers_dir": self.folder / "papers", "storage_dir": self.folder / "storage", "response_cache": False}
        return Settings(**known | more)  # type: ignore[arg-type]

    def paid(self, **more: object) -> Settings:
        return self.settings(
            openai_base_url=self.url,
            openai_embedding_model="text-embedding-3-small",
            openai_embedding_dimensions=DIMENSIONS,
            extraction=Extraction.MODEL,
            **more,
        )

    def booked(self) -> list[tuple[str, str, int]]:
        with closing(sqlite3.connect(self.folder / "storage" / "cmo.sqlite3")) as connection:
            return connection.execute("SELECT user_id, stage, cost_microdollars FROM calls").fetchall()


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def library(tmp_path: Path, server: FakeOpenAI) -> Iterator[Library]:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "lactate.md").write_text(TEXT, encoding="utf-8")
    return Library(tmp_path, server.url)


async def index(settings: Settings) -> IndexReport:
    async with open_indexer(settings) as indexer:
        return await indexer.run()


async def ask(settings: Settings) -> Answer:
    question = Question(
        text="What does lactate mean in sepsis?",
        user_id="ann",
        thread_id="t",
        asked_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    async with open_application(settings) as application:
        async for event in application.pipeline.ask(question):
            if isinstance(event, Finished):
                return event.answer
    raise AssertionError("no answer")


async def test_an_index_by_the_embedded_models_costs_nothing(library: Library) -> None:
    assert await cost_of_new_index(library.settings()) is None


async def test_a_first_index_by_paid_models_is_estimated_before_anything_is_asked(
    library: Library, server: FakeOpenAI
) -> None:
    cost = await cost_of_new_index(library.paid())

    assert cost is not None
    assert (cost.changed, cost.usd > 0, server.requests) == ((), True, [])


async def test_a_change_to_paid_models_is_estimated_by_the_passages_there_are(library: Library) -> None:
    await index(library.settings())

    cost = await cost_of_new_index(library.paid())

    assert cost is not None
    assert cost.passages == 1
    assert "embedding model" in cost.words
    assert "extraction of entities" in cost.words


async def test_an_index_that_is_as_it_should_be_is_not_asked_about_again(library: Library) -> None:
    await index(library.paid())

    assert await cost_of_new_index(library.paid()) is None


async def test_a_paid_index_takes_over_and_is_not_asked_about_again_while_it_lies_beside_the_serving_one(
    library: Library,
) -> None:
    await index(library.settings())
    free = current(library.folder / "storage")
    report = await index(library.paid())
    paid = current(library.folder / "storage")
    assert free is not None
    assert paid is not None
    assert (report.notices, report.generation) == ((), paid.name)
    serve(library.folder / "storage", free)

    assert await cost_of_new_index(library.paid()) is None


async def test_every_call_for_the_index_is_booked_at_what_the_server_charged(
    library: Library, server: FakeOpenAI
) -> None:
    report = await index(library.paid())

    assert [file.status for file in report.files] == [FileStatus.INDEXED]
    booked = library.booked()
    assert {(user, stage) for user, stage, _ in booked} == {("index", "extract"), ("index", "embed")}
    assert sum(cost for _, _, cost in booked) == sum(round(charge.cost_usd * 1_000_000) for charge in server.charges)


async def test_a_question_is_searched_by_the_model_the_index_was_made_with(
    library: Library, server: FakeOpenAI
) -> None:
    await index(library.paid())
    before = len(server.requests)

    answer = await ask(library.paid())

    assert answer.answered
    assert "/v1/embeddings" in {request.path for request in server.requests[before:]}


async def test_an_index_whose_model_is_not_configured_any_more_is_searched_by_words_and_that_is_told(
    library: Library,
) -> None:
    await index(library.paid())

    answer = await ask(library.settings())

    assert answer.answered
    assert answer.notice is not None
    assert "text-embedding-3-small" in answer.notice
    assert "cmo index" in answer.notice


async def test_the_old_index_goes_on_answering_by_its_own_model_until_the_new_one_is_made(library: Library) -> None:
    await index(library.settings())

    answer = await ask(library.paid())

    assert answer.answered
    assert answer.notice is None


async def test_without_money_no_call_is_made_and_the_index_before_goes_on_serving(
    library: Library, server: FakeOpenAI
) -> None:
    await index(library.settings())
    serving = current(library.folder / "storage")

    with pytest.raises(BudgetExhausted, match=r"^The daily budget"):
        await index(library.paid(daily_budget_usd=0.0))

    assert (current(library.folder / "storage"), server.requests) == (serving, [])
