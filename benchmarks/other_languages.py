"""What the glossary is worth: questions in other languages looked up among English abstracts.

    .venv/bin/python benchmarks/other_languages.py [--questions QUESTIONS.jsonl] [--data ABSTRACTS.jsonl] [--each]

The questions (other_languages_dev.jsonl, five in each of fourteen languages) ask what abstracts of PubMedQA (Jin et al.
2019, https://doi.org/10.18653/v1/D19-1259) are about, whose `id` they name; matching rules were tuned on one half of them
only. The abstracts are searched by BM25 (SQLite FTS5, porter) and by MiniLM, fused by reciprocal rank (k = 60):

- as asked: the question as it is written;
- glossary: its translation by cmo.translation.glossary, the abstracts' words as vocabulary;
- no vocabulary: the same without knowing the abstracts' words;
- English: the abstract's own question, which is what a perfect translation could reach.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmo.interfaces import Vectors
from cmo.models.minilm import MiniLM
from cmo.translation.glossary import Glossary

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "evals" / "pubmedqa_dev.jsonl"
QUESTIONS = HERE / "other_languages_dev.jsonl"
FUSION_K = 60
WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question in its language, and the number of the abstract that answers it."""

    language: str
    text: str
    half: str
    gold: int


class Search:
    """The abstracts, searchable."""

    def __init__(self, passages: Sequence[str], model: MiniLM) -> None:
        self._model = model
        self._vectors: Vectors = model.encode(passages)
        self._words = sqlite3.connect(":memory:")
        self._words.execute("CREATE VIRTUAL TABLE passages USING fts5(text, tokenize = 'porter unicode61')")
        self._words.executemany("INSERT INTO passages (rowid, text) VALUES (?, ?)", enumerate(passages))

    def by_words(self, text: str) -> list[int]:
        expression = " OR ".join(f'"{word}"' for word in WORD.findall(text))
        found = self._words.execute("SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY rank", (expression,))
        return [row for (row,) in found]

    def by_meaning(self, text: str) -> list[int]:
        scores = self._vectors @ self._model.encode([text])[0]
        return [int(row) for row in np.argsort(-scores, kind="stable")]

    def rank(self, text: str, gold: int) -> int:
        """The place of the wanted abstract, from 1."""
        scores = np.zeros(len(self._vectors))
        for ranking in (self.by_words(text), self.by_meaning(text)):
            for place, row in enumerate(ranking, 1):
                scores[row] += 1 / (FUSION_K + place)
        return int((scores > scores[gold]).sum()) + 1


def read(file: Path) -> list[dict[str, object]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def figures(ranks: Sequence[int]) -> str:
    places = np.array(ranks)
    return f"{np.mean(places == 1):7.3f} {np.mean(places <= 5):7.3f} {np.mean(1 / places):7.3f}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--questions", type=Path, default=QUESTIONS)
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--each", action="store_true", help="show the questions of the tuned half one by one")
    chosen = arguments.parse_args()
    abstracts = read(chosen.data)
    passages = [" ".join(str(part) for part in entry["contexts"]) for entry in abstracts]  # type: ignore[attr-defined]
    numbers = {entry["id"]: number for number, entry in enumerate(abstracts)}
    queries = [
        Query(language=str(row["language"]), text=str(row["question"]), half=str(row["half"]), gold=numbers[row["id"]])
        for row in read(chosen.questions)
    ]
    started = time.perf_counter()
    knowing, unknowing = Glossary({word for text in passages for word in WORD.findall(text.lower())}), Glossary()
    for query in queries:
        knowing.to_english(query.text, query.language)
    print(f"{len(queries)} questions, {(time.perf_counter() - started) / len(queries) * 1e3:.1f} ms each, loading included")
    texts = {
        "as asked": [query.text for query in queries],
        "glossary": [knowing.to_english(query.text, query.language) for query in queries],
        "no vocabulary": [unknowing.to_english(query.text, query.language) for query in queries],
        "English": [str(abstracts[query.gold]["question"]) for query in queries],
    }
    with tempfile.TemporaryDirectory() as folder:
        search = Search(passages, MiniLM(Path(folder)))
        ranks = {
            way: [search.rank(text, query.gold) for text, query in zip(texts[way], queries, strict=True)] for way in texts
        }
    print(f"{'':22}   hit@1   hit@5     MRR")
    for half in sorted({query.half for query in queries}):
        for way, places in ranks.items():
            print(f"{half:9}{way:13} {figures([place for place, query in zip(places, queries, strict=True) if query.half == half])}")
    for language in sorted({query.language for query in queries}):
        chosen_ranks = [place for place, query in zip(ranks["glossary"], queries, strict=True) if query.language == language]
        print(f"{language:9}{'glossary':13} {figures(chosen_ranks)}")
    if chosen.each:
        for number, query in enumerate(queries):
            if query.half == "tuned":
                print(ranks["glossary"][number], ranks["English"][number], query.language, query.text)
                print("   ", texts["glossary"][number])


if __name__ == "__main__":
    main()
