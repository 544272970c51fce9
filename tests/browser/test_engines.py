"""The whole application with both engines, asked in a real browser, against servers that play OpenAI and Perplexity.

The pictures it takes are for people to look at: run with `--basetemp=DIR`, and find them there.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocket, expect

from tests.servers import FakeOpenAI, FakePerplexity, Fault, WebResult
from tests.servers.perplexity import RESULTS, reply_from
from tests.servers.replies import reply_to

from .conftest import PROJECT, Server, Visit, copy_samples

pytestmark = pytest.mark.browser

Open = Callable[..., Visit]

OPENAI_KEY = "sk-canary-of-the-papers"
PERPLEXITY_KEY = "pplx-canary-of-the-web"
READY_MS = 60_000

HOSTILE = """\
Ha![1] <img src="http://evil.example/a.png"> ![x](http://evil.example/b.png) [click](javascript:alert(1)) [1]

# Heading

| a | b |
|---|---|
| https://evil.example/c | www.evil.example |

:::warning
Write to me@evil.example or <https://evil.example>.
:::

```
code [1]
```

        indented [1]

[1]: http://evil.example/d
<script>window.evil = true</script> <b>bold</b> &lt;i&gt; a[^1] **strong** and *soft*

- one [1]
  - two

[^1]: note"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fakes:
    """Both servers, in a thread whose loop is their own."""

    openai: FakeOpenAI
    web: FakePerplexity
    loop: asyncio.AbstractEventLoop

    def wait(self, work: Coroutine[Any, Any, object]) -> None:
        """Do something in their loop, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=65)

    def calm_down(self) -> None:
        """Answer well again, as they do of themselves."""
        for server in (self.openai, self.web):
            server.always(Fault.NONE)
        self.openai.answer(reply_to)
        self.web.answer(reply_from, results=RESULTS)

    @property
    def environment(self) -> dict[str, str]:
        """What makes the application ask them."""
        return {
            "OPENAI_BASE_URL": self.openai.url,
            "OPENAI_API_KEY": OPENAI_KEY,
            "PERPLEXITY_BASE_URL": self.web.url,
            "PERPLEXITY_API_KEY": PERPLEXITY_KEY,
            "PERPLEXITY_DOMAINS": "*",
            "LIGHTRAG_RESPONSE_CACHING": "false",
        }


@pytest.fixture(scope="module")
def running() -> Iterator[Fakes]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made = Fakes(
        openai=FakeOpenAI(key=OPENAI_KEY, token_seconds=0.01),
        web=FakePerplexity(key=PERPLEXITY_KEY, token_seconds=0.01),
        loop=loop,
    )
    made.wait(made.openai.__aenter__())
    made.wait(made.web.__aenter__())
    yield made
    made.wait(made.openai.__aexit__(None, None, None))
    made.wait(made.web.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def fakes(running: Fakes) -> Iterator[Fakes]:
    yield running
    running.calm_down()


@pytest.fixture(scope="module")
def application(serve: Callable[..., Server], running: Fakes) -> Server:
    """The application as `make run` starts it, on the papers that come with it."""
    return serve(app=PROJECT / "app.py", papers=copy_samples, **running.environment)


@pytest.fixture
def chat(application: Server, fakes: Fakes, visit: Open) -> Visit:
    return ready(visit(application))


def ready(chat: Visit) -> Visit:
    """The chat, once the papers are read."""
    chat.page.get_by_role("button", name="What is clinical metabolomics?").wait_for(timeout=READY_MS)
    return chat


def choose(chat: Visit, engine: str) -> None:
    chat.page.locator(f"#command-{engine}").click()
    expect(chat.page.locator(f"#command-{engine}.text-command")).to_be_visible()


def answer(chat: Visit) -> Locator:
    return chat.page.locator(".message-content").last


def facts(chat: Visit) -> Locator:
    return chat.page.locator(".cmo-facts").last


def why(chat: Visit) -> Locator:
    facts(chat).get_by_text("Why this engine?").click()
    return facts(chat).locator(".cmo-why ul")


def watch(page: Page) -> None:
    """Keep every state of the page from here on, and every address an element of it had."""
    page.evaluate("""() => {
      window.seen = []
      window.addresses = new Set()
      const look = () => {
        window.seen.push(document.body.innerHTML)
        for (const one of document.querySelectorAll('[href], [src]')) {
          window.addresses.add(one.getAttribute('href') ?? one.getAttribute('src'))
        }
      }
      new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true })
    }""")


def addresses(page: Page) -> list[str]:
    """What elements of the watched page have led to, or loaded."""
    return [str(address) for address in page.evaluate("[...window.addresses]")]


def was_seen(page: Page, pattern: str) -> bool:
    return bool(page.evaluate("pattern => window.seen.some(one => new RegExp(pattern).test(one))", pattern))


def test_left_alone_the_papers_answer_in_the_words_of_the_model(chat: Visit, tmp_path: Path) -> None:
    chat.ask("What is clinical metabolomics?")
    chat.wait_for_answers()
    expect(facts(chat)).to_contain_text("Your papers · written by gpt-6-luna")
    expect(facts(chat)).to_contain_text("$0.00")
    expect(why(chat)).to_contain_text("You are among the 100 % of people")
    chat.page.screenshot(path=tmp_path / "papers.png")
    chat.page.locator("a.cmo-marker").first.click()
    expect(chat.page.locator(".cmo-passage blockquote")).to_contain_text("Clinical metabolomics is the study")
    expect(chat.page.locator(".side-pdf .react-pdf__Page")).to_have_attribute("data-page-number", "1")
    chat.page.screenshot(path=tmp_path / "panel.png")


def test_words_appear_while_the_model_writes_and_stop_ends_its_work(chat: Visit, fakes: Fakes, tmp_path: Path) -> None:
    fakes.openai.answer("The **first** words come, and " + "many more follow " * 200)
    fakes.openai.then(Fault.SLOW_TOKENS, seconds=0.1)
    abandoned = fakes.openai.abandoned
    chat.ask("What is clinical metabolomics?")
    expect(answer(chat)).to_contain_text("The first words come, and many")
    expect(chat.page.locator("#stop-button")).to_be_visible()
    chat.page.screenshot(path=tmp_path / "streaming.png")
    chat.page.locator("#stop-button").click()
    expect(answer(chat)).to_contain_text("Stopped.")
    fakes.wait(fakes.openai.until(lambda: fakes.openai.abandoned == abandoned + 1))
    chat.page.screenshot(path=tmp_path / "stopped.png")
    fakes.calm_down()
    chat.ask("What is a biomarker?")
    chat.wait_for_answers()


def test_the_web_answers_when_it_is_chosen(chat: Visit, tmp_path: Path) -> None:
    choose(chat, "Web")
    chat.ask("Which databases of metabolites are there?")
    chat.wait_for_answers()
    expect(facts(chat)).to_contain_text("The web · written by perplexity/sonar")
    expect(answer(chat)).to_contain_text("Human Metabolome Database, hmdb.ca, 2026-\u206009-\u206014")
    expect(why(chat)).to_contain_text("You chose the web.")
    chat.page.screenshot(path=tmp_path / "web.png")
    chat.page.get_by_role("button", name="How this was answered").click()
    expect(chat.page.get_by_text("Pages found: 5")).to_be_visible()
    chat.page.screenshot(path=tmp_path / "web-steps.png")
    expect(chat.page.locator("#command-Web.text-command")).to_be_visible()


def test_a_source_of_the_web_opens_in_a_tab_that_cannot_reach_back(chat: Visit, fakes: Fakes) -> None:
    page = WebResult(id=1, url=f"{fakes.web.url}/page", title="A page of the web", snippet="Biomarkers.")
    fakes.web.answer("It is written there. [web:1]", results=[page])
    choose(chat, "Web")
    chat.ask("What is a biomarker?")
    chat.wait_for_answers()
    marker = chat.page.locator("a.cmo-marker")
    expect(marker).to_have_attribute("rel", "noopener noreferrer")
    expect(marker).to_have_attribute("aria-label", "Source 1: A page of the web, 127.0.0.1")
    with chat.page.context.expect_page() as opened:
        marker.click()
    opened.value.wait_for_url(page.url)
    assert opened.value.evaluate("window.opener") is None
    expect(chat.page.locator("#side-view-content")).to_have_count(0)


def test_the_papers_answer_when_they_are_chosen_until_the_choice_is_taken_back(chat: Visit) -> None:
    choose(chat, "Papers")
    chat.ask("What is a biomarker?")
    chat.wait_for_answers()
    expect(why(chat)).to_contain_text("You chose your papers.")
    chat.page.locator("#command-Papers").click()
    expect(chat.page.locator("#command-Papers.text-command")).to_have_count(0)
    chat.ask("What is an internal standard?")
    chat.wait_for_answers(2)
    expect(why(chat)).to_contain_text("(rollout)")


def test_half_an_answer_of_a_model_that_fails_gives_way_to_sentences_of_the_papers(
    chat: Visit, fakes: Fakes, tmp_path: Path
) -> None:
    fakes.openai.answer("Zebrafish come first, and " + "many more follow " * 30)
    fakes.openai.then(Fault.CUT_MIDWAY)
    watch(chat.page)
    chat.ask("What is clinical metabolomics?")
    chat.wait_for_answers()
    assert was_seen(chat.page, "Zebrafish come first")
    expect(answer(chat)).not_to_contain_text("Zebrafish")
    expect(answer(chat)).to_contain_text("Clinical metabolomics is the study of small molecules")
    expect(answer(chat).locator("blockquote")).to_contain_text("without the language model")
    expect(facts(chat)).not_to_contain_text("written by")
    chat.page.screenshot(path=tmp_path / "withdrawn.png")


def test_the_papers_answer_when_the_web_fails(chat: Visit, fakes: Fakes, tmp_path: Path) -> None:
    fakes.web.always(Fault.SERVER_ERROR)
    choose(chat, "Web")
    chat.ask("What is clinical metabolomics?")
    chat.wait_for_answers()
    expect(facts(chat)).to_contain_text("Your papers · written by gpt-6-luna")
    expect(answer(chat).locator("blockquote")).to_contain_text("The web: Perplexity has an error of its own")
    chat.page.screenshot(path=tmp_path / "fallback.png")


def test_when_nobody_can_answer_that_is_said_and_the_chat_goes_on(
    serve: Callable[..., Server], fakes: Fakes, visit: Open, tmp_path: Path
) -> None:
    application = serve(app=PROJECT / "app.py", papers=None, **fakes.environment)
    chat = visit(application)
    fakes.web.always(Fault.SERVER_ERROR)
    chat.ask("What is a biomarker?")
    told = chat.page.get_by_text("says what is wrong")
    expect(told).to_be_visible()
    chat.page.screenshot(path=tmp_path / "nobody.png")
    fakes.web.always(Fault.NONE)
    chat.ask("What is a biomarker?")
    chat.wait_for_answers()
    expect(facts(chat)).to_contain_text("The web · written by perplexity/sonar")
    assert "Traceback" not in application.log.read_text(encoding="utf-8")


def test_what_a_page_of_the_web_wrote_into_an_answer_stays_text(chat: Visit, fakes: Fakes, tmp_path: Path) -> None:
    result = WebResult(
        id=1,
        url="https://hmdb.ca/é?a=1&copy;=2",
        title="](http://evil.example) \"quoted\" 'and' ![x](http://evil.example/t.png) www.evil.example",
        snippet="S",
        date="2026-09-14",
    )
    fakes.web.answer(HOSTILE, results=[result])
    choose(chat, "Web")
    watch(chat.page)
    chat.ask("What is a biomarker?")
    chat.wait_for_answers()
    assert was_seen(chat.page, "evil[.]example/c")
    assert not [address for address in addresses(chat.page) if re.match("mailto|.*evil|javascript", address)]
    links = (
        answer(chat).locator("a:not([href^='#cmo-'])").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    )
    assert set(links) == {"https://hmdb.ca/%C3%A9?a=1&copy;=2"}
    assert len(links) == 9
    expect(answer(chat).locator("a.cmo-marker")).to_have_count(8)
    for element in ("img", "script", "table", "pre", "code", "h1", "h2", "sup", "section", "video"):
        expect(answer(chat).locator(element)).to_have_count(0)
    expect(answer(chat)).to_contain_text("<b>bold</b> &lt;i&gt; a[1] strong and soft")
    expect(answer(chat)).to_contain_text(":\u2060:\u2060:warning")
    expect(answer(chat).locator("li li")).to_have_text("two")
    assert chat.page.evaluate("window.evil") is None
    chat.page.screenshot(path=tmp_path / "hostile.png", full_page=True)


def test_no_key_reaches_the_browser_or_the_log(application: Server, fakes: Fakes, visit: Open) -> None:
    """Both servers refuse, and repeat the key they were given in doing so."""
    received: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: received.append(str(frame)))

    chat = visit(application)
    chat.page.on("websocket", listen)
    chat.page.reload()
    ready(chat)
    fakes.openai.always(Fault.UNAUTHORIZED)
    fakes.web.always(Fault.UNAUTHORIZED)
    choose(chat, "Web")
    chat.ask("What is clinical metabolomics?")
    chat.wait_for_answers()
    why(chat)
    assert any("Clinical metabolomics is the study" in frame for frame in received)
    known = [*received, chat.page.content(), application.log.read_text(encoding="utf-8")]
    known += [
        chat.page.request.get(f"{application.url}{path}").text() for path in ("/", "/health", "/project/settings")
    ]
    assert [text for text in known if "canary" in text] == []


def test_a_phone_shows_choices_sources_and_reasons(
    application: Server, fakes: Fakes, visit: Open, tmp_path: Path
) -> None:
    chat = ready(visit(application, width=390, height=844, scheme="dark"))
    expect(chat.page.get_by_role("button", name="Papers", exact=True)).to_be_visible()
    choose(chat, "Web")
    chat.ask("Which databases of metabolites are there?")
    chat.wait_for_answers()
    expect(why(chat)).to_be_visible()
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= 390
    chat.page.screenshot(path=tmp_path / "phone.png")


@pytest.mark.soak
def test_a_closed_tab_ends_the_models_work_after_its_grace(chat: Visit, fakes: Fakes) -> None:
    fakes.openai.answer("Many words follow. " * 600)
    fakes.openai.then(Fault.SLOW_TOKENS, seconds=0.1)
    abandoned = fakes.openai.abandoned
    chat.ask("What is clinical metabolomics?")
    expect(answer(chat)).to_contain_text("Many words follow.")
    chat.page.close()
    fakes.wait(fakes.openai.until(lambda: fakes.openai.abandoned == abandoned + 1, seconds=60))
