"""Ways to run the sentence encoder, compared: speed, memory, disk, drift between batches, and retrieval quality.

    .venv/bin/python benchmarks/embedding.py [--data QUESTIONS.jsonl] [--ways NAME ...]

The data are JSON lines with `question` and `contexts`, as PubMedQA's (Jin et al. 2019,
https://doi.org/10.18653/v1/D19-1259); each question looks for its own abstract among all. Every way runs in a process
of its own, on two threads, and reads the first 256 tokens of a text; the last, `product`, is what the application does
(one text per run, longer texts read in windows).

- agreement: mean cosine with the float32 vector of the same text.
- ends: hit@1 when the last 30 words of an abstract look for it; shows how much of a text is read.
- drift: largest distance (1 - cosine) between a text's vector alone and in a batch with others.
- MB are resident: more than before loading, after loading and after everything was embedded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from cmo.interfaces import Vectors
from cmo.models.minilm import MiniLM
from cmo.models.minilm_weights import EncoderGraph, Tensors, installed_files, read_safetensors, read_tokenizer

DATA = Path(__file__).resolve().parents[2] / "shared" / "evals" / "pubmedqa_dev.jsonl"
THREADS = 2
TOKENS = 256
TIMED_PASSAGES = 120
TIMED_QUERIES = 80
END_WORDS = 30

Encode = Callable[[Sequence[str]], Vectors]


class Float32Graph(EncoderGraph):
    """The encoder with its matrices as published."""

    def linear(self, value: str, names: Sequence[str]) -> str:
        """`value` times the weights of `names` side by side, plus their biases."""
        rows = np.concatenate([self.tensors[f"{name}.weight"] for name in names])
        bias = np.concatenate([self.tensors[f"{name}.bias"] for name in names])
        product = self.node("MatMul", [value, self.constant(f"{names[0]}.weight", rows.T)])
        return self.node("Add", [product, self.constant(f"{names[0]}.bias", bias)])


class WeightOnlyGraph(EncoderGraph):
    """8-bit weights in blocks of 128; the operator scales activations per row, so that batches change nothing."""

    block = 128

    def linear(self, value: str, names: Sequence[str]) -> str:
        """`value` times the weights of `names` side by side, plus their biases."""
        rows = np.concatenate([self.tensors[f"{name}.weight"] for name in names])
        bias = np.concatenate([self.tensors[f"{name}.bias"] for name in names])
        channels, inputs = rows.shape
        blocks = rows.reshape(channels, inputs // self.block, self.block)
        scales = np.abs(blocks).max(axis=2) / np.float32(127)
        levels = (np.round(blocks / scales[..., None]) + 128).astype(np.uint8)
        operands = [
            value,
            self.constant(f"{names[0]}.weight", levels),
            self.constant(f"{names[0]}.scale", scales.ravel()),
        ]
        shape = {"K": inputs, "N": channels, "bits": 8, "block_size": self.block, "accuracy_level": 4}
        product = self.node("MatMulNBits", operands, domain="com.microsoft", **shape)
        return self.node("Add", [product, self.constant(f"{names[0]}.bias", bias)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to run the encoder. `batch` 1 runs single texts side by side, more runs batches on all threads."""

    graph: type[EncoderGraph]
    batch: int


