"""What a question asks for: whether it needs recent information, and what type of answer.

Freshness is a logistic regression over some thirty signs that can be read off the question's words and over its
sentence embedding. The signs carry over from general questions; the embedding knows questions of the field that show no
sign ("Is there a course I can sign up for?"). scripts/fit_freshness.py fits the weights; freshness.json holds them with
the figures of the fit. Where the embedding model is missing, the signs are weighed alone. The type of answer is the
first of a few ordered rules that fits.

This module knows English wording. It does not know the papers, the engines, or what is done with its judgement.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cmo.errors import ModelUnavailable
from cmo.interfaces import Clock, Embedder, Vectors
from cmo.values import QuestionKind, QuestionType

WEIGHTS_FILE: Final = Path(__file__).with_name("freshness.json")
READ_CHARACTERS: Final = 1000
"""Only the beginning of a question is read: what it asks for stands there, and patterns stay quick on any text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessWeights:
    """The log-odds that a question needs recent information: `offset`, plus a weight for each sign it shows, plus the
    product of its embedding with `embedding`, of which there is none when signs are weighed alone."""

    offset: float
    signs: Mapping[str, float]
    embedding: tuple[float, ...] = ()

    def probability(self, found: Mapping[str, float], vector: Vectors | None = None) -> float:
        """That it needs recent information, were half of all questions such."""
        odds = self.offset + sum(weight * found[name] for name, weight in self.signs.items())
        if vector is not None:
            odds += float(np.dot(vector, self.embedding))
        return 1 / (1 + math.exp(-odds))


class QuestionKinds:
    """Classifies questions by their wording. A `QuestionClassifier`.

    Arguments:
        embedder: the model whose vectors freshness.json was fitted with.
        clock: tells the year of asking, to which the years in a question are compared.
    """

    def __init__(self, embedder: Embedder, clock: Clock) -> None:
        self._embedder = embedder
        self._clock = clock
        self._embedded, self._signs_alone = shipped_weights(embedder.fingerprint)

    async def classify(self, question: str) -> QuestionKind:
        """Type and need for recent information of an English or translated question."""
        text = question[:READ_CHARACTERS]
        found = signs(text, self._clock.now().year)
        freshness = await self._freshness(text, found)
        return QuestionKind(type=question_type(text, needs_fresh=freshness >= 0.5), freshness=freshness)

    async def _freshness(self, text: str, found: Mapping[str, float]) -> float:
        if self._embedded is None:
            return self._signs_alone.probability(found)
        try:
            (vector,) = await self._embedder.embed([text])
        except ModelUnavailable:
            return self._signs_alone.probability(found)
        return self._embedded.probability(found, vector)


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})", re.IGNORECASE)


