"""Questions of other languages as English search text: a hand-written word list per language, no network and no model.

The result is no sentence but the question's content words in English, in the question's order: what a search over
English papers can use. terms/<language>.tsv lists an English term and, separated by "|", the words that mean it; a word
ending in "*" stands for everything that begins so. A line whose English is "-" lists words to leave out.

This module knows words and how languages inflect and join them; cognates.py tries what no list has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

from cmo.translation.cognates import Vocabulary, spellings, transliterated, without_marks

LANGUAGES: Final = ("ar", "de", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "zh")
"""ISO 639-1 codes of the languages with a word list; of others only cognates and names come through."""

_DROPPED: Final = "-"
_LONGEST_TAIL: Final = 8
_SHORTEST_PART: Final = 4
_UNKNOWN_PART: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """How a language's words vary: `endings` to strip (repeatedly where `agglutinates`), down to `shortest` letters.

    `links` are the letters between the parts of a compound, none where words are not joined; `elided` are words that an
    apostrophe joins to the next; `clitics` are written together with the word they precede.
    """

    endings: tuple[str, ...] = ()
    shortest: int = 3
    agglutinates: bool = False
    links: tuple[str, ...] = ()
    elided: frozenset[str] = frozenset()
    clitics: tuple[str, ...] = ()
    unspaced: bool = False


def _endings(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.split(), key=len, reverse=True))


_ELISIONS: Final = frozenset("l d qu n s j c m t un dell all dall nell sull quest quell sant".split())
_TURKISH: Final = _endings(
    "lar ler in un nin nun i u si su yi yu e a ye ya de da te ta den dan ten tan nde nda nden ndan le la yle yla "
    "ki daki deki taki teki im um m sal sel li lu siz suz lik luk lig lug dir dur tir tur mi mu ni nu ne na "
    "ir er ar ur r di du ti tu mis mus en an mek mak me ma mesi masi il ilir iyor uyor ecek acak"
)
_RUSSIAN: Final = _endings(
    "а я о е ы и у ю ь й ой ей ом ем ам ям ами ями ах ях ов ев ый ий ая яя ое ее ые ие ого его ому ему ым им ых их ую "
    "юю ою ею ию ией иям иях иями ия ии ию ность ности"
)
_POLISH: Final = _endings(
    "a e i o u y ow om ami ach em ego emu ej ich ych ymi imi ie ia iem iu iego iej im ym mi owi owie"
)

GRAMMARS: Final[dict[str, Grammar]] = {
    "ar": Grammar(
        endings=_endings("ات ين ون ان ه ها هم ي ية يه"), shortest=3,
        clitics=("وبال", "ولل", "وال", "بال", "كال", "فال", "لل", "ال", "و", "ب", "ل", "ف", "ي", "ت"),
    ),
    "de": Grammar(
        endings=_endings("e en er es em n s ern nen se sen st t"), shortest=4,
        links=("", "s", "es", "n", "en", "er", "e"),
    ),
    "es": Grammar(endings=_endings("s es o a os as e"), shortest=3),
    "fr": Grammar(endings=_endings("e s es ee ees x"), shortest=3, elided=_ELISIONS),
    "it": Grammar(endings=_endings("o a i e hi he"), shortest=3, elided=_ELISIONS),
    "ja": Grammar(unspaced=True),
    "ko": Grammar(unspaced=True),
    "nl": Grammar(endings=_endings("e en s er n"), shortest=4, links=("", "s", "en", "e", "n")),
    "pl": Grammar(endings=_POLISH),
    "pt": Grammar(endings=_endings("s es o a os as e ao oes aes"), shortest=3),
    "ru": Grammar(endings=_RUSSIAN),
    "sv": Grammar(
        endings=_endings("en et n t er ar or na erna arna orna ns ens ets s e a"), shortest=4,
        links=("", "s", "e", "o"),
    ),
    "tr": Grammar(endings=_TURKISH, agglutinates=True),
    "zh": Grammar(unspaced=True),
}  # fmt: skip
_NO_GRAMMAR: Final = Grammar()


@dataclass(frozen=True, slots=True)
class Terms:
    """One language's word list, indexed: by the words as written, by their stems, and by open beginnings."""

    grammar: Grammar
    words: dict[str, str] = field(default_factory=dict)
    stems: dict[str, str] = field(default_factory=dict)
    beginnings: dict[str, str] = field(default_factory=dict)
    longest: int = 1

    def phrase(self, tokens: Sequence[str]) -> str | None:
        """The English of one or several words that stand together; "-" for words to leave out; None if unlisted."""
        written = " ".join(tokens)
        if written in self.words:
            return self.words[written]
        if self.grammar.agglutinates:
            forms = (" ".join((*tokens[:-1], form)) for form in _stripped(tokens[-1], self.grammar))
            return next((self.words[form] for form in forms if form in self.words), None)
        return self.stems.get(" ".join(stem(token, self.grammar) for token in tokens))

    def word(self, token: str) -> str | None:
        """The English of one word, inflected or not."""
        for form in _forms(token, self.grammar):
            found = self.phrase([form])
            if found is not None:
                return found
        return self._beginning(token)

    def _beginning(self, token: str) -> str | None:
        shortest = max(3, len(token) - (4 if self.grammar.links else _LONGEST_TAIL))
        for end in range(len(token), shortest - 1, -1):
            if token[:end] in self.beginnings:
                return self.beginnings[token[:end]]
        return None


