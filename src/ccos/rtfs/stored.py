"""Compiled programs as data, so that they are compiled once."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from ccos.rtfs.compiler import CompiledModule, FunctionSignature
from ccos.rtfs.emitting.text import Span


def as_data(module: CompiledModule) -> dict[str, Any]:
    """What running a program needs, as JSON data; its text is kept elsewhere."""
    return {
        "hash": module.hash,
        "runtime": module.runtime,
        "python": module.python,
        "spans": [
            [line, [[one.start, one.end, one.at] for one in spans]]
            for line, spans in module.spans.items()
        ],
        "functions": [
            [one.name, one.python, one.parameters, one.arities, one.start, one.has_rest]
            for one in module.functions
        ],
    }


def from_data(data: dict[str, Any], text: str, name: str) -> CompiledModule:
    """The program that :func:`as_data` wrote down, without its types and dependencies."""
    return CompiledModule(
        name=name,
        text=text,
        hash=data["hash"],
        runtime=data["runtime"],
        python=data["python"],
        spans={
            line: tuple(Span(line, start, end, at) for start, end, at in spans)
            for line, spans in data["spans"]
        },
        functions=tuple(
            FunctionSignature(found, python, tuple(names), tuple(arities), start, has_rest)
            for found, python, names, arities, start, has_rest in data["functions"]
        ),
        dependencies=(),
        types={},
        warnings=(),
    )


@functools.cache
def compiler_version() -> str:
    """A digest of everything that decides what a program is compiled to."""
    digest = hashlib.sha256()
    for text in _sources(resources.files("ccos.rtfs")):
        digest.update(text)
    return digest.hexdigest()[:16]


def _sources(folder: Traversable) -> list[bytes]:
    found: list[bytes] = []
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            found += _sources(one)
        elif one.name.endswith(".py"):
            found.append(one.name.encode() + one.read_bytes())
    return found
