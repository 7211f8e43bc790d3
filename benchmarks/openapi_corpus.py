"""How many real API descriptions become capabilities, beside fastmcp's ``from_openapi``.

Run with ``python benchmarks/openapi_corpus.py DIR``: every ``.json``, ``.yaml`` and ``.yml`` file
in the folder is read and imported by both, one after the other, in this process. An operation
counts for fastmcp if the server it makes offers a tool for it. Peak memory is that of one process
for each importer, as the operating system reports it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import resource
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ccos.errors import CcosError, ImportDocumentError
from ccos.importers.openapi import import_openapi, read_document

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"})


@dataclass
class Result:
    """What one importer made of a folder."""

    documents: int = 0
    usable_documents: int = 0
    operations: int = 0
    imported: int = 0
    seconds: float = 0.0
    """Processor time, which other work on the machine does not change."""
    worst: tuple[float, str] = (0.0, "")
    peak_megabytes: int = 0
    lost: dict[str, int] = field(default_factory=dict)

    def add(self, file: Path, operations: int, imported: int, seconds: float, fault: str) -> None:
        """Count one document."""
        self.documents += 1
        self.usable_documents += not fault
        self.operations += operations
        self.imported += imported
        self.seconds += seconds
        self.worst = max(self.worst, (seconds, str(file)))
        if fault:
            self.lost[fault[:100]] = self.lost.get(fault[:100], 0) + 1

    def show(self, name: str) -> None:
        """Print one line a figure."""
        share = 100 * self.imported / max(1, self.operations)
        whole = 100 * self.usable_documents / max(1, self.documents)
        print(f"{name}")
        print(f"  documents   {self.usable_documents} of {self.documents} ({whole:.1f} %)")
        print(f"  operations  {self.imported} of {self.operations} ({share:.2f} %)")
        print(
            f"  seconds     {self.seconds:.1f} of processor time, "
            f"worst {self.worst[0]:.2f} ({self.worst[1]})"
        )
        print(f"  peak memory {self.peak_megabytes} MB")
        for reason, number in sorted(self.lost.items(), key=lambda item: -item[1])[:10]:
            print(f"    {number} x {reason}")


def files_of(folder: Path) -> list[Path]:
    """The descriptions in a folder and the folders in it."""
    found = [file for file in folder.rglob("*") if file.suffix in (".json", ".yaml", ".yml")]
    return sorted(file for file in found if file.is_file())


def with_ccos(files: list[Path]) -> Result:
    """Import with CCOS; an operation without a known server counts, and is told by its host."""
    result = Result()
    for file in files:
        started = time.process_time()
        operations = imported = 0
        fault = ""
        try:
            document = read_document(file.read_bytes(), location=str(file))
            api = import_openapi(document, location=str(file), allow_unknown_server=True)
            operations, imported = api.operations, len(api.capabilities)
            for one in api.quarantined:
                result.lost[one.reason[:100]] = result.lost.get(one.reason[:100], 0) + 1
        except ImportDocumentError as error:
            fault = error.message.replace(str(file), "it")
        except CcosError as error:
            fault = f"{error.code}: {error.message}"
        result.add(file, operations, imported, time.process_time() - started, fault)
    return result


def with_fastmcp(files: list[Path]) -> Result:
    """Import with fastmcp and list the tools."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    import httpx2
    import yaml
    from fastmcp import FastMCP

    client = httpx2.AsyncClient(base_url="https://api.example")
    result = Result()

    async def tools(document: Any) -> int:
        server = FastMCP.from_openapi(openapi_spec=document, client=client)
        return len(await server.list_tools())

    for file in files:
        started = time.process_time()
        operations = imported = 0
        fault = ""
        try:
            text = file.read_text()
            document = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
            operations = count(document)
            imported = asyncio.run(tools(document))
        except Exception as error:  # whatever it raises, the document is lost
            fault = f"{type(error).__name__}: {error}"
        result.add(file, operations, imported, time.process_time() - started, fault)
    return result


def count(document: Any) -> int:
    """The operations of a document."""
    paths = document.get("paths") if isinstance(document, dict) else None
    items = paths.values() if isinstance(paths, dict) else ()
    return sum(
        isinstance(value, dict) and method.lower() in METHODS
        for item in items
        if isinstance(item, dict)
        for method, value in item.items()
    )


def measured(name: str, files: list[Path], results: Any) -> None:
    """Run one importer in a process of its own and send back what it did."""
    result = with_ccos(files) if name == "ccos" else with_fastmcp(files)
    result.peak_megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    results.put(result)
    results.close()
    results.join_thread()


def main() -> None:
    """Measure both and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--alone", action="store_true", help="leave fastmcp out")
    options = parser.parse_args()
    files = files_of(options.folder)
    context = multiprocessing.get_context("spawn")
    found: dict[str, Result] = {}
    for name in ("ccos",) if options.alone else ("ccos", "fastmcp"):
        results: Any = context.Queue()
        process = context.Process(target=measured, args=(name, files, results))
        process.start()
        found[name] = results.get()
        process.join()
        found[name].show(name)
    if len(found) == 2:
        ratio = found["ccos"].seconds / max(0.001, found["fastmcp"].seconds)
        print(f"ccos takes {100 * ratio:.0f} % of the time of fastmcp")


if __name__ == "__main__":
    main()
