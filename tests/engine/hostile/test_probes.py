"""What each level allows, found out by scripts that try, and said so in the documentation."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ccos.engine.executions import CompilationContext, ExecutionContext
from ccos.engine.policy import SecurityLevel, level_policy
from ccos.engine.service import ScriptEngine
from ccos.errors import (
    ResourceExceededError,
    ScriptError,
    ScriptRaisedError,
    ScriptTimeoutError,
    SecurityViolationError,
)
from opening import opened

PAGE = Path(__file__).parents[3] / "docs" / "security-levels.md"
PROBES = {
    "Read a file": "import crucible.file as f\nawait f.file_read('FOLDER/read')",
    "Write a file": "import crucible.file as f\nawait f.file_write('FOLDER/written', 'x')",
    "Python's own `open`": "open('FOLDER/read').read()",
    "Socket": "import socket",
    "HTTP module": "import crucible.http as h\nh.http_get",
    "HTTP to a loopback address": "import crucible.http as h\nawait h.http_get('http://127.0.0.1:9/')",
    "Subprocess": "import crucible.process as p\nawait p.process_exec('/bin/echo', ['x'], {})",
    "Environment": "import crucible.process as p\nawait p.env_get('GIVEN')",
    "Clock": "import time\ntime.time() > 0",
    "Randomness": "import random\n0 <= random.random() < 1",
    "120 MiB of memory": "'x' * (120 * 1024 * 1024) != ''",
    "Computing without end": "while True:\n    pass",
    "Recursion without end": "def f(n):\n    return f(n + 1)\nf(0)",
    "Waiting without end": "import asyncio\nawait asyncio.sleep(1e9)",
    "Output without end": "while True:\n    print('x' * 10000)",
}
SHORT = {"Computing without end": 0.2, "Waiting without end": 0.2}


async def probe_table(engine: ScriptEngine, folder: Path) -> str:
    """The table of what the scripts observed, in Markdown."""
    (folder / "read").write_text("x")
    rows = ["| Probe | safe | development | production |", "| --- | --- | --- | --- |"]
    for name, source in PROBES.items():
        text = source.replace("FOLDER", str(folder))
        cells = [await observed(engine, name, text, level) for level in SecurityLevel]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


async def observed(engine: ScriptEngine, name: str, source: str, level: SecurityLevel) -> str:
    context = ExecutionContext(timeout=SHORT.get(name, 9.0), environment={"GIVEN": "given"})
    compilation = CompilationContext(policy=level_policy(level))
    if name == "HTTP module":
        source += "\n1"
    try:
        result = await engine.execute_script_source(source, context, compilation)
    except SecurityViolationError as error:
        return _cell(error)
    return _cell(result.error)


def _cell(error: ScriptError | None) -> str:
    match error:
        case None:
            return "allowed"
        case ResourceExceededError():
            return f"limit ({error.details['limit']})"
        case ScriptTimeoutError():
            return "limit (timeout)"
        case ScriptRaisedError() if "RecursionError" in error.message:
            return "limit (depth)"
        case SecurityViolationError():
            return "refused"
        case ScriptRaisedError() if "PermissionError" in error.message:
            return "refused"
    raise error


def test_documentation_has_the_table_that_scripts_observe(tmp_path: Path) -> None:
    async def main() -> str:
        async with opened(tmp_path / "home") as ccos:
            return await probe_table(ccos.script_engine, tmp_path)

    table = asyncio.run(main())
    sys.stdout.write(f"{table}\n")
    assert table in PAGE.read_text()
