"""Python text: expressions that know how tightly they bind, blocks, marks of places."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

CHOICE, OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, ATOM = range(9)


BLOCK_DEPTH: Final = 80


ALTERNATIVES: Final = 90


MARK: Final = re.compile(r"\x01(\d+)\x02|\x03")


NAME: Final = re.compile(r"[A-Za-z_]\w*")


class Code(str):
    """Python text of an expression, and how tightly it binds."""

    __slots__ = ("level",)
    level: int

    def __new__(cls, text: str, level: int = ATOM) -> Code:  # noqa: D102
        code = super().__new__(cls, text)
        code.level = level
        return code

    def at_least(self, level: int) -> str:
        """The text, in parentheses if it would bind looser than ``level``."""
        return str(self) if self.level >= level else f"({self})"


Block: TypeAlias = "list[str | Block]"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the generated text and the place in the program that it comes from."""

    line: int
    start: int
    end: int
    at: int


class TooDeepError(Exception):
    """The generated text would be nested deeper than Monty reads; never leaves this package."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at


def marked(at: int | None, text: str) -> str:
    """Text with a mark of the place that it comes from."""
    return text if at is None else f"\x01{at}\x02{text}\x03"


def without_marks(text: str) -> str:
    """Text without its marks."""
    return MARK.sub("", text)


def call_text(name: str, arguments: Sequence[str], at: int) -> Code:
    """A call as Python text."""
    return Code(marked(at, f"{name}({', '.join(arguments)})"))


def is_simple(code: str) -> bool:
    """Whether an expression is a name or a constant."""
    text = without_marks(code) if "\x01" in code else code
    return text.isidentifier() or is_constant(text)


def is_constant(text: str) -> bool:
    """Whether an expression is a name or a constant that needs no evaluation."""
    return text.isidentifier() or text.isdigit() or bool(CONSTANT.fullmatch(text))


CONSTANT: Final = re.compile(r"-?\d[\w.]*|b?'[^'\\]*'|\(\)|\[\]|\{\}")


def all_tests(tests: Sequence[Code]) -> str:
    """Tests that all have to hold."""
    return str(tests[0]) if len(tests) == 1 else " and ".join(one.at_least(NOT) for one in tests)


def negated(test: Code) -> Code:
    """The opposite of a Python test."""
    match str(test):
        case "True":
            return Code("False")
        case "False":
            return Code("True")
        case text if text.startswith("not ") and test.level == NOT and text[4:].isidentifier():
            return Code(text[4:])
    found = NEGATABLE.fullmatch(str(test)) if test.level == COMPARISON else None
    if found is not None:
        return Code(f"{found[1]} {OPPOSITE[found[2]]} {found[3]}", COMPARISON)
    return Code(f"not {test.at_least(NOT)}", NOT)


OPPOSITE: Final = {"is": "is not", "is not": "is", "==": "!=", "!=": "=="}


NEGATABLE: Final = re.compile(r"([\w()\[\], .']+?) (is not|is|==|!=) ([\w']+)")


def written_lines(block: Block, indent: int) -> Iterator[str]:
    """The lines of a block.

    Raises:
        TooDeepError: if Monty would not read them.
    """
    if not block and indent:
        yield "    " * indent + "pass"
    alternatives = 0
    for one in block:
        if isinstance(one, list):
            yield from written_lines(one, indent + 1)
            continue
        alternatives = alternatives + 1 if without_marks(one).startswith("elif ") else 0
        if indent > BLOCK_DEPTH or alternatives > ALTERNATIVES:
            found = MARK.search(one)
            raise TooDeepError(int(found[1]) if found and found[1] else 0)
        yield "    " * indent + one


def unmarked(text: str) -> tuple[str, dict[int, list[Span]]]:
    """The text without marks, and a map from its lines to places."""
    spans: dict[int, list[Span]] = {}
    lines: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if "\x01" not in line:
            lines.append(line)
            continue
        parts: list[str] = []
        length = position = 0
        opened: list[tuple[int, int]] = []
        found_spans: list[Span] = []
        for found in MARK.finditer(line):
            piece = line[position : found.start()]
            parts.append(piece)
            length += len(piece)
            position = found.end()
            if found[1] is not None:
                opened.append((int(found[1]), length))
            else:
                at, start = opened.pop()
                found_spans.append(Span(number, start, length, at))
        parts.append(line[position:])
        lines.append("".join(parts))
        spans[number] = found_spans
    return "\n".join(lines), spans


def is_one_if(block: Block) -> bool:
    """Whether a block is a single ``if`` with its other branches."""
    for one in block[1:]:
        if isinstance(one, str) and not without_marks(one).startswith(("elif ", "else:")):
            return False
    return True


def as_elif(line: str) -> str:
    """A line that begins with ``if`` as one that begins with ``elif``."""
    return line.replace("if ", "elif ", 1)


def part_level(parts: list[str]) -> int:
    """How tightly a single part of a text binds."""
    return ATOM if is_simple(Code(parts[0])) or parts[0].endswith(")") else SUM


def in_order(
    pairs: list[tuple[str, Code]], temporary: Callable[[], str]
) -> Iterator[tuple[str, str]]:
    """Assignments one by one that do what they would do at once."""
    waiting = [(name, str(code)) for name, code in pairs if name != without_marks(code)]
    while waiting:
        for index, (name, _) in enumerate(waiting):
            others = [code for i, (_, code) in enumerate(waiting) if i != index]
            if not any(name in NAME.findall(code) for code in others):
                yield waiting.pop(index)
                break
        else:
            name = waiting[0][0]
            held = temporary()
            yield held, name
            waiting = [
                (other, re.sub(rf"\b{re.escape(name)}\b", held, text) if i else text)
                for i, (other, text) in enumerate(waiting)
            ]
            yield waiting.pop(0)


def as_lambda(header: str, body: Block) -> str | None:
    """A function of one ``return`` as a lambda."""
    if len(body) != 1 or not isinstance(body[0], str):
        return None
    line = body[0]
    found = re.fullmatch(r"(\x01\d+\x02)?return (.*?)(\x03)?", line, re.DOTALL)
    if found is None:
        return None
    inner = f"{found[1] or ''}{found[2]}{found[3] or ''}"
    return f"lambda {header}: {inner}" if header else f"lambda: {inner}"
