"""`cmo detect`: the language of texts, so that anyone can measure it on their own.

It reads no settings and opens no index: the detector is all it loads.
"""

from __future__ import annotations

import sys

import typer

from cmo.cli.batch import run_texts
from cmo.translation.detect import LanguageDetector


def detect() -> None:
    """Tell the language of each text on stdin.

    Reads JSON lines {"id", "text"} and prints {"id", "language", "confidence"} for each: an ISO 639-1 code and its
    probability, 0 for a text without a word. Exit code 1 when a line was no such text.
    """
    detector = LanguageDetector()
    if not run_texts(sys.stdin.buffer, lambda text: _detected(detector, text)):
        raise typer.Exit(1)


def _detected(detector: LanguageDetector, text: str) -> dict[str, object]:
    found = detector.identify(text)
    return {"language": found.language, "confidence": round(found.confidence, 4)}
