"""The models of an OpenAI-compatible server, as the settings name them. Imported only when there is one."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cmo.engines.library import ENGINE as PAPERS
from cmo.errors import SettingsError
from cmo.interfaces import Book
from cmo.models.openai import OpenAIChat
from cmo.models.openai_embedding import OpenAIEmbedder
from cmo.models.openai_server import OpenAIServer
from cmo.pricing import Price, price_of, with_own_prices
from cmo.settings import Settings


async def open_server(settings: Settings, stack: AsyncExitStack) -> OpenAIServer:
    """The connections to the configured OpenAI-compatible server, closed with `stack`."""
    key = settings.openai_api_key
    return await stack.enter_async_context(
        OpenAIServer(base_url=settings.openai_base_url, api_key=key.get_secret_value() if key else None)
    )


def chat_of(server: OpenAIServer, settings: Settings) -> OpenAIChat:
    """The model that writes.

    Raises:
        SettingsError: nobody can tell what it costs.
    """
    return OpenAIChat(
        server, model=settings.openai_model, engine=PAPERS, price=price_for(settings.openai_model, settings)
    )


def embedder_of(server: OpenAIServer, settings: Settings, book: Book) -> OpenAIEmbedder:
    """The server's embedding model.

    Raises:
        SettingsError: nobody can tell what it costs.
    """
    assert settings.openai_embedding_model is not None
    return OpenAIEmbedder(
        server,
        model=settings.openai_embedding_model,
        dimension=settings.openai_embedding_dimensions,
        engine=PAPERS,
        price=price_for(settings.openai_embedding_model, settings),
        book=book,
    )


def price_for(model: str, settings: Settings) -> Price | None:
    """What a model costs, None for nothing: what is set, then the price lists; other models of other servers are free.

    Raises:
        SettingsError: OpenAI itself has the model, and its price is not known.
    """
    known = with_own_prices(
        price_of(model, base_url=settings.openai_base_url),
        in_usd=settings.openai_price_in,
        out_usd=settings.openai_price_out,
    )
    if known is None and settings.openai_base_url is None:
        raise SettingsError(
            f"The price of the model {model} is not known. Set OPENAI_PRICE_IN and OPENAI_PRICE_OUT, in dollars per "
            "million tokens, so that budgets hold."
        )
    return known
