"""What models cost, and when they are shut down. Pure and offline.

The prices are those that the package genai-prices brings with it; it is never asked to fetch newer ones. This module
refuses to know budgets, ledgers and settings: who has prices of their own passes a `Price` of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import TieredPrices

PER_MILLION = 1_000_000
PER_THOUSAND = 1_000

_PROVIDERS = ("perplexity", "openai")
"""Whose price lists are looked into for the name of a model."""

_NEWEST = datetime(2100, 1, 1, 12, tzinfo=UTC)
"""Prices that start on a day are looked up as of this one."""

_RETIRES = (
    (date(2027, 1, 14), ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini")),
    (date(2026, 12, 11), ("gpt-5", "gpt-5-mini", "gpt-5-nano")),
)
"""When OpenAI takes models off its API (OpenAI, "Deprecations", as of November 2026)."""

SOON_DAYS = 60
"""A model that is shut down earlier than that is told, so that there is time to choose another."""

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs in US dollars: per million tokens, and for each web search it makes.

    `cached_usd` is the price of tokens the server had in its cache. Fees for a whole request count as `search_usd`.
    """

    in_usd: float
    cached_usd: float
    out_usd: float
    search_usd: float = 0.0


def price_of(model: str, *, base_url: str | None = None) -> Price | None:
    """The newest price of a model; None when it is not known.

    `base_url` is the address of the server that has the model: its provider's price comes first, and then what
    Perplexity or OpenAI ask for a model of that name. Where long prompts cost more per token, the price is that of
    short ones (OpenAI's rise beyond 272,000 tokens, many times what a question takes).
    """
    places: list[tuple[str | None, str | None]] = [(provider, None) for provider in _PROVIDERS]
    if base_url:
        places.insert(0, (None, base_url))
    return next((price for place in places if (price := _listed_price(model, *place))), None)


def with_own_prices(known: Price | None, *, in_usd: float | None, out_usd: float | None) -> Price | None:
    """The known price with what is set in its place, per million tokens; a price that is neither known nor set is 0."""
    if in_usd is None and out_usd is None:
        return known
    known = known or Price(in_usd=0, cached_usd=0, out_usd=0)
    return replace(
        known,
        in_usd=known.in_usd if in_usd is None else in_usd,
        cached_usd=known.cached_usd if in_usd is None else in_usd,
        out_usd=known.out_usd if out_usd is None else out_usd,
    )


def cost_usd(price: Price, tokens_in: int, tokens_cached: int, tokens_out: int, *, searches: int = 0) -> float:
    """What a call costs in US dollars. `tokens_cached` are those of `tokens_in` that the server had in its cache."""
    cached = min(tokens_cached, tokens_in)
    tokens = (tokens_in - cached) * price.in_usd + cached * price.cached_usd + tokens_out * price.out_usd
    return tokens / PER_MILLION + searches * price.search_usd


def retires_on(model: str) -> date | None:
    """The day on which a model of OpenAI is shut down, None when none is known. A dated name is its model's."""
    name = _DATED.sub("", model.lower().removeprefix("openai/"))
    return next((day for day, names in _RETIRES if name in names), None)


def retires_soon(model: str, today: date) -> date | None:
    """The day on which a model is shut down, when that is less than SOON_DAYS away or past."""
    day = retires_on(model)
    return day if day is not None and (day - today).days < SOON_DAYS else None


def _listed_price(model: str, provider: str | None, base_url: str | None) -> Price | None:
    try:
        _, found = _price_lists().find_provider_model(model, None, provider, base_url)
    except LookupError:
        return None
    listed = found.get_prices(_NEWEST)
    in_usd = _usd(listed.input_mtok)
    return Price(
        in_usd=in_usd,
        cached_usd=in_usd if listed.cache_read_mtok is None else _usd(listed.cache_read_mtok),
        out_usd=_usd(listed.output_mtok),
        search_usd=(_usd(listed.web_searches_kcount) + _usd(listed.requests_kcount)) / PER_THOUSAND,
    )


def _usd(listed: Decimal | TieredPrices | None) -> float:
    """A listed price, of short prompts where it depends on their length; what is not listed costs nothing."""
    if listed is None:
        return 0.0
    return float(listed if isinstance(listed, Decimal) else listed.base)


@cache
def _price_lists() -> DataSnapshot:
    """The lists that came with the package, whatever another part of the process may have had it fetch."""
    # Reading them takes a third of a second, which a command that prices nothing need not wait for.
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)