class Glossary:
    """Turns questions into English search text. Word lists load when first needed; safe to share.

    `vocabulary` are the English words of the papers to be searched: unlisted words become the nearest of them.
    """

    def __init__(self, vocabulary: Collection[str] = ()) -> None:
        self._vocabulary = Vocabulary(vocabulary)

    def to_english(self, text: str, language: str) -> str:
        """English words for the text's content words, in order; English text as it is.

        Numbers, units, abbreviations and names stay, function words go, unknown words stay or become the English word
        they are a cognate of. A text of which nothing would remain is returned as it is.
        """
        if language == "en":
            return text
        grammar = GRAMMARS.get(language, _NO_GRAMMAR)
        terms = load_terms(language) if language in GRAMMARS else Terms(grammar)
        if grammar.unspaced:
            found = self._segmented(text, terms, language)
        else:
            found = self._looked_up(_tokens(text, grammar), terms)
        return " ".join(dict.fromkeys(found)) or text

    def _looked_up(self, tokens: Sequence[_Token], terms: Terms) -> Iterator[str]:
        start = 0
        while start < len(tokens):
            length, english = self._longest_match(tokens, start, terms)
            if english != _DROPPED:
                yield english
            start += length

    def _longest_match(self, tokens: Sequence[_Token], start: int, terms: Terms) -> tuple[int, str]:
        for length in range(min(terms.longest, len(tokens) - start), 1, -1):
            found = terms.phrase([token.plain for token in tokens[start : start + length]])
            if found is not None:
                return length, found
        return _glued_symbol(tokens, start) or (1, self._single(tokens[start], terms))

    def _single(self, token: _Token, terms: Terms) -> str:
        found = terms.words.get(token.text.lower()) or terms.word(token.plain)
        if found is not None:
            return found
        if _is_symbol(token.text):
            return token.text
        compound = split_compound(token.plain, terms)
        if compound and all(part.english for part in compound):
            return " ".join(part.english or "" for part in compound)
        if terms.grammar.clitics:
            return self._without_vowels(token.plain, terms)
        cognate = self._cognate(token.text)
        if cognate is None and compound:
            return " ".join(part.english or self._kept(part.plain) for part in compound)
        return cognate or self._kept(token.text)

    def _cognate(self, word: str) -> str | None:
        """The word of the vocabulary that an unlisted word is."""
        if without_marks(word) in self._vocabulary:
            return word
        return self._vocabulary.nearest((transliterated(word), *spellings(word)))

    def _without_vowels(self, word: str, terms: Terms) -> str:
        """A name in a script that leaves vowels out; nothing when no word of the vocabulary has its consonants."""
        found = (self._vocabulary.borrowed(form, "ar") for form in (word, *_forms(word, terms.grammar)))
        return next((name for name in found if name), _DROPPED)

    def _kept(self, word: str) -> str:
        """An unlisted word's relative in the vocabulary, else the word in Latin letters and English spelling."""
        known = self._cognate(word)
        if known:
            return known
        if self._vocabulary or (word[:1].isupper() and word.isascii()):
            return word if word.isascii() else transliterated(word)
        return spellings(word)[0]

    def _segmented(self, text: str, terms: Terms, language: str) -> Iterator[str]:
        for run in _RUN.findall(unicodedata.normalize("NFKC", text)):
            if not _UNSPACED.match(run):
                yield run
                continue
            for piece, english in _trusted(segments(run, terms)):
                if english is None:
                    known = self._vocabulary.borrowed(piece, language)
                    if known:
                        yield known
                elif english != _DROPPED:
                    yield english


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a compound; `english` is None when it is not listed."""

    plain: str
    english: str | None


def split_compound(word: str, terms: Terms) -> tuple[Part, ...]:
    """The parts of a joined word, all listed or all but one at an end; none if it cannot be split so."""
    if not terms.grammar.links or len(word) < 2 * _SHORTEST_PART:
        return ()
    listed = _listed_parts(word, terms)
    if listed:
        return listed
    for start in range(_UNKNOWN_PART, len(word) - _SHORTEST_PART + 1):
        head = terms.word(word[start:])
        if head and head != _DROPPED:
            return (Part(plain=word[:start], english=None), Part(plain=word[start:], english=head))
    for end in range(len(word) - _UNKNOWN_PART, _SHORTEST_PART, -1):
        modifier = _modifier(word[:end], terms)
        if modifier:
            return (Part(plain=word[:end], english=modifier), Part(plain=word[end:], english=None))
    return ()


def _listed_parts(word: str, terms: Terms) -> tuple[Part, ...]:
    """Longest first part first, so that the fewest and longest parts win."""
    for end in range(len(word) - _SHORTEST_PART, _SHORTEST_PART - 1, -1):
        modifier = _modifier(word[:end], terms)
        if not modifier:
            continue
        first, rest = Part(plain=word[:end], english=modifier), word[end:]
        head = terms.word(rest)
        if head and head != _DROPPED:
            return (first, Part(plain=rest, english=head))
        further = _listed_parts(rest, terms)
        if further:
            return (first, *further)
    return ()


def _modifier(part: str, terms: Terms) -> str | None:
    """The English of a compound's first part, written with or without a linking letter."""
    for link in terms.grammar.links:
        bare = part.removesuffix(link) if link else part
        if link and bare == part:
            continue
        if len(bare) >= _SHORTEST_PART:
            found = terms.phrase([bare]) or terms.beginnings.get(bare)
            if found and found != _DROPPED:
                return found
    return None


