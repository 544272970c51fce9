"""What people are told of a question's journey, in one line for each stage, and in the notes under the answer."""

from __future__ import annotations

from cmo.dispatch.asking import Asked
from cmo.phrases import Phrase, joined
from cmo.policy.routing import spoken, titled
from cmo.values import EngineRequest, Quality, Translated

IN_ENGLISH = Phrase("The papers were searched by English words for your question, and are quoted in English.")
NOT_CITED = Phrase("Citations are switched off: this answer cannot be checked here.")
WRITTEN_IN_ENGLISH = Phrase("The answer is in English: no translation service is set up.")


def understood(request: EngineRequest) -> str:
    """What the question was taken for."""
    line = Phrase(
        "Language: {language}. Searching for “{text}”.", language=request.question.language, text=request.search_text
    )
    return joined([line, Phrase("It asks for recent information.")]) if request.fresh else line


def told(asked: Asked) -> str:
    """Who answered."""
    if asked.cached_seconds is None:
        return Phrase("{engine} ({model}).", engine=titled(asked.engine), model=asked.draft.model)
    return Phrase(
        "{engine} ({model}), answered {seconds:.0f} s ago.",
        engine=titled(asked.engine),
        model=asked.draft.model,
        seconds=asked.cached_seconds,
    )


def cited(asked: Asked) -> str:
    """What the answer rests on."""
    line = Phrase("Sources cited: {n}.", n=len(asked.draft.citations))
    dropped = asked.draft.dropped_markers
    return joined([line, Phrase("Markers that named no source and were dropped: {n}.", n=dropped)]) if dropped else line


def assessed(quality: Quality | None, not_assessed: str) -> str:
    """How good the answer is."""
    if quality is None:
        return not_assessed or Phrase("There is no answer to check.")
    return Phrase("Quality: {composite:.0%}.", composite=quality.composite)


def second_opinion(first: str, second: str, *, answered: bool, second_answered: bool, better: bool) -> str:
    """What became of asking a second engine. `first` and `second` are the engines."""
    values = {"first": spoken(first), "second": spoken(second)}
    if not answered and better:
        return Phrase("The first source ({first}) had no answer; this one comes from another ({second}).", **values)
    if not answered:
        return Phrase("Neither the first source ({first}) nor the second ({second}) had an answer.", **values)
    if better:
        return Phrase("The first answer ({first}) was weak; this one ({second}) is better.", **values)
    if second_answered:
        return Phrase("This answer is weak, and a second one ({second}) was no better.", **values)
    return Phrase("This answer is weak, and there was no second one ({second}).", **values)


def translated(result: Translated | None, note: str) -> str:
    """What became of translating."""
    return note if result is None else Phrase("Translated by {service}.", service=result.service)


def notice(asked: Asked, *notes: str) -> str | None:
    """What the person should know about how the answer came about."""
    all_notes = [*(failure.words for failure in asked.failures), *asked.draft.notices, *filter(None, notes)]
    return joined(all_notes) if all_notes else None


def not_translated(why: str) -> str:
    """Why the answer stays in English; `why` may be "" where nobody knows."""
    return joined(filter(None, (Phrase("The answer could not be translated and is in English."), why)))


def kept_english(result: Translated | None) -> str:
    """What was not translated, "" when all was."""
    if result is None or not result.kept:
        return ""
    return Phrase("Sentences that stay in English, because their translation lost something: {n}.", n=result.kept)
