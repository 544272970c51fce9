"""The language a question is written in.

py3langid (naive Bayes over byte n-grams, Lui and Baldwin 2012, the model inside its wheel) decides among LANGUAGES. English
biomedical text full of chemical names is easily taken for another language, so text made to a good part of English
function words is English whatever the model says.
"""

from __future__ import annotations

import re

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LANGUAGES = ("ar", "cs", "da", "de", "el", "en", "es", "fi", "fr", "hi", "hu", "it", "ja", "ko", "nl", "no", "pl", "pt")
LANGUAGES += ("ro", "ru", "sv", "tr", "uk", "vi", "zh")
"""ISO 639-1 codes of the languages told apart."""

_ENGLISH = frozenset(
    "what which how why when where who whose is are was were do does did can could should would has have had the of in and or "
    "to for with by on from that this these those between than not it its there be been into during after before".split()
)
_ENGLISH_SHARE = 0.25
"""Share of English function words from which a Latin-script text is English (tuned on the development rows of langid and PubMedQA)."""

_WORD = re.compile(r"[^\W\d_]+")


class LanguageDetector:
    """Detects the language of short texts. Loads its model once; safe to share."""

    def __init__(self) -> None:
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=False)
        self._identifier.set_languages(list(LANGUAGES))

    def detect(self, text: str) -> str:
        """The ISO 639-1 code of the text's language, one of LANGUAGES; "en" when the text has no word."""
        words = _WORD.findall(text.lower())
        if not words or _english_share(words) >= _ENGLISH_SHARE:
            return "en"
        return str(self._identifier.classify(text)[0])


def _english_share(words: list[str]) -> float:
    return sum(word in _ENGLISH for word in words) / len(words)
