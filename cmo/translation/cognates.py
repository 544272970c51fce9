"""Words that no glossary lists, brought to their English spelling: names, and the Greek and Latin of medicine.

Three steps, each optional: a transliteration of other alphabets, a table of endings ("-zione" is "-tion"), and the
nearest word of a vocabulary by how both sound. Nothing here knows meanings; glossary.py does.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

SIMILARITY: Final = 0.8
"""Edit similarity (1 - distance / longer length) of two sound keys from which the words count as the same."""

_SHORTEST: Final = 5
"""Letters a word needs to be likened to another; shorter ones resemble too many."""
_SHARED_LETTERS: Final = 3
"""Letters at the beginning in which likened words must sound the same."""
_SHORTEST_CONSONANTS: Final = 4
_VOWEL_SIMILARITY: Final = 0.5

_CYRILLIC: Final = str.maketrans(
    {
        **dict(zip("абвгдеёзийклмнопрстуфцыэієґў", "abvgdeeziiklmnoprstufcyeiegu", strict=True)),
        **{"х": "ch", "ъ": "", "ь": "", "ж": "zh", "ч": "ch", "ш": "sh", "щ": "sch", "ю": "iu", "я": "ia", "ї": "i"},
    }
)
_GREEK: Final = str.maketrans(
    {
        **dict(zip("αβγδεζηικλμνξοπρσςτυωάέήίόύώϊϋ", "abgdeziiklmnxoprsstyoaeiioyoiy", strict=True)),
        **{"θ": "th", "φ": "ph", "χ": "ch", "ψ": "ps"},
    }
)
_ARABIC: Final = str.maketrans(
    dict(zip("ابتثجحخدذرزسشصضطظعغفقكلمنهويةىءئؤپگچ", "abttghkddrzsssdttagfkklmnhuiaa\0iubgc", strict=True)) | {"ء": ""}
)
_KANA: Final = {
    **{kana: roman for row, romans in (
        ("アイウエオ", "a i u e o"), ("カキクケコ", "ka ki ku ke ko"), ("サシスセソ", "sa si su se so"),
        ("タチツテト", "ta ti tu te to"), ("ナニヌネノ", "na ni nu ne no"), ("ハヒフヘホ", "ha hi fu he ho"),
        ("マミムメモ", "ma mi mu me mo"), ("ヤユヨ", "ya yu yo"), ("ラリルレロ", "ra ri ru re ro"),
        ("ワヲンヴ", "wa o n vu"), ("ガギグゲゴ", "ga gi gu ge go"), ("ザジズゼゾ", "za zi zu ze zo"),
        ("ダヂヅデド", "da di du de do"), ("バビブベボ", "ba bi bu be bo"), ("パピプペポ", "pa pi pu pe po"),
        ("ァィゥェォャュョ", "a i u e o ya yu yo"),
    ) for kana, roman in zip(row, romans.split(), strict=True)},
    "ー": "", "ッ": "", "・": "",
}  # fmt: skip
_HANGUL_FIRST: Final = "g kk n d tt r m b pp s ss  j jj ch k t p h".split(" ")
_HANGUL_MIDDLE: Final = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()
_HANGUL_LAST: Final = " k k ks n nj nh t l lk lm lb ls lt lp lh m p ps t t ng t t k t p t".split(" ")

_ENDINGS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = tuple(
    (foreign, tuple(english.split()))
    for foreigns, english in (
        ("zione zioni cion ciones cao coes tie ties cja cji cje ciia cii ciiu ciei cie siyon ace aci", "tion"),
        ("sione sioni sion siones sao soes sie sja ziia siia sii siiu", "sion"),
        ("ssione ssioni ssion ssao", "ssion"),
        ("logia logie logiia logija loji logii", "logy"),
        ("grafia grafie graphie grafi grafiia grafii", "graphy"),
        ("pathie patia patie patii patiia pati patologia", "pathy"),
        ("therapie terapia terapie terapii terapiia terapi", "therapy"),
        ("idad idade ita itat itaten ite iteit itet", "ity"),
        ("isch ische ischen ischer ique iques ico ica icos icas ici iche isk iska iskt yczny yczna yczne", "ic ical"),
        ("icheskii icheskaia icheskoe icheskie ichnyi", "ic ical"),
        ("itis ite iti it itu itom ita ites", "itis"),
        ("osis ose osi oza ozy os oz ozom", "osis ose"),
        ("osa osio oso ose oz oza", "ose"),
        ("emia emie emii emiia ämie émie", "emia"),
        ("ina ino ine in inen ini iny inu ina inas inos yna yny", "ine in"),
        ("ismo isme ismus ismi izm izmu izma", "ism"),
        ("ivo iva ive if iv ivi ivos ivas iwny yvnyi ivnyi", "ive"),
        ("ato ate aten at ati atos aat", "ate"),
        ("ido ide id idi idos idy yd ydy", "ide"),
        ("ma me my mas mes mi m", "ma"),
        ("eur eurs ore ori or ores ör", "or"),
        ("ario aire arios aria arias", "ary"),
        ("ante anti antes ant", "ant"),
        ("ente enti entes ent", "ent"),
        ("mente ment", "ly"),
        ("ia ie iia ii ija iiu iei ieiu", "y ia"),
        ("osaure insäure insaure säure saure", "ic_acid"),
        ("inezuur inzuur zuur syra", "ic_acid"),
        ("owy owa owego ynowy inowy ovaia ovoi inovaia ovyi", "ic"),
        ("al ale ali ales aal ais aux alny alnyi alna", "al"),
        ("a o e s es os as i y u en er n om ami", ""),
    )
    for foreign in foreigns.split()
)  # fmt: skip
"""Endings of eight languages (Cyrillic ones as transliterated) and what they are in English; one may be several."""

_SOUNDS: Final = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        ("ph", "f"), ("sch|sh", "s"), ("th", "t"), ("rh", "r"), ("ch", "k"), ("[tc]i(?=[aeo])", "si"), ("qu", "k"),
        ("c(?=[eiy])", "s"), ("[cq]", "k"), ("x", "ks"), ("z", "s"), ("w", "v"), ("[yj]", "i"), ("[ao]e", "e"),
        ("ou", "u"), ("h", ""), (r"(.)\1+", r"\1"),
    )
)  # fmt: skip

_LIKENED: Final[dict[str, Mapping[int, int | None]]] = {
    "ja": str.maketrans("lv", "rb", "f"),
    "ko": str.maketrans("lvfjgd", "rbpskt"),
    "ar": str.maketrans("pvg", "bfk"),
}
"""Consonants that a language's borrowed words do not keep apart."""


