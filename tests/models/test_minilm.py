import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer

from cmo.errors import ModelUnavailable
from cmo.interfaces import Embedder
from cmo.models import minilm_weights
from cmo.models.minilm import WINDOW_TOKENS, MiniLM
from cmo.models.minilm_weights import ModelFiles, installed_files, read_safetensors, read_tokenizer

Floats = npt.NDArray[np.float32]

QUESTION = "Does metformin raise blood lactate?"
ANSWER = "Plasma lactate increased in patients treated with metformin."
NEARBY = "Insulin resistance is common in type 2 diabetes."
UNRELATED = "The museum opens at nine on Sundays."
PASSAGE = " ".join([ANSWER, NEARBY, "Samples were kept at minus 80 degrees before mass spectrometry."] * 5)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def model(cache_folder: Path) -> Iterator[MiniLM]:
    model = MiniLM(cache_folder, threads=2)
    yield model
    model.close()


def test_it_is_an_embedder(model: MiniLM) -> None:
    embedder: Embedder = model
    assert embedder.dimension == 384
    assert "53aa5117" in embedder.fingerprint


def test_the_passage_that_answers_is_nearest_to_the_question(model: MiniLM) -> None:
    question, *passages = model.encode([QUESTION, ANSWER, NEARBY, UNRELATED])
    answer, nearby, unrelated = (float(question @ passage) for passage in passages)
    assert answer > nearby > unrelated
    assert answer > 0.7
    assert unrelated < 0.2


def test_vectors_are_those_of_the_original_weights(model: MiniLM) -> None:
    for text in (QUESTION, PASSAGE[:600]):
        assert float(model.encode([text])[0] @ reference_embedding(text)) > 0.985


