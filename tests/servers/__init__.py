"""Fake OpenAI, Perplexity and LibreTranslate servers on loopback, for tests and for trying things without keys."""

from tests.servers.faults import Fault
from tests.servers.libretranslate import FakeLibreTranslate
from tests.servers.openai import FakeOpenAI
from tests.servers.perplexity import FakePerplexity, WebResult

__all__ = ["FakeLibreTranslate", "FakeOpenAI", "FakePerplexity", "Fault", "WebResult"]
