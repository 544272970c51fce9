"""The engine that answers from the web, as the settings name it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import MappingProxyType

from cmo.engines.perplexity import PerplexityEngine
from cmo.interfaces import Clock
from cmo.pricing import price_of
from cmo.settings import Settings, WireFormat

_SONAR = MappingProxyType({WireFormat.AGENT: "perplexity/sonar", WireFormat.CHAT_COMPLETIONS: "sonar"})
"""Perplexity's own model, as each wire format names it: it is priced differently in each."""


def open_web_engine(settings: Settings, stack: AsyncExitStack, clock: Clock) -> PerplexityEngine | None:
    """The engine that answers from the web, closed with `stack`; None when it is not configured."""
    if not settings.has_web:
        return None
    key = settings.perplexity_api_key
    usual = _SONAR[settings.perplexity_wire_format]
    price = price_of(settings.perplexity_model or usual) or price_of(usual)
    assert price is not None
    engine = PerplexityEngine(
        api_key=key.get_secret_value() if key else None,
        price=price,
        clock=clock,
        base_url=settings.perplexity_base_url,
        wire_format=settings.perplexity_wire_format.value,
        model=settings.perplexity_model,
        domains=settings.perplexity_domains,
        search_context=settings.perplexity_search_context.value,
    )
    stack.push_async_callback(engine.close)
    return engine
