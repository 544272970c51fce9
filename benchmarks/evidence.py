"""Does the first citation stand on a page that answers, and does the oracle know when to say nothing?

Over the questions of evidence_questions.jsonl: 132 of our own on the twelve papers of ../shared/papers, with every page
that answers each of them. Half of them ("tune") chose the thresholds; the other half ("report") is what counts.
Everything goes through the product's own index, retriever and model. The ideas are taken away one by one in the same
run, so that each figure says what an idea brings.

    python -m benchmarks evidence [--papers DIR] [--storage DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
import pypdfium2  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from cmo.bootstrap.answering import Application, open_application
from cmo.bootstrap.indexing import open_indexer
from cmo.bootstrap.parts import open_extractor
from cmo.engines.papers import PapersRetriever
from cmo.interfaces import TokenVectors
from cmo.models.evidence import (
    RULES,
    PreparedPassage,
    Rules,
    candidates,
    paper_scores,
    rank_pages,
    read,
)
from cmo.models.extractive import ExtractiveModel
from cmo.models.minilm import MiniLM
from cmo.settings import load_settings
from cmo.translation.detect import LanguageDetector
from cmo.translation.glossary import Glossary
from cmo.values import Answer, Badge, Finished, Question, ScoredPassage

_DETECTOR = LanguageDetector()
_TRANSLATOR = Glossary()

QUESTIONS = Path(__file__).parent / "evidence_questions.jsonl"
PAPERS = Path(__file__).resolve().parents[2] / "shared" / "papers"

Pages = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question with the pages that answer it, none for a question that must be refused."""

    id: str
    kind: str
    split: str
    question: str
    gold: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A question with everything that reading its passages needs, so that rules can be compared on it."""

    row: Row
    searched: str
    found: Sequence[ScoredPassage]
    chosen: Sequence[ScoredPassage]
    question_tokens: TokenVectors
    prepared: Sequence[PreparedPassage]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(prog="evidence", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--papers", type=Path, default=PAPERS, help="the twelve papers")
    parser.add_argument("--storage", type=Path, help="an index of them to use again")
    options = parser.parse_args(argv)
    if not options.papers.is_dir():
        print(f"evidence: skipped, {options.papers} is not there")
        return
    with contextlib.ExitStack() as stack:
        storage = options.storage or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asyncio.run(_run(options.papers, storage))


async def _run(papers: Path, storage: Path) -> None:
    environ = dict(os.environ) | {
        "CMO_PAPERS_DIR": str(papers),
        "CMO_STORAGE_DIR": str(storage),
        "CMO_TRANSLATION": "off",
        "LOG_LEVEL": "ERROR",
    }
    settings = load_settings(environ, env_file=None)
    async with open_indexer(settings) as indexer:
        report = await indexer.run()
    print(f"indexed {len(report.files)} files in {report.seconds:.1f} s")
    rows = [_row(json.loads(line)) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    console = Console(width=150)
    async with open_application(settings) as application:
        answers = [await _answer(application, row) for row in rows]
        console.print(_answers_table(rows, answers))
        console.print(_badges_table(rows, answers))
        console.print(_checks(answers, papers))
        embedder = MiniLM(settings.cache_dir)
        model = ExtractiveModel(embedder)
        words = await asyncio.to_thread(open_extractor, settings)
        by_text = PapersRetriever(storage=storage, make_graph=None, extractor=words)
        reads = [await _read(application.retriever, settings.top_k, embedder, model, row) for row in rows if row.gold]
        without_graph = [await _read(by_text, settings.top_k, embedder, model, row) for row in rows if row.gold]
        await by_text.close()
    console.print(_ideas_table(reads, without_graph))


def _row(fields: dict[str, object]) -> Row:
    pages = fields["pages"]
    assert isinstance(pages, list)
    gold = frozenset((str(fields["document"]), int(page)) for page in pages)
    texts = {name: str(fields[name]) for name in ("id", "kind", "split", "question")}
    return Row(gold=gold, **texts)


async def _answer(application: Application, row: Row) -> Answer:
    question = Question(text=row.question, user_id="bench", thread_id=row.id, asked_at=datetime.now(UTC))
    async for event in application.pipeline.ask(question):
        if isinstance(event, Finished):
            return event.answer
    raise AssertionError("the journey ended without an answer")


def _answers_table(rows: Sequence[Row], answers: Sequence[Answer]) -> Table:
    table = Table("questions", "split", "n", "first on gold", "any of <= 5", "right paper", "refused", "s p50", "s p95")
    table.title = "The product, as a person meets it (refused questions count with the pages offered)"
    groups: list[tuple[str, Callable[[Row], bool]]] = [
        ("answerable", lambda row: bool(row.gold)),
        *((kind, lambda row, kind=kind: row.kind == kind) for kind in dict.fromkeys(row.kind for row in rows)),
    ]
    for name, wanted in groups:
        for split in ("tune", "report", "both"):
            pairs = [(r, a) for r, a in zip(rows, answers, strict=True) if wanted(r) and split in (r.split, "both")]
            table.add_row(name, split, str(len(pairs)), *_figures(pairs))
    return table


def _figures(pairs: Sequence[tuple[Row, Answer]]) -> list[str]:
    refused = f"{np.mean([not answer.answered for _, answer in pairs]):.2f}"
    seconds = [answer.seconds for _, answer in pairs]
    times = [f"{median(seconds):.2f}", f"{np.quantile(seconds, 0.95):.2f}"]
    if not pairs[0][0].gold:
        return ["", "", "", refused, *times]
    cited = [([(c.document, c.page) for c in answer.citations], row.gold) for row, answer in pairs]
    return [*_hits(cited), refused, *times]


def _badges_table(rows: Sequence[Row], answers: Sequence[Answer]) -> Table:
    table = Table("badge", "answers", "first citation on gold")
    table.title = "What a badge is worth (whatever was answered; questions nobody can answer count as not right)"
    for badge in Badge:
        pairs = [(r, a) for r, a in zip(rows, answers, strict=True) if a.quality and a.quality.badge is badge]
        right = sum((a.citations[0].document, a.citations[0].page) in row.gold for row, a in pairs)
        table.add_row(badge.value, str(len(pairs)), f"{right}" if pairs else "")
    return table


def _hits(cited: Sequence[tuple[Pages, frozenset[tuple[str, int]]]]) -> list[str]:
    first = np.mean([bool(pages) and pages[0] in gold for pages, gold in cited])
    any_of = np.mean([any(page in gold for page in pages[:5]) for pages, gold in cited])
    paper = np.mean([bool(pages) and pages[0][0] in {file for file, _ in gold} for pages, gold in cited])
    return [f"{first:.2f}", f"{any_of:.2f}", f"{paper:.2f}"]


def _checks(answers: Sequence[Answer], papers: Path) -> str:
    """How many quoted sentences stand on their page by PDFium's raw text, and how many cited pages exist."""
    raw: dict[tuple[str, int], str] = {}
    sentences = verbatim = opened = citations = 0
    for answer in answers:
        for citation in answer.citations:
            citations += 1
            with contextlib.closing(pypdfium2.PdfDocument(papers / citation.document)) as pdf:
                opened += 1 <= citation.page <= len(pdf)
                key = (citation.document, citation.page)
                if key not in raw:
                    raw[key] = _letters(pdf[citation.page - 1].get_textpage().get_text_range())
            for sentence in citation.quote.split(" … "):
                sentences += 1
                verbatim += _letters(sentence) in raw[key]
    return (
        f"{opened} of {citations} citations open; {verbatim} of {sentences} quotations stand in PDFium's raw text of "
        "the page, letters and digits compared (it keeps line numbers and private symbols inside sentences)"
    )


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


