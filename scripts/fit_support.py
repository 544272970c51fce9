"""Fits cmo/quality/support.json and relevance.json: what likeness says about support, and about relevance.

    python -m scripts.fit_support CLAIMS.jsonl QUESTIONS.jsonl

CLAIMS are JSON lines with `response`, `source` and `label_raw` (supported, partially_supported, not_supported), as
WiCE's (Kamoi et al. 2023, https://arxiv.org/abs/2303.01432, ODC-BY and CC BY-SA). QUESTIONS are JSON lines with
`question` and `long_answer`, as PubMedQA's (Jin et al. 2019, https://arxiv.org/abs/1909.06146, MIT). Only fitted
numbers go into the files. Of each set one part is fitted, the other one measures; documents stay whole. The same data
and date give the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from cmo.models.minilm import MiniLM
from cmo.quality.assessment import claims
from cmo.quality.relevance import WEIGHTS_FILE as RELEVANCE_FILE
from cmo.quality.relevance import Likeness, likeness
from cmo.quality.support import WEIGHTS_FILE as SUPPORT_FILE
from cmo.quality.support import features, met_by_nearest, sift, source_sentences
from scripts.fit_freshness import Data, Floats, Integers, balanced_accuracy, fit_best

FITTED_TENTHS: Final = 6
"""How many tenths of the documents are fitted; the others measure."""
SEED: Final = 1
PENALTIES: Final = (0.1, 0.3, 1.0, 3.0)
SUPPORTED: Final = "supported"
NOT_SUPPORTED: Final = "not_supported"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledClaim:
    """A claim with its source and what people said of it."""

    text: str
    source: str
    label: str

    @property
    def fitted(self) -> bool:
        """Whether its document is one of those fitted."""
        return tenth(self.source) < FITTED_TENTHS


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question with its own answer."""

    question: str
    answer: str


