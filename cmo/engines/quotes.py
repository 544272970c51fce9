"""The quotation beside each citation of an answer that a model wrote: the sentence of the cited page that fits best.

The model says which passage a claim rests on; which sentence of it is shown is decided here, by shared words. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from cmo.citations import claims, page_passage, paper_citation
from cmo.models.wording import content_words, stems
from cmo.sentences import is_complete, split_sentences
from cmo.values import Citation, ScoredPassage


def citations_of(
    text: str, places: Sequence[tuple[str, int]], passages: Sequence[ScoredPassage]
) -> tuple[Citation, ...]:
    """One citation for each page of a document in `places`, numbered in that order, with all the model read of it.

    `text` is the answer with its markers [n], `passages` what the model had before it.
    """
    return tuple(
        _citation(number, " ".join(claims(text, number)), [found for found in passages if place_of(found) == place])
        for number, place in enumerate(places, start=1)
    )


def place_of(found: ScoredPassage) -> tuple[str, int]:
    """The page of a document that a passage stands on."""
    return found.document.doc_id, found.passage.page


def _citation(number: int, claimed: str, passages: Sequence[ScoredPassage]) -> Citation:
    first = passages[0]
    return paper_citation(
        number,
        first.document,
        first.passage.page,
        quote=_best_sentence(claimed, passages),
        passage=page_passage(found.passage for found in passages),
    )


def _best_sentence(claimed: str, passages: Sequence[ScoredPassage]) -> str:
    """The sentence that shares most of its words with the claims, complete ones first; the first one of several."""
    wanted = {word.stem for word in content_words(claimed)}
    sentences = [
        found.passage.text[start:end] for found in passages for start, end in split_sentences(found.passage.text)
    ]
    return max(sentences, key=lambda sentence: (is_complete(sentence), _shared(wanted, sentence)), default="")


def _shared(wanted: set[str], sentence: str) -> float:
    """Dice's coefficient of the stems of both."""
    own = stems(sentence)
    return 2 * len(wanted & own) / max(1, len(wanted) + len(own))
