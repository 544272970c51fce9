"""What checks answers."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from cmo.dispatch.breakers import Breakers
from cmo.dispatch.judging import BudgetedJudge
from cmo.dispatch.shadow import Scoring
from cmo.dispatch.spending import Spending
from cmo.interfaces import ChatModel
from cmo.models.judging import largest_judge_prompt
from cmo.models.minilm import MiniLM
from cmo.pipeline import Checking
from cmo.quality.assessment import Assessor
from cmo.quality.custom import CustomAssessors, load_registered
from cmo.quality.drafts import DraftAssessor, Others
from cmo.quality.judging import SentenceJudge
from cmo.settings import Judge, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """Whatever scores answers: rules over embeddings, a language model where the settings want one, and others'."""

    embedder: MiniLM
    chat: ChatModel | None
    custom: CustomAssessors


async def open_judges(embedder: MiniLM, chat: ChatModel | None) -> Judges:
    """What scores answers, with the assessors of installed packages loaded: once, since their code is run by it."""
    registered = await asyncio.to_thread(load_registered)
    return Judges(embedder=embedder, chat=chat, custom=CustomAssessors(registered.assessors))


def checking_by(settings: Settings, judges: Judges, spending: Spending, breakers: Breakers) -> Checking:
    """How answers are checked by these settings."""
    return Checking(
        assessor=_assessor(settings, judges, spending, judge_usd=_judge_usd(settings, judges.chat)),
        seconds=settings.quality_timeout_seconds,
        scores=breakers,
        second_opinion_below=settings.second_opinion_below,
    )


def scoring_by(settings: Settings, judges: Judges, spending: Spending) -> Scoring:
    """The same for answers in the shadow. What judging one may cost is set aside with its call, and not once more."""
    return Scoring(
        assessor=_assessor(settings, judges, spending, judge_usd=0.0),
        seconds=settings.quality_timeout_seconds,
        ceiling_usd=_judge_usd(settings, judges.chat),
    )


def _assessor(settings: Settings, judges: Judges, spending: Spending, *, judge_usd: float) -> DraftAssessor:
    """What scores answers; `judge_usd` is set aside for each that is judged."""
    chat = judges.chat if settings.quality_judge is Judge.MODEL else None
    others = Others(
        judge=_judge(chat, spending, judge_usd) if chat is not None else None,
        custom=judges.custom,
        seconds=settings.quality_timeout_seconds,
    )
    return DraftAssessor(Assessor(judges.embedder), others)


def _judge(chat: ChatModel, spending: Spending, ceiling_usd: float) -> BudgetedJudge:
    return BudgetedJudge(
        SentenceJudge(chat, new_mark=lambda: secrets.token_hex(8)), ceiling_usd=ceiling_usd, spending=spending
    )


def _judge_usd(settings: Settings, chat: ChatModel | None) -> float:
    """The most that judging one answer can cost; 0 when nobody judges."""
    if chat is None or settings.quality_judge is not Judge.MODEL:
        return 0.0
    return chat.ceiling_usd(largest_judge_prompt())
