"""Tools in Python and RTFS: what they say of themselves, and that they migrate like all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccos.migration import Discoverer, DiscoveryConfig, FileReport, Verdict
from ccos.migration.python_form import PythonReader
from ccos.migration.rtfs_form import RtfsReader
from migration.managing import managed
from migration.samples import written
from opening import value

pytestmark = pytest.mark.anyio


class Nobody:
    """There is nothing in Rune here."""

    async def inspect(self, source: str, name: str) -> Any:
        raise AssertionError(name)


async def report(path: Path) -> FileReport:
    discoverer = Discoverer(DiscoveryConfig(), Nobody(), readers=(PythonReader(), RtfsReader()))
    (found,) = (await discoverer.discover(path)).files
    return found


SEARCH = '''
"""Tools about texts."""

from typing import Any, Literal, Optional

__version__ = "2.1.0"
__author__ = "Ada"
TAGS = ["text"]
PERMISSIONS = ["read"]


async def search(
    text: str,
    words: list[str],
    limit: int = 10,
    *,
    how: Literal["all", "any"] = "all",
    weights: dict[str, float] | None = None,
    other: Optional[Any] = None,
    odd: SomeType = None,
) -> list[dict[str, int]]:
    """Finds words in a text.

    Longer than one paragraph.

    Args:
        text: Where to look,
            over two lines.
        words (list): What to look for.

    Returns:
        not: an argument
    """
    return [{word: text.count(word)} for word in words[:limit]]


def _private():
    """Nobody sees this."""


def helper(x):
    return x
'''


async def test_hints_and_docstring_become_the_contract(tmp_path: Path) -> None:
    found = await report(written(tmp_path, "search.py", SEARCH))
    assert (found.verdict, len(found.tools)) == (Verdict.TOOL, 1)
    tool = found.tools[0]
    definition = tool.definition
    assert (tool.language, tool.name, definition.entry.function) == ("python", "search", "search")
    assert definition.description == "Finds words in a text."
    assert (definition.version, definition.author, definition.tags, definition.permissions) == (
        "2.1.0",
        "Ada",
        ("text",),
        ("read",),
    )
    assert definition.input_schema == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "Where to look, over two lines."},
            "words": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What to look for.",
            },
            "limit": {"type": "integer", "default": 10},
            "how": {"enum": ["all", "any"], "default": "all"},
            "weights": {
                "anyOf": [
                    {"type": "object", "additionalProperties": {"type": "number"}},
                    {"type": "null"},
                ],
                "default": None,
            },
            "other": {"default": None},
            "odd": {"default": None},
        },
        "required": ["text", "words"],
        "additionalProperties": False,
    }
    assert definition.output_schema == {
        "type": "array",
        "items": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    assert found.warnings == (
        "line 20: odd has a hint that is not understood; anything is accepted.",
    )


@pytest.mark.parametrize(
    ("source", "verdict", "says"),
    [
        ("def f(", Verdict.INVALID, "never closed"),
        ("def f(*all):\n    '''Doc.'''", Verdict.INVALID, "any number of arguments as all"),
        ("def f(**all):\n    '''Doc.'''", Verdict.INVALID, "any number of arguments as all"),
        ("def f(x, /):\n    '''Doc.'''", Verdict.INVALID, "cannot be given by name"),
        ("__all__ = ['f']\ndef f(x):\n    pass", Verdict.INVALID, "has no docstring"),
        ("def f(x):\n    pass", Verdict.LIBRARY, "no docstring"),
        ("x = 1", Verdict.LIBRARY, "no tools"),
        ("class A:\n    def f(self):\n        '''Doc.'''", Verdict.LIBRARY, "no tools"),
    ],
)
async def test_what_is_no_tool_in_python_is_told_why(
    tmp_path: Path, source: str, verdict: Verdict, says: str
) -> None:
    found = await report(written(tmp_path, "f.py", source))
    assert found.verdict is verdict
    assert says in found.reason


async def test_nothing_of_a_text_runs_to_read_it(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    source = f"open({str(canary)!r}, 'w')\n\ndef f(x=open({str(canary)!r}, 'w')):\n    '''Doc.'''\n"
    found = await report(written(tmp_path, "f.py", source))
    assert found.verdict is Verdict.TOOL
    assert not canary.exists()


TOTALS = """
; prices
(defn total "Adds up prices." [prices : [:vector :float] discount :float] :float
  (* (reduce + 0.0 prices) (- 1.0 discount)))
(defn helper [x] x)
(defn greet "Greets." [who] (str "Hello, " who "!"))
"""


async def test_functions_in_rtfs_with_a_docstring_are_tools(tmp_path: Path) -> None:
    found = await report(written(tmp_path, "totals.rtfs", TOTALS))
    assert {one.name for one in found.tools} == {"greet", "total"}
    tools = {one.name: one for one in found.tools}
    assert tools["total"].language == "rtfs"
    schema = tools["total"].definition.input_schema
    assert schema["required"] == ["prices", "discount"]
    assert schema["properties"]["discount"] == {"type": "number"}
    assert tools["greet"].definition.input_schema["properties"] == {"who": {}}
    assert tools["total"].definition.output_schema == {"type": "number"}


@pytest.mark.parametrize(
    ("source", "verdict", "says"),
    [
        ('(defn f "Doc." [x', Verdict.INVALID, ""),
        ('(defn f "Doc." [a & b] a)', Verdict.INVALID, "any number of arguments"),
        ('(defn f "Doc." [[a b]] a)', Verdict.INVALID, "without a name"),
        ('(defn f "Doc." ([a] a) ([a b] b))', Verdict.INVALID, "several arities"),
        ("(defn f [x] x)", Verdict.LIBRARY, "no function with a docstring"),
        ("", Verdict.LIBRARY, "no function with a docstring"),
    ],
)
async def test_what_is_no_tool_in_rtfs_is_told_why(
    tmp_path: Path, source: str, verdict: Verdict, says: str
) -> None:
    found = await report(written(tmp_path, "f.rtfs", source))
    assert found.verdict is verdict
    assert says in found.reason


async def test_they_migrate_and_are_called_like_all_others(tmp_path: Path) -> None:
    folder = tmp_path / "tools"
    written(folder, "totals.rtfs", TOTALS)
    written(folder, "search.py", SEARCH.replace('PERMISSIONS = ["read"]\n', ""))
    async with managed(tmp_path / "home", folder, validation_mode="Comprehensive") as (
        manager,
        ccos,
    ):
        report = await manager.execute_migration()
        assert report.migrated_tools == ("greet", "search", "total"), report.failed_tools
        bridge = manager.bridge()
        called = await bridge.execute_migrated_tool(
            "search", {"text": "a b a", "words": ["a", "b"], "limit": 1}
        )
        assert (called.error, called.result) == (None, [{"a": 2}])
        assert value(await ccos.call("tools.greet", {"who": "Ada"})) == "Hello, Ada!"
        total = await bridge.execute_migrated_tool("total", {"prices": [1.5, 2.5], "discount": 0.5})
        assert total.result == 2.0
        languages = {
            one.original_name: one.metadata["language"]
            for one in await bridge.list_migrated_tools()
        }
        assert languages == {"greet": "rtfs", "search": "python", "total": "rtfs"}
        written(folder, "totals.rtfs", TOTALS.replace("Hello", "Bye"))
        assert await bridge.reload_migrated_tool("greet")
        assert value(await ccos.call("tools.greet", {"who": "Ada"})) == "Bye, Ada!"
        assert await manager.rollback_tool_migration("greet")
        assert value(await ccos.call("tools.greet", {"who": "Ada"})) == "Hello, Ada!"
