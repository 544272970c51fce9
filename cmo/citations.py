"""Numbers, markers and the bibliography of an answer. Pure: values in, values and text out.

Every marker [n] stands for one Citation, and every Citation for a sentence that was read on its page; there is no other
way to make one here, so a citation cannot point nowhere.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from urllib.parse import quote

from cmo.values import Citation, EvidenceSentence

MARKER = re.compile(r"""(?<=[.!?…:\])"'”’»] )\[(\d{1,3})\](?=\s|$)""")
"""A citation marker in an answer's text.

It stands after the end of a sentence or after another marker, so that the paper's own "[12]" within a sentence is not
taken for one.
"""


def page_url(doc_id: str, page: int) -> str:
    """The application's own address of one page of a document."""
    return f"/papers/{quote(doc_id, safe='')}.pdf#page={page}"


def cite(sentences: Sequence[EvidenceSentence]) -> tuple[Citation, ...]:
    """One citation per page, in the order of first use, its quote being the sentences taken from that page.

    The quote's sentences stand in the order they have on the page, joined by " … " where they do not touch.
    """
    pages: dict[tuple[str, int], list[EvidenceSentence]] = {}
    for sentence in sentences:
        pages.setdefault((sentence.document.doc_id, sentence.passage.page), []).append(sentence)
    return tuple(_citation(number, found) for number, found in enumerate(pages.values(), start=1))


def marked_sentences(sentences: Sequence[EvidenceSentence], citations: Sequence[Citation]) -> list[str]:
    """Each sentence, followed by the marker of the citation its page has."""
    numbers = {(citation.doc_id, citation.page): citation.number for citation in citations}
    return [f"{sentence.text} [{numbers[sentence.document.doc_id, sentence.passage.page]}]" for sentence in sentences]


def bibliography(citations: Sequence[Citation]) -> list[str]:
    """One line per citation: number, title and page."""
    return [f"[{citation.number}] {citation.title}, p. {citation.page}" for citation in citations]


def _citation(number: int, sentences: Sequence[EvidenceSentence]) -> Citation:
    first = sentences[0]
    return Citation(
        number=number,
        document=first.document.file,
        title=first.document.title,
        page=first.passage.page,
        quote=_quote(sentences),
        url=page_url(first.document.doc_id, first.passage.page),
        doc_id=first.document.doc_id,
    )


def _quote(sentences: Sequence[EvidenceSentence]) -> str:
    in_page_order = sorted(sentences, key=lambda sentence: sentence.start)
    parts = [in_page_order[0].text]
    for before, sentence in itertools.pairwise(in_page_order):
        parts.append((" " if sentence.start - before.end <= 2 else " … ") + sentence.text)
    return "".join(parts)
