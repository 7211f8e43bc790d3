"""``ccos rtfs run`` and ``ccos rtfs repl``: programs and conversations, as people have them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from ccos.interfaces.cli.rtfs_notebook import Notebook
from interfaces.conftest import Result, Run

MISSING = {"CCOS_MISSING_CAPABILITY_ENABLED": "true"}


@pytest.fixture
def detecting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MISSING.items():
        monkeypatch.setenv(name, value)


class Talk:
    """Conversations with the REPL: what was typed, and what came of it."""

    def __init__(self, ccos: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ccos = ccos
        self._monkeypatch = monkeypatch

    def __call__(self, *lines: str) -> Result:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))
        return self._ccos("rtfs", "repl")


@pytest.fixture
def talk(ccos: Run, monkeypatch: pytest.MonkeyPatch) -> Talk:
    return Talk(ccos, monkeypatch)


def test_a_program_is_run_as_a_plan(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "program.txt"
    file.write_text("(println @who)\n(map inc [1 2])")
    result = ccos("rtfs", "run", file, "-a", "who=me", "--json")
    assert result.code == 0
    assert (result.json["value"], result.json["printed"]) == ([2, 3], "me\n")
    file.write_text("(do\n  (nth [1] 5))")
    failed = ccos("rtfs", "run", file)
    assert failed.code == 1
    assert "line 2, column 3: IndexOutOfBounds" in failed.err
    assert ccos("run", file).code == 1  # another ending means another language


def test_a_file_in_rtfs_is_a_script_too(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "script.rtfs"
    file.write_text("(call :crucible.basic/math-abs -5)")
    assert ccos("script", "run", file, "--json").json["value"] == 5
    assert ccos("script", "check", file).code == 0
    file.write_text('(call :crucible.process/process_run "ls")\n')
    refused = ccos("script", "check", file, "--level", "safe")
    assert refused.code == 1
    file.write_text("(let [x] x)")
    assert ccos("script", "check", file).code == 1


def test_entries_are_answered_and_definitions_stay(talk: Talk) -> None:
    result = talk(
        "(defn twice",
        "  [x] (* x 2))",
        "(def v {:a [1 :k]})",
        "(twice (first (:a v)))",
        ":kw",
        '"text"',
        "; nothing but a comment",
        ":defs",
        "(def twice (fn [x] (* x 20)))",
        "(twice 2)",
    )
    assert result.code == 0
    assert result.out.splitlines() == [
        "twice",
        "{:a [1 :k]}",
        "2",
        ":kw",
        '"text"',
        "(defn twice",
        "  [x] (* x 2))",
        "(def v '{:a [1 :k]})",
        "#<function>",
        "40",
    ]


def test_what_is_wrong_is_shown_in_the_entry_and_the_conversation_goes_on(talk: Talk) -> None:
    result = talk("(def x 1)", "(+ x\n  (nth [1] 5))", "(let [y] y)", "]", "(unknown 1)", "(+ x 1)")
    out = result.out
    assert "IndexOutOfBounds" in out
    assert "line 2: (nth [1] 5))" in out
    assert "entry:1:7: error: this name has no value" in out
    assert "entry:1:1: error: `]` closes nothing" in out
    assert "entry:1:2: warning: `unknown`" in out
    assert out.splitlines()[-1] == "2"


def test_it_explains_the_language_and_itself(talk: Talk) -> None:
    out = talk(":doc map", ":doc nosuch", ":help", ":python (inc 1)").out
    assert "What a function gives for each item." in out
    assert "nosuch has no documentation." in out
    assert ":inspect ID" in out
    assert "result = 2" in out


def test_what_comes_from_elsewhere_does_not_reach_the_terminal_as_it_is(talk: Talk) -> None:
    out = talk('"\\u001b[31m"', '(println "\\u001b]0;x\\u0007")', '(throw "\\u001b[2J")').out
    assert "\x1b" not in out
    assert "\\u001b[31m" in out


def test_a_parked_execution_is_inspected(
    talk: Talk, detecting: None, tmp_path: Path, ccos: Run
) -> None:
    out = talk('(do (println "before")\n(step "outer"\n  (call :late.one 7)))', ":executions").out
    execution_id = next(word for word in out.split() if word.startswith("ex-"))
    assert f"{execution_id} waits for late.one." in out
    shown = talk(f":inspect {execution_id}", f":resume {execution_id}", ":inspect ex-none")
    assert "steps      outer" in shown.out
    assert "printed    before" in shown.out
    assert '{"args": [7]}' in shown.out
    assert "It waits for late.one, line" in shown.out
    assert "(call :late.one 7)" in shown.out
    assert "It waits for:" in shown.out
    assert "CCOS-EXECUTION-UNKNOWN" in shown.err


def test_a_value_that_was_called_for_is_not_called_for_again(talk: Talk, ccos: Run) -> None:
    out = talk("(def now (current-time-millis))", "(= now now)", ":defs").out
    assert "(def now '" in out
    assert "true" in out
    # What holds a function cannot be kept as data, and is not called for twice in silence.
    out = talk("(def f (do (current-time-millis) (fn [x] x)))", ":defs").out
    assert "Not kept: f." in out
    assert "Nothing is defined." in out
    assert "Not kept" not in talk("(def f (fn [x] x))", "(f 1)").out


def test_a_file_is_loaded(talk: Talk, tmp_path: Path) -> None:
    file = tmp_path / "defs.rtfs"
    file.write_text("(defn one [] 1)\n(defmacro two [] 2)\n(module m (defn three [] 3))\n")
    result = talk(f":load {file}", "[(one) (two) (m/three)]", ":load /nowhere/x.rtfs")
    assert result.out.splitlines()[-1] == "[1 2 3]"
    assert "cannot be read" in result.err


def test_a_notebook_maps_places_back() -> None:
    notebook = Notebook()
    first = notebook.entry("(def a 1)")
    assert first is not None
    notebook.keep(first)
    assert notebook.keep_value("a", "[1 :x]")
    assert not notebook.keep_value("a", "#<function>")
    entry = notebook.entry("(def b 2)\n(+ a b)")
    assert entry is not None
    assert entry.values == ("b",)
    for word in ("(def b", "(+ a"):
        assert entry.offset(entry.program.index(word)) == entry.text.index(word)
    assert entry.offset(0) is None
