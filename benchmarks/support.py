"""How good the scores of `cmo assess` are: support, controlled edits, relevance, and time; overlap beside them.

    .venv/bin/python -m benchmarks.support [--evals ../shared/evals] [--papers ../shared/papers]

Support is measured on the WiCE claims that scripts/fit_support.py did not fit, relevance on the PubMedQA questions it
did not fit and on LiveQA answers judged by people, edits on sentences of real papers and, as a check on other texts, of
PubMedQA abstracts. An edit counts as caught when the sentence is told to contradict its source, a sentence that says no
more than its source as a false alarm when it is told so. The four features of support were chosen with all WiCE
claims in view, the weights were not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.edits import EDITS, Edit, Found, edited, reworded, sentences_of, sentences_of_papers, trimmed
from cmo.models.minilm import MiniLM
from cmo.models.wording import content_words, stems
from cmo.quality.assessment import Assessor
from cmo.quality.relevance import shipped_weights as relevance_weights
from cmo.quality.support import judge, sift, source_sentences
from cmo.quality.support import shipped_weights as support_weights
from cmo.ui.services import SWITCH_SECONDS
from cmo.values import SentenceSupport, Verdict
from scripts.fit_freshness import Floats, balanced_accuracy
from scripts.fit_support import (
    NOT_SUPPORTED,
    SUPPORTED,
    AnswerLikeness,
    LabelledClaim,
    auroc,
    best_threshold,
    claim_features,
    nearest_other,
    read_claims,
    read_questions,
    read_rows,
)

SHARED = Path(__file__).resolve().parents[2] / "shared"
EDITED = 250
TIMED = 30
SEED = 7
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
RESAMPLED = 2000


def overlap(text: str, other: str) -> float:
    """The share of a text's content words that stand in another one: the baseline."""
    words = {word.stem for word in content_words(text)}
    return len(words & stems(other)) / max(1, len(words))


def support_tables(labelled: Sequence[LabelledClaim], embedder: MiniLM) -> Iterable[Table]:
    held = [each for each in labelled if not each.fitted]
    labels = np.array([int(each.label == SUPPORTED) for each in held])
    weights = support_weights()
    chances = np.array([weights.probability(each) for each in claim_features(held, embedder)])
    verdicts = [verdict_on(each.text, each.source, embedder) for each in held]
    shown = np.array([each.score for each in verdicts])
    fitted = [each for each in labelled if each.fitted]
    threshold = best_threshold(
        np.array([int(each.label == SUPPORTED) for each in fitted]),
        np.array([overlap(each.text, each.source) for each in fitted]),
    )
    lexical = np.array([overlap(each.text, each.source) for each in held])

    table = Table(f"support, {len(held)} held-out claims", "AUROC", "95 % interval", "balanced accuracy")
    for name, scores, told in (
        ("token overlap (baseline; threshold from the fitted part)", lexical, lexical >= threshold),
        ("weights alone", chances, chances >= 0.5),
        ("score as shown, guards included", shown, shown >= 0.5),
    ):
        accuracy = balanced_accuracy(labels, np.asarray(told, dtype=float))
        table.add_row(name, f"{auroc(labels, scores):.3f}", interval(labels, scores), f"{accuracy:.3f}")
    yield table
    yield calibration(labels, shown)
    yield verdict_table([each.label for each in held], verdicts)


def interval(labels: np.ndarray[tuple[int], np.dtype[np.int64]], scores: Floats) -> str:
    """A bootstrap interval of AUROC."""
    chance = np.random.default_rng(SEED)
    found = []
    for _ in range(RESAMPLED):
        drawn = chance.integers(len(labels), size=len(labels))
        found.append(auroc(labels[drawn], scores[drawn]))
    low, high = np.quantile(found, (0.025, 0.975))
    return f"{low:.2f} to {high:.2f}"


def calibration(labels: np.ndarray[tuple[int], np.dtype[np.int64]], scores: Floats) -> Table:
    """Scores against what people said, supported and other claims weighing the same, as scores are meant."""
    weight = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    table = Table("calibration: score from", "to", "claims", "mean score", "share supported (both weighing the same)")
    error = 0.0
    for low, high in pairwise(BINS):
        inside = (scores >= low) & ((scores < high) | (high == BINS[-1]))
        if inside.any():
            mean = float(np.average(scores[inside], weights=weight[inside]))
            share = float(np.average(labels[inside], weights=weight[inside]))
            error += abs(mean - share) * weight[inside].sum() / weight.sum()
            table.add_row(f"{low:.1f}", f"{high:.1f}", str(inside.sum()), f"{mean:.2f}", f"{share:.2f}")
    table.caption = f"expected calibration error {error:.3f}"
    return table


