"""Assessors of somebody's own: found among installed packages, and unable to cost more than their own score."""

import asyncio
import logging
import math
import re
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cmo.phrases import Phrase
from cmo.quality.custom import NO_SCORE, CustomAssessors, RegisteredAssessor, load_registered
from cmo.values import CustomScore

CODE = """
class Length:
    name = "length"
    weight = 0.5

    async def assess(self, question, answer, sources):
        return min(1.0, len(answer) / 100)


class Other(Length):
    name = "other"


class Shouting(Length):
    name = "LENGTH"


def with_name(name):
    assessor = Length()
    assessor.name = name
    return assessor


def with_weight(weight):
    assessor = Length()
    assessor.weight = weight
    return assessor


no_name = object
no_text = lambda: with_name(7)
blank = lambda: with_name("  ")
two_lines = lambda: with_name("length\\n[1]")
too_long = lambda: with_name("x" * 41)
own_name = lambda: with_name("Composite")
not_a_number = lambda: with_weight(float("nan"))
endless = lambda: with_weight(float("inf"))
negative = lambda: with_weight(-0.1)
in_percent = lambda: with_weight(30)
huge = lambda: with_weight(10**5000)
in_words = lambda: with_weight("half")


def broken():
    raise ZeroDivisionError("oh")


def leaving():
    raise SystemExit(1)
"""

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "quality.md").read_text(encoding="utf-8")

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution with this module and these entry points, in a folder that Python looks into."""
    modules: list[str] = []

    def installed(module: str, code: str, *points: str) -> None:
        (tmp_path / f"{module}.py").write_text(code)
        about = tmp_path / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("\n".join(["[cmo.assessors]", *points, ""]))
        monkeypatch.syspath_prepend(tmp_path)
        modules.append(module)

    yield installed
    for module in modules:
        sys.modules.pop(module, None)


async def test_an_installed_assessor_is_found_and_asked(install: Install) -> None:
    install("tried", CODE, "one = tried:Length", "two = tried:Other")

    found = load_registered()
    scores, notes = await CustomAssessors(found.assessors).scores("What?", "x" * 40, ["y"], seconds=5)

    assert found.problems == ()
    assert scores == (
        CustomScore(name="length", score=0.4, weight=0.5),
        CustomScore(name="other", score=0.4, weight=0.5),
    )
    assert notes == ()


def test_without_any_nothing_is_found() -> None:
    assert load_registered().assessors == ()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("no_such_module:Length", "ModuleNotFoundError"),
        ("tried:NoSuch", "AttributeError"),
        ("tried", "TypeError"),
        ("tried:broken", "ZeroDivisionError: oh"),
        ("tried:leaving", "SystemExit"),
        ("tried:no_name", "AttributeError"),
        ("tried:no_text", "its name"),
        ("tried:blank", "its name"),
        ("tried:two_lines", "its name"),
        ("tried:too_long", "its name"),
        ("tried:own_name", "the name 'Composite' is taken"),
        ("tried:Shouting", "the name 'LENGTH' is taken"),
        ("tried:not_a_number", "its weight"),
        ("tried:endless", "its weight"),
        ("tried:negative", "its weight"),
        ("tried:in_percent", "its weight"),
        ("tried:huge", "its weight"),
        ("tried:in_words", "its weight"),
    ],
)
def test_one_that_cannot_be_asked_is_told_logged_and_left_out_and_the_others_stay(
    install: Install, caplog: pytest.LogCaptureFixture, address: str, reason: str
) -> None:
    install("tried", CODE, "one = tried:Length", f"two = {address}")

    found = load_registered()

    assert [each.name for each in found.assessors] == ["length"]
    [problem] = found.problems
    assert "two" in problem
    assert reason in problem
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == ["assessor_left_out"]


def test_broken_metadata_of_a_package_is_told_and_ends_nothing(install: Install) -> None:
    install("tried", CODE, "one = tried:Length", "a line that is none")

    found = load_registered()

    assert found.assessors == ()
    assert len(found.problems) == 1


def assessor(name: str, assess: Callable[[str, str, Sequence[str]], Awaitable[float]]) -> RegisteredAssessor:
    return RegisteredAssessor(name=name, weight=1.0, assess=assess)


def saying(value: object) -> RegisteredAssessor:
    async def assess(question: str, answer: str, sources: Sequence[str]) -> float:
        return value  # type: ignore[return-value]

    return assessor("saying", assess)


def raising(error: BaseException) -> RegisteredAssessor:
    async def assess(question: str, answer: str, sources: Sequence[str]) -> float:
        raise error

    return assessor("raising", assess)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.01, 1.01, None, "0.5", [0.5], 1 + 0j, 10**400])
async def test_nonsense_is_no_score_but_a_note(value: object) -> None:
    scores, notes = await CustomAssessors([saying(value)]).scores("", "", (), seconds=5)

    assert scores == ()
    assert notes == (NO_SCORE.format(name="saying"),)
    assert isinstance(notes[0], Phrase)
    assert notes[0].template == NO_SCORE


@pytest.mark.parametrize("value", [0, 1, 0.25, True])
async def test_any_number_from_0_to_1_is_a_score(value: float) -> None:
    [score], notes = await CustomAssessors([saying(value)]).scores("", "", (), seconds=5)

    assert (score.score, notes) == (float(value), ())


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(1), asyncio.CancelledError(), TimeoutError()])
async def test_whatever_one_raises_leaves_out_its_score_only(error: BaseException) -> None:
    scores, notes = await CustomAssessors([raising(error), saying(0.5)]).scores("", "", (), seconds=5)

    assert [each.name for each in scores] == ["saying"]
    assert notes == (NO_SCORE.format(name="raising"),)


async def test_one_that_is_no_coroutine_function_gives_no_score() -> None:
    plain = assessor("plain", lambda question, answer, sources: 0.5)  # type: ignore[arg-type, return-value]

    assert await CustomAssessors([plain]).scores("", "", (), seconds=5) == ((), (NO_SCORE.format(name="plain"),))


async def test_one_that_hangs_is_stopped_and_the_others_count() -> None:
    stopped = asyncio.Event()

    async def hang(question: str, answer: str, sources: Sequence[str]) -> float:
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            stopped.set()

    scores, notes = await CustomAssessors([assessor("slow", hang), saying(0.5)]).scores("", "", (), seconds=0.02)

    assert ([each.name for each in scores], notes) == (["saying"], (NO_SCORE.format(name="slow"),))
    await stopped.wait()


async def test_one_that_will_not_be_stopped_is_not_waited_for() -> None:
    let_go = asyncio.Event()

    async def stubborn(question: str, answer: str, sources: Sequence[str]) -> float:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return 1.0

    scores, notes = await CustomAssessors([assessor("stubborn", stubborn)]).scores("", "", (), seconds=0.02)
    let_go.set()

    assert (scores, notes) == ((), (NO_SCORE.format(name="stubborn"),))


async def test_they_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def meet(question: str, answer: str, sources: Sequence[str]) -> float:
        await both.wait()
        return 1.0

    scores, _ = await CustomAssessors([assessor("one", meet), assessor("two", meet)]).scores("", "", (), seconds=5)

    assert [each.name for each in scores] == ["one", "two"]


async def test_nobody_works_on_for_a_person_who_left() -> None:
    asked, stopped = asyncio.Event(), asyncio.Event()

    async def hang(question: str, answer: str, sources: Sequence[str]) -> float:
        asked.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            stopped.set()

    task = asyncio.create_task(CustomAssessors([assessor("slow", hang)]).scores("", "", (), seconds=60))
    await asked.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await stopped.wait()


async def test_the_example_of_the_documentation_works(install: Install) -> None:
    [project] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    points = tomllib.loads(project)["project"]["entry-points"]["cmo.assessors"]
    install("short_sentences", code, *(f"{name} = {address}" for name, address in points.items()))

    found = load_registered()
    answer = f"Short. {'Very ' * 40}long"
    scores, notes = await CustomAssessors(found.assessors).scores("What?", answer, ["A source."], seconds=5)

    assert (found.problems, notes) == ((), ())
    assert scores == (CustomScore(name="short sentences", score=0.5, weight=0.1),)
