"""Which pages and sentences answer a question: the part of the embedded model that reads.

A passage found for a question is usually from the right paper, but a paper speaks of its subject on every page, and
passage vectors of one paper look alike. What tells pages apart is which *particular* words of the question a page has
an equivalent for. So each word of the question is compared with every word in context (late interaction: Khattab and
Zaharia 2020, ColBERT, doi:10.1145/3397271.3401075, here with the embedding model's own hidden states), and a word
counts by how rare it is *within that paper*: in a paper on naringin, "naringin" says nothing and "enzyme" says much.

benchmarks/evidence.py measures what each idea brings, on questions with known pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmo.interfaces import TokenVectors
from cmo.models.cosines import cosines
from cmo.models.wording import Word, content_words, document_frequency, stems
from cmo.sentences import is_complete, split_sentences
from cmo.values import EvidenceSentence, ScoredPassage

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How words and pages are weighed; the defaults were chosen on one half of the evidence questions.

    `literal` is the similarity a question's word has at least to a passage that holds its stem. Similarities are raised
    to `sharpness`, so that one equivalent word beats two vague resemblances. A word's weight is its inverse document
    frequency within the paper (or over all candidates when `within_paper` is off), to the power of `rarity`, but at
    least `least`. `paper` weighs the paper's rank against the page's match, both standardised over the candidates.
    """

    literal: float = 0.7
    sharpness: float = 3.0
    rarity: float = 1.5
    least: float = 0.05
    within_paper: bool = True
    paper: float = 0.6


RULES = Rules()

UNIT_WORDS = 60
"""Most words embedded at once when single words are compared; a longer sentence is a unit of its own."""

PASSAGES_PER_PAPER = (20, 10, 10)
"""How many passages of the best, second and third paper are read."""
_RANK_OFFSET = 10
"""Ranks of passages make their paper's score as 1 / (offset + rank), as in reciprocal rank fusion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPassage:
    """A passage made ready to be compared with any question.

    `tokens` has one unit row per token, in half precision because many passages are kept, `meaning` is their mean as a
    unit row (zero without tokens), `owners` the number of the sentence each token stands in (-1: between sentences),
    `spans` the sentences' spans in the passage's text, `sentence_stems` and `stems` their words.
    """

    tokens: npt.NDArray[np.float16]
    meaning: Floats
    owners: npt.NDArray[np.int64]
    spans: tuple[tuple[int, int], ...]
    sentence_stems: tuple[frozenset[str], ...]
    stems: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceMatch:
    """A sentence of a passage and how well each word of the question is met in it (0 to 1 each)."""

    start: int
    end: int
    matches: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A passage read for a question.

    `matches` holds, for each content word of the question, how well the passage meets it (0 to 1); `weights` how much
    each word counts in this passage's paper (sum 1); `match` is their product, 0 to 1. `likeness` is the cosine of
    question and passage as wholes.
    """

    found: ScoredPassage
    sentences: tuple[SentenceMatch, ...]
    matches: Floats
    weights: Floats
    match: float
    likeness: float

    @property
    def page(self) -> tuple[str, int]:
        """Document and page."""
        return self.found.document.doc_id, self.found.passage.page


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The tokens of a question's content words: their vectors, and the number of the word each belongs to."""

    vectors: Floats
    owners: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPage:
    """A page with its best reading and its score; scores compare pages of one question only."""

    reading: Reading
    score: float


def candidates(passages: Sequence[ScoredPassage]) -> list[ScoredPassage]:
    """The passages worth reading: the first ones of the three best papers, in the order found."""
    papers = list(paper_scores(passages))[: len(PASSAGES_PER_PAPER)]
    left = dict(zip(papers, PASSAGES_PER_PAPER, strict=False))
    chosen = []
    for found in passages:
        doc_id = found.document.doc_id
        if left.get(doc_id, 0) > 0:
            left[doc_id] -= 1
            chosen.append(found)
    return chosen


def paper_scores(passages: Sequence[ScoredPassage]) -> dict[str, float]:
    """Each paper's score by the ranks of its three best passages, best paper first."""
    ranks: dict[str, list[int]] = {}
    for rank, found in enumerate(passages):
        ranks.setdefault(found.document.doc_id, []).append(rank)
    scores = {doc_id: sum(1 / (_RANK_OFFSET + rank) for rank in of[:3]) for doc_id, of in ranks.items()}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))


