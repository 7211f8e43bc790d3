"""From RTFS text to a Python text that Monty runs."""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import pydantic_monty as monty

from ccos.rtfs import nodes, prelude
from ccos.rtfs.analysing import HostTarget, ModuleSource, Program, analyse
from ccos.rtfs.diagnostics import Diagnostic, Lines, Report, raise_if_wrong
from ccos.rtfs.emitting import Emitted, Span, TooDeepError, emit
from ccos.rtfs.forms import Source
from ccos.rtfs.macros import Macro, MacroError, MacroRunner, Macros
from ccos.rtfs.reader import read_leniently
from ccos.rtfs.recursion import recursing_deeply
from ccos.rtfs.targets import target_of
from ccos.rtfs.types import Type

ANSWER_JSON: Final = "to_json(result)"
ANSWER_TAGGED: Final = "tagged(result)"
ANSWER_TEXT: Final = "shown(result)"

LIMITS: Final[monty.ResourceLimits] = {
    "max_recursion_depth": 50_000,
    "max_memory": 64 * 1024 * 1024,
    "max_suspensions": 1_000_000,
}
"""What a program may use where nobody says otherwise (Monty's limits)."""

_MACRO_LIMITS: Final[monty.ResourceLimits] = {
    "max_recursion_depth": 10_000,
    "max_memory": 64 * 1024 * 1024,
    "max_feed_duration_secs": 5.0,
}
_FOR_MACROS: Final = frozenset(
    {"tagged", "FRESH", "TRUE", "FALSE", "Symbol", "Timestamp", "Uuid", "Handle", "key", "map_of"}
)
"""What the call of a macro needs beside its body: the constants of any argument."""
_PYTHON_NAMES: Final = frozenset(
    {
        *dir(builtins),
        "result",
        "given",
        "rtfs_call",
        "rtfs_calls",
        "rtfs_event",
        "rtfs_context",
        "json",
        "math",
        "re",
    }
)


@dataclass(frozen=True, slots=True)
class FunctionSignature:
    """A function of a program that others can call by name.

    Attributes:
        name: In the program.
        python: In the generated text.
        parameters: Names of its parameters, where it has one arity.
        arities: How many arguments it takes, for people.
        start: Where it is defined.
        has_rest: Whether the last of ``parameters`` takes all further arguments.
    """

    name: str
    python: str
    parameters: tuple[str, ...]
    arities: tuple[str, ...]
    start: int
    has_rest: bool = False


@dataclass(frozen=True, slots=True)
class Dependency:
    """A host call that a text makes.

    Attributes:
        identifier: The id as written, without its colon; None if it is computed.
        reason: ``call``, or ``fallback`` if a hint names it.
        line: Counted from 1.
        column: Counted from 1.
    """

    identifier: str | None
    reason: str
    line: int
    column: int

    @property
    def canonical(self) -> str | None:
        """The id as capabilities are compared by; None if it is computed."""
        return None if self.identifier is None else target_of(self.identifier).identifier

    @property
    def version(self) -> str | None:
        """The version that the id asks for, such as ``1.0``."""
        return None if self.identifier is None else target_of(self.identifier).version


@dataclass(frozen=True, slots=True)
class CompiledModule:
    """A program as Python text.

    ``source(…)`` is the whole text to feed to Monty. It needs the host functions ``rtfs_call``,
    ``rtfs_calls`` and ``rtfs_event`` and the variable ``rtfs_context`` where it uses them.

    Attributes:
        name: What people call the program.
        text: The RTFS text.
        hash: SHA-256 of the RTFS text and of the generated text.
        runtime: The part of the prelude that the program needs.
        python: The program itself; its value ends in the variable ``result``.
        spans: Where the parts of ``python`` come from, by line.
        functions: What it defines at top level.
        dependencies: The host calls it makes.
        types: What ``deftype`` and ``defstruct`` gave names to.
        warnings: What is doubtful.
    """

    name: str
    text: str
    hash: str
    runtime: str
    python: str
    spans: Mapping[int, tuple[Span, ...]] = field(repr=False)
    functions: tuple[FunctionSignature, ...]
    dependencies: tuple[Dependency, ...]
    types: Mapping[str, Type] = field(repr=False)
    warnings: tuple[Diagnostic, ...]

    @property
    def first_line(self) -> int:
        """The line of the whole text on which ``python`` begins, counted from 1."""
        return self.runtime.count("\n") + 2

    def source(self, answer: str = ANSWER_JSON) -> str:
        """The whole text.

        Args:
            answer: The expression that makes what leaves the sandbox from ``result``:
                ``to_json(result)`` for JSON data, ``tagged(result)`` for data that keeps kinds
                apart, ``shown(result)`` for text. To call a function of the program:
                ``to_json(python_name(from_json(given)))``, with ``given`` as a variable.
        """
        return f"{self.runtime}\n{self.python}\n{answer}\n"

    def place(self, line: int, column: int | None = None) -> tuple[int, int] | None:
        """Where in the RTFS text a place of the whole generated text comes from.

        Args:
            line: A line of ``source()``, counted from 1.
            column: A column of it, counted from 1.

        Returns:
            Line and column, counted from 1; None if the place belongs to the prelude.
        """
        spans = self.spans.get(line - self.first_line + 1)
        if not spans:
            return None
        inside = [one for one in spans if column is not None and one.start < column <= one.end]
        best = min(inside or spans, key=lambda one: one.end - one.start)
        if not inside:
            best = max(spans, key=lambda one: one.end - one.start)
        return Lines(self.text).place(best.at)


