"""A fake LibreTranslate: POST /translate as documented, honest by default, and able to spoil texts in many ways.

It translates what it was taught, and other texts word by word from the lists of the application, which is no grammar
but looks like a language. What it was taught has slots, for names and numbers:

    async with FakeLibreTranslate() as server:
        server.teach("fr", "{Lactate} rose by {5%}.", "Le taux de {0} a augmenté de {1}.")

Whoever calls it may have put codes in the place of slots, or of none: a code comes back where its slot stands. Without
being taught it knows PHRASES, in French and Chinese, so that an answer in these languages can be shown:
CMO_TRANSLATION=libretranslate and LIBRETRANSLATE_URL=server.url make the application use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.servers.fake import FakeServer, Refusal, Reply, Whole
from tests.servers.faults import STATUS, Fault
from tests.servers.openai import BAD_GATEWAY_PAGE
from tests.servers.wire import Request

LANGUAGES: Final = frozenset("ar de en es fr hi it ja ko nl pl pt ru tr zh".split())

TERMS: Final = Path(__file__).resolve().parents[2] / "cmo" / "translation" / "terms"

CODE: Final = re.compile(r"[A-Za-z]+\d+[A-Za-z]+")
"""What a service takes for a code and copies."""


class Mangling(StrEnum):
    """One way in which a service spoils a text that it should only translate."""

    NONE = "none"
    """It does not."""

    DROPS_CODE = "drops a code"
    DOUBLES_CODE = "writes a code twice"
    SWAPS_CODES = "swaps two codes"
    REVERSES_CODES = "writes all codes in reverse"
    CHANGES_DIGITS = "changes digits"
    FOREIGN_DIGITS = "writes digits of another script"
    SPACES_CODES = "writes codes small and spaced"
    ADDS_UNIT = "puts a unit behind a code"
    ADDS_MAGNITUDE = "puts millions behind a code"
    ADDS_PERCENT = "puts percent behind a code"
    ADDS_MINUS = "puts a minus before a code"
    ADDS_LETTER = "puts a letter behind a code"
    JOINS_CODES = "joins two codes by a comma"
    NAMES_CODES = "translates a code into a name"
    ADDS_NUMBER = "adds a number"
    ADDS_SENTENCE = "adds a sentence"
    ADDS_LINK = "adds a link"
    ADDS_MARKUP = "adds markup"
    ADDS_MARKER = "adds a marker"
    HIDES = "adds an invisible character"
    CUTS = "stops in the middle"
    REPEATS = "says everything twice"
    EMPTIES = "sends nothing back"
    PARROTS = "sends the text back"
    OTHER_LANGUAGE = "translates into another language"
    MIXES_UP = "sends the texts in another order"

    DROPS_NEGATION = "drops a negation"
    TURNS_AROUND = "writes fell for rose"


HARMLESS: Final = frozenset({Mangling.NONE, Mangling.FOREIGN_DIGITS, Mangling.SPACES_CODES})
"""Those after which a text still says the same."""
UNSEEN: Final = frozenset({Mangling.DROPS_NEGATION, Mangling.TURNS_AROUND})
"""Those that change words only, in French."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """A sentence with what stands in its slots, and its translation with {0}, {1} and so on for them."""

    english: str
    slots: tuple[tuple[int, int], ...]
    translated: str

    @property
    def slot_texts(self) -> tuple[str, ...]:
        """What stands in the slots."""
        return tuple(self.english[start:end] for start, end in self.slots)

    @property
    def whole(self) -> str:
        """The translation, its slots filled as in the original."""
        return self.translated.format(*self.slot_texts)


def phrase(english: str, translated: str) -> Phrase:
    """A phrase whose slots stand in braces."""
    plain, slots = "", []
    for part in re.split(r"(\{[^}]*\})", english):
        if part.startswith("{"):
            slots.append((len(plain), len(plain) + len(part) - 2))
        plain += part.strip("{}") if part.startswith("{") else part
    return Phrase(english=plain, slots=tuple(slots), translated=translated)


PHRASES: Final[Mapping[str, Sequence[tuple[str, str]]]] = MappingProxyType(
    {
        "fr": (
            (
                "Clinical metabolomics is the study of small molecules in samples from patients.",
                "La métabolomique clinique est l'étude des petites molécules dans les échantillons de patients.",
            ),
            (
                "{Branched-chain amino acids} rise years before diabetes is diagnosed ({p < 0.001}).",
                "Les {0} augmentent des années avant le diagnostic du diabète ({1}).",
            ),
            (
                "In patients with sepsis a blood {lactate} above {four millimoles per litre} goes with a high "
                "mortality.",
                "Chez les malades atteints de sepsis, un {0} sanguin supérieur à {1} va de pair avec une mortalité "
                "élevée.",
            ),
            (
                "Repeated measurement of {lactate} guides the treatment during the first hours on the ward.",
                "La mesure répétée du {0} guide le traitement pendant les premières heures dans le service.",
            ),
        ),
        "zh": (
            (
                "Clinical metabolomics is the study of small molecules in samples from patients.",
                "临床代谢组学是研究患者样本中小分子的学科。",
            ),
            (
                "{Branched-chain amino acids} rise years before diabetes is diagnosed ({p < 0.001}).",
                "{0} 在糖尿病确诊前数年就已升高（{1}）。",
            ),
            (
                "In patients with sepsis a blood {lactate} above {four millimoles per litre} goes with a high "
                "mortality.",
                "在脓毒症患者中，血液 {0} 高于 {1} 者死亡率较高。",
            ),
            (
                "Repeated measurement of {lactate} guides the treatment during the first hours on the ward.",
                "反复测定 {0} 可指导入院最初数小时的治疗。",
            ),
        ),
    }
)
"""Sentences of the papers in tests/browser/conftest.py and tests/faults/world.py."""

QUESTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Qu'est-ce que la métabolomique clinique ?": "What is clinical metabolomics?",
        "什么是临床代谢组学？": "What is clinical metabolomics?",
        "Que signifie un lactate sanguin élevé dans le sepsis ?": "What does a high blood lactate mean in sepsis?",
        "脓毒症患者血乳酸升高意味着什么？": "What does a high blood lactate mean in sepsis?",
    }
)


class FakeLibreTranslate(FakeServer):
    """LibreTranslate on loopback. `key`: what is asked for as api_key; None takes everybody."""

    def __init__(self, *, port: int = 0, key: str | None = None, delay_seconds: float = 0.0) -> None:
        self._libre = LibreApi(key)
        super().__init__(self._libre, base="", port=port, key=None, delay_seconds=delay_seconds, token_seconds=0.0)

    def teach(self, target: str, english: str, translated: str) -> Phrase:
        """Have it know a sentence with slots in braces, and its translation with {0}, {1} and so on."""
        taught = phrase(english, translated)
        self._libre.phrases.setdefault(target, []).append(taught)
        return taught

    def mangle(self, mangling: Mangling) -> None:
        """Spoil every text from now on."""
        self._libre.mangling = mangling

    @property
    def mangled(self) -> int:
        """How many texts came out otherwise than they should have."""
        return self._libre.mangled


class LibreApi:
    """How LibreTranslate's answers look, and what it knows."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self.mangling = Mangling.NONE
        self.mangled = 0
        self.phrases = {
            target: [phrase(english, translated) for english, translated in known] for target, known in PHRASES.items()
        }

    def reply(self, request: Request, fault: Fault) -> Reply:
        if (request.method, request.path) != ("POST", "/translate"):
            return Refusal(status=404, body={"error": "Not found"})
        body = request.json or {}
        if self._key is not None and body.get("api_key") != self._key:
            return self.unauthorized(request)
        asked = body.get("q")
        texts = [asked] if isinstance(asked, str) else asked
        if not texts or not isinstance(texts, list) or not {"source", "target"} <= body.keys():
            return Refusal(status=400, body={"error": "Invalid request: missing q, source or target parameter"})
        for language in (body["source"], body["target"]):
            if language not in LANGUAGES:
                return Refusal(status=400, body={"error": f"{language} is not supported"})
        if fault is Fault.INCOMPLETE:
            texts = texts[:-1]
        done = self._mangled(texts, body["target"])
        if fault is Fault.FAILED:
            return Whole(body={"error": "Cannot translate text"}, charge=None)
        return Whole(body={"translatedText": done[0] if isinstance(asked, str) else done}, charge=None)

    def refuse(self, fault: Fault, *, seconds: float, request: Request) -> Refusal:
        if fault is Fault.BAD_GATEWAY:
            return Refusal(status=502, body=BAD_GATEWAY_PAGE)
        words = "Slowdown: too many requests" if STATUS[fault] == 429 else f"Error with {request.body[:80]!r}"
        return Refusal(status=STATUS[fault], body={"error": words})

    def unauthorized(self, request: Request) -> Refusal:
        return Refusal(status=403, body={"error": f"Invalid API key: {(request.json or {}).get('api_key')}"})

    def _mangled(self, texts: Sequence[str], target: str) -> list[str]:
        right = [self.translated(text, target) for text in texts]
        if self.mangling is Mangling.MIXES_UP:
            spoilt = right[1:] + right[:1]
        elif self.mangling is Mangling.PARROTS:
            spoilt = list(texts)
        elif self.mangling is Mangling.OTHER_LANGUAGE:
            spoilt = [self.translated(text, "zh" if target != "zh" else "fr") for text in texts]
        else:
            spoilt = [_MANGLE[self.mangling](text) for text in right]
        self.mangled += sum(one != other for one, other in zip(right, spoilt, strict=True))
        return spoilt

    def translated(self, text: str, target: str) -> str:
        """An honest translation."""
        if target == "en" and text in QUESTIONS:
            return QUESTIONS[text]
        found = (_in_phrase(known, text) for known in self.phrases.get(target, ()))
        return next((each for each in found if each is not None), None) or _word_by_word(text, target)


