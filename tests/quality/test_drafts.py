import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from cmo.errors import NotAssessed
from cmo.interfaces import Book
from cmo.quality.assessment import Assessor, composed, scored
from cmo.quality.custom import NO_SCORE, CustomAssessors, RegisteredAssessor
from cmo.quality.drafts import DraftAssessor, Others, confidences, source_texts
from cmo.values import Badge, Citation, CustomScore, Draft, Quality, Question, SentenceSupport, Verdict
from tests.models.word_tokens import WordEmbedder

LACTATE = "Lactate rose by 12% in 88 septic patients during the first day."
GLYCINE = "Glycine fell by 9% in the livers of twelve fasting mice."
PAPER = Citation(number=1, document="one.pdf", title="One", page=2, quote=LACTATE, url="/papers/doc-1.pdf#page=2")
PAGE = Citation(number=2, document="site", title="Two", page=0, quote="", url="https://example.org/two")
QUESTION = Question(text="Steigt Laktat?", user_id="u", thread_id="t", asked_at=datetime(2026, 11, 21, tzinfo=UTC))
ASKED = "Did lactate rise?"


def draft(text: str, *citations: Citation) -> Draft:
    return Draft(text=text, answered=True, model="m", citations=citations, written=True)


async def assessed(text: str, *citations: Citation) -> Quality:
    return await DraftAssessor(Assessor(WordEmbedder())).assess(QUESTION, ASKED, draft(text, *citations), print)


async def test_a_sentence_is_held_against_the_passage_and_not_the_quote_alone() -> None:
    whole = replace(PAPER, passage=f"{LACTATE} {GLYCINE}")

    quality = await assessed(f"{GLYCINE} [1]", whole)

    assert quality.sentences[0].verdict is Verdict.SUPPORTED
    assert quality.sentences[0].quote == GLYCINE


async def test_without_a_passage_the_quote_is_what_it_is_held_against() -> None:
    assert (await assessed(f"{LACTATE} [1]", PAPER)).sentences[0].verdict is Verdict.SUPPORTED


async def test_the_question_in_english_is_what_relevance_is_about() -> None:
    asked: list[str] = []

    class Noting:
        async def assess(self, question: str, answer: str, sources: Sequence[str]) -> Quality:
            asked.append(question)
            return scored(1.0, [])

    await DraftAssessor(Noting()).assess(QUESTION, ASKED, draft(f"{LACTATE} [1]", PAPER), print)

    assert asked == [ASKED]


async def test_what_cites_only_pages_without_text_is_unchecked_and_lowers_nothing() -> None:
    quality = await assessed(f"{LACTATE} [1] {GLYCINE} [2]", PAPER, PAGE)

    assert [each.verdict for each in quality.sentences] == [Verdict.SUPPORTED, Verdict.UNCHECKED]
    assert quality.accuracy > 0.9
    assert quality.notes == ("Sentences that could not be checked, because what they cite came without text: 1.",)


async def test_an_answer_whose_sources_all_came_without_text_is_not_assessed() -> None:
    with pytest.raises(NotAssessed, match="without any text"):
        await assessed(f"{GLYCINE} [2]", PAGE)


async def test_an_answer_whose_sentences_all_cite_pages_without_text_is_not_assessed() -> None:
    with pytest.raises(NotAssessed, match="without any text"):
        await assessed(f"{GLYCINE} [2]", PAPER, PAGE)


async def test_an_answer_without_sources_is_not_assessed() -> None:
    with pytest.raises(NotAssessed, match="cites nothing"):
        await assessed(LACTATE)


def test_sources_stand_in_the_order_of_their_numbers() -> None:
    assert source_texts([PAGE, PAPER]) == [LACTATE, ""]


