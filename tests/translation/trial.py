"""Sentences full of names, numbers, units and markers, and what a translation of them may look like.

Each sentence comes with its one right translation in French and Chinese, put together from the same pieces without
anything of the application. Whatever is shown must be that, or the English sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.servers.libretranslate import FakeLibreTranslate, Phrase

NAMES: Final = (
    "lactate", "glucose", "trimethylamine N-oxide", "TMAO", "citrate", "succinate", "alanine", "leucine", "isoleucine",
    "valine", "kynurenine", "tryptophan", "3-hydroxybutyrate", "2-hydroxyglutarate", "α-ketoglutarate",
    "L-carnitine", "palmitoylcarnitine", "PC(34:1)", "LPC 18:2", "Cer(d18:1/16:0)", "hippurate", "urate", "creatinine",
    "N-acetylaspartate", "5-oxoproline", "p-cresol sulfate", "indoxyl sulfate", "γ-aminobutyric acid", "homocysteine",
    "glycocholic acid",
)  # fmt: skip
UNITS: Final = ("µmol/L", "mmol/L", "ng/mL", "mg/dL", "nM", "µg/g", "pmol/mg", "mM", "U/L", "nmol L−1", "mmol/mol", "%")
CODES: Final = ("IL-6", "TNF-α", "HbA1c", "LC-MS/MS", "CHEBI:17234", "HMDB0000122", "doi:10.1038/s41586-020-2649-2")

TEMPLATES: Final = (
    (
        "Plasma <name> rose from <value> to <value> in <count> patients (<p>).",
        "Le taux plasmatique de {0} a augmenté de {1} à {2} chez {3} patients ({4}).",
        "血浆 {0} 从 {1} 升至 {2}，共 {3} 名患者（{4}）。",
    ),
    (
        "<Name> was higher than <name> by <value>.",
        "Le {0} était supérieur au {1} de {2}.",
        "{0} 比 {1} 高 {2}。",
    ),
    (
        "<Name> fell by <percent> <marker>, whereas <name> rose by <percent>.",
        "Le {0} a baissé de {1} {2}, tandis que le {3} a augmenté de {4}.",
        "{0} 下降了 {1} {2}，而 {3} 上升了 {4}。",
    ),
    (
        "In <count> mice, <value> of <name> lowered <code> (<p>).",
        "Chez {0} souris, {1} de {2} ont abaissé {3} ({4}).",
        "在 {0} 只小鼠中，{1} 的 {2} 降低了 {3}（{4}）。",
    ),
    (
        "The limit of detection of <name> was <value> (<n>; see <code>).",
        "La limite de détection du {0} était de {1} ({2} ; voir {3}).",
        "{0} 的检测限为 {1}（{2}；见 {3}）。",
    ),
    (
        "<Name> ranged between <value> and <value> before and was <value> after the meal.",
        "Le {0} variait entre {1} et {2} avant le repas et était de {3} après.",
        "{0} 餐前在 {1} 与 {2} 之间，餐后为 {3}。",
    ),
    (
        "Patients had <value> and controls had <value> of <name>.",
        "Les malades avaient {0} et les témoins {1} de {2}.",
        "患者的 {2} 为 {0}，对照组为 {1}。",
    ),
    (
        "We found <name>, <name> and <name> in urine, but no <name>.",
        "Nous avons trouvé du {0}, du {1} et du {2} dans l'urine, mais pas de {3}.",
        "我们在尿液中发现了 {0}、{1} 和 {2}，但没有发现 {3}。",
    ),
    (
        "The ratio of <name> to <name> was <ratio> at <value> and did not change.",
        "Le rapport entre {0} et {1} était de {2} à {3} et n'a pas changé.",
        "{3} 时 {0} 与 {1} 之比为 {2}，没有变化。",
    ),
    (
        "A dose of <value> halved <name> within <hours> in all volunteers.",
        "Une dose de {0} a réduit de moitié le {1} en {2} chez tous les volontaires.",
        "剂量 {0} 使所有志愿者的 {1} 在 {2} 内减半。",
    ),
)  # fmt: skip

HOURS: Final = ("24 h", "90 min", "48 h", "7 d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A sentence with its markers, and all that may be shown in its place."""

    english: str
    allowed: frozenset[str]
    right: frozenset[str]


