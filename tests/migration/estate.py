"""An estate of legacy tools, as estates are: most are sound, some are broken in every known way."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from migration.samples import tool, written

BROKEN_SHARE = 0.08
PYTHON_SHARE = 0.25
HUGE_BYTES = 20 * 1024 * 1024


@dataclass
class Estate:
    """What was made, and what has to come of it at the level safe.

    Attributes:
        good: Names of tools that can be migrated.
        broken: How many failures there have to be, by kind of fault.
        ignored: Files that are no tools.
    """

    folder: Path
    good: list[str] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    ignored: int = 0

    @property
    def total(self) -> int:
        """Tools that are found, usable or not."""
        return len(self.good) + sum(self.broken.values())


def _sum(name: str, number: int) -> str:
    return tool(
        name,
        f"let total = {number};\n    for x in args.items {{ total = total + x; }}\n    total",
        properties='items: #{ type: "array", items: #{ type: "integer" } }',
    ).replace('type: "object", properties', 'type: "object", required: ["items"], properties')


def _text(name: str, number: int) -> str:
    body = f"let word = args.text;\n    `{number}: ${{word}} has ${{word.len()}} bytes`"
    made = tool(name, body, properties='text: #{ type: "string" }')
    return made.replace(
        'type: "object", properties', 'type: "object", required: ["text"], properties'
    )


def _struct(name: str, number: int) -> str:
    helper = "\n".join(
        f"fn step_{index}(x) {{ if x > {index} {{ x - {index} }} else {{ x + {number} }} }}"
        for index in range(12)
    )
    body = "let x = args.x;\n" + "".join(f"    x = step_{index}(x);\n" for index in range(12))
    made = tool(
        name,
        f"{body}    #{{ value: x, of: args.x }}",
        extra=helper,
        properties='x: #{ type: "integer", minimum: 0 }',
    )
    return made.replace('type: "object", properties', 'type: "object", required: ["x"], properties')


def _python(name: str, number: int) -> str:
    return (
        f'"""Tools of the estate."""\n\n'
        f"def {name}(items: list[int], factor: int = {number % 7}) -> dict[str, int]:\n"
        f'    """Adds up items, each multiplied.\n\n    Args:\n        items: What is added.\n'
        f'        factor: What each is multiplied with.\n    """\n'
        f"    total = 0\n    for item in items:\n        total += item * factor\n"
        f'    return {{"total": total, "count": len(items)}}\n'
    )


def _endless(name: str) -> str:
    return tool(name, "loop { let x = 1; }")


def _flood(name: str) -> str:
    return tool(name, 'loop { println!("a flood of text, over and over again"); }')


def _hungry(name: str) -> str:
    return tool(
        name, 'let all = []; let word = "a"; loop { word = `${word}${word}`; all.push(word); }'
    )


BROKEN: dict[str, Callable[[str], str | bytes]] = {
    "syntax": lambda name: f'pub fn NAME() {{ "{name}" ',
    "reserved key": lambda name: tool(name, properties='kind: #{ enum: ["a"] }'),
    "no description": lambda name: tool(name).replace("DESCRIPTION", "DESCRIBED"),
    "no call": lambda name: tool(name).replace("fn call", "fn called"),
    "bad schema": lambda name: tool(name, properties='a: #{ type: "text" }'),
    "two parameters": lambda name: tool(name).replace("call(args)", "call(args, more)"),
    "forbidden module": lambda name: tool(name, 'crucible::file::file_read("/etc/passwd").await'),
    "wrong output": lambda name: tool(
        name, '"text"', extra='pub fn OUTPUT_SCHEMA() { #{ type: "integer" } }'
    ),
    "endless": _endless,
    "not text": lambda name: b"\xff\xfe pub fn NAME",
    "nul": lambda name: tool(name).encode() + b"// \0",
}
"""Ways in which a tool is broken, each failing alone."""

_SLOW_FAULTS = ("endless",)


def estate(
    folder: Path, count: int, *, seed: int = 1, huge: bool = True, sound: bool = False
) -> Estate:
    """Make an estate.

    Args:
        folder: Where; its folders are made.
        count: About how many tools, broken ones among them.
        seed: Another one makes another estate.
        huge: Whether one file has 20 MB.
        sound: Whether no tool is broken.
    """
    chance = random.Random(seed)
    made = Estate(folder)
    broken = 0 if sound else int(count * BROKEN_SHARE)
    kinds = [*BROKEN]
    # What loops takes seconds of a processor each, so there are few of those, whatever the size.
    quick = [one for one in kinds if one not in _SLOW_FAULTS]
    for number in range(broken):
        kind = kinds[number] if number < len(kinds) else quick[number % len(quick)]
        written(folder, f"part{number % 7}/broken_{number}.rn", BROKEN[kind](f"broken_{number}"))
        made.broken[kind] += 1
    makers = (_sum, _text, _struct)
    for number in range(count - broken):
        place = f"part{number % 7}/deep{number % 3}"
        if chance.random() < PYTHON_SHARE:
            name = f"python_{number}"
            written(folder, f"{place}/{name}.py", _python(name, number))
        else:
            name = _name(number, chance)
            source = makers[number % len(makers)](name, number)
            written(folder, f"{place}/{name} {number}.rn", source)
        made.good.append(name)
    for number in range(
        0 if sound else max(1, count // 200)
    ):  # two tools of one name are an error for both
        for side in ("left", "right"):
            written(folder, f"{side}/same_{number}.rn", tool(f"same_{number}"))
        made.broken["duplicate"] += 2
    written(folder, "lib/helper.rn", "pub fn help(x) { x }")
    written(folder, "lib/quiet.py", "def helper(x):\n    return x\n")
    made.ignored = 2
    (folder / "loop").mkdir()
    (folder / "loop" / "back").symlink_to(folder, target_is_directory=True)
    (folder / "outside.rn").symlink_to("/etc/passwd")
    if os.geteuid() != 0 and not sound:
        written(folder, "unreadable.rn").chmod(0)
        made.broken["unreadable"] += 1
    if huge:
        written(folder, "huge.rn", b"// " + b"a" * HUGE_BYTES)
        made.broken["huge"] += 1
    made.good.sort()
    return made


def _name(number: int, chance: random.Random) -> str:
    match chance.randrange(12):
        case 0:
            return f"tool with blanks {number}"
        case 1:
            return f"größe_測る_{number}"
        case 2:
            return f"dotted.name.{number}"
    return f"tool_{number}"
