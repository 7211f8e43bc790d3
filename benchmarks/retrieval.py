"""How well and how fast capabilities are found, on public sets of queries with known answers.

    python benchmarks/retrieval.py DIR [--half NAME] [--sizes N ...]

DIR holds the folders ``retrieval`` and ``bfcl``. Measured are, beside plain BM25 in the same run,
the search by words alone and, with the extra ``semantic``, by words and meaning:

* StableToolBench: all tools of all queries together; recall at 1 and 5, nDCG at 10.
* LiveMCPBench: a step is found if a tool of its name is among the first five.
* MetaTool: one tool a query.
* BFCL: the functions of all cases together, one of each name.
* "Nothing fits": queries of BFCL whose own functions cannot answer them against those whose own
  can. ``own`` ranks only what a case lists, which is what its label is about; ``pooled`` ranks the
  functions of all cases, among which some do fit queries that are labelled as unanswerable.
* The time of a query among 500, 10,000 and 100,000 capabilities. Beyond the real ones they are
  made of sentences of the real ones, with vectors near to theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ccos.capabilities import Manifest, parse_manifest
from ccos.marketplace import search
from ccos.marketplace.finder import Hit, MeaningFinder, WordFinder, installed_meanings
from ccos.storage import Storage, Transaction

QUERIES_TIMED = 60


@dataclass(frozen=True)
class Query:
    """What is asked, what answers it, and what the case itself offers."""

    text: str
    answers: frozenset[str]
    offered: tuple[str, ...] = ()


@dataclass
class Collected:
    """A set of capabilities and queries; ``group`` says which capabilities count as one."""

    name: str
    manifests: dict[str, Manifest] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)
    unanswerable: list[Query] = field(default_factory=list)
    any_answer: bool = False

    def add(self, key: str, owner: str, name: str, **rest: Any) -> str:
        """Make a capability of a described tool and return its id."""
        parts = [re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_")[:80] for part in (owner, name)]
        base = ".".join(part for part in parts if part) or "tool"
        capability_id = f"{base}.t{len(self.manifests)}"
        data = {
            "id": capability_id,
            "name": name[:500] or "tool",
            "provider": {"type": "local", "handler": "x"},
            **rest,
        }
        self.manifests[key] = parse_manifest(data)
        return key


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def schema(parameters: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An input schema with names and descriptions, which is all that search reads of it."""
    properties = {
        name: {"description": said} if isinstance(said, str) and said else {}
        for name, said in parameters
    }
    return {"type": "object", "properties": properties}


def described(properties: Any) -> list[tuple[str, Any]]:
    found = properties.items() if isinstance(properties, dict) else ()
    return [
        (name, one.get("description") if isinstance(one, dict) else None) for name, one in found
    ]


def stable_tool_bench(folder: Path) -> Collected:
    made = Collected("StableToolBench")
    for path in sorted(folder.glob("*.json")):
        for case in read(path):
            for tool in case["api_list"]:
                key = json.dumps([tool["tool_name"], tool["api_name"]])
                if key not in made.manifests:
                    parameters = tool["required_parameters"] + tool["optional_parameters"]
                    made.add(
                        key,
                        tool["tool_name"],
                        tool["api_name"],
                        description=tool["api_description"] or "",
                        categories=[tool["category_name"]],
                        input_schema=schema((p["name"], p.get("description")) for p in parameters),
                    )
            answers = frozenset(json.dumps(list(one)) for one in case["relevant APIs"])
            made.queries.append(Query(case["query"], answers))
    return made


def live_mcp_bench(folder: Path) -> Collected:
    made = Collected("LiveMCPBench steps", any_answer=True)
    named: dict[str, set[str]] = {}
    for server in read(folder / "tools.json"):
        for title, listing in server["tools"].items():
            for tool in listing["tools"]:
                key = json.dumps([server["name"], tool["name"]])
                properties = (tool.get("inputSchema") or {}).get("properties")
                made.add(
                    key,
                    title,
                    tool["name"],
                    description=tool.get("description") or "",
                    input_schema=schema(described(properties)),
                )
                named.setdefault(tool["name"], set()).add(key)
    for case in read(folder / "annotations.json"):
        said = case["Annotator Metadata"]
        steps, tools = numbered(said["Steps"]), numbered(said["Tools"])
        if len(steps) == len(tools):
            for step, tool in zip(steps, tools, strict=True):
                if tool in named:
                    made.queries.append(Query(step, frozenset(named[tool])))
    return made


