"""A server that speaks OpenAI's protocol: its connections, its deadlines, and what its trouble is called.

What is asked of it is known elsewhere (openai.py, openai_embedding.py). Of what a server says when it refuses, only the
status and a short error code get into messages: the rest could be anything, the key included.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai
from openai import AsyncOpenAI
from pydantic import BaseModel

from cmo.errors import ModelUnavailable
from cmo.phrases import Phrase
from cmo.policy.retry import (
    ATTEMPTS,
    LEAST_LEFT_SECONDS,
    LONGEST_WAIT_SECONDS,
    SHORTEST_WAIT_SECONDS,
    Deadlines,
    retry_after,
)

T = TypeVar("T")

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "no-key"
"""Sent to servers that ask for no key; the SDK insists on one."""

_CODE = re.compile(r"[a-z_]{1,60}")
_OUT_OF_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_credits"})
_NO_CREDIT = Phrase("has no credit left: top up the account")
_REFUSALS = MappingProxyType(
    {
        400: Phrase("does not accept the request"),
        401: Phrase("refuses the key: check OPENAI_API_KEY"),
        402: _NO_CREDIT,
        413: Phrase("finds the request too large"),
    }
)


class PassingTrouble(ModelUnavailable):
    """The server is busy, broken or gone for the moment. `wait_seconds` is how long it asks to be left alone."""

    def __init__(self, message: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class OpenAIServer:
    """The pooled connections to one server; `async with` opens and closes them.

    They live on the event loop that opened them. `at_home` brings work of other loops there.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        deadlines: Deadlines | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Without `base_url` it is OpenAI itself; without `api_key` none is needed; `chance` draws from 0 to 1."""
        self.deadlines = deadlines or Deadlines()
        self.host = urlsplit(base_url or OPENAI_URL).hostname or "?"
        self.client = AsyncOpenAI(
            api_key=api_key or NO_KEY,
            base_url=base_url or OPENAI_URL,
            max_retries=0,
            timeout=openai.Timeout(self.deadlines.total_seconds, connect=self.deadlines.connect_seconds),
        )
        # The SDK takes these from the environment, and would send them to whatever server is configured.
        self.client.organization = self.client.project = None
        self._chance = chance
        self._home: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        """Where it is, never the key."""
        return f"OpenAIServer({self.host})"

    async def __aenter__(self) -> Self:
        """The server itself, at home on the running loop."""
        self._home = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.client.close()

    async def at_home(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run on the loop that the connections live on."""
        if self._home is None or self._home is asyncio.get_running_loop():
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._home))

    async def ping(self) -> tuple[str, ...]:
        """The names of the models it has.

        Raises:
            ModelUnavailable: it does not answer as it should; the message can be shown.
        """
        return await self.at_home(self._models())

    async def _models(self) -> tuple[str, ...]:
        with self.troubles("", self.deadlines.first_token_seconds):
            async with asyncio.timeout(self.deadlines.first_token_seconds):
                answer = await self.client.models.with_raw_response.list()
            return tuple(model.id for model in _Models.model_validate_json(answer.content).data)

    async def tried(self, attempt: Callable[[float], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """What an attempt gives; a second one is made when the first fails before it gave anything, and may go better.

        `attempt` gets the time of the event loop at which all has to be over.

        Raises:
            ModelUnavailable: as the attempts.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.deadlines.total_seconds
        for left in reversed(range(ATTEMPTS)):
            given = False
            try:
                async with aclosing(attempt(ends)) as results:
                    async for result in results:
                        given = True
                        yield result
                return
            except PassingTrouble as trouble:
                wait = self._wait_seconds(trouble, left_seconds=ends - loop.time())
                if given or not left or wait is None:
                    raise
            await asyncio.sleep(wait)

    @contextmanager
    def troubles(self, model: str, seconds: float) -> Iterator[None]:
        """Turns what goes wrong within into sentences; `seconds` is the deadline that the work within has.

        Raises:
            PassingTrouble: it may go better at once or soon.
            ModelUnavailable: it will not.
        """
        try:
            yield
        except openai.APIStatusError as error:
            # Not "from error": its text is the server's, and would stand in the log with the traceback.
            raise self._refusal(error, model) from None
        except (TimeoutError, openai.APITimeoutError) as error:
            words = Phrase("The model server {server} did not answer within {n:g} s.", server=self.host, n=seconds)
            raise PassingTrouble(words) from error
        except (openai.APIConnectionError, httpx2.RequestError) as error:
            raise PassingTrouble(_connection_words(self.host, error)) from error
        except openai.APIError as error:  # an error event in a stream
            raise self._reported(error) from None
        except (ValueError, RecursionError):
            words = Phrase("The model server {server} sent something that cannot be read.", server=self.host)
            raise ModelUnavailable(words) from None

    def _wait_seconds(self, trouble: PassingTrouble, *, left_seconds: float) -> float | None:
        """How long to wait before the second attempt; None when no time would be left for it."""
        drawn = SHORTEST_WAIT_SECONDS + self._chance() * (LONGEST_WAIT_SECONDS - SHORTEST_WAIT_SECONDS)
        wait = drawn if trouble.wait_seconds is None else trouble.wait_seconds
        return wait if wait + LEAST_LEFT_SECONDS <= left_seconds else None

    def _refusal(self, error: openai.APIStatusError, model: str) -> ModelUnavailable:
        status, code = error.status_code, _code(error)
        told = f"HTTP {status}, {code}" if code else f"HTTP {status}"
        if _is_out_of_credit(error):
            return ModelUnavailable(self._words(_NO_CREDIT, told))
        if status == 429 or status >= 500:
            busy = status in (429, 503)
            trouble = Phrase("is busy: please ask again in a while") if busy else Phrase("has an error of its own")
            wait = retry_after(error.response.headers.get("retry-after"), datetime.now(UTC))
            return PassingTrouble(self._words(trouble, told), wait_seconds=wait)
        return ModelUnavailable(self._words(_refusal(status, model), told))

    def _words(self, trouble: str, told: str) -> Phrase:
        return Phrase("The model server {server} {trouble} ({told}).", server=self.host, trouble=trouble, told=told)

    def _reported(self, error: openai.APIError) -> ModelUnavailable:
        if _is_out_of_credit(error):
            return ModelUnavailable(
                Phrase("The model server {server} {trouble}.", server=self.host, trouble=_NO_CREDIT)
            )
        return PassingTrouble(error_told(self.host))


def error_told(host: str) -> Phrase:
    """What is said of a server that sends an error in the place of an answer."""
    return Phrase("The model server {server} reported an error instead of an answer.", server=host)


def was_refused(error: BaseException) -> bool:
    """Whether a call ended before the server can have begun to work on it: it is not charged."""
    if isinstance(error, openai.APIStatusError):
        return True
    return isinstance(error, openai.APIConnectionError) and isinstance(
        error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout
    )


def _refusal(status: int, model: str) -> Phrase:
    if status == 403:
        return Phrase("does not let this key use the model {model}: check OPENAI_API_KEY and OPENAI_MODEL", model=model)
    if status == 404:
        return Phrase(
            "does not know the model {model}, or not this address: check OPENAI_MODEL and OPENAI_BASE_URL", model=model
        )
    return _REFUSALS.get(status, _REFUSALS[400])


def _connection_words(host: str, error: Exception) -> Phrase:
    if isinstance(error.__cause__, httpx2.ConnectError):
        return Phrase(
            "The model server {server} cannot be reached: is it running, and is OPENAI_BASE_URL right?", server=host
        )
    return Phrase("The connection to the model server {server} broke off.", server=host)


def _is_out_of_credit(error: openai.APIError) -> bool:
    code = {_code(error), error.type if isinstance(error.type, str) else ""}
    return getattr(error, "status_code", None) == 402 or bool(code & _OUT_OF_CREDIT)


def _code(error: openai.APIError) -> str:
    """The server's short name for the error, "" when it has none or none that is safe to repeat."""
    return error.code if error.code and _CODE.fullmatch(error.code) else ""


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]
