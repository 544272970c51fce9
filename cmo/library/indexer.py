"""The indexing of a papers folder: one writer, the right generation, a run, and the swap.

What a run does to each file stands in `run`; here it is decided which generation it works on, what is done about a
damaged one, and when a rebuilt one takes the place of the one that serves: when it is healthy, and nobody switched away
from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from cmo.errors import IndexDamaged, LibraryError
from cmo.library import generations
from cmo.library.generations import GenerationInfo, Recipe
from cmo.library.health import Health, HealthGate
from cmo.library.lock import writer_lock
from cmo.library.progress import Meter
from cmo.library.reader import Limits
from cmo.library.run import Graph, GraphWriter, Outcome, Reader, Run
from cmo.library.succession import INDEXING, Action, Event, Succession
from cmo.logs import fields
from cmo.storage.manifest import Manifest
from cmo.values import IndexProgress, IndexReport

GraphFactory: TypeAlias = Callable[[GenerationInfo], GraphWriter]
CarryCache: TypeAlias = Callable[[Path, Path], object]
OnProgress: TypeAlias = Callable[[IndexProgress], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The generation worked on, and the one that serves meanwhile when it is another."""

    target: GenerationInfo
    manifest: Manifest
    serving: GenerationInfo | None
    before: Manifest | None


class Indexer:
    """Brings the index of one papers folder up to date."""

    def __init__(
        self,
        *,
        papers: Path,
        storage: Path,
        recipe: Recipe,
        reader: Reader,
        open_graph: GraphFactory,
        carry_cache: CarryCache,
        gate: HealthGate,
        limits: Limits | None = None,
    ) -> None:
        """Nothing is touched before `run`.

        `open_graph` makes the graph of a generation, not yet opened. `carry_cache` copies the extraction cache from one
        index file to another. `gate` tells whether a rebuilt index may take over. `limits` are those of the reader:
        when they change, files that were too large for the others are looked into again.
        """
        self._papers = papers
        self._storage = storage
        self._recipe = recipe
        self._reader = reader
        self._open_graph = open_graph
        self._carry_cache = carry_cache
        self._gate = gate
        self._succession = Succession(storage)
        self._limits = limits or Limits()

    async def run(self, *, on_progress: OnProgress | None = None, cancel: asyncio.Event | None = None) -> IndexReport:
        """Read what is new or changed, take out what is gone, leave the rest alone.

        Setting `cancel` ends the run after its current step; what is finished stays, and the next run goes on from
        there. So does whatever ends it, a killed process included.

        Raises:
            WriterLocked: another process is at it.
            LibraryError: the folders cannot be used, or the disk is full.
        """
        started = time.monotonic()
        await asyncio.to_thread(generations.prepare, self._storage)
        with writer_lock(self._storage):
            report = await self._run_or_start_over(on_progress or _ignore, cancel or asyncio.Event())
        return replace(report, seconds=time.monotonic() - started)

    async def _run_or_start_over(self, on_progress: OnProgress, cancel: asyncio.Event) -> IndexReport:
        target = await asyncio.to_thread(self._choose)
        try:
            return await self._run(target, on_progress, cancel)
        except IndexDamaged as error:
            _log.error("index_damaged", extra=fields(generation=target.name), exc_info=True)
            notice = f"The index was damaged and is being built again. {error}"
        await self._require_working_graph()
        place = await asyncio.to_thread(generations.set_aside, target, datetime.now(UTC))
        report = await self._run(await asyncio.to_thread(self._choose), on_progress, cancel)
        return replace(report, notices=(f"{notice} The damaged one was moved to {place}.", *report.notices))

    async def _require_working_graph(self) -> None:
        """Raise what keeps any graph from being opened: then it is not this index that is broken."""
        with tempfile.TemporaryDirectory(dir=self._storage, prefix=".probe-") as folder:
            graph = self._open_graph(GenerationInfo(name="g0000-00000000", folder=Path(folder)))
            await graph.open()
            await graph.close()

    def _choose(self) -> GenerationInfo:
        """The serving generation if it is of our recipe, else one begun or left by an earlier run, else a new one."""
        serving = generations.current(self._storage)
        if serving is not None and serving.made_by(self._recipe):
            return serving
        matching = [info for info in generations.generations(self._storage) if info.made_by(self._recipe)]
        return matching[-1] if matching else generations.create(self._storage, self._recipe)

    async def _run(self, target: GenerationInfo, on_progress: OnProgress, cancel: asyncio.Event) -> IndexReport:
        async with contextlib.AsyncExitStack() as stack:
            opened = await asyncio.to_thread(self._open, target)
            stack.callback(opened.manifest.close)
            if opened.before is not None:
                stack.callback(opened.before.close)
            graph = Graph(lambda: self._open_graph(target), before_opening=lambda: _note_begin(opened.manifest))
            stack.push_async_callback(graph.close)
            run = Run(
                papers=self._papers,
                limits=self._limits,
                manifest=opened.manifest,
                earlier=await asyncio.to_thread(self._carry, opened),
                graph=graph,
                reader=self._reader,
                meter=Meter(on_progress),
                cancel=cancel,
            )
            outcome = await run.to_the_end(also=opened.before)
            await graph.close()
            return await self._finish(opened, outcome)

    def _open(self, target: GenerationInfo) -> _Opened:
        serving = generations.current(self._storage)
        manifest = Manifest(target.database, writable=True)
        recipe = manifest.meta("recipe")
        if recipe is None:
            manifest.set_meta({"recipe": self._recipe.to_json()})
        elif recipe != self._recipe.to_json():
            manifest.close()
            raise IndexDamaged(f"{target.database} was made in another way than its name says.")
        if serving is None:
            # The very first index answers as soon as its first document is in.
            self._succession.take_over(target, _takeover(target, None, "nothing served"))
        before = None if serving is None or serving == target else _earlier(serving)
        return _Opened(target=target, manifest=manifest, serving=serving, before=before)

    def _carry(self, opened: _Opened) -> Manifest | None:
        """Carry over what stays good; returns the manifest whose pages do."""
        if opened.before is None or opened.serving is None:
            return None
        changed = _changed_steps(opened.before, self._recipe)
        if opened.manifest.meta("cache_carried") is None and "extractor" not in changed:
            self._carry_cache(opened.serving.database, opened.target.database)
            opened.manifest.set_meta({"cache_carried": "1"})
        _log.info("index_rebuild", extra=fields(generation=opened.target.name, changed=", ".join(changed)))
        return None if "reader" in changed else opened.before

    async def _finish(self, opened: _Opened, outcome: Outcome) -> IndexReport:
        """Put a whole generation in the place of the one that served, and clear away the old ones."""
        report = IndexReport(files=outcome.files, seconds=0.0, generation=opened.target.name, cancelled=outcome.stopped)
        if outcome.stopped:
            return report
        notice = await self._replace_serving(opened)
        await asyncio.to_thread(self._clear_away, opened)
        return report if notice is None else replace(report, notices=(notice,))

    async def _replace_serving(self, opened: _Opened) -> str | None:
        """Let the generation worked on take over if it may; returns what is to be said when it does not serve."""
        target, serving = opened.target, opened.serving
        if serving is not None and serving != target:
            left = await asyncio.to_thread(self._succession.left, target.name)
            if left is not None:
                return _left_in_words(left, serving)
            health = await self._gate.examine(target, serving)
            check = Event.of_check(health, author=INDEXING, at=datetime.now(UTC))
            await asyncio.to_thread(self._succession.note, check)
            if not health.healthy:
                return _failed_in_words(health, target, serving)
            event = _takeover(target, serving, "made by other models or rules, and healthy")
            await asyncio.to_thread(self._succession.take_over, target, event)
        now = await asyncio.to_thread(generations.current, self._storage)
        return None if now in (None, target) else _switched_in_words(target, now)

    def _clear_away(self, opened: _Opened) -> None:
        """Keep what serves, what served before it, and what was worked on."""

        def kept() -> set[str]:
            serving = generations.current(self._storage) or opened.target
            others = [info.name for info in generations.generations(self._storage) if info != serving]
            previous = self._succession.previous()
            spare = previous if previous in others else (others[-1] if others else serving.name)
            return {opened.target.name, serving.name, spare}

        self._succession.clear_away(kept)


