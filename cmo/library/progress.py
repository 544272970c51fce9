"""How far an indexing run is, and how long it will take: arithmetic on what has been done so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cmo.library.reader import FoundFile
from cmo.storage.manifest import FileRow
from cmo.values import FileReport, IndexProgress


class Meter:
    """Counts files, pages and passages and tells `on_progress` after each step.

    The time left is reckoned in passages, which cost nearly the same each: those of the files not yet opened are
    guessed from their bytes, at the rate of passages per byte seen so far.
    """

    def __init__(
        self, on_progress: Callable[[IndexProgress], None], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Tell nothing before `begin`."""
        self._on_progress = on_progress
        self._monotonic = monotonic
        self._files = self._files_total = self._pages = self._passages = 0
        self._new_passages = self._new_bytes = self._bytes_left = self._passages_in_hand = self._embedded = 0
        self._file: str | None = None
        self._started: float | None = None

    def begin(self, same: Sequence[FileRow], to_open: Sequence[FoundFile]) -> None:
        """`same` are done already, `to_open` are to come."""
        self._files, self._files_total = len(same), len(same) + len(to_open)
        self._pages = sum(row.pages for row in same)
        self._passages = sum(row.passages for row in same)
        self._bytes_left = sum(file.size for file in to_open)
        self._tell(None)

    def opened(self, file: FoundFile) -> None:
        """A file's turn has come."""
        self._tell(file.file)

    def read(self, file: FoundFile, *, pages: int, passages: int) -> None:
        """A file is read; its passages are to be embedded. The first one starts the clock."""
        if self._started is None:
            self._started = self._monotonic()
        self._pages += pages
        self._bytes_left -= file.size
        self._new_bytes += file.size
        self._file, self._passages_in_hand, self._embedded = file.file, passages, 0
        self._tell(file.file)

    def embedded(self, passages: int) -> None:
        """So many passages of the file last read are in."""
        self._count_embedded(min(passages, self._passages_in_hand))
        self._tell(self._file)

    def inserted(self, file: FoundFile) -> None:
        """All passages of the file last read are in."""
        self._count_embedded(self._passages_in_hand)
        self._passages_in_hand = self._embedded = 0
        self._files += 1
        self._tell(file.file)

    def skipped(self, file: FoundFile, report: FileReport) -> None:
        """A file is done without being read: known by its content, or unreadable."""
        self._files += 1
        self._pages += report.pages
        self._passages += report.passages
        self._bytes_left -= file.size
        self._tell(file.file)

    def _count_embedded(self, passages: int) -> None:
        fresh = max(0, passages - self._embedded)
        self._embedded += fresh
        self._passages += fresh
        self._new_passages += fresh

    def _tell(self, file: str | None) -> None:
        self._on_progress(
            IndexProgress(
                files_done=self._files,
                files_total=self._files_total,
                pages=self._pages,
                passages=self._passages,
                seconds_left=self._seconds_left(),
                file=file,
            )
        )

    def _seconds_left(self) -> float | None:
        if self._files == self._files_total:
            return 0.0
        if self._started is None or not self._new_passages or not self._new_bytes:
            return None
        in_hand = self._passages_in_hand - self._embedded
        passages_left = in_hand + self._bytes_left * (self._new_passages + in_hand) / self._new_bytes
        return passages_left * (self._monotonic() - self._started) / self._new_passages
