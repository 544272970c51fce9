"""A language model that writes what a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from cmo.interfaces import Book
from cmo.values import CallOutcome, CallStage, ModelCall, Prompt


@dataclass
class ScriptedChat:
    """Writes what it is told to, or fails; books a call either way."""

    text: str = "{}"
    error: Exception | None = None
    prompts: list[Prompt] = field(default_factory=list)
    name: str = "scripted"

    def ceiling_usd(self, prompt: Prompt) -> float:
        return 0.0

    async def complete(self, prompt: Prompt, *, stage: CallStage, book: Book) -> str:
        self.prompts.append(prompt)
        book(ModelCall(engine="lightrag", model=self.name, stage=stage, outcome=CallOutcome.OK))
        if self.error is not None:
            raise self.error
        return self.text

    async def stream(self, prompt: Prompt, *, stage: CallStage, book: Book) -> AsyncIterator[str]:
        yield await self.complete(prompt, stage=stage, book=book)
