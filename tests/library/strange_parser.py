"""A parser for the reading process that does what the file's name says: hang, crash, run out of memory ..."""

import os
from pathlib import Path

from cmo.library.pdf import PageText
from cmo.library.reader import Limits, ReadDocument


def read(path: Path, limits: Limits) -> ReadDocument:
    """A document whose only page is the number of the process that read it, unless the name asks for trouble."""
    match path.stem:
        case "hang":
            path.read_bytes()  # a named pipe to which nobody writes
        case "crash":
            os.abort()
        case "eat memory":
            bytearray(limits.memory_bytes * 2)
        case "raise":
            raise LookupError("no such font")
        case "talk":
            os.write(1, b"noise from a C library\n")
        case "surrogate":
            return ReadDocument(pages=(PageText(text="a\ud800b", blocks=()),), title="surrogate")
        case "nonsense":
            return ReadDocument(pages=(), title="nonsense", year="soon")  # type: ignore[arg-type]
    return ReadDocument(pages=(PageText(text=str(os.getpid()), blocks=()),), title=path.stem)
