"""``ccos rtfs``: programs in RTFS on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interfaces.conftest import Run

PROGRAM = "(defn double [x] (* 2 x))\n(double 21)\n"
CALLING = '(let [id :geo.find] (call :weather.now {:city "Oslo"}) (call id {}))\n'


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.rtfs"
    file.write_text(PROGRAM)
    return file


def test_a_program_without_fault_is_valid(ccos: Run, program: Path) -> None:
    result = ccos("rtfs", "check", program, "--json")
    assert (result.code, result.json) == (0, {"valid": True, "diagnostics": []})
    assert "0 errors, 0 warnings" in ccos("rtfs", "check", program).out


def test_every_fault_is_shown_where_it_is(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "faulty.rtfs"
    file.write_text("1\n(if)\n(if 1)\n")
    result = ccos("rtfs", "check", file, "--json")
    assert result.code == 1
    assert not result.json["valid"]
    assert [one["line"] for one in result.json["diagnostics"]] == [2, 3]
    people = ccos("rtfs", "check", file)
    assert people.code == 1
    assert "(if 1)" in people.out
    assert "2 errors" in people.out


def test_a_text_that_is_no_program_is_refused_by_all_but_check(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "open.rtfs"
    file.write_text("(let [x 1] (+ x 2)")
    for command in ("compile", "deps"):
        result = ccos("rtfs", command, file)
        assert result.code == 1
        assert "CCOS-RTFS-SYNTAX" in result.err
        assert result.out == ""


def test_layout_is_printed_or_written(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "wild.rtfs"
    file.write_text("(let   [x 1]\n\n(+   x\n 2))")
    laid_out = ccos("rtfs", "format", file).out
    assert "(+ x 2)" in laid_out
    assert file.read_text() != laid_out
    assert ccos("rtfs", "format", file, "--write", "--json").json["written"]
    assert file.read_text() == laid_out
    again = ccos("rtfs", "format", file, "--write", "--json").json
    assert (again["changed"], again["written"]) == (False, False)
    assert [one.name for one in tmp_path.glob("*wild*")] == ["wild.rtfs"]


def test_standard_input_cannot_be_written(ccos: Run) -> None:
    assert ccos("rtfs", "format", "-", "--write").code == 2


def test_the_python_of_a_program_is_shown(ccos: Run, program: Path) -> None:
    plain = ccos("rtfs", "compile", program, "--emit", "python")
    whole = ccos("rtfs", "compile", program, "--runtime")
    assert plain.code == whole.code == 0
    compile(plain.out, "program", "exec")
    assert plain.out.strip() in whole.out
    assert ccos("rtfs", "compile", program, "--json").json["functions"] == [
        {"name": "double", "parameters": ["x"]}
    ]


def test_calls_are_listed_and_computed_ones_said_to_be(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "calling.rtfs"
    file.write_text(CALLING)
    found = ccos("rtfs", "deps", file, "--json").json["dependencies"]
    assert [one["capability"] for one in found] == ["weather.now", None]
    assert all(one["line"] == 1 for one in found)
    assert "(computed)" in ccos("rtfs", "deps", file).out


def test_cases_are_run_and_differences_shown(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    good = [{"code": "(+ 1 2)", "expected": 3}, {"code": "(/ 1 0)", "error": True}]
    file.write_text(json.dumps(good))
    result = ccos("rtfs", "cases", file)
    assert (result.code, result.out.strip()) == (0, "passed 2 of 2")
    file.write_text(json.dumps([*good, {"code": "(+ 1 2)", "expected": 4}]))
    result = ccos("rtfs", "cases", file, "--json")
    assert result.code == 1
    assert (result.json["passed"], result.json["total"]) == (2, 3)
    assert [one["index"] for one in result.json["differences"]] == [2]


def test_a_file_without_cases_is_an_error(ccos: Run, tmp_path: Path) -> None:
    file = tmp_path / "none.json"
    file.write_text("{}")
    result = ccos("rtfs", "cases", file)
    assert result.code != 0
    assert "no list of cases" in result.err
