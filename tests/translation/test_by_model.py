"""A language model as translator: told clearly, read tolerantly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from cmo.errors import ModelUnavailable, TranslationUnavailable
from cmo.interfaces import Book
from cmo.translation.by_model import MOST_CHARACTERS, ModelService
from cmo.translation.services import Declined
from cmo.values import CallOutcome, CallStage, ModelCall, Prompt
from tests.translation.fakes import ORDER

ORDER_OF_TWO = replace(ORDER, texts=("XQ0X rose.", "Nothing else changed."))


@dataclass
class ScriptedChat:
    """Writes these texts one after the other, or fails; books a call either way."""

    texts: list[str] = field(default_factory=list)
    error: Exception | None = None
    prompts: list[Prompt] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)
    name: str = "scripted"

    def ceiling_usd(self, prompt: Prompt) -> float:
        return 0.01

    async def complete(self, prompt: Prompt, *, stage: CallStage, book: Book) -> str:
        self.prompts.append(prompt)
        book(ModelCall(engine="e", model=self.name, stage=stage, outcome=CallOutcome.OK))
        if self.error is not None:
            raise self.error
        return self.texts.pop(0)

    def stream(self, prompt: Prompt, *, stage: CallStage, book: Book) -> AsyncIterator[str]:
        raise AssertionError("a translation is not streamed")


async def translated(chat: ScriptedChat) -> tuple[str, ...]:
    return await ModelService(chat).translate(ORDER_OF_TWO, chat.calls.append)


async def test_the_rules_stand_in_the_system_prompt_and_the_texts_are_data() -> None:
    chat = ScriptedChat(['{"0": "XQ0X a augmenté.", "1": "Rien d\'autre n\'a changé."}'])

    assert await translated(chat) == ("XQ0X a augmenté.", "Rien d'autre n'a changé.")
    (prompt,) = chat.prompts
    assert json.loads(prompt.user) == {"0": "XQ0X rose.", "1": "Nothing else changed."}
    assert "from English to French" in prompt.system
    assert "XQ0X" not in prompt.system
    assert prompt.json
    assert [call.stage for call in chat.calls] == [CallStage.TRANSLATE]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('```json\n{"1": "deux", "0": "un"}\n```', ("un", "deux")),
        ('{"texts": {"0": "un", "1": "deux"}}', ("un", "deux")),
        ('{"0": "un\\nsur deux lignes"}', ("un sur deux lignes", "")),
        ('{"0": "un", "1": "de', ("", "")),
        ('{"0": 1, "1": null, "2": "trois"}', ("", "")),
        ("no JSON", ("", "")),
    ],
)
async def test_an_answer_is_read_tolerantly(written: str, read: tuple[str, ...]) -> None:
    assert await translated(ScriptedChat([written])) == read


async def test_many_texts_go_in_several_calls_and_cost_as_much() -> None:
    chat = ScriptedChat(['{"0": "un"}', '{"1": "deux"}'])
    order = replace(ORDER, texts=("a" * MOST_CHARACTERS, "b", "c" * (MOST_CHARACTERS + 1)))

    assert ModelService(chat).ceiling_usd(order) == pytest.approx(0.02)
    assert await ModelService(chat).translate(order, chat.calls.append) == ("un", "deux", "")


async def test_a_model_that_fails_is_unavailable() -> None:
    chat = ScriptedChat(error=ModelUnavailable("The model server is down."))

    with pytest.raises(TranslationUnavailable, match="The model server is down"):
        await translated(chat)


async def test_a_language_without_a_name_is_declined() -> None:
    chat = ScriptedChat()

    with pytest.raises(Declined):
        await ModelService(chat).translate(replace(ORDER, target="xx"), chat.calls.append)
    assert chat.prompts == []