_SIGNS: Final = {
    # Words for the time of asking.
    "newest": _words(
        r"(?:latest|newest|most recent(?:ly)?|up[- ]to[- ]date|state of the art|cutting[- ]edge|lately)\b|what'?s new\b"
        r"|(?:recent|new) (?:\w+ )?(?:advances?|developments?|progress|guidelines?|papers?|stud(?:y|ies)|findings"
        r"|trials?|evidence|publications?|preprints?|results|news|updates?)\b"
    ),
    "recently": _words(r"recent(?:ly)?\b"),
    "current": _words(r"current(?:ly)?\b"),
    "at_present": _words(
        r"(?:(?:now|today|nowadays|these days|at the moment|at present|presently|so far|to date|as of)\b"
        r"|yet\?*$|still (?:being|maintained|available|download|recommended|used|in use|supported|the|on)\b)"
    ),
    "this_period": _words(r"(?:this|present) (?:year|month|week|season|quarter)\b"),
    "last_period": _words(r"(?:last|past) (?:\w+ )?(?:years?|months?|weeks?|season|quarter)\b"),
    "next": _words(r"(?:next(?! to\b| steps?\b|.generation)|upcoming|forthcoming|deadlines?)\b"),
    "will": _words(r"(?:will|going to|scheduled|expected|future)\b"),
    "last_time": _words(
        r"last\b(?! (?:years?|months?|weeks?|season|quarter|few|\w+ (?:years|months|weeks)|steps?|enzyme|reaction|stage"
        r"|trimester|carbon)\b)"
    ),
    # Things that change: prices, ages, standings, tallies.
    "price": _words(
        r"(?:prices?|priced|(?<!metabolic )(?<!energy )costs?|stock (?:price|market)|market (?:cap\w*|value)|fees?)\b"
    ),
    "age": _words(r"(?:how old (?:is|are)|current age)\b"),
    "standing": _words(
        r"(?:(?:on|at) the top|top[- ]ranked|ranked|rankings?|number (?:1|one)|best-selling|most popular|leads? the"
        r"|leading (?!to\b)|leaderboard|h-index|impact factor|citations|followers|subscribers)\b"
    ),
    "superlative": _words(r"(?:fastest|largest|biggest|highest|tallest|longest|richest|oldest|youngest|most|record)\b"),
    "season": _words(
        r"(?:champions?|championships?|league|(?:last|recent|this) season|finals|tournament|awards?|festival|conference"
        r"|congress|workshop|annual meeting|super bowl|grammys?|oscars?|emmys?|winner|recent match)\b"
    ),
    "tally": _words(
        r"how (?:many|much|often)\b.*\b(?:published|scored|discovered|released|approved|sold|exceeded|citations|papers"
        r"|books|novels|goals|followers|accounts|members?|participants|users|entries|spectra|compounds|people have)\b"
    ),
    # Things that change in the laboratory and the clinic.
    "release": _words(
        r"(?:approv(?:ed?|als?)|authori[sz](?:ed|ation)|marketing|marketed|on the market|commerciali[sz]ed|licen[sc]ed"
        r"|licensing|available|reimburs\w+|insur(?:ers?|ance)|shortages?|recalled|withdrawn from|retract(?:ed|ions?)"
        r"|launch(?:ed)?|announced?|being maintained|(?:software|database|data) release|versions?|fda|ema|mhra)\b"
    ),
    "players": _words(
        r"(?:who (?:runs|leads|chairs|heads|maintains|sells|makes|funds|offers|owns)|(?:which|what|how many) (?:\w+ )?"
        r"(?:vendors?|compan(?:y|ies)|manufacturers?|start-?ups?|insurers|journals?|countries|states|hospitals"
        r"|laborator(?:y|ies)|labs?|universit(?:y|ies)|institutes?|agenc(?:y|ies)))\b"
    ),
    "notices": _words(
        r"(?:news|jobs?|vacanc(?:y|ies)|postdoc\w*|phd positions?|hiring|grants?|funding|calls? for|webinars?|website"
        r"|portal|server|url|download|for free|subscription|widely used|contact)\b"
    ),
    "trials": _words(
        r"(?:recruiting|enrolling|(?:ongoing|under way) (?:\w+ )?(?:trials?|stud\w+)|in phase [123i]+|in development"
        r"|in the pipeline|plans? (?:to|for)|planned for)\b"
    ),
    "guidance": _words(r"(?:guidelines?|guidance|recommend\w*|checklist|regulations?)\b"),
    # What is settled: beginnings, history, explanations.
    "beginning": _words(
        r"(?:first|second|third|\d+(?:st|nd|rd|th)|original|originally|founded|founder|born|died|inventor|invented"
        r"|created|creator|discovered by|who discovered)\b"
    ),
    "ever": _words(r"(?:ever|all time|history|historical)\b"),
    "explain": _words(r"(?:how (?:do|does|should|was|were)|why|explain|define|what (?:causes|drives|does))\b"),
}
"""Wording that tells whether an answer changes with time. Words of general knowledge stand among them because the
weights are fitted on general questions too."""

_OFFICE: Final = _words(
    r"(?:presidents?|prime minister|chancellor|leader|governor|speaker|representative|ceo|chairs?|king|queen|pope"
    r"|headquarters|capital)\b"
)
_RARE: Final = _words(
    r"(?:olympics|world cup|election|fields medal|both|consecutive|back-to-back|former|female|woman|women's)\b"
)
_PAST: Final = _words(r"(?:was|were|did|had)\b")
_PAST_QUESTION: Final = re.compile(
    r"(?:who|which|what)(?: [\w'.-]+){0,4} (?:\w+ed|wrote|won|made|became|began|held)\b", re.IGNORECASE
)
_YEAR: Final = re.compile(r"\b(1[5-9]\d\d|20\d\d)\b")
_SINCE: Final = re.compile(r"\b(?:since|after) (?:\w+ )?(20\d\d)\b", re.IGNORECASE)
_TIME_SIGNS: Final = ("newest", "recently", "current", "at_present", "this_period", "last_period", "next", "year_now")

_NO_TIME_MEANT: Final = _words(
    r"(?:spray|corona|discharge|ion|needle|electrical|(?:at )?(?:what|which)) current\b"
    r"|current (?:in|of|density|source|smok\w+|flow\w*|between|through|measured)\b|currents\b"
    r"|(?:recently|newly|freshly) (?:collected|drawn|frozen|thawed|diagnosed|synthesi[sz]ed|born|formed)\b"
    r"|recent(?:-onset\b| (?:weight|meal|infection|exercise)\b)"
    r"|(?:latest|today'?s|this week'?s|last) (?:samples?|tubes?|meal|sprint|dose|hour|time point|visit)\b|still found\b"
)
"""Time words that tell of a current, a sample or an experiment, not of the time of asking."""