def units(text: str) -> list[tuple[int, int]]:
    """Spans of consecutive sentences of at most `UNIT_WORDS` words together: what is embedded at once.

    A token's vector depends on what stands around it; in a short unit it keeps more of its own meaning.
    """
    found: list[tuple[int, int]] = []
    words = 0
    for start, end in split_sentences(text):
        length = len(text[start:end].split())
        if found and words + length <= UNIT_WORDS:
            found[-1] = (found[-1][0], end)
            words += length
        else:
            found.append((start, end))
            words = length
    return found


def prepare(text: str, spans: Sequence[tuple[int, int]], embedded: Sequence[TokenVectors]) -> PreparedPassage:
    """A passage's text made ready, given its units' spans and token vectors."""
    sentences = tuple(split_sentences(text))
    begins = np.array(
        [start + begin for (start, _), tokens in zip(spans, embedded, strict=True) for begin, _ in tokens.offsets],
        dtype=np.int64,
    )
    vectors = [np.asarray(tokens.vectors) for tokens in embedded if len(tokens.offsets)]
    tokens = np.concatenate(vectors) if vectors else np.zeros((0, 1), dtype=np.float32)
    return PreparedPassage(
        tokens=tokens.astype(np.float16),
        meaning=mean_direction(tokens),
        owners=_owners(begins, sentences),
        spans=sentences,
        sentence_stems=tuple(stems(text[start:end]) for start, end in sentences),
        stems=stems(text),
    )


def read(
    question: str,
    question_tokens: TokenVectors,
    passages: Sequence[ScoredPassage],
    prepared: Sequence[PreparedPassage],
    *,
    rules: Rules = RULES,
) -> list[Reading]:
    """Every passage compared with the question, word by word."""
    words = content_words(question)
    pieces = _pieces(words, question_tokens)
    meaning = mean_direction(np.asarray(question_tokens.vectors))
    weights = _weights_by_paper(words, passages, [passage.stems for passage in prepared], rules)
    return [
        _reading(words, pieces, meaning, found, passage, weights[found.document.doc_id], rules)
        for found, passage in zip(passages, prepared, strict=True)
    ]


def rank_pages(readings: Sequence[Reading], papers: Mapping[str, float], *, rules: Rules = RULES) -> list[RankedPage]:
    """The pages, best first, by their best passage's match and their paper's score."""
    if not readings:
        return []
    of_papers = np.array(list(papers.values()))
    paper_mean, paper_spread = of_papers.mean(), of_papers.std() + 1e-9
    matches = np.array([reading.match for reading in readings])
    scores = (matches - matches.mean()) / (matches.std() + 1e-9)
    scores += [rules.paper * (papers[reading.page[0]] - paper_mean) / paper_spread for reading in readings]
    best: dict[tuple[str, int], RankedPage] = {}
    for index in np.argsort(-scores, kind="stable"):
        reading = readings[index]
        best.setdefault(reading.page, RankedPage(reading=reading, score=float(scores[index])))
    return list(best.values())


def best_sentences(reading: Reading, *, most: int) -> list[EvidenceSentence]:
    """At most `most` whole sentences of a passage that fit the question best, in page order.

    A further sentence is taken only for words of the question the first ones do not meet. One that leans on the
    sentence before it has to fit clearly better to be taken.
    """
    passage = reading.found.passage
    whole = [found for found in reading.sentences if is_complete(passage.text[found.start : found.end])]
    met = np.zeros_like(reading.weights)
    chosen: list[SentenceMatch] = []
    while whole and len(chosen) < most:
        gains = [
            float(reading.weights @ np.maximum(met, found.matches))
            * (LEANING_WORTH if leans_back(passage.text[found.start : found.end]) else 1.0)
            for found in whole
        ]
        best = int(np.argmax(gains))
        if chosen and gains[best] - float(reading.weights @ met) < _LEAST_GAIN:
            break
        met = np.maximum(met, whole[best].matches)
        chosen.append(whole.pop(best))
    return [_evidence(reading, found) for found in sorted(chosen, key=lambda found: found.start)]


LEANING_WORTH = 0.8
"""What a sentence that cannot be read alone counts, against one that can."""
_LEAST_GAIN = 0.06
"""A second sentence has to raise the weighted match by this much."""


def leans_back(sentence: str) -> bool:
    """Whether a sentence begins with a word that points to the one before it, so that it cannot be read alone."""
    return bool(_POINTS_BACK.match(sentence))


_POINTS_BACK = re.compile(
    r"(?:it|its|they|their|them|this|these|those|that|such|he|she|his|her|both|the (?:former|latter)|in (?:addition|"
    r"contrast|turn)|similarly|however|moreover|furthermore|thus|therefore|hence|consequently|additionally|conversely|"
    r"also|but|and|yet|instead|nevertheless|likewise)\b",
    re.IGNORECASE,
)


