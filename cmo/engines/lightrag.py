"""LightRAG as index and retriever over one generation's file, and nothing more of it.

Documents go in by `ainsert` with passages cut by us, questions by `aquery_data`, which calls no language model.
Answers, their citations, and what may be found are decided elsewhere. Taking a document out is ours too: LightRAG's own
deletion rebuilds every shared entity from all passages that name it, which grows with the library.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cmo.engines.lightrag_extraction import CharacterTokenizer, Fence, extraction_model, no_model
from cmo.engines.lightrag_runtime import STORAGES, Lightrag, LoopThread, load_lightrag
from cmo.errors import EngineUnavailable, IndexDamaged, LibraryError, OracleError
from cmo.interfaces import Embedder, GraphExtractor, Vectors
from cmo.phrases import Phrase
from cmo.storage.graph_rows import LINKS_SHOWN
from cmo.storage.graph_tables import (
    SCHEMA,
    GraphTables,
    drop_duplicate_rows,
    forget_document,
    incomplete_documents,
)
from cmo.values import Document, Extraction, Keywords, Passage

T = TypeVar("T")

MODES = ("naive", "local", "global", "hybrid", "mix")
ENTITIES_PER_QUESTION = 20
PASSAGES_PER_ENTITY = 5
LEAST_COSINE = 0.2
"""LightRAG's default threshold, https://github.com/HKUDS/LightRAG/blob/main/lightrag/constants.py."""

SHORTEST_QUESTION = 3
"""LightRAG refuses shorter ones."""

RETRIEVAL_TIMEOUT_SECONDS = 20.0
STEP_TIMEOUT_SECONDS = 900
"""For one batch of passages through the embedding model, on a slow and busy machine."""

# In characters, see CharacterTokenizer: enough for all the entities and relations of a question to count.
_CONTEXT_CHARACTERS = 40_000
_NO_LIMIT = 10_000_000
_QUEUE = 4

_OWN_WORDS = re.compile(r"^(?:C\[\d+/\d+\]: \S+: |\w+\[\w+\] index flush failed: )")
"""What LightRAG puts before the message of a model's error: where it was, extracting a passage or embedding."""

_CANARY = "```\nPlasma glucose and lactate were higher in type 2 diabetes.\n```"


class GraphIndex:
    """LightRAG over one generation's SQLite file, on a thread and event loop of its own.

    All methods may be awaited from any loop, and by many at once; insertions and deletions take their turns. One
    process may open a file writable (see the writer lock), any number may read it meanwhile.
    """

    def __init__(
        self, database: Path, *, generation: str, embedder: Embedder, extractor: GraphExtractor, writable: bool
    ) -> None:
        self._engine = _Engine(database, generation, embedder, extractor, writable=writable)
        self._thread: LoopThread | None = None

    async def open(self) -> None:
        """Open the index; a writer makes a new one where there is none, and proves that entities are found.

        Raises:
            IndexDamaged: the file is unreadable, holds no graph yet (for a reader), or was made with another model.
            LibraryError: the file cannot be opened.
            EngineUnavailable: LightRAG cannot be loaded or started.
        """
        self._thread = await asyncio.to_thread(LoopThread.borrow)
        try:
            await self._run(self._engine.start())
        except BaseException:
            await self._give_back_thread()
            raise

    async def close(self) -> None:
        """Let go of the file and the thread. Closing twice does nothing."""
        if self._thread is None:
            return
        try:
            await self._run(self._engine.stop())
        finally:
            await self._give_back_thread()

    async def insert(
        self, document: Document, passages: Sequence[Passage], *, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Put one document in, in place of whatever there is of it.

        `on_progress` is told, on the caller's loop, how many passages are done. What an interrupted insertion leaves is
        taken out by the next one of the same document.

        Raises:
            LibraryError: it could not be put in; nothing of it is left in the index.
        """
        loop = asyncio.get_running_loop()

        def report(done: int) -> None:
            if on_progress is not None:
                loop.call_soon_threadsafe(on_progress, done)

        await self._run(self._engine.insert(document.doc_id, passages, report))

    async def delete(self, doc_id: str) -> None:
        """Take a document out, finished or not; nothing happens when there is none.

        Raises:
            LibraryError: the file cannot be written.
        """
        await self._run(self._engine.delete(doc_id))

    async def retrieve(
        self, question: str, keywords: Keywords, *, top_k: int, mode: str = "mix"
    ) -> list[tuple[str, float]]:
        """At most `top_k` passages for a question as (chunk_id, score), best first. The score is 1 / rank.

        `mode` is one of MODES.

        Raises:
            EngineUnavailable: the search failed or took too long.
        """
        if mode not in MODES:
            raise ValueError(f"{mode!r} is none of {MODES}")
        if len(question.strip()) < SHORTEST_QUESTION or top_k < 1:
            return []
        return await self._run(self._engine.retrieve(question.strip(), keywords, top_k, mode))

    async def documents(self) -> dict[str, str]:
        """LightRAG's status of every document."""
        return await self._run(self._engine.states())

    async def unfinished(self) -> list[str]:
        """Documents that were begun and not finished, by a crash or a failure."""
        states = await self.documents()
        return sorted(doc_id for doc_id, state in states.items() if state != "processed")

    async def audit(self, expected: Mapping[str, Sequence[str]]) -> list[str]:
        """Documents that are not whole, and documents that should not be there, given the passages of all that should.

        Each of them is repaired by deleting it, and by inserting it again if it is expected.
        """
        return await self._run(self._engine.audit(expected))

    async def canary(self) -> None:
        """Prove that LightRAG's way of asking for entities still finds them.

        Raises:
            EngineUnavailable: it does not; everything indexed this way would have an empty graph.
        """
        await self._run(self._engine.canary())

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            work.close()
            raise EngineUnavailable(Phrase("The index is not open."))
        return await self._thread.run(work)

    async def _give_back_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.give_back)


