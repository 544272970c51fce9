"""A fake OpenAI: chat completions, embeddings and the list of models, as its SDK expects them.

Its tokens are words, so that anybody can count what it charges. A chat is read as the words of all messages, and a
stream has one piece for each word. Embeddings are bags of words: texts with words in common are near to each other.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from types import MappingProxyType
from typing import Any, TypeAlias

from tests.servers.fake import Charge, FakeServer, Frame, Refusal, Reply, Stream, Whole, first_half, sse
from tests.servers.faults import HALF_TEXT, HUGE_BYTES, STATUS, Fault
from tests.servers.replies import badly_sourced, pieces, reply_to
from tests.servers.wire import Request

ModelReply: TypeAlias = Callable[[Mapping[str, Any]], str]
"""What the model writes in answer to a request's body."""

CHAT_MODEL = "gpt-6-luna"
EMBEDDING_MODEL = "text-embedding-3-small"

PRICES = MappingProxyType({CHAT_MODEL: (0.10, 0.01, 0.50), EMBEDDING_MODEL: (0.02, 0.0, 0.0)})
"""Dollars per million tokens read, read from the cache, and written, as of November 2026."""

CREATED = 1_790_000_000
"""When everything is said to have been made, in Unix seconds."""

EMBEDDING_DIMENSIONS = 1536
MOST_INPUTS = 2048
"""More texts in one request for embeddings are refused."""

CHAT_FIELDS = frozenset(
    """audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
    metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
    web_search_options""".split()
)
"""What a chat completion's request may hold (openai/types/chat/completion_create_params.py of the SDK)."""

EMBEDDING_FIELDS = frozenset({"input", "model", "dimensions", "encoding_format", "user"})


class FakeOpenAI(FakeServer):
    """OpenAI on loopback. `url` ends with /v1, as its SDK wants it."""

    def __init__(
        self,
        *,
        port: int = 0,
        key: str | None = None,
        prices: Mapping[str, tuple[float, float, float]] = PRICES,
        delay_seconds: float = 0.0,
        token_seconds: float = 0.0,
    ) -> None:
        self._openai = OpenAI(prices)
        super().__init__(
            self._openai, base="/v1", port=port, key=key, delay_seconds=delay_seconds, token_seconds=token_seconds
        )

    def answer(self, reply: str | ModelReply) -> None:
        """Let the model write this text, or what the function makes of a request's body."""
        self._openai.model_reply = reply if callable(reply) else lambda _body: reply

    def cache(self, tokens: int) -> None:
        """Say of so many tokens of each prompt, if it has as many, that they came from the cache."""
        self._openai.cached = tokens


