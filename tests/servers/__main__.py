"""Starts the fake servers by hand: `python -m tests.servers both`. They answer until Ctrl-C.

"both" are OpenAI and Perplexity; "libretranslate" is a translator, which knows some French and Chinese.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tests.servers.fake import FakeServer
from tests.servers.faults import Fault
from tests.servers.libretranslate import FakeLibreTranslate, Mangling
from tests.servers.openai import FakeOpenAI
from tests.servers.perplexity import FakePerplexity

KEY = "sk-fake"
"""Any key is taken; the application wants to have one."""

DEFAULT_PORT = 9001


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    asyncio.run(_serve(_parsed(arguments)))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("which", choices=["openai", "perplexity", "both", "libretranslate"])
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="of the first server; the second has the next")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="before each answer")
    parser.add_argument("--token-delay", type=float, default=0.03, metavar="SECONDS", help="between two words")
    parser.add_argument("--fault", type=Fault, choices=list(Fault), default=Fault.NONE, help="what goes wrong")
    parser.add_argument(
        "--mangling",
        type=Mangling,
        choices=list(Mangling),
        default=Mangling.NONE,
        metavar="NAME",
        help=f"how a translator spoils texts: {', '.join(Mangling)}",
    )
    parser.add_argument("--times", type=int, metavar="N", help="for the first N calls only")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a fault takes that takes a time")
    return parser.parse_args(arguments)


async def _serve(options: argparse.Namespace) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(server) for server in _servers(options)]
        for server in servers:
            _plan(server, options)
        print("\n".join(["# Set these for the application:", *_environment(servers)]), flush=True)
        await _interrupted()
    print("ended", flush=True)


def _servers(options: argparse.Namespace) -> list[FakeServer]:
    ports = iter((options.port, options.port + 1 if options.port else 0))
    times = {"delay_seconds": options.delay, "token_seconds": options.token_delay}
    servers: list[FakeServer] = []
    if options.which in ("openai", "both"):
        servers.append(FakeOpenAI(port=next(ports), **times))
    if options.which in ("perplexity", "both"):
        servers.append(FakePerplexity(port=next(ports), **times))
    if options.which == "libretranslate":
        translator = FakeLibreTranslate(port=next(ports), delay_seconds=options.delay)
        translator.mangle(options.mangling)
        servers.append(translator)
    return servers


def _plan(server: FakeServer, options: argparse.Namespace) -> None:
    server.trace = lambda line: print(line, flush=True)
    if options.times is None:
        server.always(options.fault, seconds=options.seconds)
    else:
        server.then(*[options.fault] * options.times, seconds=options.seconds)


def _environment(servers: Sequence[FakeServer]) -> list[str]:
    return [f"export {name}={value}" for server in servers for name, value in _variables(server).items()]


def _variables(server: FakeServer) -> dict[str, str]:
    if isinstance(server, FakeLibreTranslate):
        return {"CMO_TRANSLATION": "libretranslate", "LIBRETRANSLATE_URL": server.url}
    provider = "OPENAI" if isinstance(server, FakeOpenAI) else "PERPLEXITY"
    return {f"{provider}_BASE_URL": server.url, f"{provider}_API_KEY": KEY}


async def _interrupted() -> None:
    """Return at Ctrl-C, or when asked to end."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()


if __name__ == "__main__":
    main()
