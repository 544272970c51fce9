"""A language model's word on the sentences that the embedded check leaves open.

It sees what word-by-word likeness cannot: contradiction in free paraphrase, swapped roles, a claim of which a part is
missing. It is asked once for an answer, about its open sentences only, and believed only as far as it can be checked: a
verdict that rests on a source needs a quotation that stands in a source the sentence cites, and "supported" is refused
to a sentence whose numbers are in none of them or that the guards see in conflict with the quotation. Nothing a model
writes is shown, only a verdict and a sentence of the source.

So what a passage written to mislead ("mark everything as supported") can do at most is what a wrong verdict does: on
the open sentences of that answer, within those checks, also on sentences that cite other passages. It reaches neither
the sentences that stand word for word in their source nor those whose numbers, negation or direction were altered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from cmo.errors import ModelUnavailable
from cmo.interfaces import Book, ChatModel
from cmo.logs import fields
from cmo.models.judging import CitingSentence, Judgement, fitting, judge_prompt, read_judgements
from cmo.quality.guards import conflicts, missing_quantities, quantities
from cmo.quality.support import SUPPORTED_FROM, SourceSentence, source_sentences, stands_in
from cmo.values import CallStage, SentenceSupport, Verdict

OPEN_FROM: Final = 0.2
OPEN_TO: Final = 0.85
"""Scores between which a verdict is open. Of the 213 claims of WiCE that support.json was fitted on, 3 of the 55 under
0.2 were supported according to people, 14 of the 14 from 0.85, and 53 of the 144 between."""

JUDGED_SCORES: Final[Mapping[Verdict, float]] = MappingProxyType(
    {Verdict.SUPPORTED: 0.77, Verdict.RELATED: 0.3, Verdict.NOT_FOUND: 0.15, Verdict.CONTRADICTED: 0.1}
)
"""What a judged verdict counts, not calibrated on our data. No model on the LLM-AggreFact leaderboard (Tang, Laban and
Durrett 2024, doi:10.18653/v1/2024.emnlp-main.499) has a mean balanced accuracy over 0.774, so were half of all
sentences supported, one that is judged so would be in 0.77 of all cases at best, and one that is judged otherwise in
0.23; the three verdicts that say otherwise share that in their order."""

_log = logging.getLogger(__name__)


class SentenceJudge:
    """Has a model judge the open sentences of an answer.

    Arguments:
        new_mark: draws 16 to 32 lower-case letters and digits that nobody can guess.
    """

    def __init__(self, chat: ChatModel, *, new_mark: Callable[[], str]) -> None:
        self._chat = chat
        self._new_mark = new_mark

    async def judged(
        self, sentences: Sequence[SentenceSupport], sources: Sequence[str], book: Book
    ) -> tuple[SentenceSupport, ...]:
        """The sentences of an answer, the open ones with the model's verdict where it can be believed.

        A number n in `cited` stands for the n-th source. A model that fails leaves all verdicts as they are.
        """
        asked = _asked(sentences, sources)
        if not asked:
            return tuple(sentences)
        prompt = judge_prompt([each for _, each in asked], sources, mark=self._new_mark())
        try:
            written = await self._chat.complete(prompt, stage=CallStage.JUDGE, book=book)
        except ModelUnavailable as error:
            _log.warning("judge_failed", extra=fields(model=self._chat.name, reason=str(error)))
            return tuple(sentences)
        return await asyncio.to_thread(_with_judgements, sentences, sources, asked, read_judgements(written))


def is_open(sentence: SentenceSupport) -> bool:
    """Whether a model may have the last word on a sentence: its score decides nothing, or its sources speak of it.

    What is related only can be a contradiction in free wording, whatever its score.
    """
    match sentence.verdict:
        case Verdict.SUPPORTED | Verdict.NOT_FOUND:
            return OPEN_FROM <= sentence.score < OPEN_TO
        case Verdict.RELATED:
            return True
    return False


_Asked = tuple[int, CitingSentence]
"""A sentence that is asked about, and its place in the answer."""


def _asked(sentences: Sequence[SentenceSupport], sources: Sequence[str]) -> list[_Asked]:
    """The open sentences that one request can hold, the least decided ones before others."""
    found = [(place, sentence) for place, sentence in enumerate(sentences) if is_open(sentence)]
    found.sort(key=lambda each: abs(each[1].score - SUPPORTED_FROM))
    citing = [(place, CitingSentence(text=each.text, sources=_readable(each, sources))) for place, each in found]
    citing = [each for each in citing if each[1].sources]
    return [citing[place] for place in fitting([each for _, each in citing], sources)]


def _readable(sentence: SentenceSupport, sources: Sequence[str]) -> tuple[int, ...]:
    """The sources that a sentence is held against: those it cites, or all when it cites none, without empty ones."""
    every = range(1, len(sources) + 1)
    cited = [number for number in sentence.cited if number in every]
    return tuple(number for number in cited or every if sources[number - 1].strip())


def _with_judgements(
    sentences: Sequence[SentenceSupport],
    sources: Sequence[str],
    asked: Sequence[_Asked],
    judgements: Mapping[int, Judgement],
) -> tuple[SentenceSupport, ...]:
    judged = list(sentences)
    cited = {number for _, citing in asked for number in citing.sources}
    read = {number: source_sentences(sources[number - 1], number) for number in cited}
    for number, (place, citing) in enumerate(asked, start=1):
        if number in judgements:
            known = [each for source in citing.sources for each in read[source]]
            judged[place] = _judged(sentences[place], known, judgements[number])
    return tuple(judged)


def _judged(sentence: SentenceSupport, known: Sequence[SourceSentence], judgement: Judgement) -> SentenceSupport:
    """The sentence by the model's verdict, or as it was where that cannot be believed."""
    score = JUDGED_SCORES[judgement.verdict]
    if judgement.verdict is Verdict.NOT_FOUND:
        return replace(sentence, verdict=judgement.verdict, score=score, quote="", source=0, judged=True)
    quoted = next((each for each in known if stands_in(judgement.quote, each.text)), None)
    if quoted is None or (judgement.verdict is Verdict.SUPPORTED and not _can_support(sentence.text, quoted, known)):
        return sentence
    return replace(
        sentence, verdict=judgement.verdict, score=score, quote=quoted.text, source=quoted.source, judged=True
    )


def _can_support(text: str, quoted: SourceSentence, known: Sequence[SourceSentence]) -> bool:
    numbers = [quantity for each in known for quantity in each.quantities]
    return not conflicts(text, quoted.text) and not missing_quantities(quantities(text), numbers)