class OpenAI:
    """How OpenAI's answers look. `model_reply` writes their texts."""

    def __init__(self, prices: Mapping[str, tuple[float, float, float]]) -> None:
        self._prices = prices
        self._count = 0
        self.model_reply: ModelReply = reply_to
        self.cached = 0

    def reply(self, request: Request, fault: Fault) -> Reply:
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                return self._checked(request, CHAT_FIELDS) or self._chat(request.json or {}, fault)
            case "POST", "/v1/embeddings":
                return self._checked(request, EMBEDDING_FIELDS) or self._embeddings(request.json or {}, fault)
            case "GET", "/v1/models":
                return Whole(body=_models(self._prices), charge=None)
        return _refusal(404, f"Invalid URL ({request.method} {request.path})", "invalid_request_error")

    def refuse(self, fault: Fault, *, seconds: float, request: Request) -> Refusal:
        status = STATUS[fault]
        match fault:
            case Fault.RATE_LIMIT | Fault.RATE_LIMIT_SECONDS | Fault.RATE_LIMIT_DATE:
                message = "Rate limit reached for requests per minute. Please try again later."
                refusal = _refusal(status, message, "requests", code="rate_limit_exceeded")
                return replace(refusal, headers=rate_limit_headers(fault, seconds))
            case Fault.BAD_GATEWAY:
                return Refusal(status=status, body=BAD_GATEWAY_PAGE)
            case Fault.UNAUTHORIZED:
                return self.unauthorized(request)
            case Fault.RETIRED:
                message = "The model has been deprecated, learn more in the documentation on deprecations."
                return _refusal(404, message, "invalid_request_error", code="model_not_found")
            case Fault.TOO_LARGE:
                return _refusal(status, "Request too large.", "invalid_request_error", code="request_too_large")
            case Fault.NO_CREDIT_400:
                message = "Billing hard limit has been reached"
                return _refusal(status, message, "invalid_request_error", code="billing_hard_limit_reached")
            case Fault.NO_CREDIT_402 | Fault.NO_CREDIT_429:
                message = "You exceeded your current quota, please check your plan and billing details."
                return _refusal(status, message, "insufficient_quota", code="insufficient_quota")
            case Fault.UNAVAILABLE:
                return _refusal(status, "The engine is currently overloaded, please try again later", "server_error")
        return _refusal(status, "The server had an error while processing your request.", "server_error")

    def unauthorized(self, request: Request) -> Refusal:
        if request.bearer is None:
            return _refusal(401, "You didn't provide an API key.", "invalid_request_error")
        message = f"Incorrect API key provided: {request.bearer}."
        return _refusal(401, message, "invalid_request_error", code="invalid_api_key")

    def _checked(self, request: Request, known: frozenset[str]) -> Refusal | None:
        body = request.json
        if body is None:
            return _bad("We could not parse the JSON body of your request.")
        if unknown := sorted(body.keys() - known):
            return _bad(f"Unrecognized request argument supplied: {unknown[0]}")
        if not isinstance(body.get("model"), str) or not body["model"]:
            return _bad("you must provide a model parameter")
        return _reasoning_mistake(body)

    def _chat(self, body: Mapping[str, Any], fault: Fault) -> Reply:
        if not body.get("messages"):
            return _bad("Missing required parameter: 'messages'.", param="messages")
        if body.get("stream_options") and not body.get("stream"):
            return _bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        words, finish = _written(self.model_reply(body), body, fault)
        charge = self._charge(body["model"], words_in(body["messages"]), len(words), cached=self.cached)
        self._count += 1
        base = {"id": f"chatcmpl-{self._count:06}", "created": CREATED, "model": body["model"]}
        if body.get("stream"):
            return self._chat_stream(base, words, finish, charge, body, fault)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(words), "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": finish,
        }
        whole = {**base, "object": "chat.completion", "choices": [choice], "usage": _usage(charge)}
        return _whole_with_fault(whole, charge, fault)

    def _chat_stream(
        self,
        base: Mapping[str, Any],
        words: Sequence[str],
        finish: str,
        charge: Charge,
        body: Mapping[str, Any],
        fault: Fault,
    ) -> Stream:
        tells = bool((body.get("stream_options") or {}).get("include_usage"))
        if fault in (Fault.FAILED, Fault.FAILED_MIDWAY, Fault.ERROR_EVENT):
            words = () if fault is Fault.FAILED else words
            chunks = [*_chunks(base, words, None, tells=tells), Frame(data=sse(_FAILURE))]
        else:
            chunks = [*_chunks(base, words, finish, tells=tells)]
            if tells:
                last = {**base, "object": "chat.completion.chunk", "choices": [], "usage": _usage(charge)}
                chunks.append(Frame(data=sse(last), tells=True))
            chunks.append(Frame(data=sse("[DONE]")))
        if fault is Fault.UNKNOWN_EVENTS:
            chunks = list(_with_strangers(chunks, base))
        if fault is Fault.HUGE_LINE:
            huge = _chunk(base, {"content": ""}, None, tells=tells) | {"obfuscation": "x" * HUGE_BYTES}
            chunks.insert(2, Frame(data=sse(huge)))
        return Stream(frames=chunks, charge=charge, kind="text/event-stream; charset=utf-8")

    def _embeddings(self, body: Mapping[str, Any], fault: Fault) -> Reply:
        texts = _inputs(body.get("input"))
        if texts is None or not 0 < len(texts) <= MOST_INPUTS or "" in texts:
            return _bad("'$.input' is invalid. Please check the API reference.", param="input")
        dimensions = body.get("dimensions", EMBEDDING_DIMENSIONS)
        if not isinstance(dimensions, int) or dimensions < 1:
            return _bad("Invalid value for 'dimensions'.", param="dimensions")
        form = _base64 if body.get("encoding_format") == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": form(word_vector(text, dimensions))}
            for index, text in enumerate(texts)
        ]
        charge = self._charge(body["model"], sum(len(text.split()) for text in texts), 0)
        usage = {"prompt_tokens": charge.tokens_in, "total_tokens": charge.tokens_in}
        whole = {"object": "list", "data": data, "model": body["model"], "usage": usage}
        return _whole_with_fault(whole, charge, fault)

    def _charge(self, model: str, tokens_in: int, tokens_out: int, *, cached: int = 0) -> Charge:
        price_in, price_cached, price_out = self._prices.get(model, (0.0, 0.0, 0.0))
        return Charge(
            model=model,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            price_in=price_in,
            price_out=price_out,
            tokens_cached=cached if tokens_in >= cached else 0,
            price_cached=price_cached,
        )


BAD_GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
"""What a proxy shows when nothing is behind it."""


def rate_limit_headers(fault: Fault, seconds: float) -> dict[str, str]:
    """The headers of a 429: the limit, and when to come back in the form the fault asks for."""
    headers = {"X-RateLimit-Limit-Requests": "60", "X-RateLimit-Remaining-Requests": "0"}
    if fault is Fault.RATE_LIMIT_SECONDS:
        headers["Retry-After"] = f"{seconds:g}"
    if fault is Fault.RATE_LIMIT_DATE:
        headers["Retry-After"] = formatdate(math.ceil(time.time() + seconds), usegmt=True)
    return headers


