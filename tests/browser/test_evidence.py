"""What a person sees of an answer's quality, in a real browser, over an application that plays a script.

The pictures it takes are for people to look at: run with `--basetemp=DIR`, and find them there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from .conftest import Server, Visit
from .test_chat import CONTRAST

pytestmark = pytest.mark.browser

Open = Callable[..., Visit]


def asked(chat: Visit, question: str = "evidence please") -> Visit:
    chat.ask(question)
    chat.wait_for_answers()
    chat.page.locator(".cmo-feedback").wait_for()
    return chat


def badge(chat: Visit) -> Locator:
    return chat.page.locator(".cmo-quality .cmo-badge")


def panel(chat: Visit) -> Locator:
    return chat.page.locator(".cmo-evidence")


def sentence(chat: Visit, number: int) -> Locator:
    return panel(chat).locator(".cmo-sentence").nth(number)


def mark(chat: Visit, words: str) -> Locator:
    return chat.page.locator('.message-content a[href^="#cmo-"]', has_text=words).first


def thumb(chat: Visit, name: str) -> Locator:
    return chat.page.get_by_role("button", name=name, exact=True)


def test_the_badge_opens_the_evidence_and_gets_the_focus_back(server: Server, visit: Open) -> None:
    chat = asked(visit(server))
    expect(badge(chat)).to_have_text("Acceptable 0.70")
    expect(chat.page.locator(".cmo-quality")).to_contain_text("Supported: 1 of 7")
    expect(badge(chat)).to_have_attribute("aria-expanded", "false")

    badge(chat).press("Enter")

    expect(panel(chat)).to_be_focused()
    expect(badge(chat)).to_have_attribute("aria-expanded", "true")
    verdicts = ["supported", "related", "contradicted", "not found", "cannot be checked", "related", "related"]
    expect(panel(chat).locator(".cmo-verdict b")).to_have_text(
        [f"{sign} {word}" for sign, word in zip("✓≈✗?–≈≈", verdicts, strict=True)]
    )
    expect(sentence(chat, 1)).to_contain_text("It began with mass spectrometry.")
    expect(sentence(chat, 2)).to_contain_text("judged by the model")
    expect(sentence(chat, 2).locator("blockquote")).to_contain_text("rise years before")
    expect(sentence(chat, 3)).to_contain_text("It cites: [2] Plasma metabolomics")
    panel(chat).get_by_text("Why this score?").click()
    for words in (
        "Relevance 0.91 (weight 0.4)",
        "House style 0.50",
        "cannot be read here: 1",
        "What such scores cannot see",
    ):
        expect(panel(chat).get_by_text(words)).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(panel(chat)).to_have_count(0)
    expect(badge(chat)).to_be_focused()


def test_sentences_without_support_are_marked_and_lead_to_their_evidence(server: Server, visit: Open) -> None:
    chat = asked(visit(server))
    items = chat.page.locator(".message-content li")
    expect(items.nth(1)).to_have_text(
        "Branched-chain amino acids fall years before diabetes is diagnosed. [2] contradicted by the page"
    )
    expect(items.nth(2)).to_have_text("Valine cures it. [2] not found on the page")
    expect(chat.page.locator(".message-content [role=article]").first).to_have_text(
        "Clinical metabolomics is the study of small molecules in samples from patients. [1]"
    )

    mark(chat, "not found on the page").press("Enter")

    expect(sentence(chat, 3)).to_be_focused()
    expect(sentence(chat, 3)).to_have_attribute("aria-current", "true")
    assert len(chat.page.context.pages) == 1
    chat.page.keyboard.press("Escape")
    expect(mark(chat, "not found on the page")).to_be_focused()


def test_a_sentences_page_opens_with_its_quote_marked_and_leads_back(
    server: Server, visit: Open, tmp_path: Path
) -> None:
    chat = asked(visit(server))
    badge(chat).click()
    sentence(chat, 2).get_by_role("button").click()
    hits = chat.page.locator("mark.cmo-hit")
    expect(hits.first).to_be_visible()
    assert (
        "".join(hits.all_inner_texts())
        == "Branched-chain amino acids rise years before diabetes is diagnosed (p < 0.001)."
    )
    expect(chat.page.locator(".cmo-passage")).to_contain_text("support 12 %")
    chat.page.screenshot(path=tmp_path / "marked.png")
    chat.page.get_by_role("button", name="Back to the evidence").click()
    expect(sentence(chat, 2)).to_be_focused()


def test_words_that_stand_there_twice_or_in_part_get_no_mark(server: Server, visit: Open) -> None:
    chat = asked(visit(server))
    badge(chat).click()
    for number in (1, 5, 6):
        sentence(chat, number).get_by_role("button").click()
        expect(chat.page.get_by_text("Not marked on the page")).to_be_visible()
        expect(chat.page.locator("#side-view-content mark")).to_have_count(0)
        chat.page.get_by_role("button", name="Back to the evidence").click()


def test_an_answer_without_a_score_says_why(server: Server, visit: Open) -> None:
    chat = asked(visit(server), "unassessed please")
    expect(chat.page.locator(".cmo-quality")).to_have_text("Not assessed It took too long.")
    expect(chat.page.locator(".cmo-quality button")).to_have_count(0)


def test_thumbs_and_comments_are_kept_and_taken_back(server: Server, visit: Open) -> None:
    chat = asked(visit(server))
    told = chat.page.locator(".cmo-feedback [role=status]")
    kept = server.papers.with_name("feedback")
    full = server.papers.with_name("full")
    full.touch()
    thumb(chat, "Helpful").click()
    expect(chat.page.get_by_text("The database is full.")).to_be_visible()
    expect(told).to_have_text("This could not be kept.")
    full.unlink()

    thumb(chat, "Helpful").press("Enter")
    expect(told).to_have_text("Thank you.")
    expect(thumb(chat, "Helpful")).to_be_focused()
    expect(thumb(chat, "Helpful")).to_have_attribute("aria-pressed", "true")
    comment = chat.page.get_by_role("textbox", name="Comment, if you like")
    expect(comment).to_have_attribute("maxlength", "2000")
    comment.press_sequentially("Well said.")
    with chat.page.expect_response("**/project/action"):
        thumb(chat, "Send").click()
    with chat.page.expect_response("**/project/action"):
        thumb(chat, "Not helpful").click()
    with chat.page.expect_response("**/project/action"):
        thumb(chat, "Not helpful").click()
    expect(told).to_have_text("Taken back.")
    expect(comment).to_have_count(0)
    assert kept.read_text().splitlines() == ["up ", "up Well said.", "down Well said.", "None "]


def test_metabolites_are_chips_that_open_their_entries(server: Server, visit: Open) -> None:
    chat = asked(visit(server))
    chips = chat.page.locator(".cmo-compound")
    expect(chips).to_have_count(13)
    chips.last.click()
    expect(chips).to_have_count(14)
    chips.first.press("Enter")
    expect(chips.first).to_have_attribute("aria-expanded", "true")
    expect(chat.page.locator(".cmo-entries a")).to_have_text(["CHEBI:25017", "HMDB0000687"])
    expect(chat.page.locator(".cmo-entries a").first).to_have_attribute("rel", "noopener noreferrer")


def test_a_translated_answer_runs_its_own_way_and_shows_its_original(
    server: Server, visit: Open, tmp_path: Path
) -> None:
    chat = asked(visit(server), "translated please")
    expect(chat.page.locator(".message-content").last).to_have_css("direction", "rtl")
    expect(chat.page.locator(".cmo-facts")).to_contain_text("Google")
    original = chat.page.locator(".cmo-original")
    original.locator("summary").click()
    expect(original.locator("p")).to_have_text("Leucine rises. [2] Valine falls. [2]")
    expect(original.locator("p")).to_have_css("direction", "ltr")
    badge(chat).click()
    expect(sentence(chat, 0)).to_contain_text("Leucine rises.")
    chat.page.wait_for_function("document.querySelector('.cmo-evidence').getBoundingClientRect().right <= 1280")
    chat.page.screenshot(path=tmp_path / "arabic.png")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_the_evidence_can_be_read_on_every_screen(
    server: Server, visit: Open, tmp_path: Path, scheme: str, width: int
) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1 for text."""
    chat = asked(visit(server, scheme=scheme, width=width))
    chat.page.locator(".cmo-compound").first.click()
    thumb(chat, "Helpful").click()
    expect(chat.page.get_by_text("Thank you.")).to_be_visible()
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in (
        ".cmo-badge",
        ".cmo-feedback p",
        ".cmo-entries a",
        *(f'a[href^="#cmo-{each}-"]' for each in MARKED),
    ):
        assert chat.page.evaluate(CONTRAST, selector) >= 4.5, selector
    chat.page.screenshot(path=tmp_path / f"answer-{scheme}-{width}.png")
    badge(chat).click()
    expect(panel(chat)).to_be_visible()
    for selector in (
        ".cmo-supported b",
        *(f".cmo-sentence.cmo-{each} b" for each in MARKED),
        ".cmo-evidence li button",
    ):
        assert chat.page.evaluate(CONTRAST, selector) >= 4.5, selector
    panel(chat).get_by_text("Why this score?").click()
    # The panel slides in: what counts is where it comes to rest.
    chat.page.wait_for_function(
        "width => { const box = document.querySelector('.cmo-evidence')?.getBoundingClientRect();"
        " return box && box.left >= 0 && box.right <= width; }",
        arg=width,
    )
    chat.page.screenshot(path=tmp_path / f"panel-{scheme}-{width}.png")


MARKED = ("related", "not_found", "contradicted", "unchecked")
