"""The dictionary of named things, looked up by the spelling found in a text.

It is built once from the word lists into a plain text file in a cache folder, because reading the sources takes seconds
and loading that file a fraction of one. Keys are whole names without spaces and hyphens, in ordinary dictionaries: an
Aho-Corasick automaton over the same names was measured and is slower to load (docs/decisions.md).
Nothing here reads sentences.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from cmo.errors import LibraryError
from cmo.library.names import Gap, Token, tokens
from cmo.library.wordlists import Entry, WordLists, data_digest, word_lists

# To be raised when the lists are cleaned or looked up by other rules: the knowledge graph is then built anew.
_RULES_VERSION = 1
_MOST_TOKENS = 8
# Most words of a text begin no name at all, which their first letters tell.
_BEGINNING = 5


@dataclass(frozen=True, slots=True)
class Match:
    """The longest name at a place of a text: how many tokens it takes, what it names, and whether its case counted."""

    length: int
    entry: int
    by_symbol: bool


class Lexicon:
    """Named things by name, as loaded from a lexicon file. Immutable; one can serve any number of threads."""

    def __init__(self, rows: Sequence[str], tables: Sequence[Mapping[str, int]], fingerprint: str) -> None:
        self._rows = rows
        self._words, self._phrases, self._symbols = tables
        self._beginnings = {key[:_BEGINNING] for table in tables for key in table}
        self.fingerprint = fingerprint

    def entry(self, number: int) -> Entry:
        """The entry a match points to."""
        return _parse(self._rows[number])

    def entries(self) -> Iterator[Entry]:
        """Every entry."""
        return map(_parse, self._rows)

    def find(self, name: str) -> Entry | None:
        """What a whole name means, in any of its spellings."""
        stream = list(tokens(name.replace("/", "-")))
        match = self.longest(stream, 0) if stream else None
        return self.entry(match.entry) if match and match.length == len(stream) else None

    def longest(self, stream: Sequence[Token], start: int) -> Match | None:
        """The longest name that begins with the token at `start`. Only a symbol spans a slash (LC-MS/MS)."""
        found = None
        name, symbol, spaced, slashed = "", "", False, False
        for length, token in enumerate(stream[start : start + _MOST_TOKENS], start=1):
            if length > 1:
                if token.gap is Gap.CLOSED:
                    break
                spaced = spaced or token.gap is Gap.SPACE
                slashed = slashed or token.gap is Gap.SLASH
            name += token.norm
            symbol += token.raw
            if (number := self._symbol(symbol, spaced)) is not None:
                found = Match(length, number, by_symbol=True)
            elif not slashed and (number := self._name(name, spaced)) is not None:
                found = Match(length, number, by_symbol=False)
            if self._leads_nowhere(name) and self._leads_nowhere(symbol):
                break
        return found

    def _leads_nowhere(self, key: str) -> bool:
        return len(key) >= _BEGINNING and key[:_BEGINNING] not in self._beginnings

    def _symbol(self, key: str, spaced: bool) -> int | None:
        """A symbol, or its plural; spread over words only when that is unlikely to be chance (IL 6, not A A A)."""
        if spaced and key.isalpha():
            return None
        number = self._symbols.get(key)
        return self._symbols.get(key[:-1]) if number is None and key.endswith("s") else number

    def _name(self, key: str, spaced: bool) -> int | None:
        number = self._phrases.get(key)
        return self._words.get(key) if number is None and not spaced else number


@cache
def lexicon_fingerprint() -> str:
    """The version of the word lists and of the rules they are cleaned by: 12 hexadecimal digits."""
    return hashlib.sha256(f"{_RULES_VERSION}:{data_digest()}".encode()).hexdigest()[:12]


def open_lexicon(folder: Path) -> Lexicon:
    """The dictionary out of its file in the cache folder, which is built first if it is missing.

    Raises:
        LibraryError: a word list is missing or changed, or the folder cannot be written.
    """
    path = folder / f"lexicon-{lexicon_fingerprint()}.txt"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _save(word_lists(), path)
        return _load(path)
    except OSError as error:
        raise LibraryError(f"The dictionary cannot be kept in {folder} ({error.strerror}).") from error


def _save(lists: WordLists, path: Path) -> None:
    """Write the file whole or not at all: a line of counts, then entries, words, phrases and symbols, one a line."""
    tables = (lists.words, lists.phrases, lists.symbols)
    with NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=path.parent, delete=False) as stream:
        try:
            stream.write("\t".join(map(str, (len(lists.entries), *map(len, tables)))) + "\n")
            stream.writelines(f"{_format(entry)}\n" for entry in lists.entries)
            for table in tables:
                stream.writelines(f"{key}\t{number}\n" for key, number in table.items())
            stream.flush()
            os.fsync(stream.fileno())
            Path(stream.name).replace(path)
        except BaseException:
            Path(stream.name).unlink(missing_ok=True)
            raise


def _load(path: Path) -> Lexicon:
    with path.open(encoding="utf-8", newline="\n") as stream:
        try:
            entries, *lengths = map(int, stream.readline().split("\t"))
            rows = [next(stream) for _ in range(entries)]
            words, phrases, symbols = (_read_table(stream, length) for length in lengths)
        except (ValueError, StopIteration) as error:
            raise LibraryError(f"The dictionary {path} is damaged: delete it, and it is built again.") from error
    return Lexicon(rows, (words, phrases, symbols), lexicon_fingerprint())


def _read_table(stream: Iterator[str], length: int) -> dict[str, int]:
    table = {}
    for _ in range(length):
        key, _, number = next(stream).partition("\t")
        table[key] = int(number)
    return table


def _format(entry: Entry) -> str:
    return "\t".join((entry.name, entry.type, "|".join(entry.identifiers), "|".join(entry.synonyms)))


def _parse(row: str) -> Entry:
    name, kind, identifiers, synonyms = row.rstrip("\n").split("\t")
    return Entry(
        name=name,
        type=kind,
        identifiers=tuple(identifiers.split("|")) if identifiers else (),
        synonyms=tuple(synonyms.split("|")) if synonyms else (),
    )
