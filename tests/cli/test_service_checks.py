"""What `cmo doctor` says of servers and money; a service that is not well is never why questions cannot be answered."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cmo.cli import service_checks
from cmo.cli.checks import Status
from cmo.settings import Settings
from tests.servers import FakeOpenAI, FakePerplexity, Fault

NOBODY = "http://127.0.0.1:9"
"""The discard port, where nobody listens."""


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


def settings(tmp_path: Path, **known: object) -> Settings:
    return Settings(storage_dir=tmp_path / "storage", **known)  # type: ignore[arg-type]


async def test_without_a_model_server_all_is_well(tmp_path: Path) -> None:
    assert (await service_checks.model_server(settings(tmp_path))).status is Status.OK


async def test_a_model_server_that_answers_is_well_and_is_asked_for_nothing_that_costs(
    tmp_path: Path, server: FakeOpenAI
) -> None:
    found = await service_checks.model_server(settings(tmp_path, openai_base_url=server.url))

    assert found.status is Status.OK
    assert (server.cost_usd, [request.path for request in server.requests]) == (0.0, ["/v1/models"])


async def test_a_model_server_that_cannot_be_reached_is_a_warning(tmp_path: Path) -> None:
    found = await service_checks.model_server(settings(tmp_path, openai_base_url=f"{NOBODY}/v1"))

    assert found.status is Status.WARNING
    assert "cannot be reached" in found.detail


async def test_a_key_that_is_refused_is_a_warning_without_the_key(tmp_path: Path, server: FakeOpenAI) -> None:
    server.always(Fault.UNAUTHORIZED, on="/models")
    known = {"openai_base_url": server.url, "openai_api_key": "sk-canary-0123456789"}

    found = await service_checks.model_server(settings(tmp_path, **known))

    assert found.status is Status.WARNING
    assert "canary" not in f"{found.detail} {found.advice}"


async def test_a_model_the_server_does_not_have_is_a_warning(tmp_path: Path, server: FakeOpenAI) -> None:
    found = await service_checks.model_server(settings(tmp_path, openai_base_url=server.url, openai_model="gpt-0"))

    assert (found.status, "gpt-0" in found.detail) == (Status.WARNING, True)


async def test_a_web_engine_that_cannot_be_reached_is_a_warning_and_one_that_answers_is_not(tmp_path: Path) -> None:
    gone = await service_checks.web_engine(settings(tmp_path, perplexity_base_url=NOBODY))
    async with FakePerplexity() as fake:
        there = await service_checks.web_engine(settings(tmp_path, perplexity_base_url=fake.url))
        cost = fake.cost_usd

    assert (gone.status, there.status, cost) == (Status.WARNING, Status.OK, 0.0)


async def test_looking_at_the_budget_makes_no_database(tmp_path: Path) -> None:
    found = await service_checks.budget(settings(tmp_path, daily_budget_usd=1.0))

    assert (found.status, (tmp_path / "storage").exists()) == (Status.OK, False)


@pytest.mark.parametrize("service", ["google", "mymemory"])
async def test_a_service_outside_that_reads_answers_is_named_with_the_way_to_keep_them(
    tmp_path: Path, service: str
) -> None:
    finding = await service_checks.translation(settings(tmp_path, translation=service))

    assert finding.status is Status.OK
    assert service in finding.detail.lower()
    assert finding.advice == "CMO_TRANSLATION=off keeps everything on this machine."


async def test_translating_nothing_asks_for_no_advice(tmp_path: Path) -> None:
    assert (await service_checks.translation(settings(tmp_path, translation="off"))).advice is None
