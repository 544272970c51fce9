"""The language a question is written in, and how sure that is.

py3langid (naive Bayes over byte n-grams, Lui and Baldwin 2012, the model inside its wheel) judges the text. Its
probabilities are weighed with how often each language is asked here: English biomedical text full of chemical names is
easily taken for another language, and so are a few English keywords, which the glossary knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from cmo.translation import glossary

SUPPORTED = ("en", "hi", *glossary.LANGUAGES)
"""ISO 639-1 codes of the languages that questions are expected in."""

_NEIGHBOURS = tuple("cs da el fi hu no ro uk vi".split())
"""Languages told apart all the same, so that a Ukrainian question is not read as a Russian one."""

LANGUAGES = (*SUPPORTED, *_NEIGHBOURS)
"""ISO 639-1 codes of the languages told apart."""

_ODDS: Mapping[str, float] = MappingProxyType(
    dict.fromkeys(SUPPORTED, 1.0) | dict.fromkeys(_NEIGHBOURS, 0.05) | {"en": 3.0}
)
"""How often a language is expected before reading (chosen on the texts of benchmarks/language.py)."""

_KEYWORD_ODDS = 20.0
_FEW_WORDS = 6
_TERM_SHARE = 0.5
"""Share of English terms above which up to _FEW_WORDS are that much more likely English: "plasma leptin anorexia" is,
"diabetes gestacional" is not."""

_ENGLISH = frozenset(
    "what which how why when where who whose are were does did can could should would has have the and for with by "
    "from this that these those between than there been into during after before".split()
)
"""English function words that are no words of the other languages: not "was", "is", "in", "of", "had", "do", "it"."""

_WORD = re.compile(r"[^\W\d_]+")
_CODE = re.compile(r"\b[a-z]*\d\w*", re.ASCII)
"""Identifiers and formulas such as HMDB0000122 and C16, of no language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """A text's language, one of LANGUAGES, and its probability from 0 to 1; 0 when the text has no word."""

    language: str
    confidence: float


class LanguageDetector:
    """Detects the language of short texts. Loads its model once; safe to share."""

    def __init__(self) -> None:
        every = LanguageIdentifier.from_model_file(MODEL_FILE)
        every.set_languages(list(LANGUAGES))
        # One of its own for the few languages: the other one keeps the 28 MB of all its 142.
        tables = every.nb_ptc, every.nb_pc, every.nb_classes, every.tk_nextmove, every.tk_output
        self._identifier = LanguageIdentifier(*tables, norm_probs=True, tk_row=every.tk_row)
        glossary.english_words()  # read here rather than by the first question, on its event loop

    def detect(self, text: str) -> str:
        """The ISO 639-1 code of the text's language, one of LANGUAGES; "en" when the text has no word."""
        return self.identify(text).language

    def identify(self, text: str) -> Detected:
        """The text's language and how sure that is."""
        words = _WORD.findall(_CODE.sub(" ", text.lower()))
        if not words:
            return Detected(language="en", confidence=0.0)
        weighed = {language: chance * _ODDS[language] for language, chance in self._identifier.rank(text)}
        if _english_keywords(words):
            weighed["en"] *= _KEYWORD_ODDS
        best = max(weighed, key=weighed.__getitem__)
        return Detected(language=best, confidence=weighed[best] / sum(weighed.values()))


def _english_keywords(words: list[str]) -> bool:
    if len(words) > _FEW_WORDS:
        return False
    english = glossary.english_words()
    listed = sum(word in _ENGLISH or word.removesuffix("s") in english for word in words)
    return listed / len(words) > _TERM_SHARE
