"""What answers questions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cmo.bootstrap.parts import graph_of, open_extractor
from cmo.engines.papers import PapersRetriever
from cmo.errors import LibraryError, ModelUnavailable
from cmo.library.process import IndexingProcess
from cmo.library.view import Library
from cmo.models.extractive import ExtractiveModel
from cmo.models.minilm import MiniLM
from cmo.pipeline import QuestionPipeline
from cmo.settings import Settings
from cmo.storage.database import Database, migrate
from cmo.storage.ledger import SqlLedger
from cmo.translation.detect import LanguageDetector
from cmo.translation.glossary import Glossary


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """The parts of one running application that answers questions."""

    settings: Settings
    pipeline: QuestionPipeline
    retriever: PapersRetriever
    embedder: MiniLM
    library: Library
    ledger: SqlLedger

    async def get_ready(self) -> None:
        """Load what the first question would have to wait for. What fails is left to that question, which tells."""
        with contextlib.suppress(ModelUnavailable):
            await asyncio.to_thread(self.embedder.load)
        await self.retriever.get_ready()


@asynccontextmanager
async def open_application(settings: Settings) -> AsyncIterator[Application]:
    """Everything that answers questions; it reads the index and never writes it.

    Raises:
        OracleError: a part cannot be opened; the message says which and what to do.
    """
    async with AsyncExitStack() as stack:
        _make_storage(settings)
        extractor = await asyncio.to_thread(open_extractor, settings)
        embedder = MiniLM(settings.cache_dir)
        stack.callback(embedder.close)
        await migrate(settings.database)
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        ledger = SqlLedger(database)
        retriever = PapersRetriever(
            storage=settings.storage_dir,
            make_graph=(lambda info: graph_of(info, embedder, extractor, writable=False))
            if settings.lightrag_enabled
            else None,
            extractor=extractor,
        )
        stack.push_async_callback(retriever.close)
        library = Library(
            papers=settings.papers_dir,
            storage=settings.storage_dir,
            process=IndexingProcess.for_folders(papers=settings.papers_dir, storage=settings.storage_dir),
        )
        stack.push_async_callback(library.close)
        pipeline = QuestionPipeline(
            retriever=retriever,
            model=ExtractiveModel(embedder),
            extractor=extractor,
            detector=await asyncio.to_thread(LanguageDetector),
            translator=Glossary(),
            ledger=ledger,
            top_k=settings.top_k,
            timeout_seconds=settings.answer_timeout_seconds,
        )
        yield Application(
            settings=settings,
            pipeline=pipeline,
            retriever=retriever,
            embedder=embedder,
            library=library,
            ledger=ledger,
        )


def _make_storage(settings: Settings) -> None:
    try:
        settings.storage_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LibraryError(
            f"The index folder {settings.storage_dir} cannot be created ({error.strerror}): "
            "choose a folder that can be written."
        ) from error
