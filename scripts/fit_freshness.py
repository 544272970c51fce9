"""Fits cmo/models/freshness.json: what each sign of a question, and its embedding, says about its need for freshness.

    python scripts/fit_freshness.py QUESTIONS.jsonl

QUESTIONS are JSON lines with `id`, which names the year of asking, `question` and `needs_fresh`, as FreshQA's (Vu et
al. 2023, https://arxiv.org/abs/2310.03214, Apache-2.0); only fitted numbers go into the file. The project's own
questions are added to them, without the "unseen" ones, which only measure. The same data, seeds and date give the same
file.

A question may stand in the data more than once, and some differ by a name only. Repeated ones count once, similar ones
stay in one fold: otherwise a classifier would be praised for remembering.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, product
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from cmo.models.minilm import MiniLM
from cmo.models.question_kind import WEIGHTS_FILE, signs

ROOT: Final = Path(__file__).resolve().parents[1]
OWN: Final = ROOT / "benchmarks" / "routing_questions.jsonl"
OWN_YEAR: Final = 2026
"""The year the project's own questions are asked in."""
SEEDS: Final = (1, 2, 3)
FOLDS: Final = 10
INNER_FOLDS: Final = 4
ALIKE_FROM: Final = 0.6
"""Share of common words (Jaccard) from which two questions stay in one fold."""
SIGN_PENALTIES: Final = (0.3, 1.0)
EMBEDDING_PENALTIES: Final = (0.25, 1.0)

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A question with its label. `source` is the data it comes from, `year` that of asking."""

    text: str
    needs_fresh: int
    year: int
    source: str
    type: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Questions as numbers, a row for each: features, label, number of the source and of the group of similar ones."""

    features: Floats
    labels: Integers
    sources: Integers
    groups: Integers

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Data:
        """Some of the questions."""
        return Data(
            features=self.features[chosen],
            labels=self.labels[chosen],
            sources=self.sources[chosen],
            groups=self.groups[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A fitted logistic regression."""

    weights: Floats
    offset: float

    def predict(self, features: Floats) -> Floats:
        """The probability of each row."""
        odds: Floats = features @ self.weights + self.offset
        return 1 / (1 + np.exp(-odds))


def read_general(path: Path) -> list[Labelled]:
    """The distinct questions of a file as FreshQA's."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    distinct = {" ".join(words(row["question"])): row for row in rows}
    return [
        Labelled(text=row["question"], needs_fresh=row["needs_fresh"], year=year_of(row["id"]), source="general")
        for row in distinct.values()
    ]


def read_own() -> list[Labelled]:
    """The project's own questions, all splits."""
    rows = [json.loads(line) for line in OWN.read_text(encoding="utf-8").splitlines()]
    return [
        Labelled(
            text=row["question"],
            needs_fresh=row["needs_fresh"],
            year=OWN_YEAR,
            source="own",
            type=row["type"],
            split=row["split"],
        )
        for row in rows
    ]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def year_of(identifier: str) -> int:
    """The year in an identifier such as freshqa-2023-11-0."""
    found = re.search(r"20\d\d", identifier)
    if found is None:
        raise ValueError(f"no year of asking in the id {identifier!r}")
    return int(found.group())


def groups(texts: Sequence[str]) -> Integers:
    """A number for each text, the same for texts that are alike, directly or by others between them."""
    bags = [set(words(text)) for text in texts]
    parent = list(range(len(texts)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for early, late in combinations(range(len(bags)), 2):
        if len(bags[late] & bags[early]) >= ALIKE_FROM * len(bags[late] | bags[early]):
            parent[root(late)] = root(early)
    return np.array([root(number) for number in range(len(texts))])


def sign_matrix(questions: Sequence[Labelled]) -> Floats:
    """The signs of each question, in the order of `sign_names`."""
    return np.array([list(signs(each.text, each.year).values()) for each in questions])


def sign_names() -> list[str]:
    return list(signs("", OWN_YEAR))


def as_data(questions: Sequence[Labelled], features: Floats) -> Data:
    sources = sorted({each.source for each in questions})
    return Data(
        features=features,
        labels=np.array([each.needs_fresh for each in questions]),
        sources=np.array([sources.index(each.source) for each in questions]),
        groups=groups([each.text for each in questions]),
    )


def fit(data: Data, penalties: Floats) -> Model:
    """Ridge logistic regression by Newton's method, both classes weighing the same; a penalty for each feature."""
    count, width = data.features.shape
    rows = np.hstack([data.features, np.ones((count, 1))])
    share = np.where(data.labels == 1, data.labels.mean(), 1 - data.labels.mean())
    weight = 0.5 / share
    ridge = np.append(penalties, 1e-6)
    found = np.zeros(width + 1)
    for _ in range(25):
        chance = 1 / (1 + np.exp(-rows @ found))
        slope = rows.T @ (weight * (chance - data.labels)) + ridge * found
        curve = (rows * (weight * chance * (1 - chance))[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        found -= step
        if np.abs(step).max() < 1e-4:
            break
    return Model(weights=found[:-1], offset=float(found[-1]))


def folds(data: Data, count: int, seed: int) -> Integers:
    """The fold of each question: groups stay whole, and each fold gets its share of each source and label."""
    members = defaultdict(list)
    for row, group in enumerate(data.groups):
        members[int(group)].append(row)
    strata = defaultdict(list)
    for rows in members.values():
        strata[int(data.sources[rows[0]]), int(data.labels[rows].max())].append(rows)
    random = np.random.default_rng(seed)
    fold = np.zeros(len(data.labels), np.int64)
    for _, stratum in sorted(strata.items()):
        for place, chosen in enumerate(random.permutation(len(stratum))):
            fold[stratum[chosen]] = place % count
    return fold


def balanced_accuracy(labels: Integers, chances: Floats) -> float:
    """The mean of the shares told rightly among those that need fresh answers and those that do not."""
    told = chances >= 0.5
    return float((told[labels == 1].mean() + (~told[labels == 0]).mean()) / 2)


def out_of_fold(data: Data, fold: Integers, model: Callable[[Data], Model]) -> Floats:
    """The probability of each question by the model fitted on the other folds."""
    chances = np.zeros(len(data.labels))
    for number in range(fold.max() + 1):
        held = fold == number
        chances[held] = model(data.rows(~held)).predict(data.features[held])
    return chances


def by_source(data: Data, chances: Floats) -> list[float]:
    """Balanced accuracy on each source."""
    sources = sorted(set(data.sources.tolist()))
    return [balanced_accuracy(data.labels[data.sources == each], chances[data.sources == each]) for each in sources]


def penalties(sign_count: int, width: int) -> list[Floats]:
    """What is tried: penalties of the signs and of the embedding's `width` numbers, which may be none."""
    tried = EMBEDDING_PENALTIES if width else (1.0,)
    return [
        np.concatenate([np.full(sign_count, sign), np.full(width, number)])
        for sign, number in product(SIGN_PENALTIES, tried)
    ]


def fit_best(data: Data, tried: Sequence[Floats]) -> Model:
    """Fitted with the penalties that did best in a cross-validation within `data`, the sources counting the same."""
    return fit(data, best(data, tried))


def best(data: Data, tried: Sequence[Floats]) -> Floats:
    if len(tried) == 1:
        return tried[0]
    fold = folds(data, INNER_FOLDS, seed=0)

    def score(chosen: Floats) -> float:
        return float(np.mean(by_source(data, out_of_fold(data, fold, lambda part: fit(part, chosen)))))

    return max(tried, key=score)


def cross_validated(data: Data, tried: Sequence[Floats]) -> Floats:
    """Out-of-fold probabilities, a row for each seed; penalties are chosen within the training folds."""
    return np.array([out_of_fold(data, folds(data, FOLDS, seed), lambda part: fit_best(part, tried)) for seed in SEEDS])


def section(model: Model, names: Sequence[str]) -> dict[str, object]:
    """A fitted model as it stands in the file."""
    of_signs = {name: round(float(weight), 3) for name, weight in zip(names, model.weights, strict=False)}
    of_embedding = [round(float(weight), 3) for weight in model.weights[len(names) :]]
    return {"offset": round(model.offset, 3), "signs": of_signs} | ({"embedding": of_embedding} if of_embedding else {})


def figures(data: Data, unseen: Data, tried: Sequence[Floats], model: Model) -> dict[str, float]:
    """Balanced accuracy: cross-validated on both sources, and on the questions that no fit has seen."""
    means = np.mean([by_source(data, chances) for chances in cross_validated(data, tried)], axis=0)
    held = balanced_accuracy(unseen.labels, model.predict(unseen.features))
    named = zip(("general", "own", "unseen"), (*means, held), strict=True)
    return {name: round(float(value), 3) for name, value in named}


def as_text(content: dict[str, object]) -> str:
    """JSON to be read: one line for each sign, the embedding's numbers side by side."""

    def filled(match: re.Match[str]) -> str:
        return textwrap.fill(" ".join(match.group().split()), 116, subsequent_indent="    ")

    return re.sub(r"\[[^\]]*\]", filled, json.dumps(content, indent=2)) + "\n"


def with_features(questions: Sequence[Labelled], embedder: MiniLM, width: int) -> Data:
    """Signs, and the first `width` numbers of the embedding: all or none."""
    vectors = embedder.encode([each.text for each in questions])[:, :width]
    return as_data(questions, np.hstack([sign_matrix(questions), vectors]))


def content(general: Sequence[Labelled], own: Sequence[Labelled], embedder: MiniLM, date: str) -> dict[str, object]:
    """What stands in the file."""
    known = [*general, *(each for each in own if each.split != "unseen")]
    unseen = [each for each in own if each.split == "unseen"]
    names = sign_names()
    made: dict[str, object] = {
        "script": "scripts/fit_freshness.py",
        "date": date,
        "seeds": list(SEEDS),
        "data": f"{len(general)} distinct questions of FreshQA (Vu et al. 2023, arXiv:2310.03214, Apache-2.0), "
        f"{len(known) - len(general)} of benchmarks/routing_questions.jsonl",
        "figures": "balanced accuracy: general and own by nested 10-fold cross-validation, unseen never fitted",
    }
    found: dict[str, object] = {"made": made, "embedder": embedder.fingerprint}
    for way, width in (("signs_and_embedding", embedder.dimension), ("signs_alone", 0)):
        data, held = with_features(known, embedder, width), with_features(unseen, embedder, width)
        tried = penalties(len(names), width)
        model = fit_best(data, tried)
        made[way] = figures(data, held, tried, model)
        found[way] = section(model, names)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("questions", type=Path, metavar="QUESTIONS")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat(), help="the date the file names")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/cmo").expanduser(), help="for the converted model")
    options = parser.parse_args()
    fitted = content(read_general(options.questions), read_own(), MiniLM(options.cache), options.date)
    WEIGHTS_FILE.write_text(as_text(fitted), encoding="utf-8")
    print(json.dumps(fitted["made"], indent=2))


if __name__ == "__main__":
    main()
