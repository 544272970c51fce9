"""Cosines of many vectors with many others, on one thread."""

from __future__ import annotations

from typing import Final

import numpy as np

from cmo.interfaces import Vectors

_MOST_MULTIPLIED: Final = 2**18
"""Multiplications in one product of matrices up to which OpenBLAS, which numpy comes with, stays on one thread
(interface/gemm.c there).

It divides a larger one among threads that wait for each other busily: with ten other programs on two processors the
product of two texts of 60 tokens took 40 ms and 16 ms of processor time, and 0.3 and 0.1 in parts."""


def cosines(vectors: Vectors, others: Vectors) -> Vectors:
    """Of unit vectors, shape (n, dimension), with m others: shape (n, m)."""
    rows = max(1, _MOST_MULTIPLIED // max(1, others.size))
    parts = [vectors[start : start + rows] @ others.T for start in range(0, len(vectors), rows)]
    return np.concatenate(parts) if parts else np.zeros((0, len(others)), dtype=np.float32)
