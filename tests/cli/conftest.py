import logging
from collections.abc import Iterator

import pytest

from cmo.cli import output


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide wherever the tests run."""
    for console in (output.out, output.err):
        monkeypatch.setattr(console, "width", 200)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands set up logging for their process, which here is that of all tests."""
    loggers = [logging.getLogger(), logging.getLogger("cmo")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
    logging.captureWarnings(False)
