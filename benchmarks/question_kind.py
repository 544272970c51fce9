"""What a question asks for: how often the classifier tells it rightly, what each part of it brings, and how fast it is.

    .venv/bin/python -m benchmarks.question_kind [--general QUESTIONS.jsonl]

Need for recent information is measured by balanced accuracy: on general questions and on the project's own by nested
cross-validation (repeated questions count once, similar ones share a fold, penalties are chosen within the training
folds; mean of three seeds), and on the project's "unseen" ones by a fit on all others. Without the general questions,
which are not part of the project, only the shipped classifier is measured, on the unseen ones.

Of the own questions, "tune" and "report" are the first hundred, "extra" were written when the first fits had shown what
they did not know, "unseen" are in no fit. All are by one author, who also chose the signs, with FreshQA in view: the
figures are those of a set one has worked on. The rules for types were written on "tune" and "extra".
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cmo.models.minilm import MiniLM
from cmo.models.question_kind import QuestionKinds, shipped_weights, signs
from scripts.fit_freshness import (
    OWN_YEAR,
    Data,
    Floats,
    Labelled,
    balanced_accuracy,
    cross_validated,
    fit_best,
    penalties,
    read_general,
    read_own,
    sign_names,
    with_features,
)

GENERAL = Path(__file__).resolve().parents[2] / "shared" / "evals" / "freshqa_dev.jsonl"
KEYWORDS = re.compile(
    r"\b(?:latest|newest|most recent|recent|recently|current|currently|now|today|this year|last year|last|so far|next"
    r"|upcoming|ongoing|new)\b",
    re.IGNORECASE,
)
"""What one would write in five minutes; the baseline."""
FEATURES = {
    "words for the time of asking": (
        "newest recently current at_present this_period last_period next will last_time timely timely_office "
        "timely_rare timely_season"
    ),
    "things that change": "price age standing superlative season tally release players notices trials guidance",
    "what is settled": "beginning ever explain told",
    "years": "year_now year_past",
}
FIRST_HUNDRED = ("tune", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Labelled questions with all their features, signs first."""

    labelled: Sequence[Labelled]
    data: Data

    def where(self, *splits: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which of them belong to some splits."""
        return np.array([each.split in splits for each in self.labelled])


class TodayIs:
    """A clock that stands in the year the own questions are asked in."""

    def now(self) -> datetime:
        """The first day of that year."""
        return datetime(OWN_YEAR, 1, 1, tzinfo=UTC)


def prepared(labelled: Sequence[Labelled], embedder: MiniLM) -> Questions:
    return Questions(labelled=labelled, data=with_features(labelled, embedder, embedder.dimension))


def row(table: Table, name: str, known: Questions, unseen: Questions, chances: Floats, held: Floats) -> None:
    """Figures by source; `chances` holds a row for each seed."""
    labels = known.data.labels
    parts = [known.where(""), known.where(*FIRST_HUNDRED), known.where("extra")]
    means = [np.mean([balanced_accuracy(labels[part], each[part]) for each in chances]) for part in parts]
    table.add_row(name, *(f"{mean:.3f}" for mean in (*means, balanced_accuracy(unseen.data.labels, held))))


def keywords(questions: Questions) -> Floats:
    return np.array([float(bool(KEYWORDS.search(each.text))) for each in questions.labelled])


def freshness_table(known: Questions, unseen: Questions) -> Table:
    names, width = sign_names(), known.data.features.shape[1]
    embedding = list(range(len(names), width))
    chosen = {name: [names.index(sign) for sign in listed.split()] for name, listed in FEATURES.items()}
    every = list(range(len(names)))
    ways: dict[str, tuple[list[int], list[int]]] = {f"only {name}": (columns, []) for name, columns in chosen.items()}
    ways |= {
        f"all signs without {name}": ([column for column in every if column not in columns], [])
        for name, columns in chosen.items()
    }
    ways |= {
        "sentence embedding alone": ([], embedding),
        "all signs (shipped for when the model is missing)": (every, []),
        "all signs and the embedding (shipped)": (every, embedding),
    }
    table = Table("needs fresh: balanced accuracy", "general", "own, first 100", "own, extra", "own, unseen")
    row(table, "keywords (baseline)", known, unseen, keywords(known)[None], keywords(unseen))
    for name, (of_signs, of_vector) in ways.items():
        columns = [*of_signs, *of_vector]
        part, held = narrowed(known.data, columns), unseen.data.features[:, columns]
        tried = penalties(len(of_signs), len(of_vector))
        row(table, name, known, unseen, cross_validated(part, tried), fit_best(part, tried).predict(held))
    return table


def narrowed(data: Data, columns: Sequence[int]) -> Data:
    """The same questions with some of their features."""
    return Data(features=data.features[:, columns], labels=data.labels, sources=data.sources, groups=data.groups)


def shipped_line(unseen: Questions, embedder: MiniLM) -> str:
    """What the file in the package does, without any fit."""
    embedded, alone = shipped_weights(embedder.fingerprint)
    assert embedded is not None
    found = [signs(each.text, each.year) for each in unseen.labelled]
    vectors = embedder.encode([each.text for each in unseen.labelled])
    both = np.array([embedded.probability(each, vector) for each, vector in zip(found, vectors, strict=True)])
    lone = np.array([alone.probability(each) for each in found])
    labels = unseen.data.labels
    return (
        f"freshness.json on the {len(labels)} unseen questions: balanced accuracy "
        f"{balanced_accuracy(labels, both):.3f}, without embeddings {balanced_accuracy(labels, lone):.3f}"
    )


async def types_table(own: Sequence[Labelled], embedder: MiniLM) -> Table:
    """Types as the classifier tells them, its own judgement of freshness included."""
    kinds = QuestionKinds(embedder, TodayIs())
    told = [(await kinds.classify(each.text)).type.value for each in own]
    table = Table("type of answer", "n", "accuracy", "macro-F1")
    for split in ("tune", "report", "extra", "unseen"):
        pairs = [(each.type, found) for each, found in zip(own, told, strict=True) if each.split == split]
        accuracy = np.mean([wanted == found for wanted, found in pairs])
        table.add_row(split, str(len(pairs)), f"{accuracy:.3f}", f"{macro_f1(pairs):.3f}")
    return table


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """The mean over all wanted types of F1, from pairs of wanted and found."""

    def f1(kind: str) -> float:
        hits = sum(wanted == found == kind for wanted, found in pairs)
        return 2 * hits / (sum(wanted == kind for wanted, _ in pairs) + sum(found == kind for _, found in pairs))

    return float(np.mean([f1(kind) for kind in sorted({wanted for wanted, _ in pairs})]))


async def speed_line(own: Sequence[Labelled], cache: Path) -> str:
    """How long one question takes, none of them embedded before."""
    embedder = MiniLM(cache)
    embedder.load()
    kinds = QuestionKinds(embedder, TodayIs())
    await kinds.classify("How is warming up done?")
    times = []
    for each in own:
        started = time.perf_counter()
        await kinds.classify(each.text)
        times.append(1e3 * (time.perf_counter() - started))
    return (
        f"classify: median {np.median(times):.1f} ms, p95 {np.quantile(times, 0.95):.1f} ms of {len(times)} questions"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="question_kind", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--general", type=Path, default=GENERAL, help="FreshQA as JSON lines")
    options = parser.parse_args()
    own = read_own()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        embedder = MiniLM(Path(folder))
        unseen = prepared([each for each in own if each.split == "unseen"], embedder)
        console.print(shipped_line(unseen, embedder))
        console.print(asyncio.run(types_table(own, embedder)))
        console.print(asyncio.run(speed_line(own, Path(folder))))
        if not options.general.is_file():
            print(f"question_kind: cross-validation skipped, {options.general} is not there")
            return
        general = read_general(options.general)
        known = prepared([*general, *(each for each in own if each.split != "unseen")], embedder)
        console.print(freshness_table(known, unseen))


if __name__ == "__main__":
    main()
