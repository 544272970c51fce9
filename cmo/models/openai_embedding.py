"""Embeddings from a server that speaks OpenAI's protocol. What they are compared with is nothing to this module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import numpy as np
import openai
from pydantic import BaseModel, Field

from cmo.errors import ModelUnavailable
from cmo.interfaces import Book, Vectors
from cmo.models.openai import own_count
from cmo.models.openai_server import OpenAIServer, was_refused
from cmo.phrases import Phrase
from cmo.policy.retry import ATTEMPTS
from cmo.pricing import Price, cost_usd
from cmo.values import CallOutcome, CallStage, ModelCall

TEXTS_AT_ONCE = 64
BYTES_AT_ONCE = 200_000
"""In one request. OpenAI takes 2,048 texts and 300,000 tokens; small servers queue what they cannot take at once."""


class OpenAIEmbedder:
    """One embedding model of a server. An `Embedder`; may be awaited from any event loop.

    `dimension` is the length of its vectors, which is checked and never asked for: not every server can shorten them.
    `price` is None for a server that costs nothing; `book` takes down each call, on behalf of `engine`. A call whose
    usage is not told is booked as estimated, at nothing when it was refused.
    """

    def __init__(
        self, server: OpenAIServer, *, model: str, dimension: int, price: Price | None, engine: str, book: Book
    ) -> None:
        self._server = server
        self._model = model
        self._dimension = dimension
        self._price = price
        self._engine = engine
        self._book = book

    @property
    def fingerprint(self) -> str:
        """The model's name and the length of its vectors; vectors of different fingerprints cannot be compared."""
        return f"openai:{self._model}:{self._dimension}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    def ceiling_usd(self, texts: Sequence[str]) -> float:
        """The most that embedding these texts can cost, its second attempt included: no token is less than a byte."""
        if self._price is None:
            return 0.0
        return ATTEMPTS * cost_usd(self._price, sum(len(text.encode("utf-8", "replace")) for text in texts), 0, 0)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension). An empty text gets a zero vector.

        Raises:
            ModelUnavailable: the server does not answer as it should, or its vectors have another length.
        """
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        for numbers in _batches(readable):
            batch = [readable[number] for number in numbers]
            vectors[numbers] = await self._server.at_home(self._vectors(batch))
        return vectors

    async def _vectors(self, texts: Sequence[str]) -> Vectors:
        async with aclosing(self._server.tried(lambda ends: self._attempt(texts, ends))) as results:
            return await anext(results)

    async def _attempt(self, texts: Sequence[str], ends: float) -> AsyncGenerator[Vectors, None]:
        yield self._checked(await self._booked(texts, ends), len(texts))

    async def _booked(self, texts: Sequence[str], ends: float) -> _Answer:
        started = asyncio.get_running_loop().time()
        tokens: int | None = None
        outcome, refused = CallOutcome.FAILED, False
        try:
            with self._server.troubles(self._model, self._server.deadlines.total_seconds):
                try:
                    async with asyncio.timeout_at(ends):
                        raw = await self._server.client.embeddings.with_raw_response.create(
                            model=self._model, input=list(texts), encoding_format="float"
                        )
                except openai.APIError as error:
                    refused = was_refused(error)
                    raise
                answer = _Answer.model_validate_json(raw.content)
            tokens = answer.usage.prompt_tokens if answer.usage is not None else None
            outcome = CallOutcome.OK
            return answer
        except asyncio.CancelledError:
            outcome = CallOutcome.STOPPED
            raise
        finally:
            taken = (0 if refused else sum(map(own_count, texts))) if tokens is None else tokens
            self._book(
                ModelCall(
                    engine=self._engine,
                    model=self._model,
                    stage=CallStage.EMBED,
                    outcome=outcome,
                    tokens_in=taken,
                    cost_usd=cost_usd(self._price, taken, 0, 0) if self._price else 0.0,
                    seconds=asyncio.get_running_loop().time() - started,
                    estimated=tokens is None,
                )
            )

    def _checked(self, answer: _Answer, wanted: int) -> Vectors:
        server = self._server.host
        ordered = sorted(answer.data, key=lambda each: each.index)
        if [each.index for each in ordered] != list(range(wanted)):
            raise ModelUnavailable(
                Phrase(
                    "The model server {server} sent {n} of {wanted} vectors.",
                    server=server,
                    n=len(ordered),
                    wanted=wanted,
                )
            )
        lengths = {len(each.embedding) for each in ordered}
        if lengths != {self._dimension}:
            raise ModelUnavailable(
                Phrase(
                    "The model {model} makes vectors of length {found}: set OPENAI_EMBEDDING_DIMENSIONS to that "
                    "instead of {wanted}, and index the papers anew.",
                    model=self._model,
                    found=", ".join(map(str, sorted(lengths))),
                    wanted=self._dimension,
                )
            )
        vectors = np.array([each.embedding for each in ordered], np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.all(np.isfinite(norms)) or not np.all(norms > 0):
            raise ModelUnavailable(Phrase("The model server {server} sent vectors without a direction.", server=server))
        unit: Vectors = vectors / norms
        return unit


def _batches(texts: Sequence[str]) -> Iterator[list[int]]:
    """The numbers of the texts that are asked for together, without those of empty texts."""
    batch: list[int] = []
    size = 0
    for number, text in enumerate(texts):
        if not text.strip():
            continue
        length = len(text.encode())
        if batch and (len(batch) == TEXTS_AT_ONCE or size + length > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += length
    if batch:
        yield batch


class _Vector(BaseModel):
    index: int
    embedding: list[float]


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0, le=1_000_000_000)


class _Answer(BaseModel):
    data: list[_Vector]
    usage: _Usage | None = None