def stem(word: str, grammar: Grammar) -> str:
    """The word without its longest inflectional ending."""
    for ending in grammar.endings:
        if word.endswith(ending) and len(word) - len(ending) >= grammar.shortest:
            return word[: -len(ending)]
    return word


def _forms(word: str, grammar: Grammar) -> Iterator[str]:
    """The word, then what remains of it without the words written together with it and its endings."""
    yield word
    for clitic in grammar.clitics:
        if word.startswith(clitic) and len(word) - len(clitic) >= grammar.shortest + (len(clitic) == 1):
            yield word[len(clitic) :]


def _stripped(word: str, grammar: Grammar) -> Iterator[str]:
    """Every form from which the word can be built by adding endings, longest first."""
    forms, layer = {word}, {word}
    while layer:
        layer = {
            shorter[: -len(ending)]
            for shorter in layer
            for ending in grammar.endings
            if shorter.endswith(ending) and len(shorter) - len(ending) >= grammar.shortest
        } - forms
        forms |= layer
    yield from sorted(forms - {word}, key=lambda form: (-len(form), form))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    text: str
    plain: str
    glued: bool
    """Whether a hyphen joins it to the token before."""


_TOKEN: Final = re.compile(r"\d+(?:[.,]\d+)*(?:\s?[%‰])?(?![^\W\d_])|[^\W_]+(?:[\u0300-\u036f][^\W_]*)*")
_EAST_ASIAN: Final = "぀-ヿ㐀-鿿가-힣々"
_RUN: Final = re.compile(rf"[{_EAST_ASIAN}]+(?: [가-힣]+)*|[^\W{_EAST_ASIAN}]+(?:[-.,'/][^\W{_EAST_ASIAN}]+)*%?")
_UNSPACED: Final = re.compile(f"[{_EAST_ASIAN}]")
_APOSTROPHES: Final = frozenset("'’ʼ")
_ARABIC_MARKS: Final = re.compile("[\u0640\u064b-\u0652\u0670]")
_ARABIC_LETTERS: Final = str.maketrans("أإآٱىة", "اااايه")