def compile_module(
    text: str,
    name: str = "<rtfs>",
    *,
    module_source: ModuleSource | None = None,
    run_macro: MacroRunner | None = None,
) -> CompiledModule:
    """Compile a program.

    Args:
        text: RTFS text.
        name: What people call it, for messages.
        module_source: Answers the text of a module that the program imports, or None.
        run_macro: Runs macro bodies; a Monty worker of its own if left out.

    Raises:
        RtfsSyntaxError: with everything that is wrong.
    """
    source, diagnostics = read_leniently(text, name)
    raise_if_wrong(name, text, diagnostics)
    return compile_source(source, module_source=module_source, run_macro=run_macro)


def compile_source(
    source: Source,
    *,
    module_source: ModuleSource | None = None,
    run_macro: MacroRunner | None = None,
) -> CompiledModule:
    """As :func:`compile_module`, of forms that were read already."""
    with recursing_deeply(), _runner(run_macro) as run:
        program = analyse(source, Macros(run), module_source=module_source, reserved=_reserved())
        raise_if_wrong(source.name, source.text, program.diagnostics)
        emitted = emitted_program(program, source.name, source.text)
    return _compiled(source.name, source.text, program, emitted)


def check(
    text: str,
    name: str = "<rtfs>",
    *,
    module_source: ModuleSource | None = None,
    run_macro: MacroRunner | None = None,
) -> Report:
    """Everything that can be said about a text without running it: errors and warnings."""
    source, diagnostics = read_leniently(text, name)
    found = list(diagnostics)
    with recursing_deeply(), _runner(run_macro) as run:
        program = analyse(source, Macros(run), module_source=module_source, reserved=_reserved())
        found += program.diagnostics
        if not any(one.severity == "error" for one in found):
            try:
                found += emit(program.body, text, program.frame).diagnostics
            except TooDeepError as error:
                found.append(_too_deep(error))
    found.sort(key=lambda one: (one.start, one.end))
    return Report(name, text, tuple(dict.fromkeys(found)))


def dependencies(text: str, name: str = "<rtfs>") -> tuple[Dependency, ...]:
    """The host calls of a text: those with a literal id, and those whose id is computed.

    Raises:
        RtfsSyntaxError: if it is no program.
    """
    return compile_module(text, name).dependencies


def emitted_program(program: Program, name: str, text: str) -> Emitted:
    """Python text of an analysed program.

    Raises:
        RtfsSyntaxError: if that would be nested too deeply.
    """
    try:
        return emit(program.body, text, program.frame)
    except TooDeepError as error:
        raise_if_wrong(name, text, [_too_deep(error)])
        raise


def macro_program(source: Source, macros: Macros, visible: Mapping[str, Macro]) -> tuple[str, str]:
    """Python text that defines a macro's function, and the name of that function."""
    program = analyse(source, macros, reserved=_reserved(), visible=visible)
    for one in program.diagnostics:
        if one.severity == "error":
            raise MacroError(one.message)
    if program.targets:
        raise MacroError("a macro cannot call a capability")
    try:
        emitted = emit(program.body, source.text, program.frame)
    except TooDeepError as error:
        raise MacroError("the body is nested too deeply") from error
    runtime = runtime_text(emitted.names | _FOR_MACROS)
    python = program.variables[source.name].python
    return f"{runtime}\n{emitted.text}", python


def dependencies_of(targets: list[HostTarget], text: str) -> tuple[Dependency, ...]:
    """Host calls with their places."""
    lines = Lines(text)
    return tuple(
        Dependency(one.identifier, one.reason, *lines.place(min(one.start, len(text))))
        for one in targets
    )


