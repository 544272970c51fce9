"""Questions to the web, over real HTTP to a fake Perplexity that can be told what goes wrong."""

import asyncio
import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from cmo.citations import ANY_MARKER
from cmo.engines.perplexity import INSTRUCTIONS, PerplexityEngine
from cmo.engines.perplexity_agent import AgentFormat, AgentReader
from cmo.engines.perplexity_answer import INCOMPLETE, NO_SOURCES, NOT_ANSWERED, NOT_CITED
from cmo.engines.perplexity_chat import ChatFormat, ChatReader
from cmo.engines.perplexity_wire import Ended, Malformed, Signal, Status, WireFormat, web_address
from cmo.errors import BudgetExhausted, EngineUnavailable, SettingsError
from cmo.interfaces import Engine
from cmo.policy.retry import Deadlines
from cmo.pricing import Price
from cmo.values import (
    CallOutcome,
    CallStage,
    Draft,
    EngineEvent,
    EngineRequest,
    ModelCall,
    Progress,
    Question,
    TextPiece,
    Tuning,
)
from tests.servers import FakePerplexity, Fault, WebResult

KEY = "pplx-canary-0123456789abcdef"
ASKED = "Which metabolites rise in sepsis?"
SONAR = Price(in_usd=0.25, cached_usd=0.0625, out_usd=2.50, search_usd=0.0025)
PAGES = (
    WebResult(id=8, url="https://www.hmdb.ca/a", title="HMDB", snippet="Lactate rises.", date="2026-03-01"),
    WebResult(id=3, url="https://ebi.ac.uk/b", title="EBI", snippet=""),
    WebResult(id=12, url="https://pubmed.ncbi.nlm.nih.gov/1", title="A paper", snippet="Urea rises."),
)
QUICK = Deadlines(connect_seconds=2.0, first_token_seconds=1.5, total_seconds=10.0)
WAYS = [(wire, stream) for wire in ("agent", "chat_completions") for stream in (True, False)]

every_way = pytest.mark.parametrize(("wire", "stream"), WAYS)
both_formats = pytest.mark.parametrize("wire", ["agent", "chat_completions"])

LASTING = {
    Fault.UNAUTHORIZED: "refuses the key: check PERPLEXITY_API_KEY",
    Fault.RETIRED: "set PERPLEXITY_WIRE_FORMAT=agent",
    Fault.TOO_LARGE: "too large",
    Fault.NO_CREDIT_400: "no credit left",
    Fault.NO_CREDIT_402: "no credit left",
    Fault.NO_CREDIT_429: "no credit left",
}
PASSING = {
    Fault.RATE_LIMIT: "too many questions",
    Fault.SERVER_ERROR: "an error of its own (HTTP 500)",
    Fault.BAD_GATEWAY: "an error of its own (HTTP 502)",
    Fault.UNAVAILABLE: "an error of its own (HTTP 503)",
    Fault.CUT_BEFORE_BYTE: "broke off",
}


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Web:
    """A fake Perplexity, engines that ask it, and what they booked."""

    def __init__(self, fake: FakePerplexity) -> None:
        self.fake = fake
        self.booked: list[ModelCall] = []
        self.engines: list[PerplexityEngine] = []

    def engine(self, wire: str = "agent", stream: bool = True, **others: Any) -> PerplexityEngine:
        settings: dict[str, Any] = {"base_url": self.fake.url, "deadlines": QUICK, "chance": lambda: 0.0} | others
        engine = PerplexityEngine(
            api_key=KEY, price=SONAR, clock=WallClock(), wire_format=wire, stream=stream, **settings
        )
        self.engines.append(engine)
        return engine

    async def events(self, engine: PerplexityEngine, request: EngineRequest | None = None) -> list[EngineEvent]:
        return [event async for event in engine.ask(request or asking(), self.booked.append)]

    async def draft(self, engine: PerplexityEngine, request: EngineRequest | None = None) -> Draft:
        draft = (await self.events(engine, request))[-1]
        assert isinstance(draft, Draft)
        return draft

    async def failure(self, engine: PerplexityEngine, request: EngineRequest | None = None) -> str:
        with pytest.raises(EngineUnavailable) as raised:
            await self.events(engine, request)
        return str(raised.value)

    @property
    def outcomes(self) -> list[CallOutcome]:
        return [call.outcome for call in self.booked]


