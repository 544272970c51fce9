"""How long the first word of an answer takes from the model's server to the page that shows it.

The real application is started on the papers that come with it, with servers in this process that play OpenAI and
Perplexity, and asked in a real Chromium, five questions in each chat. Measured is the time from the moment the server
had sent its first token to the moment that word stands in the page's document; all of it is on one machine, so there
is one clock. The aim is 150 ms.

    python -m benchmarks.first_word [--questions 20]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from playwright.async_api import Page, async_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.load import PROJECT, Server, library_of, serving
from tests.servers import FakeOpenAI, FakePerplexity

AIM_MS = 150.0
KEY = "sk-benchmark"
DELAY_SECONDS = 0.3
"""Before the first token. Real servers take longer; without any, what is measured is how long the page takes to draw
the steps before it."""
TOKEN_SECONDS = 0.02
IN_ONE_CHAT = 5
WORDS = 40
"""So many words follow the first one."""
PATIENCE_MS = 60_000
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking".split()

WATCH = """() => {
  new MutationObserver(() => {
    if (window.shownAt || !window.awaited) return
    const messages = [...document.querySelectorAll('.message-content')]
    if (messages.some(message => message.textContent.includes(window.awaited))) window.shownAt = Date.now()
  }).observe(document.body, { childList: true, subtree: true, characterData: true })
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one engine's questions took, in milliseconds."""

    engine: str
    times: Sequence[float]

    @property
    def median(self) -> float:
        """Of all times."""
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        """What 95 of 100 stay below."""
        return statistics.quantiles(self.times, n=20, method="inclusive")[-1]


async def main_async(questions: int) -> bool:
    """Measure both engines; whether the aim is met."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("chromium is not installed")
        return False
    async with (
        FakeOpenAI(delay_seconds=DELAY_SECONDS, token_seconds=TOKEN_SECONDS) as model,
        FakePerplexity(delay_seconds=DELAY_SECONDS, token_seconds=TOKEN_SECONDS) as web,
    ):
        os.environ |= {
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": KEY,
            "PERPLEXITY_BASE_URL": web.url,
            "PERPLEXITY_API_KEY": KEY,
        }
        with library_of(PROJECT / "papers") as library:
            await asyncio.to_thread(library.index)
            async with serving(library, app="app.py") as server, async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                page = await browser.new_page()
                page.set_default_timeout(PATIENCE_MS)
                results = [
                    await measured(page, server, model, "Papers", questions),
                    await measured(page, server, web, "Web", questions),
                ]
                await browser.close()
    show(results)
    return all(result.p95 <= AIM_MS for result in results)


async def measured(
    page: Page, server: Server, fake: FakeOpenAI | FakePerplexity, engine: str, questions: int
) -> Measured:
    """Ask so many questions, and one more before them that nobody measures: it loads the models."""
    times = []
    for number in range(questions + 1):
        if number % IN_ONE_CHAT == 0:
            await new_chat(page, server, engine)
        times.append(await first_word(page, fake, f"{engine}{number}"))
    return Measured(engine=engine, times=times[1:])


async def new_chat(page: Page, server: Server, engine: str) -> None:
    """An empty chat in which this engine is chosen."""
    await page.goto(server.url)
    await page.locator(f"#command-{engine}").click()
    await page.locator(f"#command-{engine}.text-command").wait_for()
    await page.evaluate(WATCH)


async def first_word(page: Page, fake: FakeOpenAI | FakePerplexity, word: str) -> float:
    """Milliseconds from the server to the page."""
    fake.answer(f"{word} " + "follows and " * (WORDS // 2))
    await page.evaluate("word => { window.awaited = word; window.shownAt = 0 }", word)
    await page.locator("#chat-input").click()
    await page.keyboard.type(f"What is a biomarker of kind {word.lower()}?")
    await page.keyboard.press("Enter")
    await page.locator("#stop-button").wait_for()
    shown = await page.wait_for_function("() => window.shownAt")
    await page.locator("#stop-button").wait_for(state="detached")
    assert fake.first_token_sent_at is not None
    sent_at = fake.first_token_sent_at + time.time() - time.monotonic()
    return float(await shown.json_value()) - 1000 * sent_at


def show(results: Sequence[Measured]) -> None:
    table = Table(title=f"First word: from the server to the page, milliseconds (aim {AIM_MS:.0f})")
    for column in ("engine", "questions", "median", "p95", "most"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for result in results:
        figures = (result.median, result.p95, max(result.times))
        table.add_row(result.engine, str(len(result.times)), *(f"{figure:.0f}" for figure in figures))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--questions", type=int, default=20, help="for each engine")
    sys.exit(0 if asyncio.run(main_async(parser.parse_args().questions)) else 1)


if __name__ == "__main__":
    main()
