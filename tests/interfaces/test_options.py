from __future__ import annotations

from pathlib import Path

import pytest

from ccos.interfaces.cli.exits import UsageError
from ccos.interfaces.cli.options import (
    MAXIMUM_INPUT_BYTES,
    options_last,
    read_arguments,
    read_input,
    read_json,
)


@pytest.mark.parametrize(
    ("tokens", "moved"),
    [
        (["--json", "queue"], ["queue", "--json"]),
        (["-c", "f", "run", "x"], ["run", "x", "--config", "f"]),
        (["--home=/h", "-v", "init"], ["init", "--home", "/h", "--verbose"]),
        (["--json", "run", "--", "-p"], ["run", "--json", "--", "-p"]),
        (["run", "--json"], ["run", "--json"]),
        (["--help"], ["--help"]),
        (["--config"], ["--config"]),
    ],
)
def test_common_options_may_stand_before_the_command(tokens: list[str], moved: list[str]) -> None:
    assert options_last(tokens) == moved


def test_values_are_json_if_they_read_as_json_else_text() -> None:
    pairs = ["a=1", "b=true", 'c={"x": [2]}', "d=plain text", "e=", "f=1=2", "g=NaN", 'h="1"']
    assert read_arguments(pairs, None) == {
        "a": 1,
        "b": True,
        "c": {"x": [2]},
        "d": "plain text",
        "e": "",
        "f": "1=2",
        "g": "NaN",
        "h": "1",
    }


def test_single_arguments_win_over_the_document(tmp_path: Path) -> None:
    file = tmp_path / "arguments.json"
    file.write_text('{"a": 1, "b": 2}')
    assert read_arguments(["b=3"], f"@{file}") == {"a": 1, "b": 3}
    assert read_arguments([], '{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("pairs", "document"),
    [
        (["novalue"], None),
        (["=1"], None),
        (["a=1", "a=2"], None),
        ([], "[1]"),
        ([], "{"),
        ([], "@/no/such/file"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused(pairs: list[str], document: str | None) -> None:
    with pytest.raises(UsageError):
        read_arguments(pairs, document)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[" * 65 + "]" * 65, "[" * 10**5, ""])
def test_only_json_with_one_meaning_is_read(text: str) -> None:
    with pytest.raises(UsageError):
        read_json(text, "it")


def test_json_of_the_greatest_depth_is_read() -> None:
    assert read_json("[" * 64 + "1" + "]" * 64, "it")


def test_input_is_bounded_and_utf8(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"\xef\xbb\xbfab")
    assert read_input(str(file)) == "ab"
    for not_a_file in ("--jsn", "/no/such/file", str(tmp_path)):
        with pytest.raises(UsageError):
            read_input(not_a_file)
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError):
        read_input(str(file))
    with file.open("wb") as sparse:
        sparse.truncate(MAXIMUM_INPUT_BYTES + 1)
    with pytest.raises(UsageError):
        read_input(str(file))