def trials(server: FakeLibreTranslate, language: str, *, count: int = 200, seed: int = 20) -> list[Trial]:
    """So many sentences, taught to the server in a language."""
    return [_trial(server, language, Random(f"{seed} {number}"), number) for number in range(count)]


def judged(trials: Sequence[Trial], shown: Sequence[str]) -> tuple[int, list[str]]:
    """How many are shown in translation, and those that are shown wrongly."""
    translated = sum(text in trial.right for trial, text in zip(trials, shown, strict=True))
    return translated, [text for trial, text in zip(trials, shown, strict=True) if text not in trial.allowed]


def names_in(text: str) -> Iterable[tuple[int, int]]:
    """Where the names of the sentences stand."""
    return [match.span() for match in _NAME.finditer(text)]


_NAME: Final = re.compile(
    rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(NAMES, key=len, reverse=True)))})(?![\w-])", re.IGNORECASE
)


def _trial(server: FakeLibreTranslate, language: str, chance: Random, number: int) -> Trial:
    english, french, chinese = TEMPLATES[number % len(TEMPLATES)]
    names = chance.sample(NAMES, 6)
    filled = re.sub(r"<(\w+)>", lambda slot: "{" + _filling(slot[1], names, chance) + "}", english)
    taught = server.teach(language, filled, french if language == "fr" else chinese)
    markers = " ".join(f"[{chance.randint(1, 20)}]" for _ in range(chance.randint(0, 2)))
    wholes = {taught.whole, _uncapitalised(taught)}
    before_the_stop = chance.random() < 0.5
    right = frozenset(_marked(whole, markers, before_the_stop) for whole in wholes)
    sentence = _marked(taught.english, markers, before_the_stop)
    return Trial(english=sentence, allowed=right | {sentence}, right=right)


def _filling(kind: str, names: list[str], chance: Random) -> str:
    match kind:
        case "name":
            return names.pop()
        case "Name":
            name = names.pop()
            return name[0].upper() + name[1:]
        case "value":
            return f"{_number(chance)} {chance.choice(UNITS)}".replace(" %", "%")
        case "percent":
            return f"{_number(chance)}%"
        case "count":
            return chance.choice(("12", "45", "118", "1,204", "10,000"))
        case "n":
            return f"n = {chance.randint(8, 4000):,}"
        case "p":
            return chance.choice(("p < 0.001", "P = 0.03", "p = 4.2 × 10−5", "95% CI 1.2–3.4", "q < 0.05"))
        case "ratio":
            return chance.choice(("1.34", "2.5-fold", "3:1", "0.8 ± 0.1"))
        case "marker":
            return f"[{chance.randint(1, 20)}]"
        case "hours":
            return chance.choice(HOURS)
        case "code":
            return chance.choice(CODES)
    raise ValueError(kind)


def _number(chance: Random) -> str:
    return chance.choice(
        (
            f"{chance.uniform(0.1, 9):.2f}",
            f"{chance.randint(2, 900)}",
            f"{chance.uniform(1, 90):.1f} ± {chance.uniform(0.1, 3):.1f}",
            f"{chance.randint(2, 9)}–{chance.randint(10, 40)}",
            f"−{chance.uniform(0.1, 3):.1f}",
            f"> {chance.randint(2, 90)}",
        )
    )


def _uncapitalised(taught: Phrase) -> str:
    """The translation with the name that began the English sentence in small letters, where it begins no sentence."""
    first, *rest = taught.slot_texts
    return taught.translated.format(first[0].lower() + first[1:], *rest)


def _marked(sentence: str, markers: str, before_the_stop: bool) -> str:
    if not markers:
        return sentence
    return f"{sentence[:-1]} {markers}{sentence[-1]}" if before_the_stop else f"{sentence} {markers}"
