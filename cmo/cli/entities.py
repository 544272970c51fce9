"""`cmo entities`: the metabolites, diseases and genes named in texts, so that anyone can measure it on their own."""

from __future__ import annotations

import sys

import typer

from cmo.cli.batch import run_texts
from cmo.cli.options import settings_for
from cmo.cli.output import fail
from cmo.errors import OracleError
from cmo.library.accessions import CompoundList
from cmo.library.lexicon import open_lexicon
from cmo.models.extraction import DictionaryExtractor


def entities() -> None:
    """Find the named things in each text on stdin, with their accessions.

    Reads JSON lines {"id", "text"} and prints {"id", "entities"} for each: what is named, at which characters, its type
    and what databases call it ("chebi", "kegg", "hmdb", "inchikey" and others), as far as that is known. Exit code 1
    when a line was no such text.
    """
    try:
        extractor = DictionaryExtractor(open_lexicon(settings_for(papers=None, storage=None).cache_dir))
        compounds = CompoundList()
    except OracleError as error:
        fail(str(error), as_json=True)
    if not run_texts(sys.stdin.buffer, lambda text: {"entities": _found(text, extractor, compounds)}):
        raise typer.Exit(1)


def _found(text: str, extractor: DictionaryExtractor, compounds: CompoundList) -> list[dict[str, object]]:
    return [
        {
            "text": text[mention.start : mention.end],
            "start": mention.start,
            "end": mention.end,
            "type": mention.entity.type,
            "ids": compounds.accessions(mention.entity.name, mention.entity.identifiers),
        }
        for mention in extractor.mentions(text)
    ]