def _takeover(target: GenerationInfo, serving: GenerationInfo | None, reason: str) -> Event:
    before = serving.name if serving is not None else ""
    return Event(
        action=Action.INDEX,
        generation=target.name,
        before=before,
        author=INDEXING,
        reason=reason,
        at=datetime.now(UTC),
    )


def _left_in_words(left: Event, serving: GenerationInfo) -> str:
    return (
        f"{left.author} switched away from {left.before} on {left.at:%Y-%m-%d} ({left.reason}), so it was brought up "
        f"to date and {serving.name} goes on serving, without what was added since. `cmo generations switch "
        f"{left.before}` lets it serve again; with the models and rules of {serving.name} runs index into that one."
    )


def _failed_in_words(health: Health, target: GenerationInfo, serving: GenerationInfo) -> str:
    found = " ".join(f"[{check.name}] {check.words}" for check in health.failed)
    return (
        f"The rebuilt index {target.name} is not healthy, so the one before goes on serving ({serving.name}). {found} "
        f"Mend the cause and index again, delete {target.folder} to have it built anew, or let it serve all the same: "
        f"`cmo generations switch {target.name} --force`."
    )


def _switched_in_words(target: GenerationInfo, now: GenerationInfo) -> str:
    return (
        f"Somebody switched to {now.name} during the run, so that one serves and not {target.name}, which was brought "
        f"up to date. `cmo generations switch {target.name}` lets it serve."
    )


def _ignore(_: IndexProgress) -> None:
    return


def _note_begin(manifest: Manifest) -> None:
    manifest.set_meta({"running": "1"})


def _earlier(serving: GenerationInfo) -> Manifest | None:
    """The manifest of the generation that serves, writable to take removed files out; None when it is of no use."""
    try:
        return Manifest(serving.database, writable=True)
    except LibraryError:
        _log.warning("earlier_index_not_readable", extra=fields(generation=serving.name), exc_info=True)
        return None


def _changed_steps(before: Manifest, recipe: Recipe) -> tuple[str, ...]:
    try:
        return recipe.changes(Recipe.from_json(before.meta("recipe") or ""))
    except ValueError:
        return ("reader", "extractor")
