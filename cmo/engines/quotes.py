"""The quotation beside each citation of an answer that a model wrote: the sentence of the cited page that fits best.

The model says which passage a claim rests on; which sentence of it is shown is decided here, by shared words. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cmo.citations import ANY_MARKER, page_url
from cmo.models.wording import content_words, stems
from cmo.sentences import is_complete, split_sentences
from cmo.values import Citation, ScoredPassage

_CLAIM_END = re.compile(r"(?!\s*\[\d)(?:(?<=[.!?\]])\s+|(?<=[。！？])|\n+)")
"""Where the next claim begins: markers that follow a full stop belong to the claim before it."""


def citations_of(
    text: str, places: Sequence[tuple[str, int]], passages: Sequence[ScoredPassage]
) -> tuple[Citation, ...]:
    """One citation for each page of a document in `places`, numbered in that order.

    `text` is the answer with its markers [n], `passages` what the model had before it.
    """
    return tuple(
        _citation(number, _claims(text, number), [found for found in passages if place_of(found) == place])
        for number, place in enumerate(places, start=1)
    )


def place_of(found: ScoredPassage) -> tuple[str, int]:
    """The page of a document that a passage stands on."""
    return found.document.doc_id, found.passage.page


def _citation(number: int, claims: str, passages: Sequence[ScoredPassage]) -> Citation:
    document, page = passages[0].document, passages[0].passage.page
    return Citation(
        number=number,
        document=document.file,
        title=document.title,
        page=page,
        quote=_best_sentence(claims, passages),
        url=page_url(document.doc_id, page),
        doc_id=document.doc_id,
    )


def _claims(text: str, number: int) -> str:
    """The sentences of an answer that carry the marker [number], without their markers."""
    return " ".join(ANY_MARKER.sub("", claim) for claim in _CLAIM_END.split(text) if f"[{number}]" in claim)


def _best_sentence(claims: str, passages: Sequence[ScoredPassage]) -> str:
    """The sentence that shares most of its words with the claims, complete ones first; the first one of several."""
    wanted = {word.stem for word in content_words(claims)}
    sentences = [
        found.passage.text[start:end] for found in passages for start, end in split_sentences(found.passage.text)
    ]
    return max(sentences, key=lambda sentence: (is_complete(sentence), _shared(wanted, sentence)), default="")


def _shared(wanted: set[str], sentence: str) -> float:
    """Dice's coefficient of the stems of both."""
    own = stems(sentence)
    return 2 * len(wanted & own) / max(1, len(wanted) + len(own))