def verdict_table(labels: Sequence[str], verdicts: Sequence[SentenceSupport]) -> Table:
    table = Table("people said", *(each.value for each in Verdict))
    for label in (SUPPORTED, "partially_supported", NOT_SUPPORTED):
        told = [each.verdict for each, said in zip(verdicts, labels, strict=True) if said == label]
        table.add_row(label, *(f"{told.count(verdict) / max(1, len(told)):.0%}" for verdict in Verdict))
    return table


def verdict_on(text: str, source: str, embedder: MiniLM) -> SentenceSupport:
    sifted = sift(text, source_sentences(source))
    texts = list(dict.fromkeys(sifted.texts))
    return judge(sifted, dict(zip(texts, embedder.encode_tokens(texts), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Shares of some sentences: told to contradict, told to be supported; and how often overlap falls under 0.9."""

    count: int
    contradicted: float
    supported: float
    overlap_low: float


def told(pairs: Sequence[tuple[Found, str]], embedder: MiniLM) -> Told:
    verdicts = [verdict_on(text, found.source, embedder).verdict for found, text in pairs]
    low = [overlap(text, found.source) < 0.9 for found, text in pairs]
    return Told(
        count=len(pairs),
        contradicted=float(np.mean([each is Verdict.CONTRADICTED for each in verdicts])),
        supported=float(np.mean([each is Verdict.SUPPORTED for each in verdicts])),
        overlap_low=float(np.mean(low)),
    )


def edits_table(name: str, found: Sequence[Found], embedder: MiniLM) -> Table:
    table = Table(name, "n", "contradicted", "not supported", "overlap under 0.9 (baseline)")

    def row(what: str, pairs: Sequence[tuple[Found, str]]) -> None:
        if pairs:
            shares = told(pairs, embedder)
            rest = (shares.contradicted, 1 - shares.supported, shares.overlap_low)
            table.add_row(what, str(shares.count), *(f"{each:.1%}" for each in rest))

    unchanged = edited(found, lambda text, _: text + " ", count=EDITED, seed=SEED)
    row("unchanged", [(each, each.text) for each, _ in unchanged])
    row("trimmed", edited(found, trimmed, count=EDITED, seed=SEED))
    for what, edit in EDITS.items():
        row(what, edited(found, edit, count=EDITED, seed=SEED))
    row("reworded", edited(found, reworded, count=EDITED, seed=SEED))
    for what, edit in EDITS.items():
        row(f"reworded, {what}", edited(found, after_rewording(edit), count=EDITED, seed=SEED))
    return table


def free_table(path: Path, embedder: MiniLM) -> Table:
    """Authors' conclusions against their own abstracts: the same facts, freely worded, and with one thing changed."""
    found = [
        Found(text=each.text, source=" ".join(row["contexts"]))
        for row in read_rows(path)
        for each in sentences_of(row["long_answer"])
    ]
    table = Table("conclusions against their abstracts", "n", "contradicted", "not supported", "overlap under 0.9")
    ways: dict[str, Edit] = {"as their authors wrote them": lambda text, _: f"{text} "} | EDITS
    for what, edit in ways.items():
        shares = told(edited(found, edit, count=EDITED, seed=SEED), embedder)
        rest = (shares.contradicted, 1 - shares.supported, shares.overlap_low)
        table.add_row(what, str(shares.count), *(f"{each:.1%}" for each in rest))
    return table


def after_rewording(edit: Edit) -> Edit:
    def both(text: str, chance: random.Random) -> str | None:
        other = reworded(text, chance)
        return edit(other, chance) if other is not None else None

    return both


def relevance_table(path: Path, embedder: MiniLM) -> Table:
    held = read_questions(path)[1]
    alike, weights, count = AnswerLikeness(held, embedder), relevance_weights(), len(held)
    chance = np.random.default_rng(SEED)
    shared = np.array([[overlap(one.question, other.answer) for other in held] for one in held])
    others = {
        "a random one": [int((number + 1 + chance.integers(count - 1)) % count) for number in range(count)],
        "the one most like it (embedding)": alike.most_similar(),
        "the one most like the question (embedding)": nearest_other(
            np.asarray(alike.question_vectors @ alike.answer_vectors.T, np.float64)
        ),
        "the one most like the question (overlap)": nearest_other(shared),
    }
    table = Table(f"own answer against, {count} held-out questions", "AUROC", "overlap (baseline)")
    own = [weights.probability(alike.of(number, number)) for number in range(count)]
    labels = np.repeat([1, 0], count)
    for name, chosen in others.items():
        other = [weights.probability(alike.of(number, answer)) for number, answer in enumerate(chosen)]
        plain = [shared[number, answer] for number, answer in enumerate(chosen)]
        ours, baseline = np.array([*own, *other]), np.array([*np.diag(shared), *plain])
        table.add_row(name, f"{auroc(labels, ours):.3f}", f"{auroc(labels, baseline):.3f}")
    return table


def judged_table(path: Path, embedder: MiniLM) -> Table:
    """How relevance orders the answers of one question, against how people did."""
    rows = read_rows(path)
    assessor = Assessor(embedder)

    async def all_of_them() -> list[float]:
        return [(await assessor.assess(row["question"], row["answer"], ())).relevance for row in rows]

    scores = {
        "relevance": np.array(asyncio.run(all_of_them())),
        "overlap (baseline)": np.array([overlap(row["question"], row["answer"]) for row in rows]),
    }
    human = np.array([row["score"] for row in rows])
    questions = np.array([row["question"] for row in rows])
    table = Table(f"rank correlation with people, {len(rows)} answers", "mean within questions", "questions")
    for name, found in scores.items():
        within = [
            spearman(found[questions == each], human[questions == each])
            for each in dict.fromkeys(questions)
            if len(set(human[questions == each])) > 1
        ]
        table.add_row(name, f"{np.mean(within):.3f}", str(len(within)))
    return table


def spearman(one: Floats, other: Floats) -> float:
    if len(set(one.tolist())) < 2:
        return 0.0
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


async def speed_line(found: Sequence[Found], cache: Path) -> str:
    """A typical answer, 6 sentences and 8 passages, none embedded before, on one thread; how long the loop waits."""
    assessor = Assessor(MiniLM(cache, threads=1))
    passages = list(dict.fromkeys(each.source for each in found))
    await assessor.assess("Is it warm?", "It is warming up.", ["It warms up."])
    sys.setswitchinterval(SWITCH_SECONDS)  # this and the next as the server does it
    gc.freeze()
    times, spent, waits = [], [], []
    for turn in range(TIMED):
        sources = passages[8 * turn : 8 * turn + 8]
        inside = set(sources)
        pairs = edited([each for each in found if each.source in inside], any_edit, count=6, seed=turn)
        watch = asyncio.create_task(longest_wait())
        await asyncio.sleep(0)
        started, processor = time.perf_counter(), time.process_time()
        await assessor.assess("What was found?", " ".join(text for _, text in pairs), sources)
        times.append(1e3 * (time.perf_counter() - started))
        spent.append(1e3 * (time.process_time() - processor))
        watch.cancel()
        waits.append(await watch)
    whole, own = np.array(waits).T
    return (
        f"assess, 6 sentences and 8 passages, {TIMED} times: median {np.median(times):.0f} ms, slowest "
        f"{max(times):.0f} ms; of the processor {np.median(spent):.0f} ms, most {max(spent):.0f} ms; loop late by "
        f"{np.median(whole):.1f} ms, at most {max(whole):.0f}, without the wait for a processor {np.median(own):.1f}, "
        f"at most {max(own):.0f}"
    )


def any_edit(text: str, chance: random.Random) -> str | None:
    return reworded(text, chance) or trimmed(text, chance) or f"Thus {text}"


async def longest_wait() -> tuple[float, float]:
    """Until it is cancelled: the longest time, in milliseconds, the loop came late, and how much of one was our doing.

    Ours is no more than what this program computed meanwhile; the rest is a wait for the machine.
    """
    longest = own = 0.0
    try:
        while True:
            started, processor = time.perf_counter(), time.process_time()
            await asyncio.sleep(0.001)
            late = 1e3 * (time.perf_counter() - started) - 1
            longest, own = max(longest, late), max(own, min(late, 1e3 * (time.process_time() - processor)))
    except asyncio.CancelledError:
        return longest, own


def main() -> None:
    parser = argparse.ArgumentParser(prog="support", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--evals", type=Path, default=SHARED / "evals", help="folder of the labelled data")
    parser.add_argument("--papers", type=Path, default=SHARED / "papers", help="folder of PDFs")
    options = parser.parse_args()
    needed = [options.papers, *(options.evals / f"{name}_dev.jsonl" for name in ("wice", "pubmedqa", "liveqa"))]
    if missing := [str(path) for path in needed if not path.exists()]:
        print(f"support: skipped, {', '.join(missing)} not there")
        return
    wice, pubmedqa, liveqa = needed[1:]
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder:
        embedder = MiniLM(Path(folder))
        papers = sentences_of_papers(options.papers)
        speed, load = asyncio.run(speed_line(papers, Path(folder))), os.getloadavg()[0]
        console.print(f"{speed} ({os.cpu_count()} cores, {load:.1f} programs wanting them)")
        for table in support_tables(read_claims(wice), embedder):
            console.print(table)
        console.print(edits_table("sentences of papers", papers, embedder))
        abstracts = [each for row in read_rows(pubmedqa) for each in sentences_of(" ".join(row["contexts"]))]
        console.print(edits_table("sentences of abstracts", abstracts, embedder))
        console.print(free_table(pubmedqa, embedder))
        console.print(relevance_table(pubmedqa, embedder))
        console.print(judged_table(liveqa, embedder))


if __name__ == "__main__":
    main()
