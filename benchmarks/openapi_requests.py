"""Generated calls of all operations in a folder, checked by openapi-core.

Run with ``uv run --with openapi-core python benchmarks/openapi_requests.py DIR [--faults FILE]``.
For each operation that is imported, arguments are made from its input schema and the request is
built, not sent; openapi-core then says whether the document allows it.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ccos.capabilities import OpenApiProvider
from ccos.errors import CcosError
from ccos.importers.openapi import import_openapi, read_document
from importers.request_checks import DocumentCheck, built
from importers.samples import sample


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--faults", type=Path)
    options = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()
    lines = []
    started = time.monotonic()
    for file in sorted(options.folder.rglob("openapi.*"))[options.start :: options.every]:
        try:
            document = read_document(file.read_bytes(), location=str(file))
            api = import_openapi(document, location=str(file), allow_unknown_server=True)
        except CcosError:
            counts["unreadable"] += 1
            continue
        check = DocumentCheck(document)
        where = {one.id: one for one in api.capabilities}
        for manifest in where.values():
            provider = manifest.provider
            assert isinstance(provider, OpenApiProvider)
            path = api.places[manifest.id].split("/")[2].replace("~1", "/").replace("~0", "~")
            counts["operations"] += 1
            request = arguments = None
            reason = ""
            for attempt in range(8):
                try:
                    seed = zlib.crc32(f"{manifest.id}/{attempt}".encode())
                    arguments = sample(manifest.input_schema, seed=seed)
                    request = built(manifest, arguments)
                    break
                except (CcosError, ValueError) as error:
                    reason = f"{type(error).__name__}: {error}"
            if request is None or arguments is None:
                counts["not built"] += 1
                kinds["not built: " + re.sub(r"'[^']*'", "'X'", reason)[:150]] += 1
                lines.append((str(file), manifest.id, "not built", reason, arguments))
                continue
            try:
                faults = check.faults(manifest, request, path)
            except Exception as error:
                counts["openapi-core failed"] += 1
                kinds[f"openapi-core failed: {type(error).__name__} {str(error)[:60]}"] += 1
                lines.append(
                    (str(file), manifest.id, "openapi-core failed", repr(error)[:300], arguments)
                )
                continue
            if faults:
                counts["refused"] += 1
                kinds[re.sub(r"'[^']*'|[0-9]+", "X", faults[0])[:110]] += 1
                lines.append((str(file), manifest.id, "refused", faults[0], arguments))
            else:
                counts["valid"] += 1
    print(dict(counts), f"{time.monotonic() - started:.0f} s")
    for kind, number in kinds.most_common(40):
        print(number, kind)
    if options.faults:
        options.faults.write_text("\n".join(json.dumps(line) for line in lines))


if __name__ == "__main__":
    main()
