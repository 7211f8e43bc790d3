"""Where the worker is looked for, and what is said when there is none."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from ccos.engine.rune import find_worker
from ccos.errors import ConfigurationError

NAME = "ccos-rune-worker"


def program(folder: Path, name: str = NAME) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CCOS_RUNE_WORKER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))


def test_without_a_worker_the_error_says_how_to_install_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_worker()
    assert NAME in caught.value.message
    assert "pip install ccos-rune" in caught.value.next_step


def test_the_variable_comes_before_the_scripts_and_those_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = program(tmp_path / "path")
    assert find_worker() == on_path
    script = program(tmp_path / "scripts")
    assert find_worker() == script
    named = program(tmp_path / "named", "other")
    monkeypatch.setenv("CCOS_RUNE_WORKER", str(named))
    assert find_worker() == named


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_a_variable_that_names_no_program_is_an_error_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    program(tmp_path / "path")
    named = tmp_path / kind
    if kind == "folder":
        named.mkdir()
    if kind == "text":
        named.write_text("hello")
    monkeypatch.setenv("CCOS_RUNE_WORKER", str(named))
    with pytest.raises(ConfigurationError, match="not an executable"):
        find_worker()
