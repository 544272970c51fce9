"""One answer of Perplexity as it comes in: what is shown of it, the draft it makes, and what it is booked at.

No I/O here. Citations are made from search results only; an address in the text never becomes one.
"""

from __future__ import annotations

import math
from types import MappingProxyType

from cmo.citations import MarkerStream, by_label, web_citations
from cmo.engines.perplexity_wire import Ended, Found, Searching, Signal, Status, Usage, WebTask, Wrote, on_one_line
from cmo.phrases import Phrase
from cmo.pricing import Price, cost_usd
from cmo.values import CallOutcome, CallStage, Draft, EngineEvent, ModelCall, Progress, TextPiece, WebSource

ENGINE = "perplexity"
"""The engine's name in settings, decisions and records."""

NOT_ANSWERED = Phrase("The pages found on the web do not answer this.")
"""What the model is asked to write, and how a person is told, when there is no answer."""
NO_SOURCES = Phrase("The web search brought no sources for this answer: it rests on nothing that can be checked here.")
NOT_CITED = Phrase(
    "Pages were found, but the answer does not say which of them it rests on: it cannot be checked here."
)
INCOMPLETE = Phrase("The answer is incomplete: it stopped before its end.")

SEARCH_TOKENS = MappingProxyType({"low": 300, "medium": 1_000, "high": 4_000})
"""How much the model reads of the pages a search finds, by search_context_size.

https://docs.perplexity.ai/docs/agent-api/tools/web-search, "Using recommended token budgets".
"""
BYTES_PER_TOKEN = 4
"""Of English text, roughly; for estimates."""
QUERIES_CHARACTERS = 200


class WebAnswer:
    """What is known of one call so far. Signals go in, events for the person come out."""

    def __init__(self, task: WebTask, price: Price) -> None:
        self._task = task
        self._price = price
        self._sources: list[WebSource] = []
        self._labels: dict[str, WebSource] = {}
        self._markers = MarkerStream(self._labels)
        self._parts: list[str] = []
        self._searches = 0
        self._told: set[str] = set()
        self.shown = False
        """Whether a person has seen a piece of the text."""
        self.ended: Ended | None = None
        self.charged = True
        """Whether the server may have worked on it."""

    @property
    def begun(self) -> bool:
        """Whether there is any text."""
        return bool(self._parts)

    @property
    def text(self) -> str:
        """All the text there is, with its own markers."""
        return (self.ended.text if self.ended else "") or "".join(self._parts)

    def take(self, signal: Signal) -> list[EngineEvent]:
        """What a person should see of it."""
        match signal:
            case Searching():
                self._searches += 1
                return self._searching(signal.queries)
            case Found():
                return self._found(signal.sources)
            case Wrote():
                if signal.text:
                    self._parts.append(signal.text)
                return self._piece(self._markers.feed(signal.text))
            case Ended():
                self.ended = signal
                untold = bool(signal.queries) and not self._searches
                searching = self._searching(signal.queries) if untold else []
                return [*searching, *self._found(signal.sources), *self._piece(self._markers.finish())]

    def draft(self) -> Draft:
        """The whole answer, made anew from all of its text and all results: they may come after the text."""
        ended = self.ended or Ended(status=Status.INCOMPLETE)
        markers = MarkerStream(by_label(ended.sources or self._sources))
        text = (markers.feed(self.text) + markers.finish()).strip()
        answered = bool(text) and not ended.refused and not text.startswith(NOT_ANSWERED)
        notices = []
        if ended.status is Status.INCOMPLETE:
            notices.append(INCOMPLETE)
        if answered and not markers.sources_used:
            notices.append(NOT_CITED if self._sources else NO_SOURCES)
        return Draft(
            text=text or NOT_ANSWERED,
            answered=answered,
            model=ended.model or self._task.model,
            citations=web_citations(markers.sources_used),
            written=True,
            degraded=ended.status is Status.INCOMPLETE and not ended.token_limit,
            dropped_markers=markers.dropped,
            notices=tuple(notices),
        )

    def booked(self, outcome: CallOutcome, seconds: float) -> ModelCall:
        """The call as it is booked: as the server reports it, else by an estimate, else as nothing."""
        usage = (self.ended.usage if self.ended else None) or (self._estimate() if self.charged else _NOTHING)
        cost = usage.cost_usd
        return ModelCall(
            engine=ENGINE,
            model=(self.ended.model if self.ended else "") or self._task.model,
            stage=CallStage.ANSWER,
            outcome=outcome,
            tokens_in=usage.tokens_in,
            tokens_cached=usage.tokens_cached,
            tokens_out=usage.tokens_out,
            cost_usd=self._cost(usage) if cost is None else cost,
            seconds=seconds,
            estimated=cost is None,
        )

    def _searching(self, queries: tuple[str, ...]) -> list[EngineEvent]:
        listed = on_one_line("; ".join(dict.fromkeys(queries)), QUERIES_CHARACTERS)
        if not listed:
            return self._progress(Phrase("Searching the web"))
        return self._progress(Phrase("Searching the web: {queries}", queries=listed))

    def _found(self, sources: tuple[WebSource, ...]) -> list[EngineEvent]:
        if not sources:
            return []
        self._sources += sources
        self._labels.clear()
        self._labels.update(by_label(self._sources))
        pages = len({source.url for source in self._sources})
        return self._progress(Phrase("Pages found: {n}", n=pages))

    def _progress(self, words: str) -> list[EngineEvent]:
        if words in self._told:
            return []
        self._told.add(words)
        return [Progress(text=words)]

    def _piece(self, shown: str) -> list[EngineEvent]:
        if not shown:
            return []
        self.shown = True
        return [TextPiece(text=shown)]

    def _estimate(self) -> Usage:
        """What a call took whose server does not tell. Whoever takes a question searches at least once."""
        prompt = f"{self._task.instructions}{self._task.question}"
        searches = min(max(1, self._searches), self._task.max_steps)
        return Usage(
            tokens_in=_tokens(prompt) + searches * SEARCH_TOKENS[self._task.search_context],
            tokens_cached=0,
            tokens_out=min(_tokens(self.text), self._task.max_output_tokens),
            searches=searches,
            cost_usd=None,
        )

    def _cost(self, usage: Usage) -> float:
        tokens = (usage.tokens_in, usage.tokens_cached, usage.tokens_out)
        return cost_usd(self._price, *tokens, searches=usage.searches)


_NOTHING = Usage(tokens_in=0, tokens_cached=0, tokens_out=0, searches=0, cost_usd=0.0)


def _tokens(text: str) -> int:
    return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)
