"""Prices as published, and what calls come to."""

import subprocess
import sys
from datetime import date, timedelta

import pytest
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot

from cmo.pricing import Price, cost_usd, price_of, retires_on, retires_soon, with_own_prices


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("perplexity/sonar", Price(in_usd=0.25, cached_usd=0.0625, out_usd=2.5, search_usd=0.0025)),
        ("gpt-6-luna", Price(in_usd=0.1, cached_usd=0.01, out_usd=0.5, search_usd=0.01)),
        ("gpt-6-luna-2026-09-01", Price(in_usd=0.1, cached_usd=0.01, out_usd=0.5, search_usd=0.01)),
        ("text-embedding-3-small", Price(in_usd=0.02, cached_usd=0.02, out_usd=0.0)),
        ("sonar", Price(in_usd=1.0, cached_usd=1.0, out_usd=1.0, search_usd=0.012)),
    ],
)
def test_the_models_we_start_with_have_their_published_prices(model: str, price: Price) -> None:
    assert price_of(model) == price


@pytest.mark.parametrize("model", ["smollm2", "llama3.1", "", "my-gpt-6-luna"])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert price_of(model) is None


def test_a_provider_known_by_its_address_has_prices_of_its_own() -> None:
    model = "llama-3.3-70b-versatile"

    assert price_of(model) is None
    assert price_of(model, base_url="https://api.groq.com/openai/v1") == Price(
        in_usd=0.59, cached_usd=0.59, out_usd=0.79
    )


def test_a_known_model_behind_an_unknown_address_has_its_usual_price() -> None:
    assert price_of("gpt-6-luna", base_url="http://127.0.0.1:8000/v1") == price_of("gpt-6-luna")


def test_own_prices_come_before_known_ones() -> None:
    known = price_of("gpt-6-luna")

    own = with_own_prices(known, in_usd=2.0, out_usd=None)

    assert own is not None
    assert (own.in_usd, own.cached_usd, own.out_usd) == (2.0, 2.0, 0.5)


def test_without_own_prices_the_known_one_stays_also_when_there_is_none() -> None:
    known = price_of("gpt-6-luna")

    assert with_own_prices(known, in_usd=None, out_usd=None) == known
    assert with_own_prices(None, in_usd=None, out_usd=None) is None


def test_own_prices_make_an_unknown_model_cost_something_and_a_known_one_free() -> None:
    assert with_own_prices(None, in_usd=None, out_usd=3.0) == Price(in_usd=0, cached_usd=0, out_usd=3.0)
    free = with_own_prices(Price(in_usd=1.0, cached_usd=0.5, out_usd=2.0), in_usd=0.0, out_usd=0.0)
    assert free == Price(in_usd=0, cached_usd=0, out_usd=0)


def test_more_cached_tokens_than_read_ones_never_make_a_call_pay_back() -> None:
    luna = Price(in_usd=0.1, cached_usd=0.01, out_usd=0.5)

    assert cost_usd(luna, 10, 1_000, 0) == cost_usd(luna, 10, 10, 0)


def test_a_call_costs_its_tokens_and_its_searches() -> None:
    sonar = Price(in_usd=0.25, cached_usd=0.0625, out_usd=2.5, search_usd=0.0025)

    cost = cost_usd(sonar, tokens_in=2_000, tokens_cached=0, tokens_out=400, searches=2)

    assert cost == pytest.approx(0.0005 + 0.001 + 0.005)


def test_cached_tokens_are_part_of_those_read_and_cost_their_own_price() -> None:
    luna = Price(in_usd=0.1, cached_usd=0.01, out_usd=0.5)

    assert cost_usd(luna, tokens_in=1_000_000, tokens_cached=400_000, tokens_out=0) == pytest.approx(0.06 + 0.004)


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4o-mini", date(2027, 1, 14)),
        ("gpt-4.1", date(2027, 1, 14)),
        ("gpt-5-nano", date(2026, 12, 11)),
        ("GPT-4o-mini-2024-07-18", date(2027, 1, 14)),
        ("openai/gpt-5", date(2026, 12, 11)),
        ("gpt-6-luna", None),
        ("gpt-5.5", None),
        ("perplexity/sonar", None),
    ],
)
def test_models_that_are_shut_down_are_known_with_their_day(model: str, day: date | None) -> None:
    assert retires_on(model) == day


OFFLINE = """
import socket, sys

def refuse(*_, **__):
    raise AssertionError("the network was asked")

socket.getaddrinfo = socket.socket.connect = refuse
import cmo.pricing
assert "genai_prices" not in sys.modules
assert cmo.pricing.price_of("gpt-6-luna").in_usd == 0.1
"""


def test_prices_need_no_network_and_are_not_read_before_one_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", OFFLINE], check=True)


def test_prices_that_another_part_fetched_are_not_used() -> None:
    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert price_of("gpt-6-sol") is not None
    finally:
        set_custom_snapshot(None)


def test_a_model_is_told_to_retire_soon_in_its_last_sixty_days_and_after() -> None:
    shut_down = date(2027, 1, 14)

    assert retires_soon("gpt-4o", shut_down - timedelta(days=60)) is None
    assert retires_soon("gpt-4o", shut_down - timedelta(days=59)) == shut_down
    assert retires_soon("gpt-4o", shut_down + timedelta(days=1)) == shut_down
    assert retires_soon("gpt-6-luna", shut_down) is None
