"""RTFS, read and with its names resolved, as the tree of the analysers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pydantic_monty as monty

from ccos.capabilities import canonical_id
from ccos.errors import InvalidIdentifierError
from ccos.resolution.validation import code as tree
from ccos.resolution.validation.findings import Issue, at_line, issue
from ccos.rtfs import nodes
from ccos.rtfs.analysing import analyse
from ccos.rtfs.compiler import run_macro_in
from ccos.rtfs.diagnostics import Lines
from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    MetaForm,
    Source,
    Symbol,
    VectorForm,
    head_name,
    without_meta,
)
from ccos.rtfs.macros import Macros
from ccos.rtfs.reader import read_leniently

_JOINS = frozenset({"str", "format", "string-join", "join"})
_ENTRY = "implementation"


def read_rtfs(code: tree.Code, capability_id: str) -> tuple[tree.Read | None, list[Issue]]:
    """The code as a tree; None with the findings that say why there is none.

    Args:
        code: A text with one ``(capability id …)`` form, or a program that defines
            ``code.function``.
        capability_id: The id that the form has to define.
    """
    text, diagnostics = read_leniently(code.source, code.function or "capability")
    lines = Lines(code.source)

    def line(offset: int) -> int:
        return lines.place(min(offset, len(code.source)))[0]

    wrong = [one for one in diagnostics if one.severity == "error"]
    if wrong:
        return None, [issue("SYNTAX002", one.message, at_line(line(one.start))) for one in wrong]
    entry, found = code.function or _ENTRY, list[Issue]()
    source: Source | None = text
    if not code.function:
        source, found = _program(text, capability_id, line)
    if source is None:
        return None, found
    with _macros() as run:
        program = analyse(source, Macros(run))
    found += [
        issue("SYNTAX001", one.message, at_line(line(one.start)))
        for one in program.diagnostics
        if one.severity == "error"
    ]
    if entry not in program.variables or program.variables[entry].function is None:
        found.append(issue("SYNTAX005", f"There is no function {entry}."))
    if any(one.code != "SYNTAX004" for one in found):
        return None, found
    body = _Reader(line).several(program.body, 0)
    return tree.Read(body, entry, max(map(_depth, source.forms), default=0)), found


@contextlib.contextmanager
def _macros() -> Iterator[Callable[[str], Any]]:
    """What runs macro bodies; a worker is started only when one has to be run."""
    with contextlib.ExitStack() as stack:
        pools: list[monty.Monty] = []

        def run(text: str) -> Any:
            if not pools:
                pools.append(stack.enter_context(monty.Monty()))
            return run_macro_in(pools[0], text)

        yield run


def _program(
    source: Source, capability_id: str, line: Callable[[int], int]
) -> tuple[Source | None, list[Issue]]:
    """The text with the capability form replaced by the function that it holds."""
    forms = [without_meta(one) for one in source.forms]
    if len(forms) == 1 and head_name(forms[0]) == "do" and isinstance(forms[0], ListForm):
        forms = [without_meta(one) for one in forms[0].items[1:]]
    defined = [one for one in forms if isinstance(one, ListForm) and head_name(one) == "capability"]
    if len(defined) != 1:
        return None, [issue("SYNTAX003", f"There are {len(defined)} capability forms, not one.")]
    (form,) = defined
    where = at_line(line(form.start))
    named = _id_of(form.items[1]) if len(form.items) > 1 else None
    if named != capability_id:
        return None, [issue("SYNTAX003", f"It defines {named}, not {capability_id}.", where)]
    fields = dict(zip(map(_key, form.items[2::2]), form.items[3::2], strict=False))
    found = []
    described = fields.get("description")
    if not (isinstance(described, Literal) and str(described.value or "").strip()):
        found.append(issue("SYNTAX004", "It has no description.", where))
    work = fields.get(_ENTRY)
    if work is None or head_name(without_meta(work)) != "fn":
        return None, [*found, issue("SYNTAX005", "It has no implementation function.", where)]
    definition = ListForm((Symbol("def"), Symbol(_ENTRY), work), form.start, form.end)
    others = [one for one in forms if one is not form]
    return Source(source.name, source.text, (*others, definition)), found


def _id_of(form: Form) -> str | None:
    text = form.name if isinstance(form, Keyword) else getattr(form, "value", None)
    if not isinstance(text, str):
        return None
    try:
        return canonical_id(text)
    except InvalidIdentifierError:
        return text


def _key(form: Form) -> str:
    return form.name if isinstance(form, Keyword) else ""


def _depth(form: Form) -> int:
    deepest, waiting = 0, [(form, 1)]
    while waiting:
        current, depth = waiting.pop()
        deepest = max(deepest, depth)
        match current:
            case ListForm(items=items) | VectorForm(items=items) | MapForm(items=items):
                waiting += [(one, depth + 1) for one in items]
            case MetaForm(form=inner):
                waiting.append((inner, depth))
            case _:
                pass
    return deepest


class _Reader:
    """Makes the tree of nodes whose names are resolved."""

    def __init__(self, line: Callable[[int], int]) -> None:
        self._line = line

    def several(self, parts: Iterable[Any], at: int) -> tree.Block:
        return tree.Block(self._all(parts), self._line(at))

    def _all(self, parts: Iterable[Any]) -> tuple[tree.Expression, ...]:
        return tuple(self.node(one) for one in parts)

    def node(self, node: Any) -> tree.Expression:
        line = self._line(getattr(node, "at", 0))
        match node:
            case nodes.Const(form=form):
                return _constant(form, line)
            case nodes.Ref(variable=variable):
                return tree.Use(variable.name, line)
            case nodes.LibraryRef(name=name):
                return tree.Use(name, line)
            case nodes.HostFunction(identifier=identifier):
                return tree.HostCall(_id(identifier), tree.Text(identifier, line), (), line)
            case nodes.HostCall(target=target, arguments=arguments, identifier=identifier):
                known = None if identifier is None else _id(identifier)
                return tree.HostCall(known, self.node(target), self._all(arguments), line)
            case nodes.LibraryCall(name=name, arguments=arguments) if name in _JOINS:
                return tree.Join(self._all(arguments), line)
            case nodes.LibraryCall(name=name, arguments=arguments):
                return tree.Call(name, self._all(arguments), line)
            case nodes.Call(callee=callee, arguments=arguments):
                return self._call(callee, arguments, line)
            case nodes.Raw(arguments=arguments):
                return tree.Block(self._all(arguments), line)
            case nodes.Do(body=body):
                return tree.Block(self._all(body), line)
            case nodes.Let(bindings=bindings, body=body):
                return tree.Block((*map(self._bind, bindings), self.node(body)), line)
            case nodes.Define(variable=variable, value=nodes.Function() as function):
                return self._function(function, variable.name, line)
            case nodes.Define(variable=variable, value=value):
                return tree.Bind((variable.name,), self.node(value), line, variable.name)
            case nodes.Function():
                return self._function(node, node.name, line)
            case _:
                return self._control(node, line)

    def _control(self, node: Any, line: int) -> tree.Expression:
        match node:
            case nodes.If(test=test, then=then, otherwise=otherwise):
                return tree.Branch(self.node(test), self._all((then, otherwise)), line)
            case nodes.And(parts=parts) | nodes.Or(parts=parts):
                nothing = tree.Constant(None, line)
                first, *rest = self._all(parts) or (nothing,)
                return tree.Branch(first, (tree.Block(tuple(rest), line), nothing), line)
            case nodes.Loop(bindings=bindings, body=body):
                loop = tree.Loop(None, self.node(body), False, line)
                return tree.Block((*map(self._bind, bindings), loop), line)
            case nodes.Recur(arguments=arguments):
                return tree.Again(self._all(arguments), line)
            case nodes.While(test=test, body=body):
                return tree.Loop(self.node(test), self.node(body), False, line)
            case nodes.For(generators=generators, body=body):
                return self._for(generators, body, line)
            case nodes.Match(subject=subject, clauses=clauses):
                ways = tuple(self._clause(one) for one in clauses)
                return tree.Branch(self.node(subject), ways, line)
            case nodes.Try(body=body, catches=catches, cleanup=cleanup):
                after = () if cleanup is None else (self.node(cleanup),)
                handlers = tuple(self.node(one.body) for one in catches)
                inner = self.node(body)
                guarded = tree.Guard(inner, handlers, line) if handlers else inner
                return tree.Block((*after, guarded), line)
            case nodes.VectorNode(items=items):
                return tree.Parts(self._all(items), line)
            case nodes.MapNode(pairs=pairs):
                return self._pairs(pairs, line)
            case nodes.Template(items=items):
                return tree.Parts(self._all(one for one, _ in items), line)
            case nodes.Check(value=value):
                return self.node(value)
            case _:
                return tree.Constant(None, line)

    def _pairs(self, pairs: Sequence[tuple[Any, Any]], line: int) -> tree.Expression:
        entries = []
        for key, value in pairs:
            known = _constant(key.form, line) if isinstance(key, nodes.Const) else None
            name = known.value if isinstance(known, tree.Text) else None
            entries.append((name, self.node(value)))
        return tree.Pairs(tuple(entries), line)

    def _call(self, callee: Any, arguments: Sequence[Any], line: int) -> tree.Expression:
        match callee:
            case nodes.Ref(variable=variable):
                return tree.Call(variable.name, self._all(arguments), line)
            case nodes.LibraryRef(name=name):
                return tree.Call(name, self._all(arguments), line)
            case nodes.Const(form=Keyword(name=name)) if len(arguments) == 1:
                return tree.Call(f":{name}", self._all(arguments), line)
            case _:
                return tree.Call(None, self._all((callee, *arguments)), line)

    def _bind(self, bind: nodes.Bind) -> tree.Expression:
        named = bind.pattern.variable.name if isinstance(bind.pattern, nodes.Name) else None
        line = self._line(bind.at)
        if named is not None and isinstance(bind.value, nodes.Function):
            return self._function(bind.value, named, line)
        return tree.Bind(tuple(_names(bind.pattern)), self.node(bind.value), line, named)

    def _function(self, function: nodes.Function, name: str, line: int) -> tree.Function:
        names: list[str] = []
        bodies: list[tree.Expression] = []
        for clause in function.clauses:
            for parameter in clause.parameters:
                names += _names(parameter.pattern)
            checks = self._all((*clause.before, *clause.after))
            body = tree.Block((*checks, self.node(clause.body)), self._line(clause.at))
            # A function may begin again as a loop does.
            again = any(
                isinstance(one, nodes.Recur) and one.target is clause for one in _in(clause)
            )
            bodies.append(tree.Loop(None, body, False, line) if again else body)
        if len(bodies) == 1:
            return tree.Function(name, tuple(names), bodies[0], line)
        choice = tree.Branch(tree.Constant(None, line), tuple(bodies), line)
        return tree.Function(name, tuple(names), choice, line)

    def _for(self, generators: Sequence[nodes.Generator], body: Any, line: int) -> tree.Expression:
        inner = self.node(body)
        for one in reversed(generators):
            steps = tuple(
                self._bind(step) if isinstance(step, nodes.Bind) else self.node(step)
                for step in one.steps
            )
            each = tree.Bind(tuple(_names(one.pattern)), self.node(one.collection), line)
            inner = tree.Block(
                (each, tree.Loop(None, tree.Block((*steps, inner), line), True, line)), line
            )
        return inner

    def _clause(self, clause: nodes.MatchClause) -> tree.Expression:
        guard = () if clause.guard is None else (self.node(clause.guard),)
        return tree.Block((*guard, self.node(clause.body)), self._line(clause.at))


def _id(identifier: str) -> str:
    try:
        return canonical_id(identifier)
    except InvalidIdentifierError:
        return identifier


def _constant(form: Any, line: int) -> tree.Text | tree.Constant:
    match form:
        case Keyword(name=name):
            return tree.Text(name, line)
        case Literal(kind="string", value=str(value)):
            return tree.Text(value, line)
        case Literal(value=value):
            return tree.Constant(value, line)
        case _:
            return tree.Constant(form, line)


def _names(pattern: Any) -> list[str]:
    """The variables of a pattern."""
    match pattern:
        case nodes.Name(variable=variable):
            return [variable.name]
        case nodes.Items(parts=parts, rest=rest, whole=whole):
            inner = [name for one in parts for name in _names(one)]
        case nodes.Members(members=members, rest=rest, whole=whole):
            inner = [name for one in members for name in _names(one.pattern)]
        case _:
            return []
    return [*inner, *(one.name for one in (rest, whole) if one is not None)]


def _in(clause: nodes.Clause) -> list[Any]:
    """The nodes of a clause in which it may begin again."""
    found: list[Any] = []
    waiting: list[Any] = [clause.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | tuple):
            waiting.extend(node)
        elif isinstance(node, nodes.Recur):
            found.append(node)
        elif hasattr(node, "__dataclass_fields__") and not isinstance(
            node, nodes.Function | nodes.Variable | nodes.Frame | nodes.Repeat
        ):
            waiting += [getattr(node, name) for name in node.__dataclass_fields__]
    return found
