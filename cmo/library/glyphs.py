"""Characters as they should stand in a text: ligatures taken apart, spaces and hyphens made plain, invisibles dropped.

Superscripts, fractions, units and Greek letters keep their characters, because "10⁻³" and "µ" would change meaning.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from cmo.library.hyphens import LINE_END, SOFT

UNKNOWN = "\ufffd"
"""Stands for a character of a font's private use, whose meaning depends on the font."""

SPACES = frozenset(
    {0x09, 0x0A, 0x0D, 0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
)

_LINE_END_HYPHENS = frozenset({0x02, 0xFFFE})  # what PDFium reports for a hyphen that breaks a word
_HYPHENS = frozenset({0x2010, 0x2011})
_LIGATURES = (range(0xFB00, 0xFB07), range(0xFB13, 0xFB18))
_PRESENTATION_FORMS = (range(0xFB1D, 0xFDFE), range(0xFE70, 0xFEFD), range(0xFF01, 0xFF5F), range(0x1D400, 0x1D800))

# The Symbol font of PostScript, as its glyphs appear at U+F020 onwards (Adobe, symbol.txt of the Unicode mappings).
_SYMBOL_LOW = " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
_SYMBOL_HIGH = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓"


@lru_cache(maxsize=4096)
def plain(code: int) -> str | None:
    """The text of a character; None when it shows nothing, UNKNOWN when only its font knows."""
    if code in _LINE_END_HYPHENS:
        return LINE_END
    if code == ord(SOFT):
        return SOFT
    if code in SPACES:
        return " "
    if code in _HYPHENS:
        return "-"
    if 0xD800 <= code < 0xE000 or not 0 < code < 0x110000:
        return None
    character = chr(code)
    if any(code in forms for forms in (*_LIGATURES, *_PRESENTATION_FORMS)):
        return unicodedata.normalize("NFKC", character).replace(" ", "") or None
    category = unicodedata.category(character)
    if category == "Co":
        return UNKNOWN
    return None if category in {"Cc", "Cf", "Cn"} or character == UNKNOWN else character


def symbol(code: int) -> str:
    """What a private-use character of the Symbol font shows; nothing when it is not one of its letters or signs."""
    low, high = code - 0xF020, code - 0xF0A0
    if 0 <= low < len(_SYMBOL_LOW):
        return _SYMBOL_LOW[low].strip()
    return _SYMBOL_HIGH[high] if 0 <= high < len(_SYMBOL_HIGH) else ""
