"""Whether the translation of a sentence can be shown, as far as its placeholders and signs tell. Pure.

It can when each placeholder is there once and in its place, and no digit, sign, unit, address or sentence is there that
was not before. Placeholders must come back in the order they had: where two changed places it may be another language's
word order or another statement, 5 for 7 or lactate for alanine, and nobody can tell from outside. Only what reads the
same may stand for each other. That keeps some sentences English in languages that put numbers first.

What words say cannot be seen: a lost negation, "higher" for "lower", patients for controls or a part left out passes,
with every placeholder in its place. Numbers in words are protected from two on; "half", "twice" and ordinals are not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final

from cmo.translation.protect import DIGITS, PLACEHOLDER, WORD, Kind, Masked, Protected, plain
from cmo.translation.quantities import MAGNITUDES, TIME_WORDS, UNIT_SYMBOLS


class Loss(StrEnum):
    """Why a translation is not believed."""

    EMPTY = "empty"
    UNTRANSLATED = "untranslated"
    PLACEHOLDER = "placeholder lost, doubled or from elsewhere"
    ORDER = "order"
    TOUCHED = "something else joined to a number or name"
    DIGIT = "digit that was not there"
    SIGN = "sign, markup or invisible character that was not there"
    ADDRESS = "address that was not there"
    LENGTH = "length"
    SENTENCE = "sentence that was not there"
    SCRIPT = "script of another language"


_SIGNS: Final = frozenset("<>≤≥=±≈~×÷+%‰°$€£¥#@*_^|\\{}[]`↑↓→←+∑√∞")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")
"""Letters of Hindi and Arabic words are joined or kept apart by these."""
_LINK: Final = re.compile(r"://|\bwww\.|[A-Za-z0-9-]{2,}\.[A-Za-z]{2,}(?![\w.])")
_INNER_STOP: Final = re.compile(r"[.!?।؟…][\"”’»)]*\s+(?=[\"“‘«(¿¡]*\w)|[。！？](?=.*\w)")
_JOINED_BY: Final = frozenset("-−–—+./,'^:·~")
_LATIN: Final = re.compile(r"[A-Za-zÀ-ɏ]")
_AT_VALUE: Final = (
    re.compile(r"[-−–] ?$|[—.,/^·]$|[克升摩百千万萬亿億兆十负負零点點半] ?$"),
    re.compile(r" ?[−/^·]|[-–]"),
)
_AT_NAME: Final = (re.compile(r"(?<![^\W\d_])-$|[−–—./^·]$"), re.compile(r" ?[−/^·]"))
"""What makes something else of a number or name when it comes to stand before or behind it. A hyphen may join a name to
a word: Plasma-TMAO-Spiegel."""

_CHANGED_BY: Final = re.compile(
    rf"""[\s,.:;(/·−–-]{{0,3}}(?:(?:{UNIT_SYMBOLS})(?![\w'’])|(?i:(?:{TIME_WORDS}|fold|{MAGNITUDES})(?!\w))|-?fach\b
    |(?:мк|м|н|к|п)?(?:г|моль|л|М)\b|(?:毫|微|纳|納|千|皮)?(?:克|升(?![至到高为為了幅])|摩尔|摩爾|莫耳)
    |ミリ|マイクロ|ナノ|キロ|グラム|モル|리터|그램|몰|[百千万萬亿億兆십백천만억]
    |(?i:(?:cent|mil|mille|hundert|tausend|duizend|bin|yüz|tysięcy|тысяч\w*|сот\w*|ألف|हज़ार|लाख|करोड़|백만)\b
    |(?:mill?ion|milli?ard|mill?ón|millones|milhão|milhões|miljoen|milyon|milion|миллион|миллиард|مليون|मिलियन)\w*
    |(?:pour|por|per|pro)[ -]?(?:cento?|ciento|mille|mil)\b|(?:prozent|procent|процент)\w*)|パーセント|퍼센트)""",
    re.VERBOSE,
)
"""What makes another number of one when it comes to stand behind it: units, powers of ten, percent."""

_SCRIPTS: Final = {
    "ar": "ARABIC", "hi": "DEVANAGARI", "ja": "HIRAGANA KATAKANA CJK", "ko": "HANGUL CJK", "ru": "CYRILLIC",
    "zh": "CJK",
}  # fmt: skip
_LEAST_SHARE: Final = 0.6
_LEAST_LATIN_SHARE: Final = 0.95
"""Share of a translation's letters that must be of its language's script; in other scripts, English terms remain."""
_ENGLISH: Final = frozenset("the and were with than which that from but this these their whereas".split())
"""Words that are none in the other languages."""
_MOST_SAME_WORDS: Final = 0.6
"""Share of a sentence's words that may be the same in its translation, as many terms are."""
_LENGTHS: Final = {"zh": (0.1, 1.0), "ja": (0.15, 1.3), "ko": (0.15, 1.2)}
_LENGTH: Final = (0.45, 2.0)
"""Letters of a translation for each letter of the English, least and most."""
_FEW_LETTERS: Final = 20
"""So many more are always allowed: short sentences vary more."""


def loss(masked: Masked, translated: str, language: str) -> Loss | None:
    """Why the translation of a masked sentence into a language (ISO 639-1) is not believed; None when it is."""
    text = plain(translated)
    if not text:
        return Loss.EMPTY
    found = list(PLACEHOLDER.finditer(text))
    numbers = [int(match[1]) for match in found]
    if sorted(numbers) != sorted(masked.things) or "XQ" in PLACEHOLDER.sub("", text).upper():
        return Loss.PLACEHOLDER
    checks = (
        (_in_order(masked.things, numbers), Loss.ORDER),
        (_untouched(masked, text, found), Loss.TOUCHED),
        (_same_outside(masked.text, text, _digits), Loss.DIGIT),
        (_same_outside(masked.text, text, _signs), Loss.SIGN),
        (len(_LINK.findall(text)) <= len(_LINK.findall(masked.text)), Loss.ADDRESS),
        (len(_INNER_STOP.findall(text)) <= len(_INNER_STOP.findall(masked.text)), Loss.SENTENCE),
        (_fitting_length(masked.text, text, language), Loss.LENGTH),
        (_fitting_script(text, language), Loss.SCRIPT),
        (_differs(masked.text, text, language), Loss.UNTRANSLATED),
    )
    return next((why for holds, why in checks if not holds), None)


def serves_search(masked: Masked, translated: str) -> bool:
    """Whether a translated question can be searched for: with everything in it, in whatever order."""
    text = plain(translated)
    numbers = {int(match[1]) for match in PLACEHOLDER.finditer(text)}
    return numbers == set(masked.things) and bool(text) and not _LINK.search(text) and _differs(masked.text, text, "en")


def strayed(masked: Masked, translated: str) -> bool:
    """Whether a translation has placeholders of other sentences: texts of one call were mixed up."""
    return any(int(match[1]) not in masked.things for match in PLACEHOLDER.finditer(plain(translated)))


def _in_order(things: Mapping[int, Protected], numbers: Sequence[int]) -> bool:
    """Whether each place of the sentence has what it had."""
    return [things[number].text for number in sorted(things)] == [things[number].text for number in numbers]


def _untouched(masked: Masked, text: str, found: Sequence[re.Match[str]]) -> bool:
    """Whether nothing came to stand beside a placeholder that makes something else of it."""
    before = {int(match[1]): match for match in PLACEHOLDER.finditer(masked.text)}
    for match in found:
        was = before[int(match[1])]
        if _beside(masked.things[int(match[1])], text, match) - _beside(masked.things[int(match[1])], masked.text, was):
            return False
    glued = {(int(one[1]), int(two[1])): between for one, two, between in _gaps(masked.text, list(before.values()))}
    return all(
        not _joins(between) or glued.get((int(one[1]), int(two[1]))) == between
        for one, two, between in _gaps(text, found)
    )


def _gaps(text: str, found: Sequence[re.Match[str]]) -> list[tuple[re.Match[str], re.Match[str], str]]:
    return [(one, two, text[one.end() : two.start()]) for one, two in pairwise(found)]


def _joins(between: str) -> bool:
    """Whether what stands between two pieces makes one of them, as the comma of 3,5 does."""
    return all(sign in _JOINED_BY for sign in between)


def _beside(thing: Protected, text: str, match: re.Match[str]) -> set[str]:
    """What stands at a placeholder that would change it: letters, signs, units."""
    before, after = text[: match.start()], text[match.end() :]
    found = {f"left {sign}" for sign in before[-1:] if _LATIN.match(sign)}
    found |= {f"right {sign}" for sign in after[:1] if _LATIN.match(sign)}
    patterns = _AT_VALUE if thing.kind is Kind.VALUE else _AT_NAME
    changed = (patterns[0].search(before), patterns[1].match(after), _CHANGED_BY.match(after))
    return found | {change[0].strip().lower() for change in changed if change}


def _same_outside(masked: str, text: str, kept: Callable[[str], str]) -> bool:
    """Whether some kind of character is the same outside of the placeholders."""
    return kept(PLACEHOLDER.sub(" ", masked)) == kept(PLACEHOLDER.sub(" ", text))


def _digits(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) in DIGITS)


def _signs(text: str) -> str:
    return "".join(
        letter
        for letter in text
        if letter in _SIGNS or (unicodedata.category(letter) in _INVISIBLE and letter not in _JOINERS)
    )


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, PLACEHOLDER.sub(" ", text)))


def _fitting_length(masked: str, text: str, language: str) -> bool:
    least, most = _LENGTHS.get(language, _LENGTH)
    before, after = len(_letters(masked)), len(_letters(text))
    return least * (before - _FEW_LETTERS) <= after <= most * before + _FEW_LETTERS


def _fitting_script(text: str, language: str) -> bool:
    scripts = tuple(_SCRIPTS.get(language, "LATIN").split())
    letters = _letters(text)
    own = sum(unicodedata.name(letter, "").startswith(scripts) for letter in letters)
    return own >= (_LEAST_SHARE if language in _SCRIPTS else _LEAST_LATIN_SHARE) * len(letters)


def _differs(masked: str, text: str, language: str) -> bool:
    """Whether it is not still in the language it came from, more or less."""
    words, after = ([word.lower() for word in WORD.findall(PLACEHOLDER.sub(" ", each))] for each in (masked, text))
    if language != "en" and _ENGLISH.intersection(words, after):
        return False
    return sum(word in after for word in words) <= _MOST_SAME_WORDS * len(words) if words else True
