"""Numbers in English prose: with their signs, ranges, units and powers of ten, in figures or in words. Pure."""

from __future__ import annotations

import re
from typing import Final

TIME_WORDS: Final = "seconds?|minutes?|hours?|days?|weeks?|months?|years?"
UNIT_SYMBOLS: Final = (
    "(?:da|[pfnµμmcdkMGT])?(?:g|mol|mole|M|L|l|m|s|Hz|Pa|J|cal|eq|Eq|IU|U|Da|V|W|bar|Osm|osmol)"
    r"|%|‰|°C|°F|°|ppm|ppb|ppt|rpm|min|hrs?|h|d|wks?|mo|yrs?|mmHg|mm\sHg|bpm|AU|a\.u\."
)
_UNIT_WORDS: Final = (
    "(?:milli|micro|nano|pico|femto|kilo|mega|centi|deci)?(?:mol(?:e|ar)s?|gram(?:me)?s?|lit(?:re|er)s?|met(?:re|er)s?|"
    "calories|joules?|units?)|degrees(?:\\sCelsius)?|points?"
)
_ATOM: Final = rf"(?:{UNIT_SYMBOLS}|u(?:g|M|mol|L|l|m|U)|y|{_UNIT_WORDS}|{TIME_WORDS})"
_POWER: Final = r"(?:\^?[-−–]?\d|[⁻²³¹]+)?"
_UNIT: Final = rf"{_ATOM}{_POWER}(?:\s?[/·•×*.]\s?{_ATOM}{_POWER}|\s{_ATOM}(?:\^?[-−–]\d|⁻[¹²³])|\sper\s(?:{_ATOM}))*"
MAGNITUDES: Final = r"hundreds?|thousands?|millions?|billions?|trillions?|dozens?|times|percent(?:age\spoints?)?"
_NUMBER: Final = (
    r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:[.·]\d+)?|\.\d+)(?:[eE][-+−]?\d+)?"
    r"(?:\s?[×x·]\s?10(?:\^?[-−–]?\d+|[⁻⁺]?[⁰¹²³⁴-⁹]+))?"
)
_SIGN: Final = r"(?:[-−+±~≈<>≤≥=]|<=|>=)"
_SYMBOL: Final = r"(?:[Pp]|[Nn]|[rRqQtFzZβρ]²?|FDR|FC|pH|HR|OR|RR|AUC|AUROC|CI|SD|SEM|VIP|BMI)"
_WORDS_TO_TWENTY: Final = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty"
).split()
_NUMBER_WORDS: Final = {word: str(number) for number, word in enumerate(_WORDS_TO_TWENTY, start=2)}
_TENS: Final = "thirty forty fifty sixty seventy eighty ninety hundred thousand million".split()
_NUMBER_WORD: Final = "|".join((*_WORDS_TO_TWENTY, *_TENS, r"(?:one|a)\s(?:hundred|thousand|million)"))
_PREFIXES: Final = {
    "": "", "femto": "f", "pico": "p", "nano": "n", "micro": "µ", "milli": "m", "centi": "c", "deci": "d", "kilo": "k",
    "mega": "M",
}  # fmt: skip
_UNITS: Final = {
    "mol": "mol", "gra": "g", "lit": "L", "met": "m", "sec": "s", "min": "min", "hou": "h", "deg": "°C",
}  # fmt: skip
_SPELT_UNIT: Final = re.compile(
    rf"\b(?P<prefix>{'|'.join(filter(None, _PREFIXES))}|)"
    r"(?P<unit>moles?|gram(?:me)?s?|lit(?:re|er)s?|met(?:re|er)s?|seconds?|minutes?|hours?|degrees\sCelsius)\b",
    re.IGNORECASE,
)
_COUNT: Final = re.compile(rf"(?:{_NUMBER_WORD}|and)\b", re.IGNORECASE)
_AFTER_NUMBER: Final = rf"(?:\s?(?:{_UNIT})(?!\w)|[-\s]?fold(?!\w)|\s(?:{MAGNITUDES})(?!\w))"
VALUE: Final = re.compile(
    rf"""(?<![\w.])(?:{_SYMBOL}(?:[-\s]values?)?\s?{_SIGN}{{1,2}}\s?)?(?:{_SIGN}{{1,2}}\s?)?(?<![^\W\d_])
    {_NUMBER}(?:\s?(?:±|[-–−:/×~])\s?[-−+]?{_NUMBER})*{_AFTER_NUMBER}*(?:\s?±\s?{_NUMBER}{_AFTER_NUMBER}*)*(?![\w])
    |(?<![\w-])(?:{_NUMBER_WORD})(?:[-\s](?:{_NUMBER_WORD}|one|and(?=[-\s](?:{_NUMBER_WORD}))))*(?!\w){_AFTER_NUMBER}*""",
    re.VERBOSE | re.IGNORECASE,
)


def shortened(value: str) -> str:
    """A value as every language reads it: numbers to twenty in figures, units of the SI as symbols."""
    word, _, rest = value.partition(" ")
    if word.lower() in _NUMBER_WORDS and not _COUNT.match(rest):
        value = _NUMBER_WORDS[word.lower()] + value[len(word) :]
    value = re.sub(r"(?<=\w)\sper\s(?=\w)", "/", value)
    return _SPELT_UNIT.sub(lambda unit: _PREFIXES[unit["prefix"].lower()] + _UNITS[unit["unit"][:3].lower()], value)