def written(_: str, found: Sequence[WebResult], mark: Callable[[WebResult], str]) -> str:
    if not found:
        return "Lactate rises."
    return f"Lactate rises {mark(found[1])}. Urea rises {mark(found[0])} {mark(found[1])}."


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with FakePerplexity(key=KEY) as fake:
        fake.answer(written, results=PAGES)
        web = Web(fake)
        yield web
        for engine in web.engines:
            await engine.close()
        await fake.until(lambda: fake.connections == 0)


def asking(text: str = ASKED, *, seconds: float = 5.0, fresh: bool = False, free: bool = False) -> EngineRequest:
    question = Question(text=text, user_id="ann", thread_id="t", asked_at=datetime.now(UTC), language="de")
    return EngineRequest(question=question, search_text="sepsis", seconds=seconds, fresh=fresh, free=free)


def shown(events: Sequence[EngineEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextPiece))


def progress(events: Sequence[EngineEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Progress)]


@every_way
async def test_an_answer_is_numbered_by_first_use_and_cites_the_pages_found(web: Web, wire: str, stream: bool) -> None:
    draft = await web.draft(web.engine(wire, stream))

    assert draft.text == "Lactate rises [1]. Urea rises [2] [1]."
    assert [(cited.number, cited.url) for cited in draft.citations] == [
        (1, "https://ebi.ac.uk/b"),
        (2, "https://www.hmdb.ca/a"),
    ]
    hmdb = draft.citations[1]
    assert (hmdb.title, hmdb.document, hmdb.page) == ("HMDB", "hmdb.ca", 0)
    assert (hmdb.quote, hmdb.date) == ("Lactate rises.", "2026-03-01")
    assert draft.answered
    assert draft.written
    assert not draft.degraded
    assert draft.notices == ()
    assert draft.model == web.fake.charges[0].model


@every_way
async def test_calls_are_booked_at_what_the_server_charges(web: Web, wire: str, stream: bool) -> None:
    await web.draft(web.engine(wire, stream))

    [call], [charge] = web.booked, web.fake.charges
    assert call.cost_usd == pytest.approx(charge.cost_usd, abs=1e-8)
    assert (call.tokens_in, call.tokens_out) == (charge.tokens_in, charge.tokens_out)
    assert (call.engine, call.model, call.stage) == ("perplexity", charge.model, CallStage.ANSWER)
    assert call.outcome is CallOutcome.OK
    assert not call.estimated
    assert call.seconds > 0


@every_way
async def test_the_pieces_make_the_text_and_the_draft_comes_last(web: Web, wire: str, stream: bool) -> None:
    events = await web.events(web.engine(wire, stream))

    assert isinstance(events[-1], Draft)
    assert sum(isinstance(event, Draft) for event in events) == 1
    if (wire, stream) == ("chat_completions", True):
        # The old format names its sources at the end: no marker can be resolved before.
        assert shown(events) == "Lactate rises. Urea rises."
    else:
        assert shown(events) == events[-1].text
    assert sum(isinstance(event, TextPiece) for event in events) > 1 or not stream


async def test_a_variant_can_change_how_much_is_written_and_what_that_may_cost(web: Web) -> None:
    engine, tuned = web.engine(), replace(asking(), tuning=Tuning(max_tokens=90))
    await web.draft(engine, tuned)

    [request] = web.fake.requests
    assert request.json is not None
    assert request.json["max_output_tokens"] == 90
    assert engine.ceiling_usd(tuned) < engine.ceiling_usd(asking())


async def test_the_search_is_told_as_it_goes_on(web: Web) -> None:
    told = [f"Searching the web: {ASKED}", "Pages found: 2", "Pages found: 3"]
    assert progress(await web.events(web.engine())) == told
    assert progress(await web.events(web.engine(stream=False))) == [told[0], told[2]]
    assert progress(await web.events(web.engine("chat_completions"))) == [told[2]]


