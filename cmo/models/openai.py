"""Language models behind any server that speaks OpenAI's protocol: OpenAI itself, vLLM, Ollama, llama.cpp, gateways.

One call is tried at most twice, and never again once a piece of its text was given out. Each attempt is booked once,
however it ends. What the model is asked to write, and what becomes of it, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import openai
from openai import AsyncStream
from pydantic import BaseModel, Field, ValidationError

from cmo.errors import ModelUnavailable
from cmo.interfaces import Book
from cmo.models.openai_server import OpenAIServer, PassingTrouble, error_told, was_refused
from cmo.phrases import Phrase
from cmo.policy.retry import ATTEMPTS
from cmo.pricing import Price, cost_usd
from cmo.values import CallOutcome, CallStage, ModelCall, Prompt

CUT_OFF = " …"
"""Ends a streamed text that reached its limit of tokens in the middle."""

TEMPERATURE = 0.0
"""The likeliest words: what is asked for stands in the prompt."""

TEMPLATE_TOKENS = 64
"""What a server may put around the two messages of a prompt; OpenAI's own template takes 11 tokens."""
BYTES_PER_TOKEN = 3
"""Of text as papers have it, for counts of our own. Measured ones lie between 3 and 5, so that these err upwards."""
LONGEST_TOKEN = 128
"""Characters of the longest token of OpenAI's vocabularies, a run of spaces."""

_MILD_REASONING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"gpt-6|gpt-5\.\d"), "none"),
    (re.compile(r"gpt-5"), "minimal"),
    (re.compile(r"o\d"), "low"),
)
"""The least effort each family of OpenAI's reasoning models offers. Only those with "none" take a temperature."""

_Ask: TypeAlias = Callable[[Prompt, "_Attempt", float], AsyncGenerator[str, None]]