def transliterated(word: str) -> str:
    """The word in Latin letters, lower case, without marks. Chinese characters stay."""
    lowered = unicodedata.normalize("NFC", word.lower())
    first = lowered[:1]
    if "а" <= first <= "ў" or "ѐ" <= first <= "ӿ":
        return lowered.translate(_CYRILLIC)
    if "Ͱ" <= first <= "Ͽ":
        return lowered.translate(_GREEK)
    if "ء" <= first <= "ۿ":
        return lowered.translate(_ARABIC).replace("\0", "a")
    if "ァ" <= first <= "ヿ":
        return _romanised_kana(lowered)
    if "가" <= first <= "힣":
        return "".join(_romanised_syllable(letter) for letter in lowered)
    return without_marks(lowered)


def without_marks(word: str) -> str:
    """Lower-case Latin text without accents; other alphabets as they are, except that Cyrillic ё is е."""
    if word.isascii():
        return word.lower()
    return "".join(_plain(letter) for letter in unicodedata.normalize("NFC", word.lower()))


_PLAIN: Final = {"ß": "ss", "ø": "o", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "đ": "d", "ё": "е", "\u0307": ""}


def _plain(letter: str) -> str:
    if letter in _PLAIN:
        return _PLAIN[letter]
    if "À" <= letter <= "ɏ" or "Ḁ" <= letter <= "ỿ":
        return unicodedata.normalize("NFD", letter)[0]
    return letter


def _romanised_kana(word: str) -> str:
    romans = "".join(_KANA.get(kana, kana) for kana in word)
    return re.sub(r"(?<=[kstnhmrgzdbpfv])[iueo](?=[ y]?[aeiou])", "", romans)


def _romanised_syllable(letter: str) -> str:
    code = ord(letter) - ord("가")
    if not 0 <= code < 11172:
        return letter
    first, rest = divmod(code, 588)
    middle, last = divmod(rest, 28)
    return _HANGUL_FIRST[first] + _HANGUL_MIDDLE[middle] + _HANGUL_LAST[last]