def signs(question: str, year: int) -> dict[str, float]:
    """Each sign of a question asked in `year`, 1 where it is present and else 0."""
    text = _NO_TIME_MEANT.sub(" ", _plain(question))
    found = {name: bool(pattern.search(text)) for name, pattern in _SIGNS.items()}
    found |= _years(text, year)
    timely = any(found[name] for name in _TIME_SIGNS)
    past = bool(_PAST.search(text))
    told = past or bool(_PAST_QUESTION.match(text))
    found |= {
        "timely": timely,
        "timely_office": timely and bool(_OFFICE.search(text)),
        "timely_rare": timely and bool(_RARE.search(text)),
        "timely_season": timely and found["season"],
        "told": told and not timely,
        "tally": found["tally"] and (timely or not past),
    }
    return {name: float(value) for name, value in found.items()}


def _plain(question: str) -> str:
    return " ".join(question.replace("’", "'").split())


def _years(text: str, year: int) -> dict[str, bool]:
    """How the years named in a text lie to the year of asking."""
    named = [int(found) for found in _YEAR.findall(text)]
    since = [int(found) for found in _SINCE.findall(text)]
    return {
        "year_now": year in named or any(found >= year - 2 for found in since),
        "year_past": bool(named) and max(named) < year and not since,
    }


def shipped_weights(fingerprint: str) -> tuple[FreshnessWeights | None, FreshnessWeights]:
    """Those of freshness.json: for signs and embeddings, None when fitted with another model's, and for signs alone."""
    content = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    embedded, alone = (
        FreshnessWeights(offset=each["offset"], signs=each["signs"], embedding=tuple(each.get("embedding", ())))
        for each in (content["signs_and_embedding"], content["signs_alone"])
    )
    return (embedded if content["embedder"] == fingerprint else None), alone


_TYPES: Final[Sequence[tuple[QuestionType, re.Pattern[str]]]] = (
    (
        QuestionType.COMPARISON,
        _words(
            r"(?:compar(?:e|es|ed|able|ing)|differences? between|differ|different|versus|vs"
            r"|share (?!of)\w+ \w+|superior to|than|(?:is|are) (?:\w+ )?(?:more|less|better|\w+er) [\w ]+, \w+ or"
            r"|(?<!.)\S+ or \S+ for|or [\w-]+ (?:more|less|better))\b"
        ),
    ),
    (
        QuestionType.VALUE,
        _words(
            r"(?:how (?:many|much|long|large|high|low|often|old|expensive)|what (?:percentage|fraction|share|proportion"
            r"|number|dose|concentration|amount|temperature)|(?:at|by) (?:what|which|how)|(?:normal|reference) range"
            r"|half-life|auc|price|costs?|charge for|impact factor|limit of detection|detection limit|number of"
            r"|prevalence|incidence|molecular weight|cut-?off|what (?:is|was|were) the (?:mean|median|average))\b"
        ),
    ),
    (
        QuestionType.METHOD,
        _words(
            r"(?:how (?:do|to) (?:i|we|you|one)|how (?:can|should|to)|how (?:is|are|was|were) (?:[\w-]+ ){1,6}?\w+ed"
            r"|(?:which|what) (?:\w+ )?(?:methods?|protocols?|columns?|solvents?|software|workflow|standards"
            r"|practices?|technique|assay|scaling|normali[sz]ation|test)|steps (?:for|to)|best way|checklist"
            r"|can i (?:run|use|combine|mix|store|measure|pool))\b"
        ),
    ),
    (
        QuestionType.MECHANISM,
        _words(
            r"(?:why|how (?:do|does|did)|explain|mechanisms?|what (?:causes|drives|leads to|triggers|happens to)"
            r"|(?:through|by|via) which|in what way)\b"
        ),
    ),
    (
        QuestionType.EVIDENCE,
        _words(
            r"(?:evidence|associated|association (?:between|of|with)|linked (?:to|with)|link between|correlat\w+"
            r"|predicts?|replicat\w+|risk factor|(?:stud(?:y|ies)|trials?)\b.*\b(?:found|shown?|report\w*|say))\b"
        ),
    ),
)
"""What a question asks for whether or not it must be recent; the first pattern found decides."""
_YES_OR_NO: Final = re.compile(r"(?:is|are|was|were|do|does|did|can|could|has|have)\b", re.IGNORECASE)
_DEFINITION: Final = re.compile(
    r"(?:define\b|(?:what|which) (?:is|are) (?:(?:a|an) )?[\w-]+(?: [\w-]+)?\?*$"
    r"|what (?:is|are|does|do) .*\b(?:mean|meant|meaning|stands? for)\b)",
    re.IGNORECASE,
)


def question_type(question: str, *, needs_fresh: bool) -> QuestionType:
    """The type of answer asked for; NEWS where recent information is needed and nothing more precise is asked."""
    text = _plain(question)
    for kind, pattern in _TYPES:
        if pattern.search(text):
            return kind
    if needs_fresh:
        return QuestionType.NEWS
    if _DEFINITION.match(text):
        return QuestionType.DEFINITION
    return QuestionType.EVIDENCE if _YES_OR_NO.match(text) else QuestionType.OTHER
