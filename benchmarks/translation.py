"""Does anything wrong get through the protection of names, numbers, units and markers, and do good translations?

    .venv/bin/python -m benchmarks translation [--count N] [--seed N]

Sentences full of them, of ten patterns with real metabolites and units, go to the fake LibreTranslate of the tests over
HTTP, in French and Chinese, once honestly and once for each way in which it can spoil texts. Beside it stands the same
without looking at what comes back: everything is put back where its placeholder is. A sentence is right when it is the
one translation put together from the same pieces, or the English sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cmo.interfaces import Book
from cmo.library.lexicon import open_lexicon
from cmo.models.extraction import DictionaryExtractor
from cmo.translation.answers import SentenceTranslator, scientific_names
from cmo.translation.libretranslate import LibreTranslate
from cmo.translation.protect import Names, mask, restored
from cmo.translation.services import Order
from cmo.translation.verify import loss, strayed
from cmo.values import ModelCall, Question
from tests.servers.libretranslate import UNSEEN, FakeLibreTranslate, Mangling
from tests.translation.trial import Trial, judged, trials

LANGUAGES = ("fr", "zh")
SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How many sentences of one run the server spoilt, and how many were shown in translation and wrongly.

    `wrong_unseen` are those that would have been shown wrongly had nobody looked.
    """

    spoilt: int
    translated: int
    wrong: int
    wrong_unseen: int


def book(call: ModelCall) -> None:
    raise AssertionError(f"nothing here costs anything: {call}")


class Watched:
    """Passes everything on, and keeps what came back."""

    def __init__(self, service: LibreTranslate) -> None:
        self._service = service
        self.name = service.name
        self.received: tuple[str, ...] = ()

    async def translate(self, order: Order, book: Book) -> tuple[str, ...]:
        """What the service says."""
        self.received = await self._service.translate(order, book)
        return self.received


async def run(server: FakeLibreTranslate, sentences: list[Trial], language: str, names: Names) -> Result:
    before = server.mangled
    async with LibreTranslate(url=server.url) as service:
        watched = Watched(service)
        answer = "\n\n".join(sentence.english for sentence in sentences)
        translated = await SentenceTranslator(watched, names=names).translate(answer, question(language), SECONDS, book)
    shown, wrong = judged(sentences, translated.text.split("\n\n"))
    _, wrong_unseen = judged(sentences, put_back(sentences, watched.received, language, names))
    return Result(spoilt=server.mangled - before, translated=shown, wrong=len(wrong), wrong_unseen=len(wrong_unseen))


def put_back(sentences: list[Trial], received: Sequence[str], language: str, names: Names) -> list[str]:
    """What somebody would show who believes everything."""
    first, shown = 0, []
    for sentence, text in zip(sentences, received, strict=True):
        masked = mask(sentence.english, names, first=first)
        first += len(masked.things)
        shown.append(text if strayed(masked, text) else restored(masked, text, language))
    return shown


def question(language: str) -> Question:
    return Question(text="?", user_id="u", thread_id="t", asked_at=datetime(2026, 1, 1, tzinfo=UTC), language=language)


async def measured(language: str, names: Names, *, count: int, seed: int) -> dict[Mangling, Result]:
    results = {}
    async with FakeLibreTranslate() as server:
        sentences = trials(server, language, count=count, seed=seed)
        for mangling in Mangling:
            server.mangle(mangling)
            results[mangling] = await run(server, sentences, language, names)
    return results


def table(language: str, results: dict[Mangling, Result], count: int) -> Table:
    made = Table("the server ...", "spoilt", "shown translated", "shown wrongly", "wrongly, had nobody looked")
    for mangling, result in results.items():
        name = f"{mangling} (cannot be seen)" if mangling in UNSEEN else str(mangling)
        made.add_row(name, *map(str, (result.spoilt, result.translated, result.wrong, result.wrong_unseen)))
    made.title = f"{count} sentences into {language}"
    return made


def timed(names: Names, sentences: list[Trial]) -> str:
    """What taking out, looking and putting back takes for one sentence."""
    started = time.perf_counter()
    for sentence in sentences:
        masked = mask(sentence.english, names)
        loss(masked, masked.text, "fr")
        restored(masked, masked.text, "fr")
    return (
        f"{1e3 * (time.perf_counter() - started) / len(sentences):.2f} ms for a sentence, with the dictionary of names"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="translation", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200, metavar="N", help="how many sentences")
    parser.add_argument("--seed", type=int, default=20, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        names = scientific_names(DictionaryExtractor(open_lexicon(Path(scratch))))
    console = Console(width=120)
    met = True
    for language in LANGUAGES:
        results = asyncio.run(measured(language, names, count=options.count, seed=options.seed))
        console.print(table(language, results, options.count))
        met = met and not any(result.wrong for mangling, result in results.items() if mangling not in UNSEEN)
    console.print(timed(names, trials(FakeLibreTranslate(), "fr", count=options.count, seed=options.seed)))
    print("nothing wrong is shown" if met else "MISSED: something wrong is shown")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