def test_vectors_have_unit_length(model: MiniLM) -> None:
    vectors = model.encode([QUESTION, PASSAGE, PASSAGE * 6, "α"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", " \n\t", "\x00\x01"])
def test_a_text_without_a_token_gets_a_zero_vector(model: MiniLM, text: str) -> None:
    vectors = model.encode([text, QUESTION])
    assert not vectors[0].any()
    assert vectors[1].any()


def test_no_texts_give_no_vectors(model: MiniLM) -> None:
    assert model.encode([]).shape == (0, 384)
    assert model.encode_tokens([]) == []


def test_half_surrogates_of_broken_fonts_do_no_harm(model: MiniLM) -> None:
    vectors = model.encode(["lactate \ud835 rose", "lactate rose"])
    assert float(vectors[0] @ vectors[1]) > 0.7


def test_a_vector_does_not_depend_on_what_is_embedded_with_it(cache_folder: Path) -> None:
    texts = [PASSAGE, QUESTION, UNRELATED, PASSAGE * 3, ANSWER]
    alone = [fresh(cache_folder, [text])[0] for text in texts]
    assert np.array_equal(fresh(cache_folder, texts), np.stack(alone))


def test_a_vector_does_not_depend_on_the_number_of_threads(cache_folder: Path) -> None:
    texts = [PASSAGE, QUESTION, ANSWER]
    assert np.array_equal(fresh(cache_folder, texts, threads=1), fresh(cache_folder, texts, threads=3))


def test_equal_texts_get_equal_vectors_in_the_order_given(model: MiniLM) -> None:
    first, second, third = model.encode([QUESTION, ANSWER, QUESTION])
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)


def test_changing_a_returned_vector_does_not_change_the_next_one(model: MiniLM) -> None:
    before = model.encode([QUESTION])
    kept = before.copy()
    before[:] = 0
    assert np.array_equal(model.encode([QUESTION]), kept)


def test_a_long_passage_is_found_by_its_last_sentence(model: MiniLM) -> None:
    filler = "Samples were kept at minus 80 degrees before mass spectrometry. " * 25
    assert len(model.encode_tokens([filler])[0].offsets) > WINDOW_TOKENS
    with_end, without, end = model.encode([filler + ANSWER, filler, ANSWER])
    assert float(with_end @ end) > float(without @ end) + 0.1


def test_token_offsets_point_at_the_words(model: MiniLM) -> None:
    text = "Café lactate ↑ in β-cells 😀 (p<0.05)."
    (tokens,) = model.encode_tokens([text])
    pieces = [text[start:end] for start, end in tokens.offsets]
    assert "".join(pieces) == "".join(text.split())
    assert pieces[0] == "Café"
    assert tokens.vectors.shape == (len(pieces), 384)


def test_token_vectors_have_unit_length_and_carry_their_meaning(model: MiniLM) -> None:
    blood, money = model.encode_tokens(["sugar in the blood", "sugar prices on the market"])
    assert np.linalg.norm(blood.vectors, axis=1) == pytest.approx(1, abs=1e-4)
    assert 0.3 < float(blood.vectors[0] @ money.vectors[0]) < 0.95


def test_long_texts_keep_all_their_tokens_with_rising_offsets(model: MiniLM) -> None:
    text = PASSAGE * 4
    (tokens,) = model.encode_tokens([text])
    assert len(tokens.offsets) == len(tokens.vectors) > 2 * WINDOW_TOKENS
    assert list(tokens.offsets) == sorted(tokens.offsets)
    assert tokens.offsets[-1][1] == len(text)


def test_a_text_without_a_token_has_no_token_vectors(model: MiniLM) -> None:
    (tokens,) = model.encode_tokens([""])
    assert tokens.vectors.shape == (0, 384)
    assert tokens.offsets == ()


async def test_many_tasks_share_one_model(model: MiniLM) -> None:
    texts = [f"{QUESTION} Case {number}." for number in range(12)]
    one_by_one = await asyncio.gather(*(model.embed([text]) for text in texts))
    assert np.array_equal(np.concatenate(one_by_one), model.encode(texts))
    assert len(await model.embed_tokens(texts[:2])) == 2


def test_a_closed_model_loads_again_at_the_next_use(cache_folder: Path) -> None:
    model = MiniLM(cache_folder)
    before = model.encode([QUESTION])
    model.close()
    model.close()
    assert np.array_equal(model.encode([QUESTION]), before)
    model.close()


def test_weights_are_converted_once(tmp_path: Path) -> None:
    first = fresh(tmp_path, [QUESTION])
    (cached,) = tmp_path.iterdir()
    written = cached.stat()
    # The original weights are not even opened again: only the tokenizer is read.
    files = replace(installed_files(), weights=tmp_path / "gone.safetensors")
    assert np.array_equal(fresh(tmp_path, [QUESTION], files=files), first)
    assert (cached.stat().st_ino, cached.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


@pytest.mark.parametrize("damage", ["flipped", "cut off", "emptied"])
def test_a_damaged_conversion_is_made_again(cache_folder: Path, model: MiniLM, tmp_path: Path, damage: str) -> None:
    model.load()
    (sound,) = cache_folder.iterdir()
    data = sound.read_bytes()
    broken = tmp_path / sound.name
    broken.write_bytes({"flipped": flipped(data), "cut off": data[:-100], "emptied": b""}[damage])
    assert np.array_equal(fresh(tmp_path, [QUESTION]), model.encode([QUESTION]))
    assert broken.read_bytes() == data


def test_two_processes_may_convert_at_once(tmp_path: Path) -> None:
    program = "import sys, pathlib; from cmo.models.minilm import MiniLM; " + (
        "print(MiniLM(pathlib.Path(sys.argv[1])).encode(['lactate'])[0, :4].tolist())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project_root()) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0] == printed[1] != ""
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_opens_a_socket(cache_folder: Path) -> None:
    program = """
import os, pathlib, sys
def refuse(event, arguments):
    if event.startswith("socket."):
        os._exit(9)
sys.addaudithook(refuse)
from cmo.models.minilm import MiniLM
MiniLM(pathlib.Path(sys.argv[1])).encode(["lactate"])
"""
    done = subprocess.run([sys.executable, "-c", program, str(cache_folder)], cwd=project_root(), timeout=120)
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["weights", "tokenizer"])
def test_tampered_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    original: Path = getattr(installed_files(), name)
    copy = tmp_path / original.name
    copy.write_bytes(flipped(original.read_bytes()))
    files = replace(installed_files(), **{name: copy})
    with pytest.raises(ModelUnavailable, match=rf"{original.name}.*make setup"):
        fresh(tmp_path / "cache", [QUESTION], files=files)
    assert not (tmp_path / "cache").exists()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    files = replace(installed_files(), weights=tmp_path / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors cannot be read.*make setup"):
        fresh(tmp_path / "cache", [QUESTION], files=files)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_weights, "PACKAGE", "no-such-model-package")
    with pytest.raises(ModelUnavailable, match=r"no-such-model-package.*make setup"):
        installed_files()


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelUnavailable, match="file"):
        fresh(tmp_path / "file" / "models", [QUESTION])


@pytest.mark.parametrize("offsets", [[0, 12], [-4, 4], [8, 16], [8, 0]])
def test_tensors_pointing_outside_the_file_are_refused(offsets: list[int]) -> None:
    header = json.dumps({"bias": {"dtype": "F32", "shape": [2], "data_offsets": offsets}}).encode()
    with pytest.raises(ModelUnavailable, match="bias"):
        read_safetensors(len(header).to_bytes(8, "little") + header + bytes(8))


def test_a_header_longer_than_the_file_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="cut off"):
        read_safetensors((1 << 40).to_bytes(8, "little") + b"{}")