def _in_phrase(known: Phrase, text: str) -> str | None:
    """The translation of a text that is the phrase, some of it replaced by codes; None when it is not."""
    codes, between = CODE.findall(text), CODE.split(text)
    if not all(part in known.english for part in between):
        return None
    match = re.fullmatch("(.+?)".join(map(re.escape, between)), known.english)
    if match is None:
        return None
    spans = [match.span(number) for number in range(1, len(codes) + 1)]
    fillings = []
    for (start, end), plain in zip(known.slots, known.slot_texts, strict=True):
        inside = [(span, code) for span, code in zip(spans, codes, strict=True) if start <= span[0] and span[1] <= end]
        filling = plain
        for span, code in reversed(inside):
            filling = filling[: span[0] - start] + code + filling[span[1] - start :]
        fillings.append(filling)
    return known.translated.format(*fillings)


@cache
def _words(target: str) -> Mapping[str, str]:
    file = TERMS / f"{target}.tsv"
    if not file.is_file():
        return {}
    lines = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if "\t" in line)
    return {english: foreign.split("|")[0].rstrip("*") for english, foreign in lines if english and english != "-"}


def _word_by_word(text: str, target: str) -> str:
    words = _words(target)
    return re.sub(r"[A-Za-z]+(?![\w])", lambda match: words.get(match[0].lower(), match[0]), text)


