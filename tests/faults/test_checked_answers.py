"""Answers as people get them from the whole application: checked, asked for again, translated, recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cmo.errors import OracleError
from cmo.storage.conversations import SqlConversations
from cmo.storage.database import Database
from cmo.values import Answer, Badge, Feedback, Thumb, Verdict
from tests.faults.world import QUESTION, World, open_world
from tests.servers.libretranslate import FakeLibreTranslate, Mangling
from tests.servers.perplexity import WebResult
from tests.servers.replies import reply_to

SUPPORTED = "In patients with sepsis a blood lactate above four millimoles per litre goes with a high mortality."
UNFOUNDED = "Zebras of the savanna migrate by night because the moon is made of cheese. [1]"
FRENCH = "Que signifie un lactate sanguin élevé dans le sepsis ?"
PAGE = WebResult(id=1, url="https://hmdb.ca/lactate", title="Lactate", snippet=SUPPORTED, date="2026-01-01")


@asynccontextmanager
async def world(library: Path, folder: Path, **more: Any) -> AsyncIterator[World]:
    async with open_world(library, folder / "cmo.sqlite3", **more) as opened:
        yield opened


async def answer_of(world: World, text: str = QUESTION) -> Answer:
    told = await world.told(world.question(world.new_user(), text=text))
    assert told.answer is not None, told.error
    return told.answer


async def test_sentences_of_the_papers_are_supported_by_their_pages(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, web=False, openai_base_url=None, openai_api_key=None) as opened:
        answer = await answer_of(opened)

    assert answer.quality is not None
    assert {each.verdict for each in answer.quality.sentences} == {Verdict.SUPPORTED}
    for sentence in answer.quality.sentences:
        assert sentence.text in answer.text[sentence.start : sentence.end]
        assert answer.citations[sentence.source - 1].number in sentence.cited
    assert answer.citations[0].confidence == pytest.approx(0.98)
    assert "lactate" in [name.lower() for compound in answer.compounds for name in compound.written]


async def test_what_a_model_makes_up_is_marked_and_lowers_the_badge(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, web=False) as opened:
        opened.model.answer(f"{SUPPORTED} [1] {UNFOUNDED}")
        answer = await answer_of(opened)

    assert answer.quality is not None
    assert [each.verdict for each in answer.quality.sentences] == [Verdict.SUPPORTED, Verdict.NOT_FOUND]
    assert answer.quality.badge is not Badge.EXCELLENT


async def test_a_weak_answer_has_the_web_asked_and_its_better_one_shown(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, rollout_percentage=100.0, seconds=30.0) as opened:
        opened.model.answer(UNFOUNDED)
        opened.web.answer(f"{SUPPORTED} [1]", results=[PAGE])
        told = await opened.told(opened.question(opened.new_user()))
        views = {view.engine: view for view in opened.application.breakers.views()}

    assert told.answer is not None
    assert (told.answer.engine, told.answer.second_opinion) == ("perplexity", "perplexity")
    assert told.withdrawn == (UNFOUNDED,)
    assert told.screen == told.answer.text
    assert told.answer.quality is not None
    assert told.answer.quality.sentences[0].verdict is Verdict.SUPPORTED
    assert told.answer.quality.composite > 0.6
    assert (views["lightrag"].quality.answers, views["perplexity"].quality.answers) == (1, 1)


async def test_a_chosen_engines_weak_answer_has_nobody_else_asked(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path) as opened:
        opened.model.answer(UNFOUNDED)
        told = await opened.told(opened.question(opened.new_user(), choice="lightrag"))

        assert told.answer is not None
        assert told.answer.engine == "lightrag"
        assert opened.web.requests == []


async def test_an_engine_whose_answers_keep_being_weak_is_passed_over(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, rollout_percentage=100.0, second_opinion_below=0.0) as opened:
        for _ in range(10):
            opened.model.answer(UNFOUNDED)
            await answer_of(opened)
        decision = await opened.application.pipeline.decide(opened.question(opened.new_user()))

    assert (decision.engine, decision.reason) == ("perplexity", "quality_below_threshold")


async def test_a_web_answer_whose_pages_came_without_text_says_that_it_cannot_be_checked(
    library: Path, tmp_path: Path
) -> None:
    bare = WebResult(id=1, url="https://hmdb.ca/bare", title="Bare", snippet="", date="")
    async with world(library, tmp_path, papers=False) as opened:
        opened.web.answer("Lactate rises in sepsis. [1]", results=[bare])
        answer = await answer_of(opened)

    assert answer.quality is None
    assert (
        answer.not_assessed == "What this answer cites came without any text, so its sentences cannot be checked here."
    )


async def test_the_model_judges_what_the_check_leaves_open_and_is_booked_for_it(library: Path, tmp_path: Path) -> None:
    paraphrase = "A blood lactate over four millimoles signals that septic people die more often. [1]"
    async with world(library, tmp_path, web=False, quality_judge="model") as opened:
        opened.model.answer(lambda body: reply_to(body) if "verdicts" in str(body) else paraphrase)
        answer = await answer_of(opened)
        stages = [call.stage for call in opened.calls()]

    assert answer.quality is not None
    assert [each.judged for each in answer.quality.sentences] == [True]
    assert stages.count("judge") == 1


async def test_a_french_question_gets_a_french_answer_whose_sentences_are_checked(
    library: Path, tmp_path: Path
) -> None:
    async with FakeLibreTranslate() as service:
        french = {"translation": "libretranslate", "libretranslate_url": service.url}
        async with world(library, tmp_path, web=False, openai_base_url=None, openai_api_key=None, **french) as opened:
            answer = await answer_of(opened, FRENCH)

    assert answer.language == "fr"
    assert answer.text.startswith("Chez les malades atteints de sepsis, un lactate sanguin supérieur à ")
    assert answer.original.startswith(SUPPORTED)
    assert answer.translated_by == "LibreTranslate"
    assert answer.quality is not None
    first = answer.quality.sentences[0]
    assert (first.verdict, first.text) == (Verdict.SUPPORTED, SUPPORTED)
    assert answer.text[first.start : first.end].endswith("mortalité élevée. [1]")


async def test_a_spoiled_translation_is_not_shown(library: Path, tmp_path: Path) -> None:
    async with FakeLibreTranslate() as service:
        service.mangle(Mangling.DROPS_CODE)
        french = {"translation": "libretranslate", "libretranslate_url": service.url}
        async with world(library, tmp_path, web=False, openai_base_url=None, openai_api_key=None, **french) as opened:
            answer = await answer_of(opened, FRENCH)

    assert SUPPORTED in answer.text
    assert answer.kept_english >= 1


async def test_an_answer_can_be_exported_and_rated_by_whoever_asked(library: Path, tmp_path: Path) -> None:
    async with world(library, tmp_path, web=False) as opened:
        asked = opened.question(opened.new_user())
        told = await opened.told(asked)
        database = Database(f"sqlite+aiosqlite:///{opened.database}")
        kept = await SqlConversations(database).exchange(asked.id)
        await database.close()
        rating = Feedback(
            question_id=asked.id, user_id=asked.user_id, thumb=Thumb.UP, comment="Useful.", at=datetime.now(UTC)
        )
        await opened.application.feedback.give(rating)
        with pytest.raises(OracleError):
            await opened.application.feedback.give(
                Feedback(question_id=asked.id, user_id="somebody else", thumb=Thumb.UP, comment="", at=rating.at)
            )
        (latest,) = await opened.application.feedback.latest(5)

    assert kept is not None
    assert (kept.question, kept.answer) == (QUESTION, told.answer)
    assert latest.feedback == rating
    assert told.answer is not None
    assert told.answer.quality is not None
    assert latest.booked.composite == pytest.approx(told.answer.quality.composite)
