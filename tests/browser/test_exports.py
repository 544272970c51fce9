"""Answers saved as files from the chat, in a real browser.

The pictures it takes are for people to look at: run with `--basetemp=DIR`, and find them there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from .conftest import Server, Visit

pytestmark = pytest.mark.browser

Open = Callable[..., Visit]


def opened(chat: Visit) -> Locator:
    """The buttons under the last answer."""
    chat.page.locator(".cmo-export summary").last.click()
    return chat.page.locator(".cmo-export").last


def saved(chat: Visit, button: str) -> tuple[str, str]:
    """Name and text of the file that a button saves."""
    with chat.page.expect_download() as download:
        chat.page.get_by_role("button", name=button).last.click()
    return download.value.suggested_filename, download.value.path().read_text(encoding="utf-8")


def test_an_answer_is_saved_in_each_format(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    opened(chat)

    files = dict(saved(chat, f"This answer as {form}") for form in ("Markdown", "BibTeX", "RIS", "CSL-JSON"))

    assert list(files) == ["answer.md", "answer.bib", "answer.ris", "answer.json"]
    assert files["answer.md"].startswith("# What is it?\n\nClinical metabolomics is the study of small molecules")
    assert "@misc{what," in files["answer.bib"]
    assert files["answer.ris"].count("ER  - ") == 3
    assert [item["custom"]["evidence"][0]["page"] for item in json.loads(files["answer.json"])] == [3, 1, 1]


def test_a_conversation_is_saved_as_one_file(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    expect(opened(chat).get_by_text("This conversation as")).to_have_count(0)
    chat.ask("And then?")
    chat.wait_for_answers(2)
    opened(chat)

    name, text = saved(chat, "This conversation as Markdown")

    assert name == "conversation.md"
    assert text.index("# What is it?") < text.index("# And then?")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_the_buttons_fit_the_screen(server: Server, visit: Open, tmp_path: Path, scheme: str, width: int) -> None:
    chat = visit(server, scheme=scheme, width=width)
    chat.ask("What is it?")
    chat.wait_for_answers()
    last = opened(chat).get_by_role("button").last
    expect(last).to_be_in_viewport()
    chat.page.screenshot(path=str(tmp_path / f"export-{scheme}-{width}.png"))
    box = last.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= width
