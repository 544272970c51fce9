"""deep-translator under our deadline, against loopback servers that answer, refuse and hang as the real ones do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from deep_translator import constants  # type: ignore[import-untyped]

from cmo.errors import TranslationUnavailable
from cmo.translation.free import MOST_CALLS, DaemonCalls, FreeService, google, my_memory
from cmo.translation.services import Declined, Order, RestingService
from tests.translation.fakes import ORDER, no_calls

CANARY = "Canary question about lactate"


@dataclass
class Page:
    """A server of Google's or MyMemory's shape: `answer` makes status and body of the parameters of a request."""

    answer: Callable[[dict[str, str]], tuple[int, str]] = lambda asked: (200, _google(asked["q"].upper()))
    asked: list[dict[str, str]] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False


def _google(text: str) -> str:
    return f'<html><body><div class="result-container">{text}</div></body></html>'


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            page.asked.append(asked)
            if page.hangs:
                page.held.wait(30)
            status, body = page.answer(asked)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/m"
    monkeypatch.setitem(constants.BASE_URLS, "GOOGLE_TRANSLATE", url)
    monkeypatch.setitem(constants.BASE_URLS, "MYMEMORY", url)
    yield page
    page.held.set()
    server.shutdown()
    server.server_close()


def order(*texts: str, target: str = "fr", seconds: float = 5.0) -> Order:
    return replace(ORDER, texts=texts, target=target, seconds=seconds)


async def test_google_gets_all_texts_in_one_call_a_line_each(page: Page) -> None:
    assert await google().translate(order("one", "two", target="zh"), no_calls) == ("ONE", "TWO")
    (asked,) = page.asked
    assert (asked["sl"], asked["tl"], asked["q"]) == ("en", "zh-CN", "one\ntwo")


async def test_texts_whose_lines_were_joined_are_asked_for_one_by_one(page: Page) -> None:
    page.answer = lambda asked: (200, _google(asked["q"].replace("\n", " ").upper()))

    assert await google().translate(order("one", "two"), no_calls) == ("ONE", "TWO")
    assert len(page.asked) == 3


async def test_one_text_is_asked_for_once_and_stays_one_line(page: Page) -> None:
    page.answer = lambda asked: (200, _google("UNE\nLIGNE"))

    assert await google().translate(order("one"), no_calls) == ("UNE LIGNE",)
    assert len(page.asked) == 1


async def test_my_memory_gets_each_text_alone_in_its_own_codes_and_is_unescaped(page: Page) -> None:
    page.answer = lambda asked: (200, f'{{"responseData": {{"translatedText": "l&#39;{asked["q"]}"}}}}')

    texts = order("one", "x" * 500, "two", target="pt")
    assert await my_memory().translate(texts, no_calls) == ("l'one", "", "l'two")
    assert {asked["langpair"] for asked in page.asked} == {"en-GB|pt-PT"}


async def test_my_memorys_warning_is_no_translation(page: Page) -> None:
    page.answer = lambda asked: (200, '{"responseData": {"translatedText": "MYMEMORY WARNING: YOU USED ALL"}}')

    with pytest.raises(TranslationUnavailable, match="no more today"):
        await my_memory().translate(order("one"), no_calls)


@pytest.mark.parametrize(
    ("service", "status", "body", "says"),
    [
        (google, 429, "", "no more requests"),
        (google, 500, "", "unexpected"),
        (google, 200, "<html>please prove that you are no robot</html>", "unexpected"),
        (my_memory, 429, "", "no more requests"),
        (my_memory, 403, "", "unexpected"),
        (my_memory, 200, "no json", "unexpected"),
        (my_memory, 200, "{}", "unexpected"),
        (my_memory, 200, '{"responseData": {}}', "unexpected"),
        (my_memory, 200, "[]", "unexpected"),
    ],
)
async def test_every_trouble_is_an_error_without_the_text(
    page: Page, service: Callable[[], FreeService], status: int, body: str, says: str
) -> None:
    page.answer = lambda asked: (status, body)
    with pytest.raises(TranslationUnavailable) as caught:
        await service().translate(order(CANARY), no_calls)

    assert says in str(caught.value)
    chain = [caught.value.__cause__, None if caught.value.__suppress_context__ else caught.value.__context__]
    assert not any(CANARY in str(error) for error in (caught.value, *chain))


async def test_nobody_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(constants.BASE_URLS, "GOOGLE_TRANSLATE", "http://127.0.0.1:9/m")

    with pytest.raises(TranslationUnavailable, match="Google Translate cannot be reached"):
        await google().translate(order("one"), no_calls)


async def test_a_language_it_does_not_know_is_declined(page: Page) -> None:
    with pytest.raises(Declined):
        await google().translate(order("one", target="xx"), no_calls)
    assert page.asked == []


async def test_an_answer_much_longer_than_the_question_is_none(page: Page) -> None:
    page.answer = lambda asked: (200, _google("x" * 10_000))

    assert await google().translate(order("one"), no_calls) == ("",)


async def test_a_server_that_hangs_is_left_at_the_deadline_and_a_few_of_them_at_once(page: Page) -> None:
    page.hangs = True
    service = google()
    async with asyncio.timeout(10):
        for _ in range(MOST_CALLS):
            with pytest.raises(TranslationUnavailable, match="in time"):
                await RestingService(service).translate(order("one", seconds=0.3), no_calls)
        with pytest.raises(TranslationUnavailable, match="still hang"):
            await service.translate(order("one"), no_calls)
    assert len(page.asked) == MOST_CALLS


@pytest.fixture
async def gate() -> AsyncIterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_calls_wait_for_a_place_and_those_left_behind_give_theirs_back_at_their_end(
    gate: threading.Event,
) -> None:
    calls = DaemonCalls(most=1)
    left = asyncio.create_task(calls.run(gate.wait))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(calls.run(lambda: "next"))
    left.cancel()
    await asyncio.wait([left])
    with pytest.raises(TranslationUnavailable, match="still hang"):
        await calls.run(lambda: "refused")

    gate.set()
    assert await waiting == "next"
    assert await calls.run(lambda: "after") == "after"


async def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await DaemonCalls().run(lambda: 1 / 0)


def test_a_call_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = """
import asyncio, threading
from cmo.translation.free import DaemonCalls
async def main():
    try:
        async with asyncio.timeout(0.1):
            await DaemonCalls().run(threading.Event().wait)
    except TimeoutError:
        print("left")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "left\n"


def test_deep_translator_is_not_loaded_before_it_is_needed() -> None:
    program = "import sys, cmo.translation.free as free; free.google(); print('deep_translator' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "False\n"