async def test_the_agent_request_holds_the_documented_fields_only(web: Web) -> None:
    await web.draft(web.engine(domains=("ebi.ac.uk", "hmdb.ca"), search_context="low"), asking(fresh=True))

    [request] = web.fake.requests
    assert (request.method, request.path, request.bearer) == ("POST", "/v1/agent", KEY)
    assert request.json == {
        "model": "perplexity/sonar",
        "input": ASKED,
        "instructions": INSTRUCTIONS,
        "language_preference": "en",
        "max_output_tokens": 1500,
        "max_steps": 2,
        "tools": [
            {
                "type": "web_search",
                "search_context_size": "low",
                "filters": {"search_domain_filter": ["ebi.ac.uk", "hmdb.ca"], "search_recency_filter": "year"},
            }
        ],
        "tool_choice": {"type": "web_search"},
        "store": False,
        "stream": True,
    }


async def test_without_conditions_there_are_no_filters(web: Web) -> None:
    await web.draft(web.engine())

    assert web.fake.requests[0].json is not None
    assert web.fake.requests[0].json["tools"] == [{"type": "web_search", "search_context_size": "medium"}]


async def test_the_older_request_asks_for_the_same(web: Web) -> None:
    await web.draft(web.engine("chat_completions", stream=False, domains=("ebi.ac.uk", "hmdb.ca")), asking(fresh=True))

    [request] = web.fake.requests
    assert (request.path, request.bearer) == ("/chat/completions", KEY)
    body = request.json or {}
    system, user = body.pop("messages")
    assert system["content"] == f"{INSTRUCTIONS} Answer in English."
    assert user == {"role": "user", "content": ASKED}
    assert body == {
        "model": "sonar",
        "max_tokens": 1500,
        "web_search_options": {"search_context_size": "medium"},
        "search_domain_filter": ["ebi.ac.uk", "hmdb.ca"],
        "search_recency_filter": "year",
        "stream": False,
    }


async def test_a_follow_up_is_asked_in_its_completed_form(web: Web) -> None:
    question = Question(
        text="and in urine?", standalone="Lactate in urine?", user_id="a", thread_id="t", asked_at=datetime.now(UTC)
    )
    await web.draft(web.engine(), EngineRequest(question=question, search_text="", seconds=5.0))

    assert (web.fake.requests[0].json or {})["input"] == "Lactate in urine?"


async def test_an_address_that_ends_in_the_version_is_understood(web: Web) -> None:
    assert (await web.draft(web.engine(base_url=f"{web.fake.url}/v1/"))).answered


@every_way
async def test_an_answer_without_sources_is_shown_as_one(web: Web, wire: str, stream: bool) -> None:
    web.fake.always(Fault.NO_SOURCES)

    draft = await web.draft(web.engine(wire, stream))

    assert draft.text == "Lactate rises."
    assert draft.citations == ()
    assert draft.notices == (NO_SOURCES,)


async def test_pages_that_no_marker_names_are_not_cited(web: Web) -> None:
    web.fake.answer("Lactate rises.")

    draft = await web.draft(web.engine())

    assert draft.citations == ()
    assert draft.notices == (NOT_CITED,)


@every_way
async def test_markers_and_addresses_out_of_nowhere_make_no_citation(web: Web, wire: str, stream: bool) -> None:
    web.fake.always(Fault.STRAY_MARKERS)

    draft = await web.draft(web.engine(wire, stream))

    assert draft.dropped_markers == 2
    assert set(ANY_MARKER.findall(draft.text)) == {"1", "2"}
    assert {cited.url for cited in draft.citations} == {"https://ebi.ac.uk/b", "https://www.hmdb.ca/a"}


async def test_one_page_under_two_ids_is_one_citation(web: Web) -> None:
    twin = WebResult(id=4, url="https://EBI.ac.uk/b/#results", title="EBI again", snippet="")
    web.fake.answer("One [3]. Two [web:4]. Both [3, 4].", results=(*PAGES, twin))

    draft = await web.draft(web.engine())

    assert draft.text == "One [1]. Two [1]. Both [1]."
    assert [cited.title for cited in draft.citations] == ["EBI"]


@both_formats
async def test_addresses_that_are_no_pages_are_never_cited(web: Web, wire: str) -> None:
    bad = WebResult(id=1, url="javascript:alert(1)", title="Click", snippet="")
    web.fake.answer("Bad [1]. Good [2].", results=(bad, WebResult(id=2, url="https://a.org/x", title="A", snippet="")))

    draft = await web.draft(web.engine(wire))

    assert draft.text == "Bad. Good [1]."
    assert [cited.url for cited in draft.citations] == ["https://a.org/x"]


