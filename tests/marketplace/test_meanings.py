"""Finding by meaning: the model, the index in memory, vectors on disk, and what fits at all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ccos.audit import AuditTrail, HeadFile
from ccos.capabilities import parse_manifest
from ccos.events import EventBus
from ccos.keys import LocalKey
from ccos.marketplace import Marketplace, installed_meanings
from ccos.marketplace.search import Document
from ccos.marketplace.wordpiece import WordPieces
from ccos.marketplace.words import query_words, stem, stems, without_filling
from ccos.providers.local import LocalInvoker
from ccos.storage import Storage

np = pytest.importorskip("numpy", reason="the extra semantic is not installed")

from ccos.marketplace.finder import MeaningFinder  # noqa: E402
from ccos.marketplace.memory_index import MemoryIndex, VectorIndex, WordIndex, best  # noqa: E402
from ccos.marketplace.minilm import MiniLm, installed, opened, read_safetensors  # noqa: E402
from ccos.marketplace.vector_cache import VectorCache  # noqa: E402

CONCEPTS = (
    {"rain", "weather", "umbrella", "forecast", "sunny"},
    {"mail", "letter", "message", "send"},
    {"money", "bank", "invoice", "pay", "price"},
    {"song", "music", "play", "album"},
)


class Concepts:
    """An embedder that knows a few concepts by their words."""

    dimensions = len(CONCEPTS) + 1

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.embedded += texts
        rows = np.full((len(texts), self.dimensions), 0.01, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for number, words in enumerate(CONCEPTS):
                row[number] += len({stem(word) for word in words}.intersection(stems(text)))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


DOCUMENTS = (
    Document("meteo.forecast", "meteo forecast", "The weather of tomorrow."),
    Document("post.send", "post send", "Sends a letter."),
    Document("bank.transfer", "bank transfer", "Moves money to another bank."),
    Document("radio.play", "radio play", "Plays a song."),
)


def finder(path: Path, embedder: Concepts | None = None) -> tuple[MeaningFinder, Concepts]:
    used = embedder or Concepts()
    return MeaningFinder(used, VectorCache(path / "v.sqlite", "concepts", used.dimensions)), used


def ids(found: MeaningFinder, query: str, **options: Any) -> list[str]:
    return [hit.id for hit in found.find(query, 10, **options)]


def test_what_shares_no_word_is_found_by_meaning(tmp_path: Path) -> None:
    made, _ = finder(tmp_path)
    assert made.follow(1, lambda: DOCUMENTS, seconds=math.inf) == 0
    assert ids(made, "do I need an umbrella")[0] == "meteo.forecast"
    assert ids(made, "invoice")[0] == "bank.transfer"
    assert ids(made, "umbrella", among={"radio.play", "no.such"}) == ["radio.play"]
    assert ids(made, "?!") == []


def test_confidence_says_whether_anything_fits(tmp_path: Path) -> None:
    made, _ = finder(tmp_path)
    made.follow(1, lambda: DOCUMENTS, seconds=math.inf)
    fitting = made.find("send a letter", 1, None)[0]
    strange = made.find("quantum chromodynamics", 1, None)
    assert fitting.fits
    assert not any(hit.fits for hit in strange)


def test_it_follows_what_changes_and_embeds_only_what_is_new(tmp_path: Path) -> None:
    made, embedder = finder(tmp_path)
    made.follow(1, lambda: DOCUMENTS, seconds=math.inf)
    made.follow(1, lambda: pytest.fail("nothing changed"))
    embedder.embedded.clear()
    changed = [DOCUMENTS[2], Document("radio.play", "radio", "Pays an invoice.")]
    made.follow(2, lambda: changed, seconds=math.inf)
    assert embedder.embedded == ["radio: Pays an invoice."]
    assert set(ids(made, "money")) == {"bank.transfer", "radio.play"}
    assert "post.send" not in ids(made, "letter")
    again, other = finder(tmp_path)
    again.follow(1, lambda: changed, seconds=math.inf)
    assert other.embedded == []
    assert set(ids(again, "money")) == {"bank.transfer", "radio.play"}


def test_what_is_not_embedded_yet_is_found_by_words(tmp_path: Path) -> None:
    made, embedder = finder(tmp_path)
    assert made.follow(1, lambda: DOCUMENTS, seconds=0) == len(DOCUMENTS)
    assert embedder.embedded == []
    assert ids(made, "letter") == ["post.send"]
    assert made.follow(1, lambda: DOCUMENTS, seconds=math.inf) == 0
    assert ids(made, "message")[0] == "post.send"


def test_damaged_vectors_are_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "v.sqlite").write_bytes(b"not a database" * 100)
    made, embedder = finder(tmp_path)
    assert made.follow(1, lambda: DOCUMENTS, seconds=math.inf) == 0
    assert len(embedder.embedded) == len(DOCUMENTS)
    assert ids(made, "umbrella")[0] == "meteo.forecast"
    assert "cannot be read" in caplog.text


def test_vectors_of_another_model_are_not_taken(tmp_path: Path) -> None:
    one = VectorCache(tmp_path / "v.sqlite", "one", 2)
    one.write({"text": np.array([1, 0], dtype=np.float32)})
    assert list(one.read(["text", "other"])) == ["text"]
    assert VectorCache(tmp_path / "v.sqlite", "two", 2).read(["text"]) == {}
    assert VectorCache(tmp_path / "v.sqlite", "one", 3).read(["text"]) == {}


def test_the_coarse_first_look_loses_next_to_nothing() -> None:
    chance = np.random.default_rng(1)
    centres = chance.normal(size=(50, 384))
    rows = centres[chance.integers(50, size=6000)] + 0.7 * chance.normal(size=(6000, 384))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    index = VectorIndex(rows)
    kept = 0
    for query in rows[:20] + 0.02 * chance.normal(size=(20, 384)).astype(np.float32):
        exact = rows @ query
        near = best(index.estimates(query), 200)
        assert index.products(query, near) == pytest.approx(exact[near], abs=1e-4)
        kept += len(set(best(exact, 10).tolist()) & set(near.tolist()))
    assert kept >= 196


def test_rare_words_weigh_more_and_names_more_than_descriptions() -> None:
    texts = [
        Document("a", "weather", "common words here"),
        Document("b", "x", "common weather words"),
        Document("c", "y", "common words only"),
    ]
    scores = WordIndex(texts).scores(["weather", "common"]).tolist()
    assert scores[0] > scores[1] > scores[2] > 0
    assert WordIndex(texts).scores(["absent"]).tolist() == [0, 0, 0]
    assert WordIndex([]).scores(["absent"]).tolist() == []


def test_a_small_index_beside_a_larger_one_scores_alike() -> None:
    texts = [Document(str(n), f"tool{n}", "weather" if n < 9 else "rare stuff") for n in range(40)]
    whole = WordIndex(texts).scores(["weather"])
    large = WordIndex(texts[1:])
    beside = WordIndex(texts[:1], large).scores(["weather"])
    assert beside[0] == pytest.approx(float(whole[0]), rel=0.1)
    assert (
        MemoryIndex([], [], np.zeros((0, 4), dtype=np.float32))
        .find(["weather"], np.ones(4, dtype=np.float32))
        .scored
        == []
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("repositories", "repository"),
        ("searches", "search"),
        ("listing", "list"),
        ("moved", "move"),
        ("prices", "price"),
        ("running", "run"),
    ],
)
def test_forms_of_a_word_have_one_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("status", "state"), ("red", "re"), ("news", "ne")])
def test_different_words_keep_different_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_only_words_that_tell_something_are_looked_for() -> None:
    assert query_words("Could you please tell me the weather in Paris?") == ["weather", "paris"]
    assert query_words("what is it") == ["what", "is", "it"]
    assert without_filling("Could you tell me the weather, please?") == "weather,"
    assert without_filling("Please, you") == "Please, you"


PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "weather", "un", "##usual", "cafe", ",", "天")


def pieces() -> WordPieces:
    return WordPieces({piece: number for number, piece in enumerate(PIECES)})


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Weather", [2, 4, 3]),
        ("unusual weather", [2, 5, 6, 4, 3]),
        ("Café,天weather", [2, 7, 8, 9, 4, 3]),
        ("unknown", [2, 1, 3]),
        ("x" * 200, [2, 1, 3]),
        ("", [2, 3]),
        ("\x00\ud800", [2, 3]),
    ],
)
def test_texts_become_word_pieces(text: str, numbers: list[int]) -> None:
    assert pieces().numbers(text, 16) == numbers


def test_long_texts_are_cut() -> None:
    assert pieces().numbers("weather " * 100, 5) == [2, 4, 4, 4, 3]


def small_model() -> tuple[dict[str, Any], int]:
    """Random weights of a model of 2 layers, 2 heads and 8 dimensions."""
    chance = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(PIECES), 8),
        "embeddings.position_embeddings.weight": (12, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
    }
    dense = {"attention.self.query": (8, 8), "attention.self.key": (8, 8)}
    dense |= {"attention.self.value": (8, 8), "attention.output.dense": (8, 8)}
    dense |= {"intermediate.dense": (16, 8), "output.dense": (8, 16)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(2):
        for name, shape in dense.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
        norms += [
            f"encoder.layer.{layer}.{one}.LayerNorm" for one in ("attention.output", "output")
        ]
    for norm in norms:
        shapes |= {f"{norm}.weight": (8,), f"{norm}.bias": (8,)}
    return {key: chance.normal(size=size).astype(np.float32) for key, size in shapes.items()}, 2


def write_model(folder: Path) -> None:
    weights, heads = small_model()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blob = b""
    for name, array in weights.items():
        end = len(blob) + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(blob), end]}
        blob += array.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + blob)
    (folder / "vocab.txt").write_text("\n".join(PIECES), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": heads}))


def test_a_text_has_the_same_vector_alone_and_among_others(tmp_path: Path) -> None:
    write_model(tmp_path)
    model = opened(tmp_path)
    texts = ["weather", "unusual weather, cafe weather", "", "cafe " * 40]
    together = model.embed(texts)
    assert together.shape == (4, 8)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    for text, row in zip(texts, together, strict=True):
        assert model.embed([text])[0] == pytest.approx(row, abs=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-4)


def test_attention_heads_matter() -> None:
    weights, _ = small_model()
    one = MiniLm(weights, pieces(), heads=1).embed(["unusual weather"])
    two = MiniLm(weights, pieces(), heads=2).embed(["unusual weather"])
    assert not np.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, (2).to_bytes(8, "little") + b"no"])
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError):
        read_safetensors(path)


def test_the_real_model_knows_paraphrases(tmp_path: Path) -> None:
    model = installed()
    if model is None:
        assert installed_meanings(tmp_path / "v.sqlite") is None
        pytest.skip("no package with the weights is installed")
    rows = model.embed(["Will it rain tomorrow?", "weather forecast", "transfer money"])
    assert float(rows[0] @ rows[1]) > float(rows[0] @ rows[2]) + 0.2


@pytest.mark.anyio
async def test_the_marketplace_finds_by_meaning_where_it_can(
    storage: Storage, tmp_path: Path
) -> None:
    key = LocalKey(b"k" * 32)
    trail = AuditTrail(storage, EventBus(), HeadFile(tmp_path / "head.json", key))
    await trail.start()
    made, _ = finder(tmp_path)
    by_meaning = Marketplace(storage, trail, key, LocalInvoker(), lambda: made)
    by_words = Marketplace(storage, trail, key, LocalInvoker())
    for document in DOCUMENTS:
        data = {
            "id": document.id,
            "name": document.id,
            "description": document.description,
            "provider": {"type": "local", "handler": "x"},
        }
        await by_words.register(parse_manifest(data), actor="tester")
    await by_meaning.prepare_search()
    found = await by_meaning.matches("umbrella", limit=1)
    assert [one.manifest.id for one, _ in found] == ["meteo.forecast"]
    assert await by_words.matches("umbrella") == []
    await by_meaning.remove("meteo.forecast", actor="tester")
    assert "meteo.forecast" not in [one.manifest.id for one, _ in await by_meaning.search("rain")]