def test_a_source_is_trusted_by_the_sentences_it_was_the_best_match_for() -> None:
    one = SentenceSupport(text="a", verdict=Verdict.SUPPORTED, score=0.9, quote="a", source=1, cited=(1, 2))
    other = SentenceSupport(text="b", verdict=Verdict.RELATED, score=0.3, quote="b", source=1, cited=(1,))
    none = SentenceSupport(text="c", verdict=Verdict.NOT_FOUND, score=0.1, quote="", cited=(2,))

    assert confidences([one, other, none]) == {1: pytest.approx(0.6)}


@dataclass
class FakeJudge:
    """Contradicts everything; hangs when told to."""

    hangs: bool = False
    asked: list[tuple[Sequence[str], str]] = field(default_factory=list)

    async def judged(
        self, sentences: Sequence[SentenceSupport], sources: Sequence[str], book: Book, *, user_id: str
    ) -> tuple[SentenceSupport, ...]:
        self.asked.append((sources, user_id))
        if self.hangs:
            await asyncio.Event().wait()
        return tuple(replace(each, verdict=Verdict.CONTRADICTED, score=0.1, judged=True) for each in sentences)


async def hang(question: str, answer: str, sources: Sequence[str]) -> float:
    return await asyncio.get_running_loop().create_future()


async def a_half(question: str, answer: str, sources: Sequence[str]) -> float:
    assert (question, answer, sources) == (ASKED, f"{LACTATE} [1]", [LACTATE])
    return 0.5


async def assessed_with(
    judge: FakeJudge | None, assess: Callable[[str, str, Sequence[str]], Awaitable[float]], *, seconds: float
) -> Quality:
    custom = CustomAssessors([RegisteredAssessor(name="mine", weight=1.0, assess=assess)])
    assessor = DraftAssessor(Assessor(WordEmbedder()), Others(judge=judge, custom=custom, seconds=seconds))
    return await assessor.assess(QUESTION, ASKED, draft(f"{LACTATE} [1]", PAPER), print)


async def test_scores_follow_from_what_the_judge_and_custom_assessors_say() -> None:
    judge = FakeJudge()
    own = await assessed(f"{LACTATE} [1]", PAPER)

    quality = await assessed_with(judge, a_half, seconds=60)

    assert judge.asked == [([LACTATE], "u")]
    assert [each.verdict for each in quality.sentences] == [Verdict.CONTRADICTED]
    assert (quality.accuracy, quality.consistency) == (pytest.approx(0.1), 0.0)
    assert quality.custom == (CustomScore(name="mine", score=0.5, weight=1.0),)
    assert quality.composite == composed(own.relevance, 0.1, 0.0, quality.custom)
    assert quality.badge is Badge.LOW


async def test_our_own_scores_are_there_in_time_whoever_hangs() -> None:
    own = await assessed(f"{LACTATE} [1]", PAPER)

    quality = await assessed_with(FakeJudge(hangs=True), hang, seconds=0.1)

    assert quality == replace(own, notes=(NO_SCORE.format(name="mine"),))


async def test_nobody_else_is_waited_for_when_our_own_scores_took_all_the_time() -> None:
    quality = await assessed_with(FakeJudge(hangs=True), hang, seconds=0)

    assert quality.notes == (NO_SCORE.format(name="mine"),)
    assert quality.sentences[0].verdict is Verdict.SUPPORTED


async def test_sentences_of_the_papers_are_no_more_relevant_than_whoever_chose_them_believes() -> None:
    assessor = DraftAssessor(Assessor(WordEmbedder()))
    verbatim = replace(draft(f"{LACTATE} [1]", PAPER), written=False)

    unsure = await assessor.assess(QUESTION, ASKED, replace(verbatim, confidence=0.1), print)
    sure = await assessor.assess(QUESTION, ASKED, replace(verbatim, confidence=1.0), print)
    written = await assessor.assess(QUESTION, ASKED, replace(verbatim, confidence=0.1, written=True), print)

    assert unsure.relevance == 0.1
    assert unsure.composite < sure.composite
    assert written.relevance == sure.relevance > 0.1