WAYS = {
    "float32, batches": Way(graph=Float32Graph, batch=16),
    "float32, single": Way(graph=Float32Graph, batch=1),
    "int8, batches": Way(graph=EncoderGraph, batch=16),
    "int8, single": Way(graph=EncoderGraph, batch=1),
    "weights int8, batches": Way(graph=WeightOnlyGraph, batch=16),
    "weights int8, single": Way(graph=WeightOnlyGraph, batch=1),
}
PRODUCT = "product"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of one way."""

    load_seconds: float
    query_ms: float
    repeated_query_ms: float
    passages_per_second: float
    passages_per_cpu_second: float
    loaded_mb: float
    used_mb: float
    drift: float
    passages: Vectors
    questions: Vectors
    ends: Vectors


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def encoder(way: Way, graph: bytes) -> Encode:
    """A function that embeds texts in this way."""
    single = way.batch == 1
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if single else THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_str(read_tokenizer(installed_files()))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(TOKENS)
    pool = ThreadPoolExecutor(THREADS if single else 1)

    def run(texts: Sequence[str]) -> Vectors:
        encodings = tokenizer.encode_batch(list(texts))
        inputs = {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
        }
        vectors: Vectors = session.run(["embedding"], inputs)[0]
        return vectors

    def encode(texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        batches = [order[first : first + way.batch] for first in range(0, len(order), way.batch)]
        found = np.zeros((len(texts), 384), np.float32)
        for batch, vectors in zip(
            batches, pool.map(lambda batch: run([texts[number] for number in batch]), batches), strict=True
        ):
            found[batch] = vectors
        return found

    return encode


def measure(name: str, graph_file: Path, cache: Path, questions: list[str], passages: list[str]) -> Figures:
    """All figures of one way; called in a process of its own."""
    before = resident_mb()
    started = time.perf_counter()
    if name == PRODUCT:
        model = MiniLM(cache, threads=THREADS)
        model.load()
        encode: Encode = model.encode
    else:
        encode = encoder(WAYS[name], graph_file.read_bytes())
    load_seconds = time.perf_counter() - started
    loaded = resident_mb()
    encode(passages[-8:])
    wall, cpu = time.perf_counter(), time.process_time()
    encode(passages[:TIMED_PASSAGES])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    vectors = encode(passages)
    return Figures(
        load_seconds=load_seconds,
        query_ms=milliseconds(encode, questions[:TIMED_QUERIES]),
        repeated_query_ms=milliseconds(encode, questions[:TIMED_QUERIES]),
        passages_per_second=TIMED_PASSAGES / wall,
        passages_per_cpu_second=TIMED_PASSAGES / cpu,
        loaded_mb=loaded - before,
        used_mb=resident_mb() - before,
        drift=max(float(1 - encode([passages[number]])[0] @ vectors[number]) for number in range(48)),
        passages=vectors,
        questions=encode(questions),
        ends=encode([" ".join(passage.split()[-END_WORDS:]) for passage in passages]),
    )


def milliseconds(encode: Encode, texts: Sequence[str]) -> float:
    """The median time of embedding one text."""
    times = []
    for text in texts:
        started = time.perf_counter()
        encode([text])
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e3


def retrieval(queries: Vectors, passages: Vectors) -> tuple[float, float]:
    """hit@1 and MRR@10 of each query's own passage among all."""
    scores = queries @ passages.T
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1) + 1
    return float(np.mean(ranks == 1)), float(np.mean(np.where(ranks <= 10, 1 / ranks, 0)))


def row(name: str, megabytes: float, figures: Figures, reference: Figures) -> str:
    hit, reciprocal = retrieval(figures.questions, figures.passages)
    ends, _ = retrieval(figures.ends, figures.passages)
    agreement = float(np.mean(np.sum(figures.passages * reference.passages, axis=1)))
    return (
        f"{name:22} {figures.passages_per_second:6.1f} {figures.passages_per_cpu_second:9.1f} {figures.query_ms:8.2f} "
        f"{figures.repeated_query_ms:8.3f} {figures.load_seconds:6.2f} {figures.loaded_mb:6.0f} {figures.used_mb:6.0f} "
        f"{megabytes:7.1f} {agreement:9.4f} {figures.drift:8.5f} {hit:6.3f} {reciprocal:7.4f} {ends:6.3f}"
    )


HEADING = (
    f"{'':22} {'pass/s':>6} {'pass/cpus':>9} {'ms/query':>8} {'again':>8} {'load s':>6} {'MB':>6} {'MB use':>6} "
    f"{'MB disk':>7} {'agreement':>9} {'drift':>8} {'hit@1':>6} {'MRR@10':>7} {'ends':>6}"
)


def graph_bytes(name: str, tensors: Tensors) -> bytes:
    return WAYS[name].graph(tensors).serialized() if name in WAYS else b""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--ways", nargs="*", default=[*WAYS, PRODUCT], choices=[*WAYS, PRODUCT], metavar="NAME")
    chosen = arguments.parse_args()
    with chosen.data.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    questions = [entry["question"] for entry in rows]
    passages = [" ".join(entry["contexts"]) for entry in rows]
    tensors = read_safetensors(installed_files().weights.read_bytes())
    reference: Figures | None = None
    context = multiprocessing.get_context("spawn")
    print(f"{len(rows)} questions and passages\n{HEADING}")
    with tempfile.TemporaryDirectory() as folder:
        cache, graph_file = Path(folder), Path(folder) / "graph.onnx"
        MiniLM(cache).load()
        converted = sum(file.stat().st_size for file in cache.iterdir())
        for name in dict.fromkeys([next(iter(WAYS)), *chosen.ways]):
            graph_file.write_bytes(graph_bytes(name, tensors))
            with ProcessPoolExecutor(1, mp_context=context) as process:
                figures = process.submit(measure, name, graph_file, cache, questions, passages).result()
            reference = reference or figures
            disk = converted if name == PRODUCT else graph_file.stat().st_size
            print(row(name, disk / 1e6, figures, reference), flush=True)


if __name__ == "__main__":
    main()
