"""What checks answers."""

from __future__ import annotations

import asyncio
import secrets

from cmo.dispatch.breakers import Breakers
from cmo.dispatch.judging import BudgetedJudge
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
        assessor=await _assessor(settings, embedder, chat, spending),
        seconds=settings.quality_timeout_seconds,
        scores=breakers,
        second_opinion_below=settings.second_opinion_below,
    )


async def _assessor(settings: Settings, embedder: MiniLM, chat: ChatModel | None, spending: Spending) -> DraftAssessor:
    others = Others(
        judge=_judge(chat, spending) if settings.quality_judge is Judge.MODEL and chat is not None else None,
        custom=CustomAssessors((await asyncio.to_thread(load_registered)).assessors),
        seconds=settings.quality_timeout_seconds,
    )
    return DraftAssessor(Assessor(embedder), others)


def _judge(chat: ChatModel, spending: Spending) -> BudgetedJudge:
    return BudgetedJudge(
        SentenceJudge(chat, new_mark=lambda: secrets.token_hex(8)),
        ceiling_usd=chat.ceiling_usd(largest_judge_prompt()),
        spending=spending,
    )
