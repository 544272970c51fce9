"""LightRAG as a guest in this process: no environment to read, nothing to install, a thread of its own.

LightRAG reads its defaults from the environment and from a `.env` in the current folder, and asks pipmaster to install
drivers it misses. It also keeps locks in module variables which work on one event loop only, so all indexes of a
process share one thread and loop; two loops were measured to hang. Knows nothing of documents or questions.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, NoReturn, TypeVar

from cmo.errors import EngineUnavailable
from cmo.phrases import Phrase

T = TypeVar("T")

STORAGES = MappingProxyType(
    {
        "KV_STORAGE": "SqliteKVStorage",
        "VECTOR_STORAGE": "SqliteVectorStorage",
        "GRAPH_STORAGE": "SqliteGraphStorage",
        "DOC_STATUS_STORAGE": "SqliteDocStatusStorage",
    }
)
_STORAGES_MODULE = "cmo.engines.lightrag_storages"
_STATUSES_MODULE = "cmo.engines.lightrag_statuses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lightrag:
    """What we use of LightRAG and of the storages built on it; neither can be imported in the usual way."""

    LightRAG: Any
    QueryParam: Any
    EmbeddingFunc: Any
    Tokenizer: Any
    extract_entities: Any
    normalize_entity_name: Any
    extraction_prompt: str
    following_few_edges: Any


def load_lightrag() -> Lightrag:
    """LightRAG with our storages registered, reading nothing from the environment from then on.

    Raises:
        EngineUnavailable: it is not installed, or not in a version known here.
    """
    sys.modules["pipmaster"] = _NoInstaller("pipmaster")
    # It sorts Chinese labels with this, in functions never called here: 55 MB that LightRAG does without when missing.
    sys.modules.setdefault("pypinyin", None)  # type: ignore[arg-type]  # None is Python's mark for "cannot be imported"
    log = logging.getLogger("lightrag")
    log.disabled = True  # importing it sets its level, and says that pypinyin is missing
    try:
        with _without_dotenv():
            names = ("lightrag", "base", "utils", "operate", "prompt", "kg")
            modules = {name: importlib.import_module(f"lightrag.{name}") for name in names}
            storages = importlib.import_module(_STORAGES_MODULE)
    except (ImportError, ValueError) as error:
        words = Phrase("LightRAG cannot be loaded ({error}): reinstall the requirements.", error=str(error))
        raise EngineUnavailable(words) from error
    # Its messages hold questions and entity names; what fails is told by exceptions instead.
    log.setLevel(logging.CRITICAL)
    _hide_environment()
    _register_storages(modules["kg"])
    return Lightrag(
        LightRAG=modules["lightrag"].LightRAG,
        QueryParam=modules["base"].QueryParam,
        EmbeddingFunc=modules["utils"].EmbeddingFunc,
        Tokenizer=modules["utils"].Tokenizer,
        extract_entities=modules["operate"].extract_entities,
        normalize_entity_name=modules["utils"].normalize_entity_name,
        extraction_prompt=modules["prompt"].PROMPTS["entity_extraction_json_user_prompt"],
        following_few_edges=storages.following_few_edges,
    )


class LoopThread:
    """The thread and event loop LightRAG lives on, one for the process, alive while somebody has borrowed it."""

    _current: ClassVar[LoopThread | None] = None
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        """Start the thread; use `borrow` instead."""
        self._borrowers = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._live, name="lightrag", daemon=True)
        self._thread.start()
        self._started.wait()

    @classmethod
    def borrow(cls) -> LoopThread:
        """The running thread, or a new one. Give it back when done."""
        with cls._guard:
            if cls._current is None:
                cls._current = cls()
            cls._current._borrowers += 1
            return cls._current

    def give_back(self) -> None:
        """Say that it is no longer needed here; the last one to do so ends the thread, and waits for that."""
        with self._guard:
            self._borrowers -= 1
            if self._borrowers:
                return
            LoopThread._current = None
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine run on this thread, awaited on the caller's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _live(self) -> None:
        asyncio.run(self._wait())

    async def _wait(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started.set()
        await self._stop.wait()
        if shared := sys.modules.get("lightrag.kg.shared_storage"):
            # Drops the locks bound to this loop; the next thread makes its own.
            shared.finalize_share_data()


class _NoInstaller(ModuleType):
    """Stands in for pipmaster."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # It asks is_installed first; "yes" leads to a plain ImportError where the driver is used.
        return self._installed if name.startswith("is_") else self._refuse

    @staticmethod
    def _installed(*_: object, **__: object) -> bool:
        return True

    @staticmethod
    def _refuse(*packages: object, **_: object) -> NoReturn:
        raise ImportError(f"nothing is installed at run time, asked for: {packages}")


class _NoEnvironment(ModuleType):
    """The module `os` with an empty environment."""

    environ: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @staticmethod
    def getenv(key: str, default: Any = None) -> Any:
        """The default: no variable is set."""
        return default

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _hide_environment() -> None:
    """Make every LightRAG module loaded so far see no environment variable."""
    empty = _NoEnvironment("os")
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "lightrag" and getattr(module, "os", None) is os:
            module.os = empty  # type: ignore[attr-defined]


@contextmanager
def _without_dotenv() -> Iterator[None]:
    """Within this, python-dotenv loads nothing: LightRAG would load a `.env` of the current folder."""
    dotenv = importlib.import_module("dotenv")
    original = dotenv.load_dotenv
    dotenv.load_dotenv = lambda *_, **__: False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        dotenv.load_dotenv = original  # type: ignore[attr-defined]


def _register_storages(registry: ModuleType) -> None:
    for kind, name in STORAGES.items():
        registry.STORAGES[name] = _STATUSES_MODULE if kind == "DOC_STATUS_STORAGE" else _STORAGES_MODULE
        known = registry.STORAGE_IMPLEMENTATIONS[kind]["implementations"]
        if name not in known:
            known.append(name)