def tenth(text: str) -> int:
    """0 to 9, always the same for the same text."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_claims(path: Path) -> list[LabelledClaim]:
    rows = read_rows(path)
    return [LabelledClaim(text=row["response"], source=row["source"], label=row["label_raw"]) for row in rows]


def read_questions(path: Path) -> tuple[list[Asked], list[Asked]]:
    """The questions that are fitted, and those that measure."""
    rows = read_rows(path)
    asked = [Asked(question=row["question"], answer=row["long_answer"]) for row in rows]
    return [each for each in asked if tenth(each.answer) < 5], [each for each in asked if tenth(each.answer) >= 5]


def claim_features(labelled: Sequence[LabelledClaim], embedder: MiniLM) -> list[dict[str, float]]:
    return [_features_of(each, embedder) for each in labelled]


def _features_of(labelled: LabelledClaim, embedder: MiniLM) -> dict[str, float]:
    sifted = sift(labelled.text, source_sentences(labelled.source))
    texts = [sifted.claim, *(each.text for each in sifted.nearest)]
    return features(sifted, met_by_nearest(sifted, dict(zip(texts, embedder.encode_tokens(texts), strict=True))))


def auroc(labels: Integers, scores: Floats) -> float:
    """The probability that a positive one has the higher score; a tie counts half."""
    own, others = scores[labels == 1][:, None], scores[labels == 0][None]
    return float((own > others).mean() + 0.5 * (own == others).mean())


def fitted_support(labelled: Sequence[LabelledClaim], embedder: MiniLM, date: str) -> dict[str, object]:
    """What stands in support.json."""
    found = claim_features(labelled, embedder)
    names = list(found[0])
    rows = np.array([list(each.values()) for each in found])
    own = np.array([each.fitted for each in labelled])
    labels = np.array([int(each.label == SUPPORTED) for each in labelled])
    model = fit_best(as_data(rows[own], labels[own]), [np.full(len(names), each) for each in PENALTIES])
    chances = model.predict(rows)
    touched = np.array([int(each.label != NOT_SUPPORTED) for each in labelled])
    meaning = rows[:, names.index("meaning")]
    related_from = best_threshold(touched[own], meaning[own])
    return {
        "made": {
            "script": "scripts/fit_support.py",
            "date": date,
            "data": f"{own.sum()} claims of WiCE (Kamoi et al. 2023, arXiv:2303.01432, ODC-BY and CC BY-SA), "
            f"{(~own).sum()} others to measure, split by document",
            "figures": "supported against the rest, both classes weighing the same; related against not supported",
            "fitted": figures(labels[own], chances[own]),
            "held_out": figures(labels[~own], chances[~own])
            | {"related_balanced_accuracy": split_accuracy(touched[~own], meaning[~own], related_from)},
        },
        "embedder": embedder.fingerprint,
        "offset": round(model.offset, 3),
        "features": {name: round(float(weight), 3) for name, weight in zip(names, model.weights, strict=True)},
        "related_from": round(related_from, 3),
    }


def as_data(rows: Floats, labels: Integers) -> Data:
    """Rows that all come from documents of their own."""
    return Data(features=rows, labels=labels, sources=np.zeros_like(labels), groups=np.arange(len(labels)))


def figures(labels: Integers, chances: Floats) -> dict[str, float]:
    return {
        "auroc": round(auroc(labels, chances), 3),
        "balanced_accuracy": round(balanced_accuracy(labels, chances), 3),
    }


def best_threshold(labels: Integers, scores: Floats) -> float:
    """The threshold that tells the two best apart, both weighing the same."""
    return max(np.unique(scores).tolist(), key=lambda each: split_accuracy(labels, scores, each))


def split_accuracy(labels: Integers, scores: Floats, threshold: float) -> float:
    return round(balanced_accuracy(labels, (scores >= threshold).astype(float)), 3)


def fitted_relevance(asked: Sequence[Asked], embedder: MiniLM, date: str) -> dict[str, object]:
    """What stands in relevance.json: own answers against random and against the most similar other ones."""
    tokens = AnswerLikeness(asked, embedder)
    random = np.random.default_rng(SEED)
    count = len(asked)
    pairs = [(number, number) for number in range(count)]
    pairs += [(number, int((number + 1 + random.integers(count - 1)) % count)) for number in range(count)]
    pairs += list(enumerate(tokens.most_similar()))
    rows = np.array([tokens.row(question, answer) for question, answer in pairs])
    labels = np.array([int(question == answer) for question, answer in pairs])
    data = Data(
        features=rows, labels=labels, sources=np.zeros_like(labels), groups=np.array([pair[0] for pair in pairs])
    )
    model = fit_best(data, [np.full(2, each) for each in PENALTIES])
    return {
        "made": {
            "script": "scripts/fit_support.py",
            "date": date,
            "seed": SEED,
            "data": f"{count} questions of PubMedQA (Jin et al. 2019, arXiv:1909.06146, MIT): the own conclusion "
            "against a random one and the most similar other one",
            "fitted": figures(labels, model.predict(rows)),
        },
        "embedder": embedder.fingerprint,
        "offset": round(model.offset, 3),
        "whole": round(float(model.weights[0]), 3),
        "words": round(float(model.weights[1]), 3),
    }


class AnswerLikeness:
    """How questions and answers of a set are alike, any with any."""

    def __init__(self, asked: Sequence[Asked], embedder: MiniLM) -> None:
        self._questions = [each.question for each in asked]
        self._asked = embedder.encode_tokens(self._questions)
        self._answered = [embedder.encode_tokens([claim.text for claim in claims(each.answer)]) for each in asked]
        self.question_vectors = embedder.encode(self._questions)
        self.answer_vectors = embedder.encode([each.answer for each in asked])

    def of(self, question: int, answer: int) -> Likeness:
        """One question with one answer, by their numbers."""
        found = likeness(self._questions[question], self._asked[question], self._answered[answer])
        assert found is not None
        return found

    def row(self, question: int, answer: int) -> tuple[float, float]:
        """The same as numbers."""
        found = self.of(question, answer)
        return found.whole, found.words

    def most_similar(self) -> list[int]:
        """For each answer the other one that is most like it, by sentence embedding."""
        return nearest_other(self.answer_vectors @ self.answer_vectors.T)


def nearest_other(similarity: Floats) -> list[int]:
    """For each row the column of the highest value off the diagonal."""
    others = np.array(similarity, dtype=np.float64)
    np.fill_diagonal(others, -np.inf)
    return [int(number) for number in others.argmax(axis=1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("claims", type=Path, metavar="CLAIMS")
    parser.add_argument("questions", type=Path, metavar="QUESTIONS")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat(), help="the date the files name")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/cmo").expanduser(), help="for the converted model")
    options = parser.parse_args()
    embedder = MiniLM(options.cache)
    support = fitted_support(read_claims(options.claims), embedder, options.date)
    relevance = fitted_relevance(read_questions(options.questions)[0], embedder, options.date)
    for file, content in ((SUPPORT_FILE, support), (RELEVANCE_FILE, relevance)):
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
