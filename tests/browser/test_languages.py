"""Questions in French and Chinese, in a real browser: the whole application, and a translation service on loopback."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.faults.world import PAPERS
from tests.servers.libretranslate import FakeLibreTranslate

from .conftest import PROJECT, Server, Visit

pytestmark = pytest.mark.browser

Open = Callable[..., Visit]

QUESTION = "Que signifie un lactate sanguin élevé dans le sepsis ?"
ENGLISH = "In patients with sepsis a blood lactate above four millimoles per litre goes with a high mortality."
FRENCH = (
    "Chez les malades atteints de sepsis, un lactate sanguin supérieur à 4 mmol/L va de pair avec une mortalité élevée."
)
CHINESE = "在脓毒症患者中，血液 lactate 高于 4 mmol/L 者死亡率较高。"


def indexed_papers(folder: Path) -> None:
    """A few short papers, read before anybody asks."""
    for name, text in PAPERS.items():
        (folder / name).write_text(text, encoding="utf-8")
    storage = folder.parent / "storage"
    command = [sys.executable, "-m", "cmo", "index", "--papers", str(folder), "--storage", str(storage)]
    subprocess.run(command, check=True, cwd=PROJECT, capture_output=True)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of the service, which runs in a thread whose loop is its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    fake = FakeLibreTranslate()
    asyncio.run_coroutine_threadsafe(fake.__aenter__(), loop).result(timeout=20)
    yield fake.url
    asyncio.run_coroutine_threadsafe(fake.__aexit__(None, None, None), loop).result(timeout=20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def application(serve: Callable[..., Server], service: str) -> Server:
    return serve(
        app=PROJECT / "app.py", papers=indexed_papers, CMO_TRANSLATION="libretranslate", LIBRETRANSLATE_URL=service
    )


def answered(chat: Visit, question: str) -> Visit:
    chat.ask(question)
    chat.page.locator(".cmo-feedback").wait_for(timeout=60_000)
    return chat


def test_a_french_question_gets_a_french_answer_that_can_be_checked(
    application: Server, visit: Open, tmp_path: Path
) -> None:
    chat = answered(visit(application), QUESTION)

    expect(chat.page.locator(".message-content").last).to_contain_text(FRENCH)
    expect(chat.page.locator(".cmo-facts").last).to_contain_text("traduit par LibreTranslate")
    expect(chat.page.locator(".cmo-quality")).to_contain_text("Étayée")
    chat.page.locator(".cmo-badge").click()
    evidence = chat.page.locator(".cmo-evidence")
    expect(evidence.locator(".cmo-sentence").first).to_contain_text(FRENCH)
    expect(evidence.locator(".cmo-sentence").first).to_contain_text(ENGLISH)
    chat.page.screenshot(path=tmp_path / "french.png")


def test_a_thumb_on_it_is_kept_with_its_quality(application: Server, visit: Open) -> None:
    chat = answered(visit(application), QUESTION)

    chat.page.get_by_role("button", name="Utile", exact=True).click()

    expect(chat.page.locator(".cmo-feedback [role=status]")).not_to_be_empty()
    with sqlite3.connect(application.papers.parent / "storage" / "cmo.sqlite3") as database:
        kept = database.execute(
            "SELECT f.thumb, q.composite > 0.7 FROM feedback AS f JOIN questions AS q USING (question_id)"
        ).fetchall()
    database.close()
    assert kept == [("up", 1)]


def test_a_chinese_question_gets_a_chinese_answer_whose_markers_open_the_page(
    application: Server, visit: Open, tmp_path: Path
) -> None:
    chat = answered(visit(application, width=390, scheme="dark"), "脓毒症患者血乳酸升高意味着什么？")

    message = chat.page.locator(".message-content").last
    expect(message).to_contain_text(CHINESE)
    expect(message.locator("a.cmo-marker").first).to_have_text("[1]")
    chat.page.screenshot(path=tmp_path / "chinese.png")
    message.locator("a.cmo-marker").first.click()
    expect(chat.page.locator(".cmo-passage blockquote")).to_contain_text(ENGLISH)


def test_without_a_service_the_answer_is_english_and_a_note_in_french_says_so(
    serve: Callable[..., Server], visit: Open
) -> None:
    nobody = serve(
        app=PROJECT / "app.py",
        papers=indexed_papers,
        CMO_TRANSLATION="libretranslate",
        LIBRETRANSLATE_URL="http://127.0.0.1:9",
    )
    chat = answered(visit(nobody), QUESTION)

    message = chat.page.locator(".message-content").last
    expect(message).to_contain_text(ENGLISH)
    expect(message.locator("blockquote")).to_contain_text("anglais")
