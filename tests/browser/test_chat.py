"""The chat in a real browser, over an application that plays a script."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from .conftest import Server, Visit

pytestmark = pytest.mark.browser

Open = Callable[..., Visit]


def marker(visit: Visit, number: int) -> Locator:
    return visit.page.locator("a.cmo-marker", has_text=f"[{number}]").last


def shown_page(visit: Visit) -> Locator:
    return visit.page.locator(".side-pdf .react-pdf__Page")


def guest(visit: Visit) -> str:
    return next(c["value"] for c in visit.page.context.cookies() if c.get("name", "").startswith("cmo_guest"))  # type: ignore[return-value]


def test_the_welcome_page_offers_questions_of_the_papers(server: Server, visit: Open) -> None:
    page = visit(server).page
    expect(page.locator("#starters button")).to_have_count(4)
    expect(page.get_by_role("button", name="What is clinical metabolomics?")).to_be_visible()
    caution = page.evaluate("getComputedStyle(document.querySelector('#welcome-screen'), '::after').content")
    assert "not for diagnosis" in caution


def test_a_starter_asks_its_question(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.page.get_by_role("button", name="What is clinical metabolomics?").click()
    chat.wait_for_answers()
    expect(chat.page.locator(".message-content").last).to_contain_text("the study of small molecules")


def test_an_answer_has_markers_sources_and_facts(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    answer = chat.page.locator(".message-content").last
    expect(answer).to_contain_text("diagnosed (p < 0.001). [2]")
    expect(answer).to_contain_text("Plasma metabolomics in early type 2 diabetes: a *cohort* study, p. 1")
    expect(chat.page.locator(".cmo-facts")).to_have_text("Your papers · MiniLM extractive · 0.4 s · no cost")


def test_an_answer_is_streamed(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("slow please")
    expect(chat.page.locator(".message-content").last).to_contain_text("word3")
    expect(chat.page.locator("#stop-button")).to_be_visible()
    assert "word599" not in chat.page.locator(".message-content").last.inner_text()


def test_stop_ends_the_answer_and_says_so(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("slow please")
    expect(chat.page.locator(".message-content").last).to_contain_text("word3")
    chat.page.locator("#stop-button").click()
    expect(chat.page.locator(".message-content").last).to_contain_text("Stopped.")
    expect(chat.page.get_by_text("Task manually stopped")).to_have_count(0)
    chat.ask("What is it?")
    chat.wait_for_answers()


def test_no_panel_opens_by_itself(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    expect(chat.page.locator("#side-view-content")).to_have_count(0)


def test_a_marker_opens_the_pdf_at_its_page_with_the_quote(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    marker(chat, 1).click()
    expect(shown_page(chat)).to_have_attribute("data-page-number", "3")
    expect(chat.page.locator(".cmo-passage")).to_contain_text("the study of small molecules in samples")
    expect(chat.page.locator(".cmo-hit").first).to_contain_text("Clinical metabolomics is the study")
    expect(chat.page.locator("#side-view-title")).to_contain_text("What clinical metabolomics is")


def test_page_one_opens_after_another_page(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    for number, page in ((1, "3"), (2, "1"), (1, "3")):
        marker(chat, number).click()
        expect(shown_page(chat)).to_have_attribute("data-page-number", page)


def test_a_text_document_opens_at_its_passage(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    marker(chat, 3).click()
    expect(chat.page.locator(".cmo-passage mark")).to_have_text(
        "Leucine, isoleucine and valine are the branched-chain amino acids."
    )


def test_the_panel_stays_open_over_the_next_answer(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    marker(chat, 1).click()
    expect(shown_page(chat)).to_be_visible()
    chat.ask("And then?")
    chat.wait_for_answers(2)
    expect(shown_page(chat)).to_have_attribute("data-page-number", "3")


def test_the_keyboard_opens_and_closes_a_source(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    expect(marker(chat, 1)).to_have_attribute("aria-label", re.compile("^Source 1: .*, page 3$"))
    marker(chat, 1).focus()
    chat.page.keyboard.press("Enter")
    expect(shown_page(chat)).to_be_visible()
    expect(chat.page.get_by_role("button", name="Close the source")).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.page.locator("#side-view-content")).to_have_count(0)
    expect(marker(chat, 1)).to_be_focused()


def test_a_marker_works_when_the_server_is_gone(visit: Open, serve: Callable[..., Server]) -> None:
    server = serve(CMO_FAKE="ready")
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    marker(chat, 2).click()
    expect(shown_page(chat)).to_be_visible()
    server.process.kill()
    server.process.wait()
    marker(chat, 1).click()
    expect(chat.page.locator(".cmo-passage")).to_contain_text("the study of small molecules")


def test_markers_are_links_without_any_script(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    link = marker(chat, 1).get_attribute("href") or ""
    assert re.fullmatch(r"/papers/doc-[0-9a-f]{16}\.pdf#page=3", link)
    assert chat.page.request.get(f"{server.url}{link}").headers["content-type"] == "application/pdf"


def test_each_stage_is_a_step(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    expect(chat.page.get_by_text("20 passages of 3 papers read")).to_have_count(0)
    chat.page.get_by_role("button", name="How this was answered").click()
    stages = ("Understanding the question", "Deciding where to look", "Looking for an answer", "Checking the citations")
    for stage in stages:
        expect(chat.page.get_by_role("button", name=stage)).to_be_visible()
    expect(chat.page.get_by_text("20 passages of 3 papers read")).to_be_visible()


def test_a_follow_up_knows_the_questions_before(server: Server, visit: Open) -> None:
    chat = visit(server)
    for count, question in enumerate(("What is it?", "And why?", "And how?"), start=1):
        chat.ask(question)
        chat.wait_for_answers(count)
    chat.page.get_by_role("button", name="How this was answered").last.click()
    expect(chat.page.get_by_text("And how? (2 earlier)")).to_be_visible()


def test_a_refusal_looks_different_and_links_the_nearest_pages(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What about the weather?")
    chat.wait_for_answers()
    answer = chat.page.locator(".message-content").last
    expect(answer.locator("blockquote")).to_contain_text("The papers do not answer this.")
    answer.get_by_role("link", name="What clinical metabolomics is").click()
    expect(shown_page(chat)).to_have_attribute("data-page-number", "3")


def test_doubt_is_said(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("An uncertain thing?")
    chat.wait_for_answers()
    expect(chat.page.locator(".message-content blockquote")).to_contain_text("please check the cited page")


def test_the_unexpected_gets_an_incident_id(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("crash please")
    told = chat.page.get_by_text("Something went wrong")
    expect(told).to_be_visible()
    incident = re.search(r"[0-9a-f]{8}", told.inner_text())
    assert incident is not None
    assert f"incident={incident[0]}" in server.log.read_text()
    assert "password" not in chat.page.locator("body").inner_text()


def test_our_own_errors_are_shown_as_they_are(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("unavailable please")
    expect(chat.page.get_by_text("The papers cannot be searched now")).to_be_visible()


def test_questions_are_not_logged(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("Is zebrafish leucine odd?")
    chat.wait_for_answers()
    assert "zebrafish" not in server.log.read_text()


def test_questions_are_shown_as_typed(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("Is ![x](/favicon) <b>bold</b> a *question*?")
    chat.wait_for_answers()
    expect(chat.page.get_by_text("Is ![x](/favicon) <b>bold</b> a *question*?").first).to_be_visible()


def test_a_reload_starts_anew_with_the_same_guest(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.ask("What is it?")
    chat.wait_for_answers()
    before = guest(chat)
    chat.page.reload()
    expect(chat.page.locator("#starters button")).to_have_count(4)
    assert guest(chat) == before
    chat.ask("What is it?")
    chat.wait_for_answers()


def test_guests_differ_and_scripts_cannot_see_them(server: Server, visit: Open) -> None:
    one, two = visit(server), visit(server)
    assert guest(one) != guest(two)
    assert "cmo_guest" not in one.page.evaluate("document.cookie")


def test_a_phone_shows_everything(server: Server, visit: Open) -> None:
    chat = visit(server, width=390, height=844)
    chat.ask("What is it?")
    chat.wait_for_answers()
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= 390
    marker(chat, 1).click()
    expect(shown_page(chat)).to_have_attribute("data-page-number", "3")
    # The panel slides in: what counts is where it comes to rest.
    chat.page.wait_for_function(
        "() => { const box = document.querySelector('.side-pdf canvas')?.getBoundingClientRect();"
        " return box && box.left >= 0 && box.right <= 390; }"
    )
    chat.page.get_by_role("button", name="Close").click()
    expect(chat.page.locator("#side-view-content")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system(server: Server, visit: Open, scheme: str) -> None:
    page = visit(server, scheme=scheme).page
    expect(page.locator("html")).to_have_class(scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(server: Server, visit: Open, scheme: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1 for text."""
    chat = visit(server, scheme=scheme)
    chat.ask("An uncertain thing?")
    chat.wait_for_answers()
    for selector in (".cmo-facts", "a.cmo-marker", ".message-content ol a", "blockquote", ".watermark"):
        assert chat.page.evaluate(CONTRAST, selector) >= 4.5, selector