@every_way
async def test_a_model_that_finds_no_answer_has_not_answered(web: Web, wire: str, stream: bool) -> None:
    web.fake.answer(NOT_ANSWERED)

    draft = await web.draft(web.engine(wire, stream))

    assert not draft.answered
    assert draft.text == NOT_ANSWERED
    assert draft.notices == ()


@every_way
async def test_an_empty_answer_is_none(web: Web, wire: str, stream: bool) -> None:
    web.fake.answer("")

    draft = await web.draft(web.engine(wire, stream))

    assert (draft.answered, draft.text) == (False, NOT_ANSWERED)


@every_way
async def test_an_incomplete_answer_says_so(web: Web, wire: str, stream: bool) -> None:
    web.fake.then(Fault.INCOMPLETE)

    draft = await web.draft(web.engine(wire, stream))

    assert draft.answered
    assert INCOMPLETE in draft.notices
    assert web.outcomes == [CallOutcome.OK]
    assert web.booked[0].cost_usd == pytest.approx(web.fake.cost_usd, abs=1e-8)


@every_way
@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.FAILED_MIDWAY, Fault.ERROR_EVENT, Fault.CANCELLED])
async def test_a_failure_told_with_http_200_is_one(web: Web, wire: str, stream: bool, fault: Fault) -> None:
    web.fake.then(fault)

    assert "could not finish" in await web.failure(web.engine(wire, stream))
    assert web.outcomes == [CallOutcome.FAILED]
    assert len(web.fake.requests) == 1


async def test_a_failure_that_tells_its_cost_is_booked_at_it(web: Web) -> None:
    web.fake.then(Fault.FAILED_MIDWAY)
    await web.failure(web.engine())

    assert web.booked[0].cost_usd == pytest.approx(web.fake.cost_usd, abs=1e-8)
    assert not web.booked[0].estimated


@pytest.mark.parametrize(("fault", "words"), LASTING.items())
@both_formats
async def test_a_refusal_that_will_not_pass_is_told_at_once(web: Web, wire: str, fault: Fault, words: str) -> None:
    web.fake.always(fault)

    told = await web.failure(web.engine(wire))

    assert words in told
    assert len(web.fake.requests) == 1
    [call] = web.booked
    assert (call.outcome, call.cost_usd, call.estimated) == (CallOutcome.FAILED, 0.0, False)


@pytest.mark.parametrize(("fault", "words"), PASSING.items())
async def test_trouble_that_may_pass_is_met_by_one_more_try(web: Web, fault: Fault, words: str) -> None:
    web.fake.then(fault)

    assert (await web.draft(web.engine())).answered
    assert web.outcomes == [CallOutcome.FAILED, CallOutcome.OK]

    web.fake.always(fault)
    assert words in await web.failure(web.engine())
    assert len(web.fake.requests) == 4


@every_way
async def test_a_connection_that_breaks_before_the_text_is_tried_again(web: Web, wire: str, stream: bool) -> None:
    web.fake.then(Fault.CUT_BEFORE_BYTE)

    assert (await web.draft(web.engine(wire, stream))).answered
    assert web.outcomes == [CallOutcome.FAILED, CallOutcome.OK]


@both_formats
@pytest.mark.parametrize("fault", [Fault.CUT_MIDWAY, Fault.ENDS_EARLY])
async def test_nothing_is_tried_again_once_text_was_shown(web: Web, wire: str, fault: Fault) -> None:
    web.fake.then(fault)

    assert "broke off" in await web.failure(web.engine(wire))
    assert len(web.fake.requests) == 1
    [call] = web.booked
    assert call.estimated
    assert 0 < call.cost_usd <= web.engines[0].ceiling_usd(asking())


@both_formats
@pytest.mark.parametrize("fault", [Fault.CUT_MIDWAY, Fault.ENDS_EARLY])
async def test_a_whole_body_that_breaks_off_is_asked_for_again(web: Web, wire: str, fault: Fault) -> None:
    web.fake.then(fault)

    assert (await web.draft(web.engine(wire, stream=False))).answered
    assert [call.estimated for call in web.booked] == [True, False]


@every_way
async def test_what_is_no_json_is_told_as_such(web: Web, wire: str, stream: bool) -> None:
    web.fake.then(Fault.MALFORMED_JSON)

    assert "no answer" in await web.failure(web.engine(wire, stream))
    assert len(web.fake.requests) == 1


