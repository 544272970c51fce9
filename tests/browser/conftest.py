"""A real server and a real browser for the tests of this folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fpdf import FPDF
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PROJECT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
START_SECONDS = 60
FAKE_APP = Path(__file__).with_name("fake_app.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    url: str
    log: Path
    papers: Path
    process: subprocess.Popen[bytes]


@dataclass(slots=True, kw_only=True)
class Visit:
    """A page on the chat, and every address it asked for."""

    page: Page
    requests: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        box = self.page.locator("#chat-input")
        box.click()
        self.page.keyboard.type(question)
        self.page.locator("#chat-submit:not([disabled])").wait_for()
        self.page.keyboard.press("Enter")

    def wait_for_answers(self, count: int = 1) -> None:
        self.page.locator(".cmo-facts").nth(count - 1).wait_for()
        self.page.locator("#stop-button").wait_for(state="detached")


# Of the module, not of the session: Playwright keeps an event loop running, and asynchronous tests cannot start then.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts a server of its own for each call; all are stopped after the module."""
    running: list[subprocess.Popen[bytes]] = []

    def start(
        *, app: Path = FAKE_APP, papers: Callable[[Path], None] | None = write_papers, **variables: str
    ) -> Server:
        root = tmp_path_factory.mktemp("chat")
        _copy_project(root)
        if papers is not None:
            papers(root / "papers")
        port = _free_port()
        log = root / "server.log"
        # Where CI is set, Chainlit puts a key of its own in the place of OPENAI_API_KEY.
        environ = {name: value for name, value in os.environ.items() if name != "CI"} | {
            "CHAINLIT_APP_ROOT": str(root),
            "CMO_PAPERS_DIR": str(root / "papers"),
            "CMO_STORAGE_DIR": str(root / "storage"),
            "PYTHONPATH": str(PROJECT),
            **variables,
        }
        command = [sys.executable, "-m", "chainlit", "run", str(app), "-h", "--host", "127.0.0.1", "--port", str(port)]
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=root, env=environ, stdout=output, stderr=subprocess.STDOUT)
        running.append(process)
        server = Server(url=f"http://127.0.0.1:{port}", log=log, papers=root / "papers", process=process)
        _wait_until_up(server)
        return server

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(timeout=15)


@pytest.fixture(scope="module")
def server(browser: Browser, serve: Callable[..., Server]) -> Server:
    return serve(CMO_FAKE="ready")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens the chat in a fresh browser profile; fails the test when anything was asked of another host."""
    contexts: list[BrowserContext] = []
    visits: list[tuple[str, Visit]] = []

    def open_chat(server: Server, *, width: int = 1280, height: int = 860, scheme: str = "light") -> Visit:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        contexts.append(context)
        made = Visit(page=context.new_page())
        made.page.on("request", lambda request: made.requests.append(request.url))
        visits.append((server.url, made))
        made.page.goto(server.url)
        made.page.locator("#command-Library").wait_for()
        return made

    yield open_chat
    for context in contexts:
        context.close()
    for url, made in visits:
        foreign = [address for address in made.requests if not re.match(rf"{re.escape(url)}|data:|blob:", address)]
        assert foreign == [], "the page asked another host"


def write_papers(folder: Path) -> None:
    """Two small PDFs and a text, with the sentences the scripted pipeline cites."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_pdf(
        folder / "primer.pdf",
        3 * ["Introductory text that is not cited."] + ["More text."],
        {3: "Clinical metabolomics is the study of small molecules in samples from patients."},
    )
    _write_pdf(
        folder / "diabetes.pdf",
        2 * ["Results of the cohort."],
        {1: "Branched-chain amino acids rise years before diabetes is diagnosed (p < 0.001)."},
    )
    notes = 30 * ["This line stands here often, and says little.\n"]
    notes.insert(15, "Leucine, isoleucine and valine are the branched-chain amino acids.\n")
    folder.joinpath("notes.txt").write_text("".join(notes), encoding="utf-8")


def copy_samples(folder: Path) -> None:
    """The papers that come with the application."""
    shutil.copytree(PROJECT / "papers", folder, dirs_exist_ok=True)


def _write_pdf(file: Path, pages: list[str], cited: dict[int, str]) -> None:
    pdf = FPDF(format="A4")
    for number, text in enumerate(pages, start=1):
        pdf.add_page()
        pdf.set_font("Helvetica", size=11)
        pdf.multi_cell(0, 6, f"Page {number}. {text} " * 12, new_x="LMARGIN", new_y="NEXT")
        pdf.multi_cell(0, 6, cited.get(number, ""), new_x="LMARGIN", new_y="NEXT")
    pdf.output(str(file))


def _copy_project(root: Path) -> None:
    shutil.copytree(PROJECT / "public", root / "public")
    root.joinpath(".chainlit").mkdir()
    shutil.copy(PROJECT / ".chainlit" / "config.toml", root / ".chainlit" / "config.toml")
    shutil.copy(PROJECT / "chainlit.md", root / "chainlit.md")
    root.joinpath("papers").mkdir()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"the server did not start:\n{server.log.read_text(encoding='utf-8', errors='replace')}")
