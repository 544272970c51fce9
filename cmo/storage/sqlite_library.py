"""The SQLite this Python was built with."""

from __future__ import annotations

import sqlite3
from contextlib import closing

VERSION = sqlite3.sqlite_version
"""Its version, such as "3.45.1"."""


def has_full_text_search() -> bool:
    """Whether it can do BM25: the extension FTS5 with its porter tokenizer."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text, tokenize = 'porter unicode61')")
        except sqlite3.OperationalError:
            return False
    return True