@every_way
@pytest.mark.parametrize("fault", [Fault.SPLIT, Fault.HUGE_LINE, Fault.UNKNOWN_EVENTS])
async def test_strange_streams_make_the_same_answer(web: Web, wire: str, stream: bool, fault: Fault) -> None:
    plain = await web.draft(web.engine(wire, stream))
    web.fake.then(fault)

    assert await web.draft(web.engine(wire, stream)) == plain


async def test_the_time_a_server_asks_for_is_waited(web: Web) -> None:
    web.fake.then(Fault.RATE_LIMIT_SECONDS, seconds=1)
    started = time.monotonic()

    assert (await web.draft(web.engine())).answered
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT_SECONDS, Fault.RATE_LIMIT_DATE])
async def test_a_wait_that_leaves_no_time_is_not_begun(web: Web, fault: Fault) -> None:
    web.fake.always(fault, seconds=30)

    told = await web.failure(web.engine())

    assert "in 30 s" in told or "in 31 s" in told
    assert len(web.fake.requests) == 1


async def test_nobody_there_is_told_and_costs_nothing(web: Web) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        engine = web.engine(base_url=f"http://127.0.0.1:{closed.getsockname()[1]}")
        told = await web.failure(engine)

    assert "cannot be reached" in told
    assert [(call.cost_usd, call.estimated) for call in web.booked] == [(0.0, False)] * 2


@both_formats
async def test_an_answer_that_does_not_begin_is_given_up(web: Web, wire: str) -> None:
    web.fake.always(Fault.HANG_BEFORE_TOKEN)

    assert "did not begin to answer" in await web.failure(web.engine(wire))
    assert len(web.fake.requests) == 1
    assert web.outcomes == [CallOutcome.FAILED]
    assert web.booked[0].estimated


@every_way
@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE_BYTE, Fault.HANG_AFTER_TOKEN])
async def test_an_answer_is_given_up_when_its_time_is_over(web: Web, wire: str, stream: bool, fault: Fault) -> None:
    web.fake.always(fault)
    started = time.monotonic()

    assert "in time" in await web.failure(web.engine(wire, stream), asking(seconds=0.3))
    assert time.monotonic() - started < 2
    assert web.outcomes == [CallOutcome.FAILED]
    await web.fake.until(lambda: web.fake.connections == 0)


@both_formats
async def test_a_person_who_stops_closes_the_connection(web: Web, wire: str) -> None:
    web.fake.always(Fault.HANG_AFTER_TOKEN)
    async with aclosing(cast("Any", web.engine(wire).ask(asking(), web.booked.append))) as events:
        async for event in events:
            if isinstance(event, TextPiece):
                break

    await web.fake.until(lambda: web.fake.connections == 0)
    assert web.fake.abandoned == 1
    assert web.outcomes == [CallOutcome.STOPPED]
    assert web.booked[0].estimated
    assert web.booked[0].cost_usd > 0


