"""The command line in this process and as a program, with a home of its own."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ccos.interfaces.cli import main
from ccos.interfaces.cli.resolve_deps import main as resolve_deps_main
from interfaces.service import Answers

RESOLVING = {
    "CCOS_MISSING_CAPABILITY_ENABLED": "true",
    "CCOS_AUTO_RESOLUTION": "true",
    "CCOS_HUMAN_APPROVAL_REQUIRED": "false",
    "CCOS_AUTO_RESUME_ENABLED": "true",
    "CCOS_MCP_REGISTRY_ENABLED": "false",
}


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and an environment that says nothing else about CCOS."""
    for name in list(os.environ):
        if name.startswith("CCOS_"):
            monkeypatch.delenv(name)
    path = tmp_path / "home"
    monkeypatch.setenv("CCOS_HOME", str(path))
    return path


@pytest.fixture
def resolving(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing capabilities are looked for, without asking about low and medium risk."""
    for name, value in RESOLVING.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def ccos(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``ccos`` in this process."""

    def run(*tokens: object) -> Result:
        code = main([str(token) for token in tokens])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def resolve_deps(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``resolve-deps`` in this process."""

    def run(*tokens: object) -> Result:
        code = resolve_deps_main([str(token) for token in tokens])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def program(home: Path) -> Run:
    """Runs ``python -m ccos`` as a program of its own."""

    def run(*tokens: object, text: str | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "ccos", *map(str, tokens)],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Any]]]:
    """An HTTP service that CCOS may contact: its address and what it answers by path."""
    answers: dict[str, Any] = {}
    handler = type("Handler", (Answers,), {"answers": answers})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("CCOS_EGRESS_PRIVATE_HOSTS", "127.0.0.1")
    monkeypatch.setenv("CCOS_REQUIRE_HTTPS", "false")
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
