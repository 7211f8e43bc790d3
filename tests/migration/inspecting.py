"""An inspector for tests: one Rune worker of their own."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccos.engine.modules import host_modules
from ccos.migration.inspection import CONSTANTS

WORKER = Path(__file__).parents[2] / "native/rune-worker/target/release/ccos-rune-worker"


class WorkerInspector:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        for _ in range(3):
            self._process = subprocess.Popen(
                [WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._send({"type": "hello", "protocol": 1})
            # Some kernels kill a program now and then before it begins.
            if self._process.stdout and self._process.stdout.peek(4):  # type: ignore[attr-defined]
                break
        assert self._receive()["type"] == "ready"
        self.inspected: list[str] = []

    async def inspect(self, source: str, name: str) -> Mapping[str, Any]:
        self.inspected.append(name)
        message = {
            "type": "inspect",
            "id": 1,
            "name": name,
            "source": source,
            "functions": list(_functions()),
            "forbidden": [],
            "constants": list(CONSTANTS),
        }
        return await asyncio.to_thread(self._ask, message)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._send(message)
            return self._receive()

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        assert self._process.stdin
        self._process.stdin.write(struct.pack(">I", len(data)) + data)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout
        (length,) = struct.unpack(">I", self._process.stdout.read(4))
        data: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return data


def _functions() -> Any:
    for function in host_modules():
        module = function.module.replace(".", "::")
        yield {
            "module": module,
            "name": function.name,
            "parameters": [
                {"name": one.name, "required": one.required} for one in function.parameters
            ],
            "asynchronous": function.effect.value != "pure",
            "returns": "value",
            "aliases": [f"crucible::{function.name}"],
        }