class _Engine:
    """What happens on LightRAG's thread."""

    _lightrag: Lightrag
    _tables: GraphTables
    _rag: Any
    _turn: asyncio.Lock

    def __init__(
        self, database: Path, generation: str, embedder: Embedder, extractor: GraphExtractor, *, writable: bool
    ) -> None:
        self._database = database
        self._generation = generation
        self._embedder = embedder
        self._extractor = extractor
        self._writable = writable
        self._passages: dict[str, Sequence[Passage]] = {}
        self._count_embedded: Callable[[Sequence[str]], None] = _count_nothing

    async def start(self) -> None:
        self._lightrag = load_lightrag()
        self._tables = GraphTables(self._database, writable=self._writable)
        try:
            self._check_identity()
            await self._start_lightrag()
        except OracleError:
            self._tables.close()
            raise
        except Exception as error:  # whatever LightRAG raises means that it cannot be used
            self._tables.close()
            words = Phrase("LightRAG does not start ({error}): reinstall the requirements.", error=str(error))
            raise EngineUnavailable(words) from error

    async def stop(self) -> None:
        await self._rag.finalize_storages()
        for queue in (self._rag.embedding_func.func, *self._rag.role_llm_funcs.values()):
            await queue.shutdown(graceful=False)
        self._tables.close()

    async def insert(self, doc_id: str, passages: Sequence[Passage], report: Callable[[int], None]) -> None:
        wanted = [passage for passage in passages if passage.text.strip()]
        async with self._turn:
            await self._forget(doc_id)
            self._passages[doc_id] = wanted
            self._count_embedded = _counter({passage.text for passage in wanted}, report)
            try:
                problem = await self._problem_putting_in(doc_id, wanted)
            finally:
                self._count_embedded = _count_nothing
                del self._passages[doc_id]
            if problem is not None:
                await self._forget(doc_id)
                raise LibraryError(f"LightRAG could not take the document in: {problem}")
        report(len(wanted))

    async def delete(self, doc_id: str) -> None:
        async with self._turn:
            await self._forget(doc_id)

    async def retrieve(self, question: str, keywords: Keywords, top_k: int, mode: str) -> list[tuple[str, float]]:
        parameters = self._lightrag.QueryParam(**_query_arguments(question, keywords, top_k, mode))
        try:
            with self._lightrag.following_few_edges():
                async with asyncio.timeout(RETRIEVAL_TIMEOUT_SECONDS):
                    answer = await self._rag.aquery_data(question, parameters)
        except Exception as error:  # whatever LightRAG raises means that it could not search
            told = f"{type(error).__name__}: {error}"
            raise EngineUnavailable(Phrase("LightRAG could not search ({error}).", error=told)) from error
        chunks = answer.get("data", {}).get("chunks", [])
        return [(chunk["chunk_id"], 1 / rank) for rank, chunk in enumerate(chunks[:top_k], start=1)]

    async def states(self) -> dict[str, str]:
        return self._tables.statuses.states()

    async def audit(self, expected: Mapping[str, Sequence[str]]) -> list[str]:
        async with self._turn:
            return incomplete_documents(self._tables, expected)

    async def canary(self) -> None:
        normalized = self._lightrag.normalize_entity_name
        chunk = {"content": _CANARY, "tokens": len(_CANARY), "full_doc_id": "canary", "chunk_order_index": 0}
        watched = _Watched(self._extractor)
        config = self._rag._build_global_config()
        model = extraction_model(watched, Fence.of_template(self._lightrag.extraction_prompt))
        config["role_llm_funcs"] = {**config["role_llm_funcs"], "extract": model}
        try:
            [(nodes, _)] = await self._lightrag.extract_entities({"canary": chunk}, config)
        except OracleError as error:
            # LightRAG raises a copy, with words of its own before the message.
            raise watched.error or error from error
        # A model may find other things each time; whatever it found has to arrive.
        wanted = {normalized(entity.name) for entity in watched.found.entities}
        if not wanted or nodes.keys() != wanted:
            found = f"{sorted(nodes)} instead of {sorted(wanted)}" if wanted else "nothing"
            raise EngineUnavailable(f"LightRAG found {found} in a test sentence: install the pinned version.")

    def _check_identity(self) -> None:
        # A reader's keywords may come from another extractor than the graph; its vectors must come from the same model.
        wanted = {
            "schema": SCHEMA,
            "embedder": self._embedder.fingerprint,
            "dimension": str(self._embedder.dimension),
        }
        stored = self._tables.identity()
        if self._writable:
            wanted["extractor"] = self._extractor.fingerprint
            if not stored:
                self._tables.set_identity(wanted)
                return
        differing = sorted(name for name, value in wanted.items() if stored.get(name) != value)
        if differing:
            raise IndexDamaged(f"{self._generation} was made with another {', '.join(differing)}: rebuild the index.")

    async def _start_lightrag(self) -> None:
        self._turn = asyncio.Lock()
        embedding = Embedding(name=self._embedder.fingerprint, dimension=self._embedder.dimension, embed=self._embed)
        arguments = lightrag_arguments(self._lightrag, embedding, self._extractor, self._passages)
        self._rag = self._lightrag.LightRAG(
            **arguments,
            **{kind.lower(): name for kind, name in STORAGES.items()},
            vector_db_storage_cls_kwargs={"tables": self._tables},
            working_dir=str(self._database.parent),
            # LightRAG keeps state by this name for as long as the process lives.
            workspace=f"{self._generation}-{uuid.uuid4().hex[:12]}",
        )
        await self._rag.initialize_storages()
        if self._writable:
            drop_duplicate_rows(self._tables)
            self._tables.statuses.fail_unfinished("interrupted")
            await self.canary()

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        vectors = await self._embedder.embed(texts)
        self._count_embedded(texts)
        return vectors

    async def _problem_putting_in(self, doc_id: str, passages: Sequence[Passage]) -> str | None:
        """Put a document in; why it is not in then, None when it is."""
        try:
            await self._rag.ainsert(lightrag_text(doc_id), ids=[doc_id], file_paths=[doc_id])
        except Exception as error:  # LightRAG reports by status; what it raises all the same is its own failure
            return f"{type(error).__name__}: {error}"
        record = self._tables.statuses.get([doc_id]).get(doc_id)
        if record is None:
            return "it was refused"
        if record["status"] != "processed":
            return _OWN_WORDS.sub("", str(record.get("error_msg") or f"it stays {record['status']}"))
        if len(record["chunks_list"]) != len(passages):
            return f"{len(record['chunks_list'])} of {len(passages)} passages arrived"
        return None

    async def _forget(self, doc_id: str) -> None:
        rag = self._rag
        values = (rag.text_chunks, rag.full_docs, rag.full_entities, rag.full_relations)
        links = (rag.entity_chunks, rag.relation_chunks, rag.chunk_entity_relation_graph)
        for storage in (*values, *links, rag.entities_vdb, rag.relationships_vdb, rag.chunks_vdb):
            await storage.drop_pending_index_ops()
        forget_document(self._tables, doc_id)
        drop_duplicate_rows(self._tables)


