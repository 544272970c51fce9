"""The whole application, as it is started for the first time: the sample papers are read, then asked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import pypdfium2
import pytest
from playwright.sync_api import expect

from .conftest import PROJECT, Server, Visit

pytestmark = pytest.mark.browser

PATIENCE_MS = 120_000


def test_the_sample_papers_answer_what_clinical_metabolomics_is(
    serve: Callable[..., Server], visit: Callable[..., Visit]
) -> None:
    samples = sorted((PROJECT / "papers").glob("clinical-metabolomics-*.pdf"))
    server = serve(app=PROJECT / "app.py", papers=None)
    chat = visit(server)
    expect(chat.page.get_by_text("Your library is empty.")).to_be_visible(timeout=PATIENCE_MS)
    for sample in samples:
        shutil.copy(sample, server.papers)

    chat.page.get_by_role("button", name="Index papers").click()
    expect(chat.page.get_by_text(f"Ready to be searched. Papers: {len(samples)}")).to_be_visible(timeout=PATIENCE_MS)
    chat.page.get_by_role("button", name="What is clinical metabolomics?").click()
    chat.page.locator(".cmo-facts").wait_for(timeout=PATIENCE_MS)

    chat.page.locator("a.cmo-marker", has_text="[1]").first.click()
    quote = chat.page.locator(".cmo-passage blockquote").inner_text()
    number = chat.page.locator(".side-pdf .react-pdf__Page").get_attribute("data-page-number")
    name = re.search(r"clinical-metabolomics-\S+\.pdf", chat.page.locator(".cmo-passage").inner_text())
    assert number is not None
    assert name is not None
    assert _words(quote.split(" … ")[0]) in _words(_page_text(server, name[0], int(number)))


def _page_text(server: Server, name: str, number: int) -> str:
    pdf = pypdfium2.PdfDocument(server.papers / name)
    text: str = pdf[number - 1].get_textpage().get_text_range()
    pdf.close()
    return text


def _words(text: str) -> str:
    return re.sub(r"\W+", "", text)
