"""Fake OpenAI and Perplexity servers on loopback, for tests and for trying the application without keys."""

from tests.servers.faults import Fault
from tests.servers.openai import FakeOpenAI
from tests.servers.perplexity import FakePerplexity, WebResult

__all__ = ["FakeOpenAI", "FakePerplexity", "Fault", "WebResult"]
