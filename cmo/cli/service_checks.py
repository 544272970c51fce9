"""What `cmo doctor` looks at outside this machine: the model server, the web engine, and what may be spent.

Nothing that costs money is asked. A service that is not well is a warning: the papers answer without it.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from pathlib import Path

from cmo.bootstrap.money import SystemClock, open_budget, open_database
from cmo.bootstrap.web import open_web_engine
from cmo.cli.checks import Finding, Status
from cmo.errors import OracleError
from cmo.policy.budget import dollars
from cmo.pricing import retires_soon
from cmo.settings import Settings, Translation


async def model_server(settings: Settings) -> Finding:
    """Whether the server answers that writes answers, and has the model."""
    if not settings.has_model:
        return Finding(Status.OK, "None is configured: answers are sentences from the papers.")
    from cmo.bootstrap.models import open_server, price_for  # a second of importing that others need not wait for

    try:
        async with AsyncExitStack() as stack:
            names = await (await open_server(settings, stack)).ping()
        price_for(settings.openai_model, settings)
    except OracleError as error:
        return Finding(Status.WARNING, str(error), "Until then answers are sentences from the papers.")
    wanted = [settings.openai_model, *([settings.openai_embedding_model] if settings.openai_embedding_model else [])]
    missing = [name for name in wanted if names and name not in names]
    if missing:
        return Finding(Status.WARNING, f"It has no model {missing[0]}.", "Check OPENAI_MODEL against its list.")
    return _unless_retired(wanted, datetime.now(UTC).date())


async def web_engine(settings: Settings) -> Finding:
    """Whether Perplexity's address answers. The key is not tried: that would cost money."""
    async with AsyncExitStack() as stack:
        engine = open_web_engine(settings, stack, SystemClock())
        if engine is None:
            return Finding(Status.OK, "None is configured: only the papers are asked.")
        try:
            await engine.ping()
        except OracleError as error:
            return Finding(Status.WARNING, str(error), "Until then the papers answer.")
    return Finding(Status.OK, "Perplexity's address answers.")


async def translation(settings: Settings) -> Finding:
    """Who translates, and who gets to read what. Nobody is asked: a free service would read a text for it."""
    about = {
        Translation.OFF: "Nobody translates: answers are in English, questions are searched for by word lists.",
        Translation.GOOGLE: "Google's free service reads questions and answers of other languages.",
        Translation.MYMEMORY: "MyMemory's free service reads questions and answers of other languages.",
        Translation.LIBRETRANSLATE: f"The server at {settings.libretranslate_url} translates.",
        Translation.MODEL: f"{settings.openai_model} translates.",
    }
    outside = settings.translation in (Translation.GOOGLE, Translation.MYMEMORY)
    return Finding(
        Status.OK,
        about[settings.translation],
        "CMO_TRANSLATION=off keeps everything on this machine." if outside else None,
    )


async def budget(settings: Settings) -> Finding:
    """What may still be spent."""
    if not await asyncio.to_thread(Path(settings.database.partition(":///")[2]).exists):
        return Finding(Status.OK, "Nothing has been spent yet.")
    async with AsyncExitStack() as stack:
        database = await open_database(settings, stack)
        scopes = await open_budget(settings, database, SystemClock(), stack).status()
    detail = "; ".join(
        f"{scope.period.scope.value}: {dollars(scope.spent)} spent of "
        f"{'no limit' if scope.limit is None else dollars(scope.limit)}"
        for scope in scopes
    )
    if any(scope.left == 0 for scope in scopes):
        return Finding(Status.WARNING, detail, "Nothing that costs money is asked until the period ends.")
    unlimited = all(scope.limit is None for scope in scopes) and (settings.has_model or settings.has_web)
    advice = "Set LIGHTRAG_DAILY_BUDGET or LIGHTRAG_MONTHLY_BUDGET so that costs cannot surprise you."
    return Finding(Status.OK, detail, advice if unlimited else None)


def _unless_retired(models: list[str], today: date) -> Finding:
    for name in models:
        if day := retires_soon(name, today):
            return Finding(Status.WARNING, f"{name} is shut down on {day:%Y-%m-%d}.", "Set OPENAI_MODEL to another.")
    return Finding(Status.OK, f"It answers and has {', '.join(models)}.")
