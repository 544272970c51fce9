"""Two real indexes side by side: questions go on being answered while one takes over from the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from cmo.engines.papers import PapersRetriever
from cmo.library.generations import GenerationInfo, current, generations
from cmo.library.succession import Action, Event, Succession
from cmo.storage.manifest import Manifest
from cmo.values import Retrieval
from tests.engines.fakes import WordExtractor
from tests.library.files import write_pdf
from tests.library.indexing_program import RECIPE, graph, index

SWITCHES = 20
ASKING = 3
QUESTION = "How did glucose change?"


class QuestionReader(WordExtractor):
    """Knows no other names of anything."""

    def names(self, text: str) -> tuple[str, ...]:
        return ()

    def synonyms(self, text: str) -> tuple[str, ...]:
        return ()


@pytest.fixture
async def two(tmp_path: Path) -> tuple[Path, dict[str, frozenset[str]]]:
    """A storage folder with two generations, and by their names the documents each holds.

    They have no document in common but one, because the other paper was changed in between.
    """
    papers, storage = tmp_path / "papers", tmp_path / "storage"
    papers.mkdir()
    write_pdf(papers / "a.pdf", ["Plasma glucose rose after breakfast. It fell again within two hours."])
    write_pdf(papers / "b.pdf", ["Lactate rose in sepsis. Glucose stayed as it was in these patients."])
    await index(papers, storage)
    write_pdf(papers / "b.pdf", ["Lactate fell in sepsis. Glucose doubled in these patients all the same."])
    report = await index(papers, storage, recipe=replace(RECIPE, graph="another"))
    assert report.notices == ()
    assert current(storage) == generations(storage)[1]
    return storage, {info.name: held(info) for info in generations(storage)}


def held(info: GenerationInfo) -> frozenset[str]:
    manifest = Manifest(info.database)
    documents = frozenset(document.doc_id for document in manifest.documents())
    manifest.close()
    return documents


@asynccontextmanager
async def searching(storage: Path) -> AsyncIterator[PapersRetriever]:
    retriever = PapersRetriever(
        storage=storage, make_graph=lambda info: graph(info, writable=False), extractor=QuestionReader()
    )
    try:
        yield retriever
    finally:
        await retriever.close()


def switch(storage: Path) -> float:
    """Let the other generation serve, as `cmo generations back` does; how long that took, in seconds."""
    begun = time.perf_counter()
    serving, succession = current(storage), Succession(storage)
    assert serving is not None
    info = next(one for one in generations(storage) if one.name == succession.previous())
    event = Event(
        action=Action.BACK,
        generation=info.name,
        before=serving.name,
        author="ann",
        reason="to and fro",
        at=datetime.now(UTC),
    )
    assert succession.take_over(info, event)
    return time.perf_counter() - begun


async def test_no_question_fails_while_the_index_is_switched_to_and_fro(
    two: tuple[Path, dict[str, frozenset[str]]],
) -> None:
    storage, documents = two
    given: asyncio.Queue[Retrieval] = asyncio.Queue()
    answers: list[Retrieval] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            given.put_nowait(await retriever.retrieve(QUESTION, top_k=5))

    async with searching(storage) as retriever:
        people = [asyncio.create_task(ask()) for _ in range(ASKING)]
        seconds = []
        for _ in range(SWITCHES):
            answers += [given.get_nowait() for _ in range(given.qsize())]
            # So many cannot all have been under way at the last switch; others are under way at this one.
            answers += [await given.get() for _ in range(ASKING + 1)]
            seconds.append(await asyncio.to_thread(switch, storage))
        done.set()
        await asyncio.gather(*people)
        answers += [given.get_nowait() for _ in range(given.qsize())]
        answers.append(await retriever.retrieve(QUESTION, top_k=5))

    serving = current(storage)
    assert serving is not None
    assert answers[-1].generation == serving.name
    assert max(seconds) < 1
    assert {answer.degraded for answer in answers} == {None}
    assert {answer.generation for answer in answers} == documents.keys()
    for answer in answers:
        assert {found.document.doc_id for found in answer.passages} == documents[answer.generation]
    assert sum(one.generation != other.generation for one, other in pairwise(answers)) >= SWITCHES
