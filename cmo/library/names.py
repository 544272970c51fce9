"""The spelling of a name, reduced to what its variants have in common.

Hyphens, spaces, brackets, plural s, Greek letters against their names, British against American spelling: none of them
makes two names different. Case does, but only for symbols. Nothing here knows any particular name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "κ": "kappa", "λ": "lambda", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "ς": "sigma", "τ": "tau",
    "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Δ": "delta", "Ω": "omega",
}  # fmt: skip
_GREEK_TABLE = str.maketrans(GREEK)
_TOKEN = re.compile(r"[^\W_]+")
_HYPHEN_OR_BRACKET = re.compile(r"\s?[-‐‑‒–−]\s?|[-‐‑‒–−()\[\]{},'’′\"″+:]+")
_ROMAN = {"ii": "2", "iii": "3"}
_SINGULAR_ENDINGS = ("ss", "us", "is")


class Gap(IntEnum):
    """What stands before a token: a hyphen or the like, a space, a slash, or the end of any name."""

    TIGHT = 0
    SPACE = 1
    SLASH = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class Token:
    """A run of letters and digits at [start, end) of its text, as written (`raw`) and as compared (`norm`)."""

    start: int
    end: int
    raw: str
    norm: str
    gap: Gap


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text, in order."""
    end = 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        raw = _plain(match.group())
        yield Token(start, match.end(), raw, normal_token(raw), _gap(text[end:start]))
        end = match.end()


def name_words(name: str) -> list[str]:
    """The tokens of a name, as compared."""
    return [normal_token(_plain(match)) for match in _TOKEN.findall(name)]


def name_key(name: str) -> str:
    """What all spellings of a name share, whatever their case. Empty when the name has no letter or digit."""
    return "".join(name_words(name))


def symbol_key(name: str) -> str:
    """What all spellings of a symbol share: its letters and digits in their case."""
    return "".join(_plain(match) for match in _TOKEN.findall(name))


def normal_token(raw: str) -> str:
    """One token in small letters, American spelling and the singular."""
    token = raw.lower()
    if token in _ROMAN:
        return _ROMAN[token]
    token = token.replace("ae", "e").replace("oe", "e").replace("sulph", "sulf")
    if token.endswith("our") and len(token) > 5:
        token = f"{token[:-3]}or"
    return singular(token)


def singular(token: str) -> str:
    """A small-letter token without the s of the plural. For comparing, not for showing: diabetes loses its s too."""
    if len(token) < 5 or not token.endswith("s") or token.endswith(_SINGULAR_ENDINGS):
        return token
    return f"{token[:-3]}y" if token.endswith("ies") else token[:-1]


def _plain(token: str) -> str:
    if token.isascii():
        return token
    return unicodedata.normalize("NFKC", token).translate(_GREEK_TABLE)


def _gap(between: str) -> Gap:
    if between == " " or (between.isspace() and between.count("\n") < 2):
        return Gap.SPACE
    if between in ("-", "") or _HYPHEN_OR_BRACKET.fullmatch(between):
        return Gap.TIGHT
    return Gap.SLASH if between == "/" else Gap.CLOSED
