"""An open application for a command, made of fakes, in place of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from cmo.settings import Settings
from cmo.values import Answer, Decision, Event, Finished, Question, TextPiece


@dataclass
class FakePipeline:
    """Gives its answer and its decision, or its error, to whatever is asked."""

    answer: Answer | None = None
    decision: Decision | None = None
    error: Exception | None = None
    asked: list[Question] = field(default_factory=list)

    async def ask(self, question: Question) -> AsyncIterator[Event]:
        self.asked.append(question)
        yield TextPiece(text="Thinking")
        if self.error is not None:
            raise self.error
        if self.answer is not None:
            yield Finished(answer=self.answer)

    async def decide(self, question: Question) -> Decision:
        self.asked.append(question)
        if self.error is not None:
            raise self.error
        assert self.decision is not None
        return self.decision


@dataclass
class FakeApplication:
    """The parts that commands look at."""

    pipeline: FakePipeline = field(default_factory=FakePipeline)
    engines: tuple[Any, ...] = ()
    breakers: Any = None
    budget: Any = None
    feedback: Any = None


@dataclass
class FakeSession:
    application: FakeApplication

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)


def open_for(command: str, application: FakeApplication, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Have a command open this application; the settings it is opened with are put into the list."""
    opened: list[Settings] = []

    @contextmanager
    def open_session(settings: Settings) -> Iterator[FakeSession]:
        opened.append(settings)
        yield FakeSession(application)

    monkeypatch.setattr(f"cmo.cli.{command}.open_session", open_session)
    return opened
