"""Speed, size and reach of the dictionary extraction, with a random sample of mentions to judge by eye.

    python benchmarks/extraction.py TEXT [TEXT ...] [--cache DIR] [--sample 180] [--seed 1]

A TEXT is a PDF, read by the library's own reader, a JSONL file, of which every string of 200 characters or more counts
as a text, or else plain text. Precision is a person's judgement of the sample: wrong is what is no such thing in that
place, or only a part of another thing's name.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cmo.library.lexicon import open_lexicon
from cmo.library.pdf import read_pdf
from cmo.models.extraction import DictionaryExtractor, Mention
from cmo.sentences import split_sentences

CONTEXT = 40


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        extractor = _timed_load(arguments.cache or Path(scratch))
    documents = [list(document) for path in arguments.texts for document in _documents(path)]
    found = _timed_extraction(extractor, documents)
    _reach(found, documents)
    _sample(found, size=arguments.sample, seed=arguments.seed)


def _timed_load(cache: Path) -> DictionaryExtractor:
    for step in ("first opening, built if missing", "opening"):
        start, before = time.perf_counter(), _resident_megabytes()
        lexicon = open_lexicon(cache)
        print(f"{step}: {time.perf_counter() - start:.2f} s, +{_resident_megabytes() - before:.0f} MB resident")
    return DictionaryExtractor(lexicon)


def _timed_extraction(extractor: DictionaryExtractor, documents: list[list[str]]) -> list[tuple[str, Mention]]:
    start, relations = time.process_time(), 0
    for document in documents:
        known = extractor.for_document("\n\n".join(document))
        relations += sum(len(known.extract(text).relations) for text in document)
    seconds = time.process_time() - start
    characters = sum(map(len, (text for document in documents for text in document)))
    print(f"extracted {characters} characters in {seconds:.2f} CPU seconds: {characters / seconds:.0f} a second")
    print(f"{relations} relations")
    return [
        (text, mention)
        for document in documents
        for known in (extractor.for_document("\n\n".join(document)),)
        for text in document
        for mention in known.mentions(text)
    ]


def _reach(found: list[tuple[str, Mention]], documents: list[list[str]]) -> None:
    sentences = sum(len(split_sentences(text)) for document in documents for text in document)
    print(f"{len(found)} mentions, {len(found) / max(sentences, 1):.2f} a sentence")
    counts = Counter((mention.entity.name, mention.entity.type) for _, mention in found)
    print(f"{len(counts)} entities; the commonest:")
    for (name, kind), count in counts.most_common(60):
        print(f"  {count:5} {name} ({kind})")


def _sample(found: list[tuple[str, Mention]], *, size: int, seed: int) -> None:
    print(f"sample of {size}, seed {seed}:")
    for number, (text, mention) in enumerate(random.Random(seed).sample(found, min(size, len(found))), start=1):
        before, after = text[max(0, mention.start - CONTEXT) : mention.start], text[mention.end : mention.end + CONTEXT]
        line = f"{before}[[{text[mention.start : mention.end]}]]{after}".replace("\n", " ")
        print(f"  {number:3} {mention.entity.name} ({mention.entity.type}): {line}")


def _documents(path: Path) -> Iterator[Iterator[str]]:
    if path.suffix == ".pdf":
        yield (page.text for page in read_pdf(path))
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").strip().split("\n"):
            yield (text for text in _strings(json.loads(line)) if len(text) >= 200)
    else:
        yield iter([path.read_text(encoding="utf-8")])


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, help="folder of the dictionary; a temporary one by default")
    parser.add_argument("--sample", type=int, default=180)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