def words_in(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many tokens a chat takes to read."""
    return sum(len(str(message.get("content") or "").split()) for message in messages)


def word_vector(text: str, dimensions: int) -> array[float]:
    """A unit vector in which each word has eight places of its own."""
    vector = array("f", bytes(4 * dimensions))
    for word in text.lower().split():
        digest = hashlib.blake2b(word.strip(".,;:!?()[]\"'").encode(), digest_size=32).digest()
        for (place,) in struct.iter_unpack("<I", digest):
            vector[(place >> 1) % dimensions] += 1.0 if place & 1 else -1.0
    length = math.sqrt(sum(value * value for value in vector))
    return array("f", (value / length for value in vector)) if length else array("f", [1.0] + [0.0] * (dimensions - 1))


def _base64(vector: array[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _inputs(given: object) -> list[str] | None:
    """The texts to embed; tokens given as numbers count as words."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        return None
    if given and all(isinstance(each, int) for each in given):
        return [" ".join(map(str, given))]
    return [each if isinstance(each, str) else " ".join(map(str, each)) for each in given]


def _written(text: str, body: Mapping[str, Any], fault: Fault) -> tuple[list[str], str]:
    """The tokens which the model writes, and why it ends."""
    words = pieces(badly_sourced(text, fault))
    if fault in HALF_TEXT:
        return list(first_half(words)), "content_filter" if fault is Fault.CANCELLED else "length"
    most = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    return words[:most], "stop" if len(words) <= most else "length"


def _chunk(base: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None, *, tells: bool) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {**base, "object": "chat.completion.chunk", "choices": [choice]}
    return {**chunk, "usage": None} if tells else chunk


def _chunks(base: Mapping[str, Any], words: Sequence[str], finish: str | None, *, tells: bool) -> Iterator[Frame]:
    role = {"role": "assistant", "content": "", "refusal": None}
    yield Frame(data=sse(_chunk(base, role, None, tells=tells)))
    for word in words:
        yield Frame(data=sse(_chunk(base, {"content": word}, None, tells=tells)), token=True)
    if finish is not None:
        yield Frame(data=sse(_chunk(base, {}, finish, tells=tells)))


def _with_strangers(frames: Sequence[Frame], base: Mapping[str, Any]) -> Iterator[Frame]:
    """A stream with comments, fields nobody knows, and chunks without choices in between."""
    for number, frame in enumerate(frames):
        yield replace(frame, data=b": still here\n\n" + frame.data)
        if number == 1:
            stranger = {**base, "object": "chat.completion.chunk", "choices": [], "telemetry": {"x": [1, None]}}
            yield Frame(data=sse(stranger))
            yield Frame(data=b"event: heartbeat\n" + sse({**stranger, "object": "heartbeat"}))


def _whole_with_fault(body: dict[str, Any], charge: Charge, fault: Fault) -> Whole:
    if fault in (Fault.FAILED, Fault.FAILED_MIDWAY, Fault.ERROR_EVENT):
        return Whole(body=_FAILURE, charge=replace(charge, tokens_out=0))
    if fault is Fault.HUGE_LINE:
        body["obfuscation"] = "x" * HUGE_BYTES
    if fault is Fault.UNKNOWN_EVENTS:
        body["telemetry"] = {"x": [1, None]}
    return Whole(body=body, charge=charge)


_FAILURE = {
    "error": {"message": "The model failed to answer.", "type": "server_error", "param": None, "code": "model_error"}
}


def _usage(charge: Charge) -> dict[str, Any]:
    return {
        "prompt_tokens": charge.tokens_in,
        "completion_tokens": charge.tokens_out,
        "total_tokens": charge.tokens_in + charge.tokens_out,
        "prompt_tokens_details": {"cached_tokens": charge.tokens_cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _models(names: Mapping[str, object]) -> dict[str, Any]:
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "openai"} for name in names]
    return {"object": "list", "data": data}


def _reasoning_mistake(body: Mapping[str, Any]) -> Refusal | None:
    """Reasoning models take no max_tokens, and a temperature only with the effort "none"."""
    if not body["model"].startswith(("gpt-5", "gpt-6", "o1", "o3", "o4")):
        return None
    if body.get("max_tokens") is not None:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
        return _bad(message, param="max_tokens", code="unsupported_parameter")
    if body.get("temperature") is not None and body.get("reasoning_effort") != "none":
        message = "Unsupported value: 'temperature' is not supported with this model."
        return _bad(message, param="temperature", code="unsupported_value")
    return None


def _bad(message: str, *, param: str | None = None, code: str | None = None) -> Refusal:
    return _refusal(400, message, "invalid_request_error", param=param, code=code)


def _refusal(status: int, message: str, kind: str, *, param: str | None = None, code: str | None = None) -> Refusal:
    return Refusal(status=status, body={"error": {"message": message, "type": kind, "param": param, "code": code}})