def plain(text: str) -> str:
    """A word as word lists are searched: lower case, without accents or vowel marks."""
    if text[:1] >= "\u0600" and text[:1] <= "\u06ff":
        return _ARABIC_MARKS.sub("", text).translate(_ARABIC_LETTERS)
    return without_marks(text)


def _tokens(text: str, grammar: Grammar) -> list[_Token]:
    text = unicodedata.normalize("NFC", text)
    found: list[_Token] = []
    end = 0
    for match in _TOKEN.finditer(text):
        between = text[end : match.start()]
        token = _Token(text=match[0], plain=plain(match[0]), glued=between in ("-", "‐", "‑") and bool(found))
        end = match.end()
        if text[end : end + 1] in _APOSTROPHES and token.plain in grammar.elided:
            continue
        if grammar.agglutinates and between in _APOSTROPHES and found:
            continue
        found.append(token)
    return found


def _is_symbol(text: str) -> bool:
    """Numbers, abbreviations and formulas, which are the same in every language."""
    return any(letter.isdigit() for letter in text) or sum(letter.isupper() for letter in text) > 1


def _glued_symbol(tokens: Sequence[_Token], start: int) -> tuple[int, str] | None:
    """Names such as IL-6 or omega-3 in one piece: what a hyphen joins to a number or to one letter."""
    following = tokens[start + 1 : start + 2]
    if following and following[0].glued and _is_symbol(following[0].text) and _is_symbol(tokens[start].text):
        return 2, f"{tokens[start].text}-{following[0].text}"
    return None


def segments(run: str, terms: Terms) -> list[tuple[str, str | None]]:
    """A text without spaces cut into listed words, with their English, and unlisted rests, with None.

    Of all ways to cut it, the one with the fewest unlisted characters and then the fewest pieces.
    """
    best: list[tuple[int, int, int, str | None]] = [(0, 0, 0, None)]
    for end in range(1, len(run) + 1):
        space = run[end - 1] == " "
        ways: list[tuple[int, int, int, str | None]] = [
            (best[end - 1][0] + (not space), best[end - 1][1] + 1, end - 1, None)
        ]
        for start in range(max(0, end - terms.longest), end):
            english = terms.words.get(run[start:end].lower())
            if english is not None and _stands_alone(run, start, end):
                ways.append((best[start][0], best[start][1] + 1, start, english))
        best.append(min(ways, key=lambda way: way[:2]))
    return _joined_rests(_traced(run, best))


