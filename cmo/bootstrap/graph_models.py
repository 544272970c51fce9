"""The models an index is made and searched with, as the settings name them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from cmo.bootstrap.models import chat_of, embedder_of, open_server, price_for
from cmo.bootstrap.money import SystemClock, open_budget, open_database
from cmo.bootstrap.parts import GraphModels
from cmo.dispatch.paid import PaidChat, PaidEmbedder, Payments
from cmo.dispatch.spending import Spending
from cmo.interfaces import Embedder, Extractor
from cmo.models.graph_extraction import DictionaryGraphExtractor, ModelExtractor
from cmo.models.openai_server import OpenAIServer
from cmo.pricing import cost_usd
from cmo.settings import Settings
from cmo.storage.ledger import SqlLedger

PASSAGE_TOKENS = 350
PROMPT_TOKENS = 300
EXTRACTED_TOKENS = 400
ENTITY_TOKENS = 100
"""Averages for one passage: of its 1,400 bytes at 4 bytes per token (OpenAI's rule of thumb), of the instructions, of
the JSON object with its names, and of the names and descriptions embedded besides. For estimates, never limits."""


def server_models(
    server: OpenAIServer, settings: Settings, payments: Payments, *, embedded: Embedder, dictionary: Extractor
) -> GraphModels:
    """The models for a new index: those of the server that the settings name, and the others of this machine.

    Raises:
        SettingsError: nobody can tell what a model costs.
    """
    return GraphModels(
        embedder=PaidEmbedder(embedder_of(server, settings, payments.book), payments)
        if settings.embeds_on_server
        else embedded,
        extractor=ModelExtractor(PaidChat(chat_of(server, settings), payments), book=payments.book)
        if settings.extracts_on_server
        else DictionaryGraphExtractor(dictionary),
    )


@asynccontextmanager
async def paid_models(settings: Settings, *, embedded: Embedder, dictionary: Extractor) -> AsyncIterator[GraphModels]:
    """The models for a new index, with a ledger and a budget of their own to pay from.

    Raises:
        OracleError: a part cannot be opened; the message says which and what to do.
    """
    async with AsyncExitStack() as stack:
        database = await open_database(settings, stack)
        clock = SystemClock()
        budget = open_budget(settings, database, clock, stack)
        server = await open_server(settings, stack)
        payments = Payments(Spending(budget), SqlLedger(database), clock, at_home=server.at_home)
        yield server_models(server, settings, payments, embedded=embedded, dictionary=dictionary)


def estimate(passages: int, settings: Settings) -> float:
    """What making an index of so many passages costs on average, in US dollars."""
    usd = 0.0
    if settings.extracts_on_server:
        usd += passages * _price(settings.openai_model, settings, PROMPT_TOKENS + PASSAGE_TOKENS, EXTRACTED_TOKENS)
    if settings.embeds_on_server and settings.openai_embedding_model is not None:
        usd += passages * _price(settings.openai_embedding_model, settings, PASSAGE_TOKENS + ENTITY_TOKENS, 0)
    return usd


def _price(model: str, settings: Settings, tokens_in: int, tokens_out: int) -> float:
    price = price_for(model, settings)
    return cost_usd(price, tokens_in, 0, tokens_out) if price else 0.0