def fresh(cache_folder: Path, texts: list[str], *, threads: int = 2, files: ModelFiles | None = None) -> Floats:
    """The texts' vectors from a model that has seen no others."""
    model = MiniLM(cache_folder, threads=threads, files=files)
    try:
        return model.encode(texts)
    finally:
        model.close()


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def project_root() -> Path:
    return Path(__file__).resolve().parents[2]


def reference_embedding(text: str) -> Floats:
    """The embedding straight from the formulas, in float32 with nothing but NumPy."""
    files = installed_files()
    weights = read_safetensors(files.weights.read_bytes())
    tokenizer = Tokenizer.from_str(read_tokenizer(files))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    hidden = reference_hidden(weights, tokenizer.encode(text).ids)
    mean: Floats = hidden.mean(axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def reference_hidden(weights: minilm_weights.Tensors, ids: list[int]) -> Floats:
    def linear(value: Floats, name: str) -> Floats:
        product: Floats = value @ weights[f"{name}.weight"].T
        return product + weights[f"{name}.bias"]

    def norm(value: Floats, name: str) -> Floats:
        centred = value - value.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        normed: Floats = centred / spread * weights[f"{name}.weight"]
        return normed + weights[f"{name}.bias"]

    def attention(value: Floats, name: str) -> Floats:
        query, key, content = (
            linear(value, f"{name}.{role}").reshape(-1, 12, 32).swapaxes(0, 1) for role in ("query", "key", "value")
        )
        weight = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(32))
        mixed: Floats = weight / weight.sum(-1, keepdims=True) @ content
        return mixed.swapaxes(0, 1).reshape(-1, 384)

    erf = np.vectorize(math.erf, otypes=[np.float32])
    hidden = weights["embeddings.word_embeddings.weight"][ids]
    hidden = hidden + weights["embeddings.position_embeddings.weight"][: len(ids)]
    hidden = norm(hidden + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(6)):
        attended = linear(attention(hidden, f"{layer}.attention.self"), f"{layer}.attention.output.dense")
        hidden = norm(hidden + attended, f"{layer}.attention.output.LayerNorm")
        inner = linear(hidden, f"{layer}.intermediate.dense")
        inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
        hidden = norm(hidden + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return hidden