def _trusted(pieces: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """The pieces with single characters beside unlisted ones taken for parts of the same unlisted word."""
    trusted = list(pieces)
    for order in (range(1, len(trusted)), range(len(trusted) - 2, -1, -1)):
        for number in order:
            piece, english = trusted[number]
            beside, other = trusted[number - 1 if order.step > 0 else number + 1]
            if len(piece) == 1 and english != _DROPPED and other is None and _same_script(piece, beside):
                trusted[number] = (piece, None)
    return _joined_rests(trusted)


def _same_script(first: str, second: str) -> bool:
    """Both Chinese characters, or both syllables of Hangul."""
    return any(low <= first[0] <= high and low <= second[0] <= high for low, high in ("㐀鿿", "가힣"))


def _traced(run: str, best: Sequence[tuple[int, int, int, str | None]]) -> list[tuple[str, str | None]]:
    pieces = []
    end = len(run)
    while end:
        start, english = best[end][2:]
        pieces.append((run[start:end], english))
        end = start
    return pieces[::-1]


def _joined_rests(pieces: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    joined: list[tuple[str, str | None]] = []
    for piece, english in pieces:
        before, known = joined[-1] if joined else ("", "")
        if english is None and known is None and _is_katakana(piece) == _is_katakana(before[-1]):
            joined[-1] = (before + piece, None)
        else:
            joined.append((piece, english))
    return joined


def _stands_alone(run: str, start: int, end: int) -> bool:
    """Short words in katakana, a script of borrowed names, are not looked for inside longer ones."""
    if not _is_katakana(run[start:end]) or end - start >= _SHORTEST_PART:
        return True
    return not _is_katakana(run[start - 1 : start]) and not _is_katakana(run[end : end + 1])


def _is_katakana(text: str) -> bool:
    return bool(text) and all("ァ" <= letter <= "ヿ" for letter in text)


_SOFTENED: Final = {"k": "g", "p": "b", "t": "d"}
"""Turkish final consonants (accents dropped) as they are before an ending that begins with a vowel."""


@cache
def load_terms(language: str) -> Terms:
    """The word list of one of LANGUAGES."""
    entries = tuple(_entries(language))
    grammar = GRAMMARS[language]
    return _unspaced_terms(entries, grammar) if grammar.unspaced else _spaced_terms(entries, grammar)


def _unspaced_terms(entries: Sequence[tuple[str, str]], grammar: Grammar) -> Terms:
    words: dict[str, str] = {}
    for english, variant in entries:
        words.setdefault(variant.lower(), english)
        words.setdefault(variant.replace(" ", "").lower(), english)
    return Terms(grammar, words, longest=max(map(len, words)))


def _spaced_terms(entries: Sequence[tuple[str, str]], grammar: Grammar) -> Terms:
    closed = [(english, _tokens(variant, grammar)) for english, variant in entries if not variant.endswith("*")]
    words: dict[str, str] = {}
    stems: dict[str, str] = {}
    # As written first: Swedish "har" is a function word, and must not become the "har" that "hår" is without its ring.
    for english, tokens in closed:
        words.setdefault(" ".join(token.text.lower() for token in tokens), english)
    for english, tokens in closed:
        bare = " ".join(token.plain for token in tokens)
        words.setdefault(bare, english)
        if grammar.agglutinates:
            words.setdefault(bare[:-1] + _SOFTENED.get(bare[-1], bare[-1]), english)
        elif english != _DROPPED:
            stems.setdefault(" ".join(stem(token.plain, grammar) for token in tokens), english)
    beginnings = {plain(variant[:-1]): english for english, variant in reversed(entries) if variant.endswith("*")}
    return Terms(grammar, words, stems, beginnings, max(len(tokens) for _, tokens in closed))


@cache
def english_words() -> frozenset[str]:
    """Every word of the English side of the word lists, in lower case, without a plural's s."""
    listed = (english for language in LANGUAGES for english, _ in _entries(language))
    return frozenset(word.removesuffix("s") for english in listed for word in re.findall(r"[a-z]{2,}", english.lower()))


def _entries(language: str) -> Iterator[tuple[str, str]]:
    table = files("cmo.translation") / "terms" / f"{language}.tsv"
    for line in table.read_text(encoding="utf-8").splitlines():
        english, variants = line.split("\t")
        for variant in variants.split("|"):
            yield english, variant
