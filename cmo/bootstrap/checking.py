"""What checks answers."""

from __future__ import annotations

import asyncio
import secrets

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


async def open_checking(
    settings: Settings, embedder: MiniLM, chat: ChatModel | None, spending: Spending, breakers: Breakers
) -> Checking:
    """How answers are checked by these settings."""
    return Checking(
        assessor=await _assessor(settings, embedder, chat, spending, judge_usd=_judge_usd(settings, chat)),
        seconds=settings.quality_timeout_seconds,
        scores=breakers,
        second_opinion_below=settings.second_opinion_below,
    )


async def open_scoring(settings: Settings, embedder: MiniLM, chat: ChatModel | None, spending: Spending) -> Scoring:
    """The same for answers in the shadow. What judging one may cost is set aside with its call, and not once more."""
    return Scoring(
        assessor=await _assessor(settings, embedder, chat, spending, judge_usd=0.0),
        seconds=settings.quality_timeout_seconds,
        ceiling_usd=_judge_usd(settings, chat),
    )


async def _assessor(
    settings: Settings, embedder: MiniLM, chat: ChatModel | None, spending: Spending, *, judge_usd: float
) -> DraftAssessor:
    """What scores answers; `judge_usd` is set aside for each that is judged."""
    judges = settings.quality_judge is Judge.MODEL
    others = Others(
        judge=_judge(chat, spending, judge_usd) if judges and chat is not None else None,
        custom=CustomAssessors((await asyncio.to_thread(load_registered)).assessors),
        seconds=settings.quality_timeout_seconds,
    )
    return DraftAssessor(Assessor(embedder), others)


def _judge(chat: ChatModel, spending: Spending, ceiling_usd: float) -> BudgetedJudge:
    return BudgetedJudge(
        SentenceJudge(chat, new_mark=lambda: secrets.token_hex(8)), ceiling_usd=ceiling_usd, spending=spending
    )


def _judge_usd(settings: Settings, chat: ChatModel | None) -> float:
    """The most that judging one answer can cost; 0 when nobody judges."""
    if chat is None or settings.quality_judge is not Judge.MODEL:
        return 0.0
    return chat.ceiling_usd(largest_judge_prompt())