@every_way
async def test_a_cancelled_task_closes_the_connection(web: Web, wire: str, stream: bool) -> None:
    web.fake.always(Fault.HANG_BEFORE_BYTE)
    task = asyncio.create_task(web.events(web.engine(wire, stream)))
    await web.fake.until(lambda: len(web.fake.requests) == 1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await web.fake.until(lambda: web.fake.connections == 0)
    assert web.outcomes == [CallOutcome.STOPPED]


@every_way
async def test_connections_are_used_again(web: Web, wire: str, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "httpcore.connection")
    engine = web.engine(wire, stream)
    for _ in range(3):
        await web.draft(engine)

    opened = [record for record in caplog.records if record.getMessage().startswith("connect_tcp.started")]
    assert len(opened) == 1
    assert web.fake.connections == 1


async def test_many_questions_at_once_keep_their_answers_apart(web: Web) -> None:
    web.fake.answer(lambda question, found, mark: f"{question} {mark(found[0])}")
    engine = web.engine()
    asked = [f"Question {number}?" for number in range(20)]

    drafts = await asyncio.gather(*(web.draft(engine, asking(text)) for text in asked))

    assert [draft.text for draft in drafts] == [f"{text} [1]" for text in asked]
    assert sum(call.cost_usd for call in web.booked) == pytest.approx(web.fake.cost_usd, abs=1e-6)


async def test_no_question_costs_more_than_its_ceiling(web: Web) -> None:
    web.fake.release()
    engine = web.engine()
    ceiling = engine.ceiling_usd(asking())
    for fault in Fault:
        booked, charged, requests = len(web.booked), len(web.fake.charges), len(web.fake.requests)
        web.fake.always(fault, seconds=0.01)
        with suppress(EngineUnavailable):
            await web.events(engine)
        calls = web.booked[booked:]
        assert len(calls) == len(web.fake.requests) - requests, fault
        assert sum(call.cost_usd for call in calls) <= ceiling, fault
        assert sum(charge.cost_usd for charge in web.fake.charges[charged:]) <= ceiling, fault


def test_the_ceiling_grows_with_what_may_be_used(web: Web) -> None:
    least = web.engine(max_steps=1, search_context="low").ceiling_usd(asking())

    assert 0 < least < web.engine(max_steps=1).ceiling_usd(asking()) < web.engine(max_steps=5).ceiling_usd(asking())
    assert least < web.engine(max_steps=1, search_context="low").ceiling_usd(asking(ASKED * 50))
    assert least < web.engine(max_steps=1, search_context="low", max_output_tokens=9_000).ceiling_usd(asking())


async def test_a_request_that_must_be_free_asks_nobody_and_stays_priced(web: Web) -> None:
    engine = web.engine()

    assert engine.ceiling_usd(asking(free=True)) > 0
    with pytest.raises(BudgetExhausted):
        await web.events(engine, asking(free=True))
    assert web.fake.requests == []
    assert web.booked == []


@both_formats
async def test_the_key_and_the_question_stay_secret(web: Web, wire: str, caplog: pytest.LogCaptureFixture) -> None:
    for logger in (None, "cmo", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=logger)
    web.fake.release()
    engine = web.engine(wire)
    said = [repr(engine), repr(vars(engine)["_client"])]
    for fault in Fault:
        web.fake.always(fault, seconds=0.01)
        try:
            said += map(repr, await web.events(engine))
        except EngineUnavailable as error:
            said += traceback.format_exception(error)
    said += [repr(web.booked), *(f"{record.getMessage()} {vars(record)}" for record in caplog.records)]

    assert len(caplog.records) > len(Fault)
    assert not [text for text in said if KEY in text]
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG and ASKED in str(vars(record))]


def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it() -> None:
    for key in (f"{KEY}\n", f"{KEY} ", f"{KEY}é"):
        with pytest.raises(SettingsError) as raised:
            PerplexityEngine(api_key=key, price=SONAR, clock=WallClock())
        assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_more_domains_than_perplexity_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="21 domains"):
        PerplexityEngine(api_key=KEY, price=SONAR, clock=WallClock(), domains=[f"{n}.org" for n in range(21)])


async def test_it_is_available_once_configured() -> None:
    unconfigured = PerplexityEngine(api_key=None, price=SONAR, clock=WallClock())
    gateway = PerplexityEngine(api_key=None, price=SONAR, clock=WallClock(), base_url="http://127.0.0.1:9")
    engine: Engine = unconfigured

    assert not await engine.is_available()
    assert await gateway.is_available()
    with pytest.raises(EngineUnavailable, match="PERPLEXITY_API_KEY"):
        [event async for event in engine.ask(asking(), lambda _: None)]
    await unconfigured.close()
    await gateway.close()


async def test_settings_that_change_answers_change_the_version(web: Web) -> None:
    engines = [
        web.engine(),
        web.engine("chat_completions"),
        web.engine(model="perplexity/sonar-pro"),
        web.engine(domains=("who.int",)),
        web.engine(search_context="high"),
    ]

    assert len({await engine.version() for engine in engines}) == len(engines)
    assert await engines[0].version() == await web.engine().version()


async def test_a_ping_finds_the_server_without_key_or_cost(web: Web) -> None:
    await web.engine().ping()

    [request] = web.fake.requests
    assert request.bearer is None
    assert web.fake.charges == []


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.CUT_BEFORE_BYTE, Fault.HANG_BEFORE_BYTE])
async def test_a_ping_tells_when_nobody_answers(web: Web, fault: Fault) -> None:
    web.fake.key = None
    web.fake.always(fault)
    engine = web.engine(deadlines=Deadlines(connect_seconds=0.2, first_token_seconds=0.2, total_seconds=1.0))

    with pytest.raises(EngineUnavailable):
        await engine.ping()