class OpenAIChat:
    """One model of a server. A `ChatModel`; asked concurrently.

    `price` is None for a server that costs nothing. `engine` is on whose behalf its calls are booked. `stream` is for
    the event loop that opened the server, `complete` for any.

    What a call took is booked as the server tells it. Where it does not (the call failed or was stopped, or the server
    never tells), it is our own count, marked as estimated: nothing for a call that was refused or never arrived, else
    the whole prompt and the text that came, at BYTES_PER_TOKEN. A cost that the server reports itself is believed.
    """

    def __init__(self, server: OpenAIServer, *, model: str, engine: str, price: Price | None) -> None:
        self._server = server
        self._model = model
        self._engine = engine
        self._price = price

    def __repr__(self) -> str:
        """Which model of which server, never the key."""
        return f"OpenAIChat({self._model}, {self._server!r})"

    @property
    def name(self) -> str:
        """The model's name as shown and recorded."""
        return self._model

    def ceiling_usd(self, prompt: Prompt) -> float:
        """The most that a call with this prompt can cost, its second attempt included.

        No tokenizer that works on bytes makes more tokens than there are bytes, and no more are written than asked for.
        """
        if self._price is None:
            return 0.0
        tokens_in = _bytes_of(prompt) + TEMPLATE_TOKENS
        return ATTEMPTS * cost_usd(self._price, tokens_in, 0, prompt.max_tokens)

    async def stream(self, prompt: Prompt, *, stage: CallStage, book: Book) -> AsyncGenerator[str, None]:
        """The text in pieces as they come; CUT_OFF ends one that reached its limit. Closing it early ends the call.

        Raises:
            ModelUnavailable: it failed, before the first piece or after; the message can be shown.
        """
        attempts = self._server.tried(lambda ends: self._booked(prompt, stage, book, ends, self._streamed))
        async with aclosing(attempts) as pieces:
            async for piece in pieces:
                yield piece

    async def complete(self, prompt: Prompt, *, stage: CallStage, book: Book) -> str:
        """The whole text at once.

        Raises:
            ModelUnavailable: it failed; the message can be shown.
        """
        return await self._server.at_home(self._complete(prompt, stage, book))

    async def ping(self) -> tuple[str, ...]:
        """The names of the models the server has.

        Raises:
            ModelUnavailable: it does not answer as it should; the message can be shown.
        """
        return await self._server.ping()

    async def _complete(self, prompt: Prompt, stage: CallStage, book: Book) -> str:
        attempts = self._server.tried(lambda ends: self._booked(prompt, stage, book, ends, self._whole))
        async with aclosing(attempts) as pieces:
            return "".join([piece async for piece in pieces])

    async def _booked(
        self, prompt: Prompt, stage: CallStage, book: Book, ends: float, ask: _Ask
    ) -> AsyncGenerator[str, None]:
        """One attempt to get the text, booked when it is over."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        attempt = _Attempt()
        outcome = CallOutcome.FAILED
        try:
            async with aclosing(ask(prompt, attempt, ends)) as pieces:
                async for piece in pieces:
                    yield piece
            outcome = CallOutcome.OK
        except (asyncio.CancelledError, GeneratorExit):
            outcome = CallOutcome.STOPPED
            raise
        finally:
            book(self._call(prompt, stage, outcome, attempt, loop.time() - started))

    async def _streamed(self, prompt: Prompt, attempt: _Attempt, ends: float) -> AsyncGenerator[str, None]:
        deadlines = self._server.deadlines
        first_by = min(ends, asyncio.get_running_loop().time() + deadlines.first_token_seconds)
        with self._asking(attempt, deadlines.first_token_seconds):
            async with asyncio.timeout_at(first_by):
                response = await self._opened(prompt)
        try:
            chunks = aiter(response)
            while True:
                begun = bool(attempt.pieces)
                with self._asking(attempt, deadlines.total_seconds if begun else deadlines.first_token_seconds):
                    # Around each step and not around the loop: the listener's code runs between two pieces.
                    async with asyncio.timeout_at(ends if begun else first_by):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    piece = attempt.read(_Answer.model_validate(chunk), most=prompt.max_tokens)
                if piece:
                    yield piece
        finally:
            await response.close()
        self._check(attempt)
        if attempt.finish == "length":
            yield CUT_OFF

    async def _whole(self, prompt: Prompt, attempt: _Attempt, ends: float) -> AsyncGenerator[str, None]:
        with self._asking(attempt, self._server.deadlines.total_seconds):
            async with asyncio.timeout_at(ends):
                answer = await self._server.client.chat.completions.with_raw_response.create(
                    **_request(self._model, prompt)
                )
            piece = attempt.read(_Answer.model_validate_json(answer.content), most=prompt.max_tokens)
        self._check(attempt)
        yield piece

    async def _opened(self, prompt: Prompt) -> AsyncStream[object]:
        # Not chat.completions.create: the objects it makes of chunks were measured to take half of a stream's time.
        body = _request(self._model, prompt) | {"stream": True, "stream_options": {"include_usage": True}}
        return await self._server.client.post(
            "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]
        )

    @contextmanager
    def _asking(self, attempt: _Attempt, seconds: float) -> Iterator[None]:
        with self._server.troubles(self._model, seconds):
            try:
                yield
            except openai.APIError as error:
                attempt.refused = was_refused(error)
                raise

    def _check(self, attempt: _Attempt) -> None:
        """Let a text pass that came to its end.

        Raises:
            PassingTrouble: it just ended, or the server told an error in its place.
            ModelUnavailable: a filter of the server stopped it, or there is none.
        """
        server = self._server.host
        if attempt.error:
            raise PassingTrouble(error_told(server))
        if attempt.finish == "content_filter":
            words = Phrase("The model server {server} withholds the answer: its filter stopped it.", server=server)
            raise ModelUnavailable(words)
        if attempt.finish is None and attempt.taken is None:
            raise PassingTrouble(Phrase("The answer of the model server {server} broke off.", server=server))
        if not attempt.pieces:
            raise ModelUnavailable(Phrase("The model server {server} sent an empty answer.", server=server))

    def _call(
        self, prompt: Prompt, stage: CallStage, outcome: CallOutcome, attempt: _Attempt, seconds: float
    ) -> ModelCall:
        taken = attempt.taken or _estimate(prompt, attempt)
        cost = taken.reported_usd
        if cost is None:
            cost = cost_usd(self._price, taken.tokens_in, taken.tokens_cached, taken.tokens_out) if self._price else 0.0
        return ModelCall(
            engine=self._engine,
            model=self._model,
            stage=stage,
            outcome=outcome,
            tokens_in=taken.tokens_in,
            tokens_cached=taken.tokens_cached,
            tokens_out=taken.tokens_out,
            cost_usd=cost,
            seconds=seconds,
            estimated=attempt.taken is None,
        )


def own_count(text: str) -> int:
    """About how many tokens a text has, rather more than fewer."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What a call took. `reported_usd` is its cost when the server tells that, too."""

    tokens_in: int
    tokens_cached: int = 0
    tokens_out: int = 0
    reported_usd: float | None = None


