"""Is a text's language told rightly, how sure can one be of it, and how long does it take?

    .venv/bin/python -m benchmarks language [--evals DIR]

On short texts of 15 languages (langid_dev: sentences and questions, and pairs of two words), on English expert
questions (pubmedqa_dev) and on English questions of patients and of general knowledge (MedQuAD, LiveQA, FreshQA).
The detector's prior was chosen on these same texts. Beside it stand its model without the prior, and langdetect where
it is installed, once as it comes and once with a prior for the same languages, English being three times as likely.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any, TypeAlias

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from rich.console import Console
from rich.table import Table

from cmo.translation.detect import LANGUAGES, SUPPORTED, LanguageDetector

EVALS = Path(__file__).resolve().parents[2] / "shared" / "evals"
EVERYDAY = ("medquad_metabolic_dev.jsonl", "liveqa_dev.jsonl", "freshqa_dev.jsonl")
KINDS = {
    "sentence": "sentences",
    "word_pair": "word pairs",
    "pubmedqa": "PubMedQA",
    "everyday": "everyday English",
}
CHINESE = {"zh-cn": "zh", "zh-tw": "zh"}
ENGLISH_ODDS = 3.0

Detect: TypeAlias = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A text with its language."""

    text: str
    language: str
    kind: str


def read_labelled(folder: Path) -> list[Labelled]:
    short = [
        Labelled(text=row["text"], language=row["lang"], kind=row["kind"])
        for row in _rows(folder / "langid_dev.jsonl")
        if row["lang"] in LANGUAGES
    ]
    expert = [
        Labelled(text=row["question"], language="en", kind="pubmedqa") for row in _rows(folder / "pubmedqa_dev.jsonl")
    ]
    everyday = {row["question"] for name in EVERYDAY for row in _rows(folder / name)}
    return short + expert + [Labelled(text=text, language="en", kind="everyday") for text in sorted(everyday)]


def _rows(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def without_prior() -> Detect:
    """The product's model alone, restricted to the same languages."""
    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    model.set_languages(list(LANGUAGES))
    return lambda text: str(model.classify(text)[0])


def langdetect(prior: dict[str, float] | None) -> Detect | None:
    """langdetect with a fixed seed, or None where it is not installed."""
    try:
        factories = importlib.import_module("langdetect.detector_factory")
        errors = importlib.import_module("langdetect.lang_detect_exception")
    except ImportError:
        return None
    factories.DetectorFactory.seed = 0
    factories.init_factory()

    def detect(text: str) -> str:
        detector = factories._factory.create()
        if prior:
            detector.set_prior_map(prior)
        detector.append(text)
        try:
            found = str(detector.detect())
        except errors.LangDetectException:
            return "en"
        return CHINESE.get(found, found)

    return detect


def langdetect_prior() -> dict[str, float]:
    languages = [*(set(SUPPORTED) - {"zh"}), *CHINESE]
    return {language: ENGLISH_ODDS if language == "en" else 1.0 for language in languages}


def row(table: Table, name: str, texts: Sequence[Labelled], detect: Detect) -> None:
    detect("Warming up, which loads what is loaded late.")
    right: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    times = []
    for text in texts:
        started = time.perf_counter()
        found = detect(text.text)
        times.append(1e3 * (time.perf_counter() - started))
        right[text.kind].append(found == text.language)
    figures = (f"{mean(each):.4f}" for each in right.values())
    table.add_row(name, *figures, f"{median(times):.2f} / {np.quantile(times, 0.99):.2f}")


def calibration_table(texts: Sequence[Labelled], detector: LanguageDetector) -> Table:
    """Of the texts told with some confidence, how many are told rightly."""
    found = [detector.identify(text.text) for text in texts]
    table = Table("confidence", "n", "mean confidence", "accuracy")
    for low, high in ((0.0, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1.01)):
        pairs = [
            (each.confidence, each.language == text.language)
            for text, each in zip(texts, found, strict=True)
            if low <= each.confidence < high
        ]
        if pairs:
            sure, right = zip(*pairs, strict=True)
            table.add_row(
                f"{low:.2f} to {min(high, 1):.2f}", str(len(pairs)), f"{mean(sure):.3f}", f"{mean(right):.3f}"
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="language", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--evals", type=Path, default=EVALS, metavar="DIR", help="langid_dev and pubmedqa_dev")
    folder = parser.parse_args().evals
    if not (folder / "langid_dev.jsonl").is_file():
        print(f"language: skipped, {folder} is not there")
        return
    texts = read_labelled(folder)
    started = time.perf_counter()
    detector = LanguageDetector()
    loading = time.perf_counter() - started
    table = Table("accuracy", *KINDS.values(), "ms median / p99")
    row(table, "the product", texts, detector.detect)
    row(table, "py3langid without the prior", texts, without_prior())
    for name, prior in (("langdetect", None), ("langdetect with a prior", langdetect_prior())):
        if detect := langdetect(prior):
            row(table, name, texts, detect)
        else:
            table.add_row(name, "not installed")
    console = Console(width=120)
    console.print(table)
    console.print(calibration_table(texts, detector))
    console.print(f"the detector loads in {loading:.2f} s")


if __name__ == "__main__":
    main()