def spellings(word: str) -> tuple[str, ...]:
    """English spellings the foreign word may have, likeliest first; at least one."""
    plain = transliterated(word)
    found: dict[str, None] = {}
    for foreign, english in sorted(_ENDINGS, key=lambda ending: -len(ending[0])):
        if plain.endswith(foreign) and len(plain) - len(foreign) >= 3:
            stem = plain[: len(plain) - len(foreign)]
            found.update((_respelled(stem + ending, word).replace("_", " "), None) for ending in english)
    found.setdefault(_respelled(plain, word), None)
    if word[:1].lower() == "г":  # Russian has no h: гемоглобин, but also глюкоза
        found.update(("h" + spelling[1:], None) for spelling in tuple(found))
    return tuple(found)


def _respelled(plain: str, word: str) -> str:
    """Greek letters' English spelling, where the word's own language writes them as they sound."""
    if not word.isascii() and "а" <= word[:1].lower() <= "я":
        return plain.replace("ks", "x").replace("f", "ph").replace("k", "c")
    return plain


def sound(word: str) -> str:
    """How a word of Latin letters sounds, roughly, in any European language."""
    key = without_marks(word)
    for pattern, replacement in _SOUNDS:
        key = pattern.sub(replacement, key)
    return key


class Vocabulary:
    """English words to be found by foreign ones. Built once; safe to share."""

    def __init__(self, words: Collection[str]) -> None:
        self._words = frozenset(word.lower() for word in words if word.isascii() and word.isalpha())
        self._by_sound: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for word in sorted(self._words):
            if len(word) >= _SHORTEST:
                key = sound(word)
                self._by_sound[key[:_SHARED_LETTERS]].append((key, word))
        self._by_consonants: dict[str, dict[str, list[tuple[str, str]]]] = {}

    def __len__(self) -> int:
        """How many words there are."""
        return len(self._words)

    def __contains__(self, word: str) -> bool:
        """Whether the lower-case word is one of them."""
        return word in self._words

    def nearest(self, candidates: Sequence[str]) -> str | None:
        """The word one of the candidates is, or else the most similar from SIMILARITY up; None when there is none."""
        for candidate in candidates:
            if candidate in self._words:
                return candidate
        best, found = 0.0, None
        for candidate in candidates:
            if len(candidate) < _SHORTEST:
                continue
            key = sound(candidate)
            for other, word in self._by_sound.get(key[:_SHARED_LETTERS], ()):
                score = similarity(key, other, at_least=max(best, SIMILARITY))
                if score > best:
                    best, found = score, word
        return found

    def borrowed(self, word: str, language: str) -> str | None:
        """The word that a borrowing in Japanese, Korean or Arabic letters stands for, by its consonants."""
        keys = self._consonant_index(language)
        plain = transliterated(word)
        if len(consonants(plain, language)) < _SHORTEST_CONSONANTS:
            return None
        key = sound(plain)
        scored = ((similarity(key, other), name) for other, name in keys.get(consonants(plain, language), ()))
        score, name = max(scored, default=(0.0, ""))
        return name if score >= _VOWEL_SIMILARITY else None

    def _consonant_index(self, language: str) -> dict[str, list[tuple[str, str]]]:
        if language not in self._by_consonants:
            index: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for key, word in _flattened(self._by_sound.values()):
                index[consonants(word, language)].append((key, word))
            self._by_consonants[language] = index
        return self._by_consonants[language]


def _flattened(buckets: Iterable[list[tuple[str, str]]]) -> Iterable[tuple[str, str]]:
    return (entry for bucket in buckets for entry in bucket)


def consonants(word: str, language: str) -> str:
    """A Latin word's consonants as far as the language keeps them apart, doubled ones once."""
    likened = sound(word).translate(_LIKENED.get(language, {}))
    return re.sub(r"(.)\1+", r"\1", re.sub("[aeiou]", "", likened))


def similarity(first: str, second: str, *, at_least: float = 0.0) -> float:
    """1 - edit distance / length of the longer; 0 when less than `at_least`."""
    longest = max(len(first), len(second))
    if not longest:
        return 1.0
    allowed = int((1 - at_least) * longest + 1e-9)
    if abs(len(first) - len(second)) > allowed:
        return 0.0
    above = list(range(len(second) + 1))
    for row, letter in enumerate(first, 1):
        current = [row]
        for column, other in enumerate(second, 1):
            current.append(min(above[column] + 1, current[-1] + 1, above[column - 1] + (letter != other)))
        if min(current) > allowed:
            return 0.0
        above = current
    return 1 - above[-1] / longest if above[-1] <= allowed else 0.0