@dataclass(slots=True, kw_only=True)
class _Attempt:
    """What is known of one attempt so far. `finish` is why the model stopped writing; None while it did not."""

    pieces: list[str] = field(default_factory=list)
    characters: int = 0
    finish: str | None = None
    taken: _Taken | None = None
    error: bool = False
    refused: bool = False

    def read(self, answer: _Answer, *, most: int) -> str:
        """The piece of text in a chunk or a whole answer.

        Raises:
            ValueError: there is more text than so many tokens can hold.
        """
        self.error = self.error or answer.error is not None
        self.taken = _taken(answer.usage) or self.taken
        if not answer.choices:
            return ""
        choice = answer.choices[0]
        self.finish = choice.finish_reason or self.finish
        said = choice.delta or choice.message
        if said is None or not said.content:
            return ""
        self.characters += len(said.content)
        if self.characters > most * LONGEST_TOKEN:
            raise ValueError("more text than was asked for")
        self.pieces.append(said.content)
        return said.content


def _estimate(prompt: Prompt, attempt: _Attempt) -> _Taken:
    if attempt.refused:
        return _Taken(tokens_in=0)
    tokens_in = own_count(prompt.system) + own_count(prompt.user) + TEMPLATE_TOKENS
    return _Taken(tokens_in=tokens_in, tokens_out=min(prompt.max_tokens, own_count("".join(attempt.pieces))))


def _request(model: str, prompt: Prompt) -> dict[str, Any]:
    """The fields of a request, none but those that every server knows."""
    messages = [
        {"role": "system", "content": _sendable(prompt.system)},
        {"role": "user", "content": _sendable(prompt.user)},
    ]
    request: dict[str, Any] = {"model": model, "messages": messages, **_writing(model, prompt)}
    return request | {"response_format": {"type": "json_object"}} if prompt.json else request


def _writing(model: str, prompt: Prompt) -> Mapping[str, Any]:
    """How to write: reasoning models name the limit differently and are asked not to reason, or as little as can be."""
    name = model.rpartition("/")[2].lower()
    effort = next((effort for family, effort in _MILD_REASONING if family.match(name)), None)
    temperature = TEMPERATURE if prompt.temperature is None else prompt.temperature
    if effort is None:
        return {"max_tokens": prompt.max_tokens, "temperature": temperature}
    settings = {"max_completion_tokens": prompt.max_tokens, "reasoning_effort": effort}
    return settings | {"temperature": temperature} if effort == "none" else settings


def _sendable(text: str) -> str:
    """The text without half surrogates, which broken PDF fonts yield and JSON in UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _bytes_of(prompt: Prompt) -> int:
    return len(_sendable(prompt.system).encode()) + len(_sendable(prompt.user).encode())


_Count: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Said(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None


class _Answer(BaseModel):
    """A chunk of a stream, or a whole answer."""

    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


class _Details(BaseModel):
    cached_tokens: _Count | None = None


class _Usage(BaseModel):
    prompt_tokens: _Count
    completion_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    cost: Any = None


def _taken(usage: object) -> _Taken | None:
    """What the server says that a call took; None when it says nothing, or nothing that makes sense."""
    if usage is None:
        return None
    try:
        told = _Usage.model_validate(usage)
    except ValidationError:
        return None
    details = told.prompt_tokens_details
    return _Taken(
        tokens_in=told.prompt_tokens,
        tokens_cached=min(told.prompt_tokens, (details and details.cached_tokens) or 0),
        tokens_out=told.completion_tokens or 0,
        reported_usd=_dollars(told.cost),
    )


def _dollars(cost: object) -> float | None:
    """A cost that a server reports (some gateways do, in dollars); None when it is none."""
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost) or cost < 0:
        return None
    return float(cost)