def _compiled(name: str, text: str, program: Program, emitted: Emitted) -> CompiledModule:
    runtime = runtime_text(emitted.names | {"to_json", "from_json", "shaped", "tagged", "shown"})
    digest = hashlib.sha256(f"{text}\0{emitted.text}".encode()).hexdigest()
    functions = tuple(
        _signature(variable)
        for variable in program.variables.values()
        if variable.function is not None
    )
    warnings = [*program.diagnostics, *emitted.diagnostics]
    return CompiledModule(
        name,
        text,
        digest,
        runtime,
        emitted.text,
        {line: tuple(spans) for line, spans in emitted.spans.items()},
        functions,
        dependencies_of(program.targets, text),
        program.types,
        tuple(sorted(warnings, key=lambda one: one.start)),
    )


def _signature(variable: nodes.Variable) -> FunctionSignature:
    function = variable.function
    assert function is not None
    arities = tuple(
        f"{clause.required}{' or more' if clause.has_rest else ''}" for clause in function.clauses
    )
    parameters: tuple[str, ...] = ()
    if len(function.clauses) == 1:
        parameters = tuple(
            one.pattern.variable.name if isinstance(one.pattern, nodes.Name) else "_"
            for one in function.clauses[0].parameters
        )
    has_rest = len(function.clauses) == 1 and function.clauses[0].has_rest
    return FunctionSignature(
        variable.name, variable.python, parameters, arities, function.at, has_rest
    )


def _too_deep(error: TooDeepError) -> Diagnostic:
    hint = "give parts of it names of their own"
    return Diagnostic("this is nested too deeply to be run", error.at, error.at + 1, hint)


@contextlib.contextmanager
def _runner(given: MacroRunner | None) -> Iterator[MacroRunner]:
    """What runs macro bodies; a worker is started only when one has to be run."""
    if given is not None:
        yield given
        return
    with contextlib.ExitStack() as stack:
        pools: list[monty.Monty] = []

        def run(text: str) -> Any:
            if not pools:
                pools.append(stack.enter_context(monty.Monty()))
            return run_macro_in(pools[0], text)

        yield run


class Checkouts(Protocol):
    """A pool of Monty workers."""

    def checkout(self, *, limits: monty.ResourceLimits) -> monty.MontySession:
        """A session in a worker of its own."""
        ...


def run_macro_in(pool: Checkouts, text: str) -> Any:
    """Run a macro body in a worker of ``pool``.

    Raises:
        MacroError: if it fails.
    """
    with pool.checkout(limits=_MACRO_LIMITS) as session:
        try:
            return session.feed_run(text)
        except monty.MontyError as error:
            raise MacroError(f"the macro failed: {str(error)[:300]}") from error


# --- The prelude ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unit:
    """A definition of the prelude."""

    text: str
    names: frozenset[str]
    uses: frozenset[str]


def runtime_text(names: frozenset[str]) -> str:
    """The part of the prelude that defines ``names``, and what that needs."""
    units, owners = _prelude_units()
    wanted: set[int] = set()
    waiting = [owners[name] for name in names if name in owners]
    while waiting:
        index = waiting.pop()
        if index not in wanted:
            wanted.add(index)
            waiting += [owners[name] for name in units[index].uses if name in owners]
    return "\n".join(units[index].text for index in sorted(wanted))


@functools.cache
def _prelude_units() -> tuple[list[_Unit], dict[str, int]]:
    """The prelude in parts, and which part defines a name."""
    tree = ast.parse(Path(prelude.__file__).read_text(encoding="utf-8"))
    units: list[_Unit] = []
    owners: dict[str, int] = {}
    for statement in tree.body:
        defined = _defined(statement)
        if not defined:
            continue
        bare = _bare(statement)
        uses = {one.id for one in ast.walk(bare) if isinstance(one, ast.Name)}
        unit = _Unit(ast.unparse(bare), frozenset(defined), frozenset(uses - defined))
        for name in defined:
            owners[name] = len(units)
        units.append(unit)
    return units, owners


def _defined(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return set() if name == "Value" else {name}
        case ast.Import(names=names):
            return {one.name for one in names}
    return set()


def _bare(statement: ast.stmt) -> ast.stmt:
    """A definition without annotations and docstrings."""
    for one in ast.walk(statement):
        if isinstance(one, ast.arg):
            one.annotation = None
        elif isinstance(one, ast.FunctionDef | ast.ClassDef):
            if isinstance(one, ast.FunctionDef):
                one.returns = None
            if len(one.body) > 1 and ast.get_docstring(one) is not None:
                one.body = one.body[1:]
    return _Plain().visit(statement)  # type: ignore[no-any-return]


class _Plain(ast.NodeTransformer):
    """Turns annotated assignments into plain ones."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        assignment = ast.Assign([node.target], node.value)
        return ast.copy_location(assignment, node)


@functools.cache
def _reserved() -> frozenset[str]:
    """Python names that no variable of a program gets."""
    return frozenset(_prelude_units()[1]) | _PYTHON_NAMES