class _Watched:
    """An extractor whose last result or error is kept."""

    def __init__(self, extractor: GraphExtractor) -> None:
        self._extractor = extractor
        self.fingerprint = extractor.fingerprint
        self.found = Extraction(entities=(), relations=())
        self.error: OracleError | None = None

    async def extract(self, text: str) -> Extraction:
        try:
            self.found = await self._extractor.extract(text)
        except OracleError as error:
            self.error = error
            raise
        return self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """A way to embed texts, and what is to be known of it."""

    name: str
    dimension: int
    embed: Callable[[Sequence[str]], Awaitable[Vectors]]


def lightrag_arguments(
    lightrag: Lightrag, embedding: Embedding, extractor: GraphExtractor, passages: Mapping[str, Sequence[Passage]]
) -> dict[str, Any]:
    """Every parameter of LightRAG but its storages and where they are: it would read the others from the environment.

    `passages` holds, by document, those of the documents being put in.
    """
    model = extractor.fingerprint
    fence = Fence.of_template(lightrag.extraction_prompt)
    none = {"func": no_model, "kwargs": {}, "max_async": 1, "timeout": STEP_TIMEOUT_SECONDS, "metadata": {}}
    # The model's name is a part of the key of cached extractions: another extractor's are never taken.
    extract = none | {
        "func": extraction_model(extractor, fence),
        "max_async": _QUEUE,
        "metadata": {"model": model},
    }
    return {
        **_FIXED_ARGUMENTS,
        "tokenizer": lightrag.Tokenizer("characters", CharacterTokenizer()),
        "chunking_func": _chunker(passages),
        "embedding_func": lightrag.EmbeddingFunc(
            embedding_dim=embedding.dimension,
            func=_embedding_function(embedding),
            max_token_size=None,
            model_name=embedding.name,
        ),
        "llm_model_func": no_model,
        "llm_model_name": model,
        "role_llm_configs": {"extract": extract, "keyword": none, "query": none, "vlm": none},
    }