def message(*parts: dict[str, Any], results: Sequence[dict[str, Any]] = (), **others: Any) -> dict[str, Any]:
    output = [{"type": "search_results", "results": list(results)}, {"type": "message", "content": list(parts)}]
    return {"status": "completed", "output": output} | others


def test_a_refusal_of_the_model_is_no_text() -> None:
    ended = AgentFormat().reply(message({"type": "refusal", "refusal": "I cannot help."}))

    assert (ended.refused, ended.text) == (True, "I cannot help.")


def test_a_filtered_answer_of_the_older_format_is_a_refusal() -> None:
    body = {"choices": [{"finish_reason": "content_filter", "message": {"content": "No."}}]}

    assert ChatFormat().reply(body).refused


def test_a_chat_stream_without_its_last_line_is_whole_when_it_gave_a_reason() -> None:
    reader = ChatReader()

    assert reader.at_end() is None
    list(reader.read('{"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}'))
    assert (reader.at_end() or Ended(status=Status.FAILED)).status is Status.COMPLETED


def test_positions_of_the_older_format_count_addresses_that_cannot_be_used() -> None:
    body = {
        "choices": [{"message": {"content": ""}}],
        "citations": [None, "ftp://a.org", "https://b.org/x"],
        "search_results": [{"url": "https://b.org/x", "title": "B", "date": None}],
    }

    [source] = ChatFormat().reply(body).sources
    assert (source.label, source.title, source.date) == ("3", "B", "")


@pytest.mark.parametrize("format_", [AgentFormat(), ChatFormat()])
@pytest.mark.parametrize("body", [{}, {"id": "x"}, {"output": "text"}, {"choices": []}, {"choices": [None]}])
def test_a_body_that_is_no_answer_is_malformed(format_: WireFormat, body: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        format_.reply(body)


WRONG: list[Any] = [None, 3, "text", [], {}, [None], [{}], {"total_cost": float("nan")}, {"total_cost": -1}, True]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("field", ["model", "output", "usage", "error", "incomplete_details"])
def test_fields_of_a_wrong_type_count_as_missing(field: str, wrong: Any) -> None:
    body = message({"type": "output_text", "text": "Yes."}) | {field: wrong}

    ended = AgentFormat().reply(body)

    assert ended.status is Status.COMPLETED
    assert ended.text == ("Yes." if field != "output" else "")
    assert ended.usage is None or ended.usage.cost_usd is None


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_results_of_a_wrong_type_are_passed_over(wrong: Any) -> None:
    good = {"id": 1, "url": "https://a.org", "title": None, "snippet": 3, "date": None, "last_updated": "2026-05-01"}
    body = message(results=[{"id": wrong, "url": wrong, "title": wrong}, good])

    [source] = AgentFormat().reply(body).sources

    assert (source.label, source.title, source.site, source.snippet, source.date) == (
        "1",
        "a.org",
        "a.org",
        "",
        "2026-05-01",
    )


@pytest.mark.parametrize("data", ["", "{", "[]", "3", '"text"', "[" * 100_000])
@pytest.mark.parametrize("reader", [AgentReader(), ChatReader()])
def test_an_event_that_is_no_object_is_malformed(reader: AgentReader | ChatReader, data: str) -> None:
    with pytest.raises(Malformed):
        list[Signal](reader.read(data))


def test_a_failed_event_needs_no_response() -> None:
    [ended] = AgentReader().read('{"type": "response.failed", "error": {"message": "no"}}')

    assert ended == Ended(status=Status.FAILED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.org",
        "ftp://a.org",
        "javascript:alert(1)",
        "https://",
        "https://a.org/ b",
        "https://a.org/\nb",
        "https://pubmed.gov@b.org/",
        "https://[::1",
        "https://a.org/" + "x" * 3_000,
    ],
)
def test_what_is_no_page_of_the_web_is_no_address(url: str) -> None:
    assert web_address(url) is None


def test_an_address_cannot_break_out_of_a_markdown_link() -> None:
    assert web_address("https://a.org/x)[y](javascript:z)") == "https://a.org/x%29%5By%5D%28javascript:z%29"
    assert web_address("https://a.org/?q=a%20b&c=d#e") == "https://a.org/?q=a%20b&c=d#e"
