"""Vectors in memory, searched exactly. Knows a table of vectors, and nothing of what they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cmo.storage.graph_rows import VectorTable, unpack_vectors

ROWS_PER_BLOCK = 1024
"""Rows of a block of the vector matrix: at 384 dimensions its float32 copy (1.5 MB) stays in a core's cache."""


class VectorMatrix:
    """The vectors of one namespace in memory, as the table had them at the last refresh.

    Signed bytes in blocks of ROWS_PER_BLOCK: a search turns one block after the other into float32, which is bound by a
    quarter of the memory traffic of a float32 matrix and so takes a third of its time. Rows are in slot order; a
    deleted vector stays as a row of zeros, similar to nothing.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._change = 0
        self._rows = 0
        self._slots = np.zeros(0, np.int64)
        self._scales = np.zeros(0, np.float32)
        self._blocks: list[npt.NDArray[np.int8]] = []
        self._workspace = np.empty((ROWS_PER_BLOCK, dimension), np.float32)

    def refresh(self, table: VectorTable) -> None:
        """Take over what was written to the table since the last time."""
        latest = table.latest_change()
        if latest == self._change:
            return
        for page in table.changed_since(self._change, size=ROWS_PER_BLOCK):
            self._take(page)
        self._change = latest

    def nearest(self, vector: npt.ArrayLike, *, top_k: int, at_least: float) -> list[tuple[int, float]]:
        """Slots and cosines of the `top_k` rows most similar to a vector, best first, none below `at_least`."""
        query = np.asarray(vector, np.float32)
        length = float(np.linalg.norm(query))
        if not length or not self._rows or top_k < 1:
            return []
        cosines = self._products(query / length) * self._scales[: self._rows]
        best = np.argpartition(cosines, -top_k)[-top_k:] if top_k < self._rows else np.arange(self._rows)
        best = best[np.argsort(-cosines[best], kind="stable")]
        # Zero rows are deleted ones, whatever the threshold.
        return [
            (int(self._slots[row]), float(cosines[row]))
            for row in best
            if cosines[row] >= at_least and self._scales[row] > 0
        ]

    def _products(self, query: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        products = np.empty(self._rows, np.float32)
        for number, block in enumerate(self._blocks):
            start = number * ROWS_PER_BLOCK
            rows = min(ROWS_PER_BLOCK, self._rows - start)
            np.copyto(self._workspace[:rows], block[:rows])
            np.dot(self._workspace[:rows], query, out=products[start : start + rows])
        return products

    def _take(self, page: Sequence[tuple[int, bytes | None]]) -> None:
        nothing = bytes(self._dimension + 4)
        slots = np.array([slot for slot, _ in page], np.int64)
        scales, codes = unpack_vectors([packed or nothing for _, packed in page])
        known = int(np.searchsorted(slots, self._slots[self._rows - 1], side="right")) if self._rows else 0
        rows = np.searchsorted(self._slots[: self._rows], slots[:known])
        self._put(rows, scales[:known], codes[:known])
        self._append(slots[known:], scales[known:], codes[known:])

    def _append(
        self, slots: npt.NDArray[np.int64], scales: npt.NDArray[np.float32], codes: npt.NDArray[np.int8]
    ) -> None:
        rows = np.arange(self._rows, self._rows + len(slots))
        self._rows += len(slots)
        while len(self._blocks) * ROWS_PER_BLOCK < self._rows:
            self._blocks.append(np.zeros((ROWS_PER_BLOCK, self._dimension), np.int8))
        if len(self._slots) < self._rows:
            room = max(self._rows, 2 * len(self._slots)) - len(self._slots)
            self._slots = np.concatenate([self._slots, np.zeros(room, np.int64)])
            self._scales = np.concatenate([self._scales, np.zeros(room, np.float32)])
        self._slots[rows] = slots
        self._put(rows, scales, codes)

    def _put(self, rows: npt.NDArray[np.int64], scales: npt.NDArray[np.float32], codes: npt.NDArray[np.int8]) -> None:
        self._scales[rows] = scales
        for row, code in zip(rows.tolist(), codes, strict=True):
            self._blocks[row // ROWS_PER_BLOCK][row % ROWS_PER_BLOCK] = code