def _embedding_function(embedding: Embedding) -> Callable[..., Awaitable[Vectors]]:
    # A function and no method: see extraction_model.
    async def embed(texts: Sequence[str], **_: object) -> Vectors:
        return np.asarray(await embedding.embed(texts), np.float32)

    return embed


def _query_arguments(question: str, keywords: Keywords, top_k: int, mode: str) -> dict[str, Any]:
    """Every parameter of a question: what is not given here was read from the environment at import."""
    high, low = list(keywords.high), list(keywords.low)
    return {
        "mode": mode,
        "only_need_context": True,
        "only_need_prompt": False,
        "response_type": "",
        "stream": False,
        "top_k": ENTITIES_PER_QUESTION,
        "chunk_top_k": top_k,
        "max_entity_tokens": _CONTEXT_CHARACTERS,
        "max_relation_tokens": _CONTEXT_CHARACTERS,
        "max_total_tokens": _NO_LIMIT,
        "hl_keywords": high,
        # Without any keyword it would ask a language model for some.
        "ll_keywords": low or ([] if high else [question]),
        "conversation_history": [],
        "user_prompt": None,
        "enable_rerank": False,
        "include_references": False,
        "disable_user_prompt_prefix": True,
    }


def lightrag_text(doc_id: str) -> str:
    """What LightRAG is given as the text of a document, see _chunker."""
    return f"passages of {doc_id}"


def _chunker(passages: Mapping[str, Sequence[Passage]]) -> Callable[..., list[dict[str, Any]]]:
    """What LightRAG calls to cut a text: the passages of the document that is being put in, under their own ids.

    The text handed to LightRAG is only the document's name. So no text of a paper can pass for a mark of ours,
    LightRAG's cleaning of texts never touches a passage, and the text is not stored once more.
    """

    # A function and no method: see extraction_model.
    def chunks(tokenizer: object, content: str, *_: object) -> list[dict[str, Any]]:
        doc_id = content.removeprefix(lightrag_text(""))
        if doc_id not in passages:
            raise LibraryError("its passages are not at hand, it has to be put in anew")
        return [
            {
                "content": passage.text,
                "chunk_id": passage.chunk_id,
                "tokens": len(passage.text),
                "chunk_order_index": number,
            }
            for number, passage in enumerate(passages[doc_id])
        ]

    return chunks


def _count_nothing(embedded: Sequence[str]) -> None:
    pass