def test_the_library_button_lists_papers_and_problems(server: Server, visit: Open) -> None:
    chat = visit(server)
    chat.page.get_by_role("button", name="Library").click()
    expect(chat.page.get_by_text("Papers: 3, pages: 12.")).to_be_visible()
    expect(chat.page.get_by_text("has no text, only pictures of pages (needs_ocr)")).to_be_visible()
    expect(chat.page.get_by_role("button", name="Index papers")).to_be_visible()


def test_an_empty_library_says_what_to_do(serve: Callable[..., Server], visit: Open) -> None:
    server = serve(CMO_FAKE="empty", papers=None)
    chat = visit(server)
    expect(chat.page.get_by_text(str(server.papers))).to_be_visible()
    chat.ask("What is it?")
    expect(chat.page.get_by_text("Your library is empty.")).to_have_count(2)


def test_indexing_is_shown_and_questions_are_answered_meanwhile(serve: Callable[..., Server], visit: Open) -> None:
    server = serve(CMO_FAKE="indexing")
    chat = visit(server)
    expect(chat.page.get_by_role("progressbar")).to_be_visible()
    expect(chat.page.get_by_text("files: 0 of 3")).to_be_visible()
    chat.ask("What is it?")
    expect(chat.page.get_by_text("answered as soon as the first paper is in. Files read: 0 of 3.")).to_be_visible()
    server.papers.with_name("step-1").touch()
    expect(chat.page.get_by_text("files: 1 of 3 · pages: 4 · passages: 31 · about 14 s left")).to_be_visible()
    chat.wait_for_answers()
    expect(chat.page.get_by_text("The index was unfinished")).to_be_visible()
    for step in (2, 3, 4):
        server.papers.with_name(f"step-{step}").touch()
    expect(chat.page.get_by_text("Ready to be searched. Papers: 3")).to_be_visible()
    chat.page.get_by_role("button", name="What is clinical metabolomics?").click()
    chat.wait_for_answers(2)


def test_indexing_can_be_stopped(serve: Callable[..., Server], visit: Open) -> None:
    server = serve(CMO_FAKE="indexing")
    chat = visit(server)
    chat.page.get_by_role("button", name="Stop indexing").click()
    expect(chat.page.get_by_role("progressbar")).to_have_count(0)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/mcp", "/papers/doc-0000000000000000.pdf"])
def test_closed_routes_are_not_found(server: Server, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.url}{path}", timeout=5)


def test_health_is_ours(server: Server) -> None:
    with urllib.request.urlopen(f"{server.url}/health", timeout=5) as answer:
        assert json.load(answer)["version"]


CONTRAST = """selector => {
  const element = document.querySelector(selector)
  const channels = colour => (colour.match(/[\\d.]+/g) || []).map(Number)
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
  const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  let behind = element
  while (behind && (channels(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 0.5) behind = behind.parentElement
  const back = light(channels(getComputedStyle(behind || document.body).backgroundColor))
  const front = light(channels(getComputedStyle(element).color))
  return (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05)
}"""