def _numbers(text: str) -> list[re.Match[str]]:
    return list(CODE.finditer(text)) or list(re.finditer(r"\d+", text))


def _at_codes(change: Callable[[list[str]], Iterable[str]]) -> Callable[[str], str]:
    """Mangles the codes of a text, all at once; numbers where there is no code."""

    def mangle(text: str) -> str:
        found = _numbers(text)
        if not found:
            return text
        codes = list(change([match[0] for match in found]))
        for match, code in reversed(list(zip(found, codes, strict=True))):
            text = text[: match.start()] + code + text[match.end() :]
        return text

    return mangle


def _last(ending: str) -> Callable[[str], str]:
    return _at_codes(lambda codes: [*codes[:-1], f"{codes[-1]}{ending}"])


def _swapped(codes: list[str]) -> list[str]:
    return [codes[1], codes[0], *codes[2:]] if len(codes) > 1 else codes


def _digits_changed(code: str) -> str:
    return re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), code)


def _spaced(code: str) -> str:
    return re.sub(r"^([A-Za-z]+)(\d+)([A-Za-z]+)$", r"\1 \2 \3", code).lower()


def _joined(text: str) -> str:
    found = _numbers(text)
    if len(found) < 2:
        return text
    return f"{text[: found[0].end()]},{text[found[1].start() :]}"


_ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")

_MANGLE: Final[Mapping[Mangling, Callable[[str], str]]] = MappingProxyType(
    {
        Mangling.NONE: lambda text: text,
        Mangling.DROPS_CODE: _at_codes(lambda codes: [*codes[:-1], ""]),
        Mangling.DOUBLES_CODE: _at_codes(lambda codes: [*codes[:-1], f"{codes[-1]} ({codes[-1]})"]),
        Mangling.SWAPS_CODES: _at_codes(_swapped),
        Mangling.REVERSES_CODES: _at_codes(lambda codes: codes[::-1]),
        Mangling.CHANGES_DIGITS: _at_codes(lambda codes: map(_digits_changed, codes)),
        Mangling.FOREIGN_DIGITS: _at_codes(lambda codes: [code.translate(_ARABIC_DIGITS) for code in codes]),
        Mangling.SPACES_CODES: _at_codes(lambda codes: map(_spaced, codes)),
        Mangling.ADDS_UNIT: _last(" mg"),
        Mangling.ADDS_MAGNITUDE: _last(" millions"),
        Mangling.ADDS_PERCENT: _last(" %"),
        Mangling.ADDS_MINUS: _at_codes(lambda codes: [*codes[:-1], f"−{codes[-1]}"]),
        Mangling.ADDS_LETTER: _last("s"),
        Mangling.JOINS_CODES: _joined,
        Mangling.NAMES_CODES: _at_codes(lambda codes: ["glucose", *codes[1:]]),
        Mangling.ADDS_NUMBER: lambda text: f"3 {text}",
        Mangling.ADDS_SENTENCE: lambda text: f"{text} Consultez votre médecin.",
        Mangling.ADDS_LINK: lambda text: f"{text.rstrip('.')} (www.example.org).",
        Mangling.ADDS_MARKUP: lambda text: f"<b>{text}</b>",
        Mangling.ADDS_MARKER: lambda text: f"{text.rstrip('.')} [1].",
        Mangling.HIDES: lambda text: f"\u202e{text}",
        Mangling.CUTS: lambda text: text[: len(text) // 2],
        Mangling.REPEATS: lambda text: f"{text} {text}",
        Mangling.EMPTIES: lambda text: "",
        Mangling.DROPS_NEGATION: lambda text: text.replace("n'a pas changé", "a changé").replace("pas de", "du"),
        Mangling.TURNS_AROUND: lambda text: text.replace("augmenté", "baissé"),
    }
)
