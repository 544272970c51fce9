"""What `cmo status` says of engines, breakers and budgets."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cmo.cli.app import app
from cmo.dispatch.breakers import BreakerView, QualityView
from cmo.errors import StorageUnavailable
from cmo.policy.breaker import BreakerState
from cmo.policy.budget import BudgetScope, Period, Scope
from cmo.policy.satisfaction import Satisfaction
from tests.cli.fake_session import FakeApplication, open_for

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 9, 5, tzinfo=UTC)
GOOD = QualityView(state=BreakerState.CLOSED, since=AT, next_try=None, mean=0.912, answers=3, unscored=0)
CLOSED = BreakerView(
    engine="lightrag",
    state=BreakerState.CLOSED,
    since=AT,
    next_try=None,
    calls=12,
    failed=1,
    slow=2,
    consecutive_failures=0,
    failure_percent=8.3,
    slow_percent=16.7,
    rejected=0,
    held=False,
    quality=GOOD,
)
OPEN = replace(CLOSED, engine="perplexity", state=BreakerState.OPEN, next_try=LATER)
DAY = BudgetScope(
    period=Period(scope=Scope.DAY, subject="", starts_at=AT, resets_at=datetime(2026, 1, 3, tzinfo=UTC)),
    limit=1_000_000,
    spent=12_300,
    reserved=50_000,
)

PAPERS = Satisfaction(engine="lightrag", answers=12, assessed=10, not_assessed=1, mean_quality=0.8149, ups=3, downs=1)


@dataclass
class FakeEngine:
    name: str
    available: bool = True

    async def is_available(self) -> bool:
        return self.available


@dataclass
class FakeBreakers:
    shown: Sequence[BreakerView]

    def views(self) -> tuple[BreakerView, ...]:
        return tuple(self.shown)


@dataclass
class FakeBudget:
    scopes: Sequence[BudgetScope] = (DAY,)
    error: Exception | None = None

    async def status(self) -> tuple[BudgetScope, ...]:
        if self.error is not None:
            raise self.error
        return tuple(self.scopes)


@dataclass
class FakeFeedback:
    received: Sequence[Satisfaction] = ()
    since: datetime | None = None

    async def satisfaction(self, since: datetime) -> tuple[Satisfaction, ...]:
        self.since = since
        return tuple(self.received)


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApplication:
    """The papers are well, the web rests."""
    monkeypatch.chdir(tmp_path)
    fake = FakeApplication(
        engines=(FakeEngine("lightrag"), FakeEngine("perplexity", available=False)),
        breakers=FakeBreakers([OPEN, CLOSED]),
        budget=FakeBudget(),
        feedback=FakeFeedback(),
    )
    open_for("status", fake, monkeypatch)
    return fake


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["status", *arguments], env={"COLUMNS": "200"})


def rows(application: FakeApplication, *views: BreakerView) -> list[str]:
    """The lines of the table, with single spaces, for engines with these breakers."""
    application.engines = tuple(FakeEngine(view.engine) for view in views)
    application.breakers = FakeBreakers(views)
    result = run()
    assert result.exit_code == 0
    return [" ".join(line.split()) for line in result.stdout.splitlines()][1:][: len(views)]


def test_people_see_each_engine_with_its_own_breaker_in_order(application: FakeApplication) -> None:
    result = run()

    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()[:3]] == [
        ["engine", "ready", "breaker", "calls", "failed", "slow", "quality"],
        ["lightrag", "yes", "closed", "12", "1", "2", "0.91"],
        ["perplexity", "no", "open,", "next", "try", "03:09:05", "UTC", "12", "1", "2", "0.91"],
    ]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (BreakerState.CLOSED, "closed (would open, but nobody else could answer)"),
        (BreakerState.METRICS_ONLY, "metrics_only (would open, but it only measures)"),
    ],
)
def test_a_breaker_that_would_open_says_why_it_does_not(
    application: FakeApplication, state: BreakerState, words: str
) -> None:
    assert rows(application, replace(CLOSED, state=state, held=True)) == [f"lightrag yes {words} 12 1 2 0.91"]


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        (replace(GOOD, mean=None), "-"),
        (replace(GOOD, state=BreakerState.OPEN, mean=0.55, next_try=LATER), "0.55 (open, next try 03:09:05 UTC)"),
        (replace(GOOD, state=BreakerState.HALF_OPEN, mean=None), "- (half_open)"),
    ],
)
def test_answers_that_are_not_good_enough_are_seen_too(
    application: FakeApplication, quality: QualityView, words: str
) -> None:
    assert rows(application, replace(CLOSED, quality=quality)) == [f"lightrag yes closed 12 1 2 {words}"]


@pytest.mark.parametrize(
    ("scope", "line"),
    [
        (DAY, "day: $0.0123 spent of $1.00, $0.0500 set aside; starts anew 2026-01-03 00:00 UTC"),
        (
            replace(DAY, limit=None, reserved=0),
            "day: $0.0123 spent, no limit, $0.0000 set aside; starts anew 2026-01-03 00:00 UTC",
        ),
    ],
)
def test_a_budget_is_a_line(application: FakeApplication, scope: BudgetScope, line: str) -> None:
    application.budget = FakeBudget([scope])

    assert run().stdout.splitlines()[-1] == line


@pytest.mark.parametrize(
    ("received", "line"),
    [
        (
            PAPERS,
            "lightrag, last 30 days: answers: 12, mean quality: 0.81 (assessed: 10, not assessed: 1), "
            "thumbs up: 3 of 4 (75%, 95% interval 30% to 95%)",
        ),
        (
            replace(PAPERS, assessed=0, mean_quality=None, ups=0, downs=0),
            "lightrag, last 30 days: answers: 12, mean quality: - (assessed: 0, not assessed: 1), thumbs up: 0 of 0",
        ),
    ],
)
def test_how_answers_were_received_is_a_line(application: FakeApplication, received: Satisfaction, line: str) -> None:
    application.feedback = FakeFeedback([received])

    assert run().stdout.splitlines()[3] == line


def test_answers_of_the_last_30_days_count(application: FakeApplication) -> None:
    before = datetime.now(UTC)
    run()

    assert before <= application.feedback.since + timedelta(days=30) <= datetime.now(UTC)


def test_programs_get_the_share_of_thumbs_with_its_interval(application: FakeApplication) -> None:
    application.feedback = FakeFeedback([PAPERS])

    (received,) = json.loads(run("--json").stdout)["received"]
    assert (received["days"], received["engine"], received["answers"], received["share"]) == (30, "lightrag", 12, 0.75)
    assert received["interval"] == pytest.approx([0.3006, 0.9544], abs=5e-5)


def test_programs_get_all_of_it_with_times_as_text(application: FakeApplication) -> None:
    result = run("--json")

    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [(engine["name"], engine["available"]) for engine in document["engines"]] == [
        ("lightrag", True),
        ("perplexity", False),
    ]
    breaker = document["engines"][1]["breaker"]
    assert (breaker["state"], breaker["next_try"]) == ("open", "2026-01-02T03:09:05+00:00")
    assert breaker["quality"]["since"] == "2026-01-02T03:04:05+00:00"
    assert document["budgets"] == [
        {
            "scope": "day",
            "limit_usd": 1.0,
            "spent_usd": 0.0123,
            "reserved_usd": 0.05,
            "resets_at": "2026-01-03T00:00:00+00:00",
        }
    ]


def test_what_cannot_be_read_is_a_sentence_and_exit_code_1(application: FakeApplication) -> None:
    application.budget = FakeBudget(error=StorageUnavailable("The budget cannot be read."))

    result = run("--json")

    assert (result.exit_code, json.loads(result.stdout)) == (1, {"error": "The budget cannot be read."})


def test_a_fresh_installation_shows_its_engine_and_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTRAG_DAILY_BUDGET", "2")

    result = run("--json", "--storage", str(tmp_path / "storage"))

    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [(engine["name"], engine["breaker"]["state"]) for engine in document["engines"]] == [("lightrag", "closed")]
    assert {budget["scope"]: budget["limit_usd"] for budget in document["budgets"]} == {"day": 2.0, "month": None}
