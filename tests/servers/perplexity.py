"""A fake Perplexity: the Agent API and the older chat completions, streaming and not, byte for byte as documented.

It searches nothing: its results are a handful of real sites of the field. Their ids are neither in order nor without
gaps, and one has no snippet, because nothing in the API promises otherwise. Tokens are words; a search has its fee.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from tests.servers.fake import Charge, FakeServer, Frame, Refusal, Reply, Stream, Whole, first_half, sse
from tests.servers.faults import HALF_TEXT, HUGE_BYTES, STATUS, Fault
from tests.servers.openai import BAD_GATEWAY_PAGE, CREATED, rate_limit_headers, words_in
from tests.servers.perplexity_requests import agent_mistake, chat_mistake, refusal
from tests.servers.replies import badly_sourced, pieces
from tests.servers.wire import Request

PRICE_IN = 0.25
PRICE_OUT = 2.50
"""Dollars per million tokens of perplexity/sonar, as of November 2026."""

SEARCH_USD = 0.0025
"""One web search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebResult:
    """One result of a search. `id` is what markers name; it is no position."""

    id: int
    url: str
    title: str
    snippet: str
    date: str = "2026-09-14"
    last_updated: str = "2026-10-02"

    @property
    def site(self) -> str:
        """The host it is on."""
        return urlsplit(self.url).hostname or ""


RESULTS = (
    WebResult(
        id=5,
        url="https://hmdb.ca/about",
        title="Human Metabolome Database",
        snippet="HMDB describes small molecules of the human body, many with concentrations in µmol/L.",
    ),
    WebResult(
        id=2,
        url="https://www.ebi.ac.uk/metabolights/",
        title="MetaboLights",
        snippet="MetaboLights holds metabolomics experiments of many species and techniques.",
    ),
    WebResult(id=9, url="https://pubmed.ncbi.nlm.nih.gov/?term=metabolomics", title="PubMed", snippet=""),
    WebResult(
        id=11,
        url="https://www.metabolomicsworkbench.org/",
        title="Metabolomics Workbench",
        snippet="The Metabolomics Workbench is a repository for metabolomics data.",
    ),
    WebResult(
        id=14,
        url="https://en.wikipedia.org/wiki/Metabolomics",
        title="Metabolomics – Wikipedia",
        snippet="Metabolomics is the study of chemical processes involving metabolites.",
    ),
)

WebReply: TypeAlias = Callable[[str, Sequence[WebResult], Callable[[WebResult], str]], str]
"""The text for a question, the results found for it, and how to write a result's marker."""


class FakePerplexity(FakeServer):
    """Perplexity on loopback. `url` is the address without the path of a call."""

    def __init__(
        self, *, port: int = 0, key: str | None = None, delay_seconds: float = 0.0, token_seconds: float = 0.0
    ) -> None:
        self._perplexity = Perplexity()
        super().__init__(
            self._perplexity, base="", port=port, key=key, delay_seconds=delay_seconds, token_seconds=token_seconds
        )

    def answer(self, reply: str | WebReply, *, results: Sequence[WebResult] | None = None) -> None:
        """Let the answer be this text, or what the function makes of the question and the results found."""
        self._perplexity.web_reply = reply if callable(reply) else lambda _question, _found, _marker: reply
        if results is not None:
            self._perplexity.results = tuple(results)


def reply_from(question: str, found: Sequence[WebResult], marker: Callable[[WebResult], str]) -> str:
    """A text that says what it is, and cites everything that was found."""
    asked = " ".join(question.split())[:200]
    cited = [
        f"{result.snippet.rstrip('.')} {marker(result)}."
        if result.snippet
        else f"More is to be found on {result.title} {marker(result)}."
        for result in found
    ]
    return " ".join([f"This is the test server, which searched nothing for “{asked}”.", *cited])