def _counter(texts: set[str], report: Callable[[int], None]) -> Callable[[Sequence[str]], None]:
    """Reports how many of the texts have been embedded, whenever some have."""
    done = 0

    def count(embedded: Sequence[str]) -> None:
        nonlocal done
        done += sum(text in texts for text in embedded)
        if done:
            report(done)

    return count


_CHUNKER: dict[str, Any] = {
    "chunk_token_size": _NO_LIMIT,
    "fixed_token": {
        "chunk_overlap_token_size": 0,
        "split_by_character": None,
        "split_by_character_only": False,
    },
    "recursive_character": {"chunk_overlap_token_size": 0, "separators": ["\n"]},
    "semantic_vector": {},
    "paragraph_semantic": {"chunk_overlap_token_size": 0, "chunk_token_size": _NO_LIMIT},
}

_FIXED_ARGUMENTS: dict[str, Any] = {
    "top_k": ENTITIES_PER_QUESTION,
    "chunk_top_k": ENTITIES_PER_QUESTION,
    "max_entity_tokens": _CONTEXT_CHARACTERS,
    "max_relation_tokens": _CONTEXT_CHARACTERS,
    "max_total_tokens": _NO_LIMIT,
    "related_chunk_number": PASSAGES_PER_ENTITY,
    # Found by the graph alone, on 500 PubMedQA questions: the right abstract first for 0.42 of them (WEIGHT: 0.17), for
    # 4 ms more. In mix both put it first for 0.96; among ten it is for 0.996 (0.994).
    "kg_chunk_pick_method": "VECTOR",
    "enable_content_headings": False,
    "entity_extract_max_gleaning": 0,
    "entity_extract_max_records": 1_000,
    "entity_extract_max_entities": 1_000,
    # Descriptions never differ for long, see extraction_json; LightRAG would ask a model to summarise many of them.
    "force_llm_summary_on_merge": 1_000_000,
    "summary_max_tokens": _NO_LIMIT,
    "summary_context_size": _NO_LIMIT,
    "summary_length_recommended": _NO_LIMIT,
    "chunk_token_size": _NO_LIMIT,
    "chunk_overlap_token_size": 0,
    "tiktoken_model_name": "",
    "embedding_chunk_overlap_token_size": 0,
    "embedding_batch_num": 32,
    "embedding_func_max_async": _QUEUE,
    "embedding_cache_config": {"enabled": False, "similarity_threshold": 1.0, "use_llm_check": False},
    "default_embedding_timeout": STEP_TIMEOUT_SECONDS,
    "llm_model_max_async": _QUEUE,
    "llm_model_kwargs": {},
    "default_llm_timeout": STEP_TIMEOUT_SECONDS,
    "entity_extraction_use_json": True,
    "rerank_model_func": None,
    "rerank_model_max_async": 1,
    "default_rerank_timeout": 1,
    "min_rerank_score": 0.0,
    # Its answer cache knows nothing of the index and answers from documents long gone.
    "enable_llm_cache": False,
    "enable_llm_cache_for_entity_extract": True,
    "vlm_process_enable": False,
    # More than one at a time was measured to lose graph links when an interrupted run is resumed.
    "max_parallel_insert": 1,
    "max_parallel_parse_native": 1,
    "max_parallel_parse_mineru": 1,
    "max_parallel_parse_docling": 1,
    "max_parallel_analyze": 1,
    "queue_size_parse": 1,
    "queue_size_analyze": 1,
    "queue_size_insert": 1,
    "pipeline_scheduling_page_size": 100,
    # It would ask for what only LightRAG's own server offers: listing and repairing conflicts of file names.
    "pipeline_require_strict_storage_reads": False,
    "max_pending_documents": 0,
    "max_graph_nodes": 1_000,
    "max_source_ids_per_entity": LINKS_SHOWN,
    "max_source_ids_per_relation": LINKS_SHOWN,
    "source_ids_limit_method": "KEEP",
    "max_file_paths": 1,
    "file_path_more_placeholder": "",
    "addon_params": {
        "language": "English",
        "entity_type_prompt_file": "",
        "entity_types_guidance": "- Thing: anything that has a name",
        "chunker": _CHUNKER,
    },
    "ollama_server_infos": None,
    "auto_manage_storages_states": False,
    "cosine_better_than_threshold": LEAST_COSINE,
    "user_prompt_prefix": "",
}