def _evidence(reading: Reading, found: SentenceMatch) -> EvidenceSentence:
    passage = reading.found.passage
    return EvidenceSentence(
        text=passage.text[found.start : found.end],
        passage=passage,
        document=reading.found.document,
        start=passage.start + found.start,
        end=passage.start + found.end,
        score=float(reading.weights @ found.matches),
    )


def _pieces(words: Sequence[Word], tokens: TokenVectors) -> Pieces:
    """The tokens each word of the question is made of; a word beyond the model's reach has none."""
    of_words = [
        [number for number, (start, end) in enumerate(tokens.offsets) if start >= word.start and end <= word.end]
        for word in words
    ]
    owners = [word for word, numbers in enumerate(of_words) for _ in numbers]
    numbers = [number for of_word in of_words for number in of_word]
    return Pieces(vectors=np.asarray(tokens.vectors)[numbers], owners=np.array(owners, dtype=np.int64))


def _weights_by_paper(
    words: Sequence[Word], passages: Sequence[ScoredPassage], texts: Sequence[frozenset[str]], rules: Rules
) -> dict[str, Floats]:
    papers: dict[str, list[frozenset[str]]] = {}
    for found, text in zip(passages, texts, strict=True):
        papers.setdefault(found.document.doc_id, []).append(text)
    return {
        doc_id: _rarity(words, of_paper if rules.within_paper else texts, rules) for doc_id, of_paper in papers.items()
    }


def _rarity(words: Sequence[Word], texts: Sequence[frozenset[str]], rules: Rules) -> Floats:
    """How much each word of the question counts among these texts; sums to 1."""
    frequency = document_frequency([word.stem for word in words], texts)
    idf = np.array([np.log((len(texts) + 1) / (frequency[word.stem] + 0.5)) for word in words], dtype=np.float32)
    weights = np.maximum(rules.least, idf) ** rules.rarity
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _reading(
    words: Sequence[Word],
    pieces: Pieces,
    meaning: Floats,
    found: ScoredPassage,
    passage: PreparedPassage,
    weights: Floats,
    rules: Rules,
) -> Reading:
    similarity = cosines(passage.tokens.astype(np.float32), pieces.vectors)
    sentences = tuple(
        SentenceMatch(
            start=start, end=end, matches=_matches(words, pieces, similarity[passage.owners == number], literal, rules)
        )
        for number, ((start, end), literal) in enumerate(zip(passage.spans, passage.sentence_stems, strict=True))
    )
    matches = _matches(words, pieces, similarity, passage.stems, rules)
    return Reading(
        found=found,
        sentences=sentences,
        matches=matches,
        weights=weights,
        match=float(weights @ matches),
        likeness=float(meaning @ passage.meaning) if len(passage.tokens) else 0.0,
    )


def mean_direction(tokens: Floats) -> Floats:
    """The mean of token vectors as a unit row: what the text is about as a whole."""
    mean = tokens.mean(axis=0) if len(tokens) else np.zeros(tokens.shape[1:], dtype=np.float32)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def _matches(
    words: Sequence[Word], pieces: Pieces, similarity: Floats, literal: frozenset[str], rules: Rules
) -> Floats:
    """How well a text meets each word, 0 to 1: by the tokens nearest to it, or because the text holds the word itself.

    `similarity` is the cosine of each token of the text with each piece, shape (tokens, pieces).
    """
    nearest = np.zeros(len(words), dtype=np.float32)
    if similarity.size:
        counts = np.bincount(pieces.owners, minlength=len(words))
        sums = np.bincount(pieces.owners, weights=similarity.max(axis=0), minlength=len(words))
        nearest = (sums / np.maximum(counts, 1)).astype(np.float32)
    floor = np.array([rules.literal if word.stem in literal else 0.0 for word in words], dtype=np.float32)
    return np.asarray(np.clip(np.maximum(nearest, floor), 0, 1) ** rules.sharpness, dtype=np.float32)


def _owners(begins: npt.NDArray[np.int64], spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """The number of the sentence in which each token, given by its first character, stands; -1 between sentences."""
    starts = np.array([start for start, _ in spans] or [0])
    ends = np.array([end for _, end in spans] or [0])
    index = np.searchsorted(starts, begins, side="right") - 1
    inside = (index >= 0) & (begins < ends[np.maximum(index, 0)])
    return np.where(inside, index, -1)