async def _read(retriever: PapersRetriever, top_k: int, embedder: MiniLM, model: ExtractiveModel, row: Row) -> Read:
    searched = _TRANSLATOR.to_english(row.question, _DETECTOR.detect(row.question))
    retrieval = await retriever.retrieve(searched, top_k=top_k)
    chosen = candidates(retrieval.passages)
    (tokens,) = await embedder.embed_tokens([searched])
    return Read(
        row=row,
        searched=searched,
        found=retrieval.passages,
        chosen=chosen,
        question_tokens=tokens,
        prepared=await model.prepared(chosen),
    )


def _ideas_table(reads: Sequence[Read], without_graph: Sequence[Read]) -> Table:
    table = Table(
        "reading", "first on gold", "any of 5", "right paper", "first, English", "any, English", "s per question"
    )
    table.title = "What each idea brings (answerable questions, both halves)"
    ways: list[tuple[str, Callable[[Read], Pages]]] = [
        ("all ideas", _by_rules(RULES)),
        ("without rarity within the paper (over all candidates)", _by_rules(replace(RULES, within_paper=False))),
        ("without rarity at all", _by_rules(replace(RULES, rarity=0.0))),
        ("without literal words", _by_rules(replace(RULES, literal=0.0))),
        ("literal words only (no token similarity)", _by_rules(replace(RULES, literal=1.0), blind=True)),
        ("without sharpening", _by_rules(replace(RULES, sharpness=1.0))),
        ("without the paper's rank", _by_rules(replace(RULES, paper=0.0))),
    ]
    _add_row(table, "BM25 alone, no reading", without_graph, _as_found)
    _add_row(table, "fusion of graph, vectors and BM25, no reading", reads, _as_found)
    _add_row(table, "all ideas over BM25 alone (no graph, no vectors)", without_graph, _by_rules(RULES))
    for name, way in ways:
        _add_row(table, name, reads, way)
    return table


def _add_row(table: Table, name: str, reads: Sequence[Read], way: Callable[[Read], Pages]) -> None:
    started = time.perf_counter()
    cited = [(way(each), each.row.gold) for each in reads]
    seconds = (time.perf_counter() - started) / len(reads)
    english = [pair for pair, each in zip(cited, reads, strict=True) if each.row.kind != "other_language"]
    table.add_row(name, *_hits(cited), *_hits(english)[:2], f"{seconds:.3f}")


def _as_found(each: Read) -> Pages:
    return list(dict.fromkeys((found.document.file, found.passage.page) for found in each.found))


def _by_rules(rules: Rules, *, blind: bool = False) -> Callable[[Read], Pages]:
    def pages(each: Read) -> Pages:
        tokens = each.question_tokens
        if blind:
            tokens = SimpleNamespace(vectors=np.zeros_like(np.asarray(tokens.vectors)), offsets=tokens.offsets)
        readings = read(each.searched, tokens, each.chosen, each.prepared, rules=rules)
        ranked = rank_pages(readings, paper_scores(each.found), rules=rules)
        return [(page.reading.found.document.file, page.reading.found.passage.page) for page in ranked]

    return pages


if __name__ == "__main__":
    main()
