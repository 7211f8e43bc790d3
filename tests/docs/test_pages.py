"""What the documentation says is true: its programs run, its commands exist, its links lead on."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cyclopts import CycloptsError

from ccos.interfaces.cli.program import program
from docs.pages import ROOT, Example, commands, examples, links, pages

EXAMPLES = list(examples())
PAGES = pages()


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.place)
def test_an_example_runs_and_prints_what_the_page_says(example: Example, tmp_path: Path) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CCOS_")}
    done = subprocess.run(
        [sys.executable, "-c", example.source],
        env=clean | {"CCOS_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    if example.prints is not None:
        assert done.stdout == example.prints


def test_there_are_examples_on_the_front_page_and_in_the_how_to_pages() -> None:
    places = {example.place.partition(":")[0] for example in EXAMPLES}
    assert {"README.md", "docs/how-to/register-a-function.md"} <= places


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_exists(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        app = program("ccos", words)
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_a_command_that_does_not_exist_would_be_found() -> None:
    (words,) = commands("```sh\nccos approvals approve --capability x\n```")
    with pytest.raises(CycloptsError):
        program("ccos", words).parse_args(words, exit_on_error=False, print_error=False)


def test_the_pages_have_commands() -> None:
    assert sum(len(list(commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 30


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    assert [target for target in links(page) if not target.exists()] == []


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current() -> None:
    folder = ROOT / "docs" / "reference"
    committed = {page.name: page.read_text(encoding="utf-8") for page in folder.glob("*.md")}
    stale = [key for key, text in generator().pages().items() if committed.get(key) != text]
    assert stale == [], "run `python docs/generate.py`"
    assert committed.keys() == generator().pages().keys()


def test_a_stale_page_is_noticed_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = generator()
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0
    (tmp_path / "events.md").write_text("old")
    assert module.main(["--check"]) == 1
    assert "events.md" in capsys.readouterr().out
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0
