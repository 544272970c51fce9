"""The language a question is written in.

py3langid (naive Bayes over byte n-grams, Lui and Baldwin 2012, the model inside its wheel) decides among LANGUAGES.
English biomedical text full of chemical names is easily taken for another language, so text made to a good part of
English function words is English whatever the model says, and so are a few keywords the glossary knows as English.
"""

from __future__ import annotations

import re

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from cmo.translation import glossary

LANGUAGES = tuple("ar cs da de el en es fi fr hi hu it ja ko nl no pl pt ro ru sv tr uk vi zh".split())
"""ISO 639-1 codes of the languages told apart."""

_ENGLISH = frozenset(
    "what which how why when where who whose are were does did can could should would has have the and for with by "
    "from this that these those between than there been into during after before".split()
)
"""English function words that are no words of the other languages: not "was", "is", "in", "of", "had", "do", "it"."""
_ENGLISH_SHARE = 0.25
"""Share of English function words from which a Latin-script text is English (tuned on development rows of language
identification and of PubMedQA)."""

_FEW_WORDS = 6
_TERM_SHARE = 0.5
"""Share of English terms above which up to _FEW_WORDS are English: "plasma leptin anorexia" is, "diabetes gestacional"
is not."""

_UNLIKELY_WORDS = 3
"""Up to so many words without an accent are rather English keywords than a language that has no glossary."""

_WORD = re.compile(r"[^\W\d_]+")
_CODE = re.compile(r"\b[a-z]*\d\w*", re.ASCII)
"""Identifiers and formulas such as HMDB0000122 and C16, of no language."""


class LanguageDetector:
    """Detects the language of short texts. Loads its model once; safe to share."""

    def __init__(self) -> None:
        every = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)
        every.set_languages(list(LANGUAGES))
        # One of its own for the few languages: the other one keeps the 28 MB of all its 142.
        tables = every.nb_ptc, every.nb_pc, every.nb_classes, every.tk_nextmove, every.tk_output
        self._identifier = LanguageIdentifier(*tables, norm_probs=False, tk_row=every.tk_row)
        glossary.english_words()  # read here rather than by the first question, on its event loop

    def detect(self, text: str) -> str:
        """The ISO 639-1 code of the text's language, one of LANGUAGES; "en" when the text has no word."""
        words = _WORD.findall(_CODE.sub(" ", text.lower()))
        if not words or _share(words, _ENGLISH) >= _ENGLISH_SHARE or _english_keywords(words):
            return "en"
        language = str(self._identifier.classify(text)[0])
        if language not in glossary.LANGUAGES and text.isascii() and len(words) <= _UNLIKELY_WORDS:
            return "en"
        return language


def _english_keywords(words: list[str]) -> bool:
    if len(words) > _FEW_WORDS:
        return False
    return _share([word.removesuffix("s") for word in words], glossary.english_words() | _ENGLISH) > _TERM_SHARE


def _share(words: list[str], listed: frozenset[str]) -> float:
    return sum(word in listed for word in words) / len(words)