def numbered(text: str) -> list[str]:
    lines = (re.sub(r"^\s*\d+[.)]\s*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]


def meta_tool(folder: Path) -> Collected:
    made = Collected("MetaTool")
    for name, description in read(folder / "plugin_des.json").items():
        made.add(name, "", name, description=description)
    made.queries = [Query(text, frozenset([tool])) for text, tool in read(folder / "queries.json")]
    return made


def bfcl(folder: Path) -> Collected:
    made = Collected("BFCL pooled")

    def collected(function: dict[str, Any]) -> str:
        name: str = function["name"]
        if name not in made.manifests:
            made.add(
                name,
                "",
                name,
                description=function["description"],
                input_schema=schema(described(function["parameters"].get("properties"))),
            )
        return name

    def asked(case: dict[str, Any]) -> str:
        return " ".join(
            message["content"]
            for turn in case["question"]
            for message in turn
            if message["role"] == "user"
        )

    answers = {
        case["id"]: frozenset(name for call in case["ground_truth"] for name in call)
        for case in read(folder / "live_multiple_answer.json")
    }
    for case in read(folder / "live_multiple.json"):
        offered = tuple(map(collected, case["function"]))
        made.queries.append(Query(asked(case), answers[case["id"]], offered))
    for case in read(folder / "live_irrelevance.json"):
        offered = tuple(map(collected, case["function"]))
        made.unanswerable.append(Query(asked(case), frozenset(), offered))
    return made


Search = Callable[[str, int, Collection[str] | None], list[Hit]]


class PlainBm25:
    """BM25 over lower-case words, without stems or stop words: what others are compared with."""

    def __init__(self, documents: Sequence[search.Document]) -> None:
        self._ids = [one.id for one in documents]
        counted = [Counter(_words(f"{one.words} {one.description}")) for one in documents]
        lengths = [one.total() for one in counted]
        mean = sum(lengths) / max(len(lengths), 1)
        having = Counter(word for one in counted for word in one)
        self._postings: dict[str, list[tuple[int, float]]] = {}
        for row, one in enumerate(counted):
            for word, often in one.items():
                rarity = math.log1p((len(counted) - having[word] + 0.5) / (having[word] + 0.5))
                damped = often + 1.2 * (0.25 + 0.75 * lengths[row] / mean)
                weight = rarity * often * 2.2 / damped
                self._postings.setdefault(word, []).append((row, weight))

    def __call__(self, query: str, limit: int, among: Collection[str] | None) -> list[Hit]:
        scores: dict[int, float] = {}
        for word in set(_words(query)):
            for row, weight in self._postings.get(word, ()):
                scores[row] = scores.get(row, 0.0) + weight
        hits = [
            Hit(self._ids[row], score, score)
            for row, score in scores.items()
            if among is None or self._ids[row] in among
        ]
        return sorted(hits, key=lambda one: (-one.score, one.id))[:limit]


def _words(text: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[^\W_]+", text)]


class Opened:
    """The searches over a set, as the marketplace makes them."""

    def __init__(self, storage: Storage, documents: Sequence[search.Document]) -> None:
        self.storage = storage
        self.documents = documents

    def fill(self) -> None:
        rows = [
            {"id": one.id, "words": one.words, "description": one.description}
            for one in self.documents
        ]

        def unit(transaction: Transaction) -> None:
            transaction.connection.execute(sa.text("DELETE FROM capability_search"))
            transaction.connection.execute(
                sa.text("INSERT INTO capability_search VALUES (:id, :words, :description)"), rows
            )

        self.storage.write_blocking("fill", unit)

    def words(self, query: str, limit: int, among: Collection[str] | None) -> list[Hit]:
        return self.storage.read_blocking(
            lambda connection: WordFinder().find(connection, query, limit, among)
        )


def retrieval(collected: Collected, queries: Sequence[Query], find: Search) -> str:
    """Recall at 1 and 5 and nDCG at 10, as the mean over the queries."""
    keys = {one.id: key for key, one in collected.manifests.items()}
    first, five, gain = [], [], []
    for query in queries:
        found = [keys[hit.id] in query.answers for hit in find(query.text, 10, None)]
        share = 1 if collected.any_answer else len(query.answers)
        first.append(min(sum(found[:1]), share) / share)
        five.append(min(sum(found[:5]), share) / share)
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(10, len(query.answers))))
        gain.append(sum(hit / math.log2(rank + 2) for rank, hit in enumerate(found)) / ideal)
    means = (statistics.fmean(values) for values in (first, five, gain))
    return "R@1 {:.3f}  R@5 {:.3f}  nDCG@10 {:.3f}".format(*means)


def nothing_fits(
    collected: Collected,
    answerable: Sequence[Query],
    unanswerable: Sequence[Query],
    find: Search,
    *,
    own: bool,
) -> str:
    """How well the confidence of the best hit tells answerable queries from the others."""

    def highest(query: Query) -> float:
        among = {collected.manifests[name].id for name in query.offered} if own else None
        return max((hit.confidence for hit in find(query.text, 10, among)), default=0.0)

    yes, no = [highest(one) for one in answerable], [highest(one) for one in unanswerable]
    right = sum(one >= 0.5 for one in yes) / len(yes), sum(one < 0.5 for one in no) / len(no)
    return (
        f"AUROC {auroc(yes, no):.3f}  accuracy {sum(right) / 2:.3f} "
        f"(fits {right[0]:.3f}, nothing fits {right[1]:.3f})"
    )


def auroc(yes: Sequence[float], no: Sequence[float]) -> float:
    """The chance that one of ``yes`` is higher than one of ``no``; ties count half."""
    wins = sum((a > b) + 0.5 * (a == b) for a in yes for b in no)
    return wins / (len(yes) * len(no))


def half_of(queries: Sequence[Query], half: str) -> list[Query]:
    """A fixed random half of the queries, the other one, or all."""
    if half == "all":
        return list(queries)
    order = list(queries)
    random.Random(20261121).shuffle(order)
    middle = len(order) // 2
    return order[:middle] if half == "tuning" else order[middle:]


def measure(storage: Storage, collected: Collected, half: str, vectors: Path, sample: int) -> None:
    documents = [search.document(one) for one in collected.manifests.values()]
    opened = Opened(storage, documents)
    opened.fill()
    queries = half_of(collected.queries, half)[:sample]
    unanswerable = half_of(collected.unanswerable, half)[:sample]
    searches: dict[str, Search] = {"plain BM25": PlainBm25(documents), "words": opened.words}
    finder = installed_meanings(vectors)
    if finder is not None:
        finder.follow(1, lambda: documents, seconds=math.inf)
        searches["words and meaning"] = finder.find
    print(f"{collected.name}: {len(documents)} capabilities, {len(queries)} queries ({half})")
    for name, find in searches.items():
        print(f"  {name:18} {retrieval(collected, queries, find)}", flush=True)
    if not unanswerable:
        return
    for own in (True, False):
        where = "own" if own else "pooled"
        print(f"nothing fits, {where}: {len(queries)} answerable, {len(unanswerable)} not ({half})")
        for name, find in searches.items():
            shown = nothing_fits(collected, queries, unanswerable, find, own=own)
            if name == "plain BM25":
                shown = shown.partition("  accuracy")[0]
            print(f"  {name:18} {shown}", flush=True)


def many(documents: Sequence[search.Document], count: int) -> list[search.Document]:
    """So many documents: the real ones, then ones made of their sentences."""
    chance = random.Random(7)
    sentences = [re.split(r"(?<=[.;])\s+", one.description) for one in documents]
    made = list(documents[:count])
    while len(made) < count:
        name, one, two = (
            chance.choice(documents),
            chance.choice(sentences),
            chance.choice(sentences),
        )
        text = " ".join((*one[:3], *two[:2]))
        made.append(search.Document(f"{name.id}.n{len(made)}", name.words, text))
    return made


def times(
    storage: Storage, every: Sequence[Collected], sizes: Sequence[int], vectors: Path
) -> None:
    documents = [
        search.document(one) for collected in every for one in collected.manifests.values()
    ]
    unique = list({one.id: one for one in documents}.values())
    chance = random.Random(11)
    queries = [one.text for collected in every for one in collected.queries]
    chance.shuffle(queries)
    queries = queries[:QUERIES_TIMED]
    for size in sizes:
        some = many(unique, size)
        opened = Opened(storage, some)
        opened.fill()
        print(f"{size} capabilities, {len(queries)} queries, milliseconds")
        print(f"  words              {timed(opened.words, queries)}", flush=True)
        finder = installed_meanings(vectors)
        if finder is None:
            continue
        started = time.perf_counter()
        with_vectors(finder, unique, some)
        seconds = time.perf_counter() - started
        print(
            f"  words and meaning  {timed(finder.find, queries)}  (index made in {seconds:.1f} s)",
            flush=True,
        )


def with_vectors(
    finder: MeaningFinder, real: Sequence[search.Document], some: Sequence[search.Document]
) -> None:
    """Fill the finder; made-up documents get vectors near to those of real ones."""
    import numpy as np

    from ccos.marketplace.vector_cache import VectorCache

    class Neighbours(VectorCache):
        """A cache that has a vector for every text."""

        def __init__(self) -> None:
            self._real = np.array(list(finder.cache.read([one.text for one in real]).values()))
            self._chance = np.random.default_rng(5)

        def read(self, texts: Sequence[str]) -> dict[str, Any]:
            rows = self._real[self._chance.integers(len(self._real), size=len(texts))]
            rows = rows + self._chance.normal(0, 0.02, rows.shape)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            return dict(zip(texts, rows.astype(np.float32), strict=True))

        def write(self, vectors: Mapping[str, Any]) -> None:
            """Nothing is missing, so nothing is written."""

    finder.cache = Neighbours()
    finder.follow(1, lambda: some, seconds=math.inf)


def timed(find: Search, queries: Sequence[str]) -> str:
    """Milliseconds by the clock, and of processors, which other work on the machine delays less."""
    for query in queries[:5]:
        find(query, 10, None)
    taken, used = [], []
    for query in queries:
        started, worked = time.perf_counter(), time.process_time()
        find(query, 10, None)
        used.append((time.process_time() - worked) * 1e3)
        taken.append((time.perf_counter() - started) * 1e3)
    taken.sort()
    return (
        f"median {statistics.median(taken):.1f}  90% {taken[int(len(taken) * 0.9)]:.1f}  "
        f"processor median {statistics.median(used):.1f}"
    )


def main() -> None:
    """Measure what the arguments name and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--half", choices=("tuning", "reported", "all"), default="all")
    parser.add_argument("--only", nargs="*", default=["stable", "mcp", "meta", "bfcl", "time"])
    parser.add_argument("--sizes", nargs="*", type=int, default=[500, 10_000, 100_000])
    parser.add_argument("--sample", type=int, default=1_000_000, help="most queries of each set")
    parser.add_argument("--vectors", type=Path, help="keep vectors here for the next run")
    arguments = parser.parse_args()
    retrieval_folder = arguments.directory / "retrieval"
    readers: dict[str, Callable[[], Collected]] = {
        "stable": lambda: stable_tool_bench(retrieval_folder / "stabletoolbench"),
        "mcp": lambda: live_mcp_bench(retrieval_folder / "livemcpbench"),
        "meta": lambda: meta_tool(retrieval_folder / "metatool"),
        "bfcl": lambda: bfcl(arguments.directory / "bfcl"),
    }
    with tempfile.TemporaryDirectory() as folder:
        vectors = arguments.vectors or Path(folder) / "vectors.sqlite"
        storage = Storage(f"sqlite:///{folder}/ccos.sqlite")
        asyncio.run(storage.__aenter__())
        try:
            for name in arguments.only:
                if name != "time":
                    measure(storage, readers[name](), arguments.half, vectors, arguments.sample)
            if "time" in arguments.only:
                every = [readers[name]() for name in ("stable", "mcp", "bfcl")]
                times(storage, every, arguments.sizes, vectors)
        finally:
            storage.close()


if __name__ == "__main__":
    main()
