"""The oldest contract: a header ``//! text``, ``//! @entry``, ``//! @param``; one tool a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ccos.engine.rune import HeaderEntry
from ccos.migration import metadata
from ccos.migration.definitions import (
    DEFAULT_CATEGORY,
    DEFAULT_VERSION,
    Binding,
    Form,
    ToolDefinition,
    ToolEntry,
)
from ccos.migration.inspection import Outline
from ccos.migration.metadata import MetadataError
from ccos.migration.parameters import (
    Declared,
    check_against,
    completed,
    kind_problem,
    schema_of,
)
from ccos.migration.problems import Problem, invalid
from ccos.migration.reading import Described

DEFAULT_ENTRY: Final = "main"
_SINGLE: Final = ("entry", "version", "tags")
_KEYS: Final = frozenset({*_SINGLE, "param"})


def has_header(outline: Outline) -> bool:
    """Whether a file describes its tool in a header.

    Text alone is a comment like any other, unless there is the function that a header means when
    it names none.
    """
    if any(one.key in _KEYS for one in outline.header):
        return True
    main = outline.functions.get(DEFAULT_ENTRY)
    return bool(outline.summary) and main is not None and main.public


def read_header(outline: Outline, name: str) -> Described:
    """The tool that the header of a file describes.

    Args:
        outline: Of the file.
        name: Of the tool: that of the file, without its ending.
    """
    reader = _Reader(name, outline.header)
    entry = reader.single.get("entry")
    path = entry.text if entry else DEFAULT_ENTRY
    function = outline.functions.get(path)
    if function is None:
        return Described(
            None,
            (
                *reader.problems,
                invalid(
                    f"The contract is incomplete: its entry {path or 'without a name'} is missing.",
                    tool=name,
                    line=entry.line if entry else 0,
                    hint=f"Write pub fn {path or DEFAULT_ENTRY}(…), or name it with //! @entry.",
                ),
            ),
        )
    if not function.public:
        message = f"{path} is not public."
        reader.refuse(message, function.line, f"Write pub fn {path}.")
    description = outline.summary or function.documentation
    if not description:
        reader.refuse(
            "The contract is incomplete: its description is missing.", 1, "Write //! What it does."
        )
    reader.problems += check_against(function, reader.parameters, name)
    try:
        metadata.text(description or name, metadata.MAX_DESCRIPTION_CHARACTERS)
        version = metadata.text(reader.text("version", DEFAULT_VERSION))
        tags = metadata.texts(
            [one.strip() for one in reader.text("tags").split(",") if one.strip()]
        )
    except MetadataError as error:
        reader.refuse(f"The header {error.message}.", 1, error.hint)
    if reader.problems:
        return Described(None, tuple(reader.problems), tuple(reader.warnings))
    definition = ToolDefinition(
        name=name,
        description=description,
        entry=ToolEntry(path, function.parameters, Binding.NAMED),
        form=Form.HEADER,
        input_schema=schema_of(completed(function, reader.parameters)),
        version=version,
        category=DEFAULT_CATEGORY,
        tags=tags,
    )
    return Described(definition, (), tuple(reader.warnings), function.line)


class _Reader:
    """Reads the lines of a header, and collects what is wrong with them."""

    def __init__(self, tool: str, lines: Iterable[HeaderEntry]) -> None:
        self._tool = tool
        self.single: dict[str, HeaderEntry] = {}
        self.parameters: list[Declared] = []
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        for line in lines:
            self._take(line)

    def text(self, key: str, default: str = "") -> str:
        """What a line says; the default if there is no such line."""
        return self.single[key].text if key in self.single else default

    def refuse(self, message: str, line: int, hint: str = "") -> None:
        """Note what is wrong."""
        self.problems.append(invalid(message, tool=self._tool, line=line, hint=hint))

    def _take(self, line: HeaderEntry) -> None:
        if line.key == "param":
            self._take_parameter(line)
        elif line.key not in _SINGLE:
            self.warnings.append(f"line {line.line}: @{line.key} means nothing in a header.")
        elif line.key in self.single:
            self.refuse(f"@{line.key} is given twice.", line.line)
        else:
            self.single[line.key] = line

    def _take_parameter(self, line: HeaderEntry) -> None:
        name, kind, description = (*line.text.split(None, 2), "", "", "")[:3]
        if not name or not kind:
            self.refuse(
                "@param needs a name and a type.",
                line.line,
                "Write //! @param city string Where it is.",
            )
            return
        where = f"The parameter {name!r}"
        problem = kind_problem(kind, where, line=line.line, tool=self._tool)
        self.problems += [problem] if problem else []
        self.parameters.append(Declared(name, kind, description, True, line.line))