class Perplexity:
    """How Perplexity's answers look. `web_reply` writes their texts, `results` is all there is to find."""

    def __init__(self) -> None:
        self._count = 0
        self.web_reply: WebReply = reply_from
        self.results: tuple[WebResult, ...] = RESULTS

    def reply(self, request: Request, fault: Fault) -> Reply:
        match request.method, request.path:
            case "POST", "/v1/agent" | "/v1/responses":
                return self._agent(request, fault)
            case "POST", "/chat/completions" | "/v1/chat/completions":
                return self._chat(request, fault)
        return refusal(404, "Not found", "not_found")

    def refuse(self, fault: Fault, *, seconds: float, request: Request) -> Refusal:
        status = STATUS[fault]
        match fault:
            case Fault.RATE_LIMIT | Fault.RATE_LIMIT_SECONDS | Fault.RATE_LIMIT_DATE:
                limit = refusal(status, "Request rate limit exceeded, please try again later.", "rate_limit_exceeded")
                return replace(limit, headers=rate_limit_headers(fault, seconds))
            case Fault.BAD_GATEWAY:
                return Refusal(status=status, body=BAD_GATEWAY_PAGE)
            case Fault.UNAUTHORIZED:
                return self.unauthorized(request)
            case Fault.RETIRED:
                message = "Chat completions are not available for this account. Use the Agent API."
                return refusal(status, message, "chat_completions_not_available")
            case Fault.TOO_LARGE:
                return refusal(status, "Request body is larger than 32 MiB.", "request_too_large")
            case Fault.NO_CREDIT_400 | Fault.NO_CREDIT_402 | Fault.NO_CREDIT_429:
                message = "You have run out of credit. Please add credits to your account."
                return refusal(status, message, "insufficient_credit")
            case Fault.UNAVAILABLE:
                return refusal(status, "The service is overloaded.", "service_unavailable")
        return refusal(status, "Internal server error.", "internal_server_error")

    def unauthorized(self, request: Request) -> Refusal:
        if request.bearer is None:
            return refusal(401, "Authorization header is missing.", "unauthorized")
        return refusal(401, f"Invalid API key provided: {request.bearer}.", "unauthorized")

    def _agent(self, request: Request, fault: Fault) -> Reply:
        if mistake := agent_mistake(request):
            return mistake
        body = request.json or {}
        self._count += 1
        found = () if fault is Fault.NO_SOURCES or not _searches(body) else self._found(_filters(body))
        text = self.web_reply(body["input"], found, _by_id(found))
        words, ending = _written(text, body.get("max_output_tokens"), fault)
        read = f"{body.get('instructions', '')} {body['input']}".split()
        charge = _charge(body["model"], len(read), len(words), searches=bool(found))
        run = _Run(number=self._count, body=body, found=found, words=words, ending=ending, charge=charge)
        if body.get("stream"):
            return Stream(frames=_agent_frames(run, fault), charge=charge, kind="text/event-stream")
        if fault is Fault.ERROR_EVENT:
            return Whole(body={"error": dict(_ERROR)}, charge=charge)
        return Whole(body=_strange(_agent_response(run), fault), charge=charge)

    def _chat(self, request: Request, fault: Fault) -> Reply:
        if mistake := chat_mistake(request):
            return mistake
        body = request.json or {}
        self._count += 1
        found = () if fault is Fault.NO_SOURCES else self._found(body)
        question = next((each["content"] for each in reversed(body["messages"]) if each["role"] == "user"), "")
        text = self.web_reply(question, found, lambda result: f"[{found.index(result) + 1}]")
        words, ending = _written(text, body.get("max_tokens"), fault)
        charge = _charge(body["model"], words_in(body["messages"]), len(words), searches=bool(found))
        run = _Run(number=self._count, body=body, found=found, words=words, ending=ending, charge=charge)
        if body.get("stream"):
            return Stream(frames=_chat_frames(run, fault), charge=charge, kind="text/event-stream")
        if ending == "failed" or fault is Fault.ERROR_EVENT:
            return Whole(body={"error": dict(_ERROR)}, charge=charge)
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "finish_reason": _FINISH[ending], "message": message, "delta": {"content": ""}}
        return Whole(body=_strange(_chat_completion(run, choice, last=True), fault), charge=charge)

    def _found(self, filters: Mapping[str, Any]) -> tuple[WebResult, ...]:
        domains = filters.get("search_domain_filter") or ()
        return tuple(
            result
            for result in self.results
            if not domains or any(f".{result.site}".endswith(f".{domain}") for domain in domains)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One answer before it takes a form. `ending` is its status: completed, failed, incomplete or cancelled."""

    number: int
    body: Mapping[str, Any]
    found: tuple[WebResult, ...]
    words: Sequence[str]
    ending: str
    charge: Charge

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def question(self) -> str:
        return " ".join(str(self.body.get("input", "")).split())[:100]


_ERROR = {"message": "The run failed.", "type": "internal_error", "code": 500}
_FINISH = {"completed": "stop", "incomplete": "length", "cancelled": "cancelled"}


def _by_id(found: Sequence[WebResult]) -> Callable[[WebResult], str]:
    """Both ways in which markers name an id, by turns."""
    return lambda result: f"[web:{result.id}]" if found.index(result) % 2 else f"[{result.id}]"


def _written(text: str, most: int | None, fault: Fault) -> tuple[list[str], str]:
    """The tokens which are written, and the status the answer ends with."""
    words = pieces(badly_sourced(text, fault))
    if fault is Fault.FAILED:
        return [], "failed"
    if fault in HALF_TEXT:
        return list(first_half(words)), _ENDINGS[fault]
    return (words, "completed") if most is None or len(words) <= most else (words[:most], "incomplete")


_ENDINGS = {
    Fault.FAILED_MIDWAY: "failed",
    Fault.ERROR_EVENT: "failed",
    Fault.INCOMPLETE: "incomplete",
    Fault.CANCELLED: "cancelled",
}


def _charge(model: str, tokens_in: int, tokens_out: int, *, searches: bool) -> Charge:
    return Charge(
        model=model,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        price_in=PRICE_IN,
        price_out=PRICE_OUT,
        fee_usd=SEARCH_USD if searches else 0.0,
    )


def _agent_usage(charge: Charge) -> dict[str, Any]:
    searches = 1 if charge.fee_usd else 0
    return {
        "input_tokens": charge.tokens_in,
        "output_tokens": charge.tokens_out,
        "total_tokens": charge.tokens_in + charge.tokens_out,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
        "tool_calls_details": {"search_web": {"invocation": searches, "cost_usd": charge.fee_usd}} if searches else {},
        "cost": {
            "currency": "USD",
            "input_cost": round(charge.input_usd, 8),
            "output_cost": round(charge.output_usd, 8),
            "tool_calls_cost": charge.fee_usd,
            "tool_calls_cost_details": {"search_web": charge.fee_usd} if searches else {},
            "total_cost": round(charge.cost_usd, 8),
        },
    }


def _result(result: WebResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "url": result.url,
        "title": result.title,
        "snippet": result.snippet,
        "date": result.date,
        "last_updated": result.last_updated,
        "source": "web",
    }


def _batches(found: Sequence[WebResult]) -> Iterator[Sequence[WebResult]]:
    """The results as they come: in two searches, if there are enough."""
    yield from (part for part in (found[:2], found[2:]) if part)


def _message(run: _Run, status: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": run.text, "annotations": []}]
    return {"type": "message", "id": f"msg_{run.number:06}", "role": "assistant", "status": status, "content": content}


def _agent_response(run: _Run) -> dict[str, Any]:
    output: list[dict[str, Any]] = [
        {"type": "search_results", "queries": [run.question], "results": [_result(result) for result in batch]}
        for batch in _batches(run.found)
    ]
    if run.words:
        output.append(_message(run, "completed" if run.ending == "completed" else "incomplete"))
    return {
        "id": f"resp_{run.number:06}",
        "object": "response",
        "created_at": CREATED,
        "status": run.ending,
        "model": run.body["model"],
        "error": dict(_ERROR) if run.ending == "failed" else None,
        "incomplete_details": {"reason": "max_output_tokens"} if run.ending == "incomplete" else None,
        "output": output,
        "usage": _agent_usage(run.charge),
    }


Event: TypeAlias = tuple[str, dict[str, Any]]


def _agent_frames(run: _Run, fault: Fault) -> list[Frame]:
    numbers = count()
    return [
        Frame(
            data=sse({"type": kind, "sequence_number": next(numbers), **facts}),
            token=kind == "response.output_text.delta",
            tells="usage" in (facts.get("response") or ()),
        )
        for kind, facts in _with_strange_events(_agent_events(run, fault), fault)
    ]


def _agent_events(run: _Run, fault: Fault) -> Iterator[Event]:
    begun = {
        "id": f"resp_{run.number:06}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "model": run.body["model"],
        "output": [],
    }
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    yield from _search_events(run)
    if run.words:
        yield from _text_events(run)
    if fault is Fault.ERROR_EVENT:
        yield "error", {"error": dict(_ERROR)}
    else:
        response = _agent_response(run)
        yield f"response.{run.ending}", {"response": response}


def _search_events(run: _Run) -> Iterator[Event]:
    yield "response.reasoning.started", {"thought": ""}
    for batch in _batches(run.found):
        yield "response.reasoning.search_queries", {"queries": [run.question]}
        yield "response.reasoning.search_results", {"results": [_result(result) for result in batch]}
    yield "response.reasoning.stopped", {"thought": ""}


def _text_events(run: _Run) -> Iterator[Event]:
    index = len(list(_batches(run.found)))
    item = _message(run, "in_progress")
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    yield "response.output_item.added", {"output_index": index, "item": {**item, "content": []}}
    for word in run.words:
        yield "response.output_text.delta", {**place, "delta": word}
    if run.ending == "completed":
        yield "response.output_text.done", {**place, "text": run.text}
        yield "response.output_item.done", {"output_index": index, "item": _message(run, "completed")}


def _with_strange_events(events: Iterable[Event], fault: Fault) -> Iterator[Event]:
    for number, event in enumerate(events):
        if fault is Fault.UNKNOWN_EVENTS and number:
            yield "response.telemetry.sample", {"delta": "not text", "response": None, "values": [number, None, {}]}
        if fault is Fault.HUGE_LINE and number == 1:
            yield "response.telemetry.dump", {"dump": "x" * HUGE_BYTES}
        yield event


def _strange(body: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """A whole body with things in it that nobody knows."""
    if fault is Fault.UNKNOWN_EVENTS:
        body["telemetry"] = [1, None]
        stranger = {"type": "telemetry", "content": [{"type": "sample", "text": "not text"}], "results": None}
        if "output" in body:
            body["output"] = [stranger, *body["output"], stranger]
    if fault is Fault.HUGE_LINE:
        body["dump"] = "x" * HUGE_BYTES
    return body


def _chat_completion(run: _Run, choice: Mapping[str, Any], *, last: bool) -> dict[str, Any]:
    body = {
        "id": f"chat-{run.number:06}",
        "object": "chat.completion.chunk" if run.body.get("stream") else "chat.completion",
        "created": CREATED,
        "model": run.body["model"],
        "choices": [choice],
    }
    if not last:
        return body
    return body | {
        "citations": [result.url for result in run.found],
        "search_results": [
            {"title": result.title, "url": result.url, "date": result.date, "snippet": result.snippet}
            for result in run.found
        ],
        "related_questions": [],
        "usage": _chat_usage(run.charge),
    }


def _chat_usage(charge: Charge) -> dict[str, Any]:
    return {
        "prompt_tokens": charge.tokens_in,
        "completion_tokens": charge.tokens_out,
        "total_tokens": charge.tokens_in + charge.tokens_out,
        "num_search_queries": 1 if charge.fee_usd else 0,
        "cost": {
            "input_tokens_cost": round(charge.input_usd, 8),
            "output_tokens_cost": round(charge.output_usd, 8),
            "request_cost": charge.fee_usd,
            "total_cost": round(charge.cost_usd, 8),
        },
    }


def _chat_frames(run: _Run, fault: Fault) -> list[Frame]:
    frames = [Frame(data=sse(_chat_completion(run, _delta(word, None), last=False)), token=True) for word in run.words]
    if run.ending == "failed" or fault is Fault.ERROR_EVENT:
        return [*frames, Frame(data=sse({"error": dict(_ERROR)}))]
    last = _chat_completion(run, _delta("", _FINISH[run.ending]), last=True)
    frames.append(Frame(data=sse(_strange(last, fault)), tells=True))
    if fault is Fault.UNKNOWN_EVENTS:
        frames.insert(1, Frame(data=b": still here\n\n" + sse({"object": "telemetry", "choices": []})))
    return [*frames, Frame(data=sse("[DONE]"))]


def _delta(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "finish_reason": finish, "delta": {"role": "assistant", "content": text}}


def _searches(body: Mapping[str, Any]) -> bool:
    """Search is not automatic: it has to be offered and asked for."""
    return bool(body.get("tools")) and (body.get("tool_choice") or {}).get("type") == "web_search"


def _filters(body: Mapping[str, Any]) -> Mapping[str, Any]:
    filters: Mapping[str, Any] = body["tools"][0].get("filters") or {}
    return filters
