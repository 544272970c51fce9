"""The fault matrix: every fault of every server, and what the person, the books and the breakers make of it.

`python -m benchmarks fault_matrix` prints the same cells as a table.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from typing import Any, cast

import pytest

from cmo.policy.budget import MICRODOLLARS, microdollars
from cmo.values import TextPiece
from tests.faults.cells import HANGING, PAPERS, WEB, Cell, Outcome, Setup, Who, Worlds, cells, further_cells, run
from tests.faults.world import ENGINES, PATIENCE_SECONDS, BookedCall, Health, Told, Trace, World
from tests.servers import Fault
from tests.servers.fake import Charge

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARGIN_SECONDS = 1.0
"""What may pass beyond the deadline on a busy machine."""
ROUNDING = 2
"""Microdollars: the budget rounds what a question came to with an engine, the ledger each call."""


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name) for cell in cells()])
async def test_whatever_goes_wrong_there_is_an_answer_or_an_honest_sentence(cell: Cell, worlds: Worlds) -> None:
    check(cell, await run(cell, await worlds.of(cell.setup)))


@pytest.mark.soak
@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name) for cell in further_cells()])
async def test_the_same_holds_in_the_rarer_combinations(cell: Cell, worlds: Worlds) -> None:
    check(cell, await run(cell, await worlds.of(cell.setup)))


@pytest.mark.parametrize("setup", [PAPERS, *WEB], ids=lambda setup: setup.name)
async def test_stop_before_the_first_word_ends_the_call_upstream(setup: Setup, worlds: Worlds) -> None:
    world = await worlds.of(setup)

    check_stopped(setup, await stopped(setup, world, Fault.HANG_BEFORE_BYTE, in_text=False))


@pytest.mark.parametrize("setup", [PAPERS, *(each for each in WEB if each.stream)], ids=lambda setup: setup.name)
async def test_stop_in_the_middle_of_the_text_ends_the_call_upstream(setup: Setup, worlds: Worlds) -> None:
    world = await worlds.of(setup)

    check_stopped(setup, await stopped(setup, world, Fault.HANG_AFTER_TOKEN, in_text=True))


@pytest.mark.parametrize("setup", [PAPERS, *(each for each in WEB if each.stream)], ids=lambda setup: setup.name)
async def test_whoever_closes_the_answer_and_asks_for_nothing_more_ends_the_call_upstream(
    setup: Setup, worlds: Worlds
) -> None:
    world = await worlds.of(setup)
    server = world.servers[setup.choice]
    server.always(Fault.SLOW_TOKENS, seconds=0.05)
    world.stream(setup.stream)
    mark, user = world.mark(), world.new_user()

    async with aclosing(cast("Any", world.ask(world.question(user, choice=setup.choice)))) as events:
        async for event in events:
            if isinstance(event, TextPiece):
                break

    server.always(Fault.NONE)
    check_stopped(setup, await world.trace(user, mark))


async def test_stop_before_anybody_is_asked_costs_nothing(worlds: Worlds) -> None:
    world = await worlds.of(PAPERS)
    mark, user = world.mark(), world.new_user()

    async with aclosing(cast("Any", world.ask(world.question(user)))) as events:
        await anext(events)

    trace = await world.trace(user, mark)
    assert (trace.outcomes, trace.calls, trace.spent, trace.reserved) == (("stopped",), (), 0, 0)
    assert [traffic.requests for traffic in trace.traffic.values()] == [0, 0]


async def stopped(setup: Setup, world: World, fault: Fault, *, in_text: bool) -> Trace:
    """A question whose answer hangs, stopped by the person: once a word is shown, or else once the call is made."""
    server = world.servers[setup.choice]
    server.always(fault)
    world.stream(setup.stream)
    mark, user, requests = world.mark(), world.new_user(), len(server.requests)
    shown = asyncio.Event()
    asking = asyncio.create_task(
        world.told(
            world.question(user, choice=setup.choice),
            lambda event: shown.set() if isinstance(event, TextPiece) else None,
        )
    )
    if in_text:
        await asyncio.wait_for(shown.wait(), PATIENCE_SECONDS)
    else:
        await server.until(lambda: len(server.requests) > requests)

    asking.cancel()
    await asyncio.wait({asking})

    assert asking.cancelled()
    server.always(Fault.NONE)
    return await world.trace(user, mark)


def check_stopped(setup: Setup, trace: Trace) -> None:
    """One call, ended upstream, booked as far as anybody can know, and no word of it to the breaker."""
    asked = trace.traffic[setup.choice]
    assert (asked.requests, asked.abandoned, asked.unfinished) == (1, 1, 0)
    assert trace.outcomes == ("stopped",)
    assert [(call.engine, call.outcome, call.estimated) for call in trace.calls] == [(setup.choice, "stopped", True)]
    assert set(trace.breakers.values()) == {Health(calls=0, failed=0)}
    check_money(trace)
    assert trace.tasks == ()


def check(cell: Cell, outcome: Outcome) -> None:
    told, trace = outcome.told, outcome.trace
    check_told(cell, told)
    assert trace.outcomes == ("failed" if cell.who is Who.NOBODY else "answered",)
    assert len(trace.calls) == sum(traffic.requests for traffic in trace.traffic.values())
    answering = [call.engine for call in trace.calls if call.stage == "answer" and call.outcome == "ok"]
    assert answering == ([told.answer.engine] if told.answer and told.answer.written else [])
    check_money(trace)
    assert trace.breakers == expected_health(cell, trace)
    assert [traffic.unfinished for traffic in trace.traffic.values()] == [0, 0]
    if cell.fault in HANGING:
        hung = [trace.traffic[engine] for engine in cell.setup.faulty]
        assert all(traffic.abandoned == traffic.requests for traffic in hung)
    assert trace.tasks == ()


def check_told(cell: Cell, told: Told) -> None:
    """Whoever should answer does, in time; what is on the screen is the answer and nothing else."""
    assert told.seconds <= PATIENCE_SECONDS + MARGIN_SECONDS
    assert plain(told.screen) == plain(told.answer.text if told.answer else "")
    answer, choice = told.answer, cell.setup.choice
    match cell.who:
        case Who.NOBODY:
            assert answer is None
        case Who.SENTENCES:
            assert answer is not None
            assert (answer.engine, answer.written, bool(answer.citations)) == ("lightrag", False, True)
        case Who.ENGINE | Who.OTHER as who:
            assert answer is not None
            assert (answer.engine == choice, answer.written) == (who is Who.ENGINE, True)
    if cell.fault is Fault.NO_SOURCES and choice in cell.setup.faulty:
        assert "checked here" in told.notice
    if cell.who is not Who.ENGINE:
        assert all(NAMED[engine] in told.notice for engine in cell.setup.faulty)


NAMED = {"lightrag": " model ", "perplexity": "Perplexity"}
"""How the sentences for a person name what failed."""


def check_money(trace: Trace) -> None:
    """What was told is booked to the microdollar, what was not by an estimate that is no lower than the charge."""
    charges = [charge for traffic in trace.traffic.values() for charge in traffic.charges]
    booked = [call for call in trace.calls if not call.estimated and call.tokens_in]
    assert sorted(map(figures, booked)) == sorted(figures_charged(charge) for charge in charges if charge.told)
    for engine in ENGINES:
        untold = sum(charge.cost_usd for charge in trace.traffic[engine].charges if not charge.told)
        estimated = sum(call.microdollars for call in trace.calls if call.estimated and call.engine == engine)
        assert estimated >= untold * MICRODOLLARS
    total = sum(call.microdollars for call in trace.calls)
    assert trace.question_microdollars == total
    assert trace.spent == pytest.approx(total, abs=ROUNDING)
    assert trace.reserved == 0


def figures(call: BookedCall) -> tuple[int, int, int, int]:
    return call.tokens_in, call.tokens_cached, call.tokens_out, call.microdollars


def figures_charged(charge: Charge) -> tuple[int, int, int, int]:
    told = round(charge.cost_usd, 8)  # as the fake servers write it
    return charge.tokens_in, charge.tokens_cached, charge.tokens_out, microdollars(told)


def expected_health(cell: Cell, trace: Trace) -> dict[str, Health]:
    """One call for each engine that was asked, and a failure for each that is to blame."""
    failed = {
        Who.ENGINE: set[str](),
        Who.OTHER: {cell.setup.choice},
        Who.SENTENCES: set(cell.setup.faulty),
        Who.NOBODY: set(cell.setup.faulty),
    }[cell.who]
    asked = failed | {cell.setup.choice} | (set(ENGINES) if cell.who is Who.OTHER else set())
    return {engine: Health(calls=engine in asked, failed=engine in failed) for engine in trace.breakers}


def plain(text: str) -> str:
    """The words of a text. Markers are left out: some sources are known only after the text."""
    return " ".join(re.sub(r"\s*\[\d+\]", "", text).split())
