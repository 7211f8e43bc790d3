"""What can be told from code without running it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ccos.capabilities import Manifest, TrustTier, id_tokens
from ccos.resolution.validation.code import (
    Again,
    Bind,
    Block,
    Branch,
    Call,
    Constant,
    Expression,
    Function,
    Guard,
    HostCall,
    Join,
    Leave,
    Loop,
    Pairs,
    Parts,
    Read,
    Text,
    Use,
    children,
    walk,
)
from ccos.resolution.validation.findings import Issue, at_line, issue

MAXIMUM_DEPTH: Final = 10
MAXIMUM_CALLS: Final = 20
MAXIMUM_DEPENDENCIES: Final = 10
_CALLS_OF_ONE_KIND: Final = 10

SECRET_WORDS: Final = frozenset(
    {"secret", "password", "passwd", "token", "apikey", "credential", "credentials"}
)
_SECRET_PAIRS: Final = frozenset({("api", "key"), ("private", "key"), ("access", "key")})
_KEY_FORMATS: Final = re.compile(
    r"sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}"
    r"|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*"
)
"""Formats in which well-known services and PEM (RFC 7468) write keys."""
_EXECUTION_WORDS: Final = frozenset({"exec", "execute", "shell", "eval", "system", "subprocess"})
_EXECUTION_FUNCTIONS: Final = frozenset({"exec", "eval", "compile", "__import__"})
_LOG_WORDS: Final = frozenset({"log", "logs", "logger", "logging", "print", "println", "trace"})
_SQL_VERBS: Final = frozenset({"select", "insert", "update", "delete", "drop", "alter", "create"})
_NETWORK_WORDS: Final = frozenset({"http", "https", "fetch", "request", "network", "graphql"})
_DATABASE_WORDS: Final = frozenset({"sql", "database", "db", "query"})


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a capability that code calls.

    Attributes:
        effects: What it declares.
        acts: Whether it changes anything.
        needs_auth: Whether it is given a secret.
        tier: Of its provider.
        deprecated: Whether something took its place.
    """

    effects: frozenset[str] = frozenset()
    acts: bool = True
    needs_auth: bool = False
    tier: TrustTier = TrustTier.APPROVED
    deprecated: bool = False


Neighbours = Mapping[str, Known]
"""The capabilities that code may call, by id; what is not in it is not registered."""


def is_secret_name(name: str) -> bool:
    """Whether a name is one of a secret: ``api_key`` is, ``monkey`` is not."""
    words = id_tokens(name)
    return bool(SECRET_WORDS & set(words)) or any(
        pair in _SECRET_PAIRS for pair in itertools.pairwise(words)
    )


def analyse_code(read: Read, manifest: Manifest, neighbours: Neighbours) -> Iterator[Issue]:
    """Every finding about the code of a capability."""
    facts = _facts(read.body)
    yield from _secrets(facts)
    yield from _calls(facts, manifest, neighbours)
    yield from _addresses(facts)
    yield from _leaks(facts, read)
    yield from _shape(read, facts)
    yield from _dependencies(facts, neighbours)


def used_effects(read: Read, neighbours: Neighbours) -> frozenset[str]:
    """The effects of the capabilities that the code calls."""
    known = (neighbours[one].effects for one in called(read) if one in neighbours)
    return frozenset().union(*known)


def called(read: Read) -> frozenset[str]:
    """The ids that the code calls, as far as it names them."""
    return frozenset(
        one.identifier
        for one in walk(read.body)
        if isinstance(one, HostCall) and one.identifier is not None
    )


def budget_issues(read: Read) -> Iterator[Issue]:
    """Findings of the opt-in policy of performance that stand in the code."""
    counted: dict[str, int] = {"network": 0, "database": 0}
    seen: dict[tuple[str | None, Expression | None], int] = {}
    for one in walk(read.body):
        if not isinstance(one, HostCall):
            continue
        words = set(id_tokens(one.identifier or ""))
        counted["network"] += bool(words & _NETWORK_WORDS)
        counted["database"] += bool(words & _DATABASE_WORDS)
        same = (one.identifier, _without_lines(one))
        seen[same] = seen.get(same, 0) + 1
    for kind, count in counted.items():
        if count > _CALLS_OF_ONE_KIND:
            yield issue("PERF001", f"It makes {count} {kind} calls; {_CALLS_OF_ONE_KIND} are good.")
    for (identifier, _), count in seen.items():
        if count > 1 and identifier is not None:
            yield issue("PERF002", f"It asks {identifier} the same {count} times.")


@dataclass(slots=True)
class _Facts:
    """Nodes by kind, and which variables come from the caller."""

    calls: list[tuple[HostCall, bool]] = field(default_factory=list)
    plain: list[Call] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    named: list[tuple[str, Text]] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    binds: list[Bind] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    """Parameters, and variables whose value depends on one."""


def _facts(body: Expression) -> _Facts:
    facts = _Facts()
    waiting: list[tuple[Expression, bool]] = [(body, False)]
    while waiting:
        node, guarded = waiting.pop()
        match node:
            case HostCall():
                facts.calls.append((node, guarded))
            case Call():
                facts.plain.append(node)
            case Text():
                facts.texts.append(node)
            case Loop():
                facts.loops.append(node)
            case Function(parameters=parameters):
                facts.functions.append(node)
                facts.given.update(parameters)
            case Bind(named=name, value=value):
                facts.binds.append(node)
                if name is not None and isinstance(value, Text):
                    facts.named.append((name, value))
            case Pairs(entries=entries):
                facts.named += [
                    (key, value) for key, value in entries if key and isinstance(value, Text)
                ]
            case Guard(body=inner, handlers=handlers):
                waiting += [(one, guarded) for one in handlers]
                waiting.append((inner, True))
                continue
            case _:
                pass
        waiting += [(one, guarded) for one in children(node)]
    _spread(facts.given, facts.binds)
    return facts


def _spread(names: set[str], binds: list[Bind]) -> None:
    """Add the variables whose value depends on one of ``names``."""
    grew = True
    while grew:
        grew = False
        for bind in binds:
            if set(bind.names) - names and _uses(bind.value, names):
                names.update(bind.names)
                grew = True


def _uses(node: Expression, names: set[str]) -> bool:
    return any(isinstance(one, Use) and one.name in names for one in walk(node))


def _secrets(facts: _Facts) -> Iterator[Issue]:
    told: set[tuple[str, int]] = set()
    for name, text in facts.named:
        if is_secret_name(name) and text.value.strip():
            told.add((text.value, text.line))
            yield issue("SEC001", f"{name} is written out.", at_line(text.line))
    for text in facts.texts:
        known = any(_KEY_FORMATS.fullmatch(word) for word in (text.value, *text.value.split()))
        if known and (text.value, text.line) not in told:
            yield issue("SEC001", "A text has the form of a key.", at_line(text.line))


def _calls(facts: _Facts, manifest: Manifest, neighbours: Neighbours) -> Iterator[Issue]:
    joined = {bind.named for bind in facts.binds if _joins_sql(bind.value, set())}
    for call, guarded in facts.calls:
        place = at_line(call.line)
        known = neighbours.get(call.identifier or "")
        if call.identifier is None and _built(call.target, facts.given):
            yield issue("SEC_ANALYZER001", "What it calls depends on its input.", place)
        if call.identifier and _EXECUTION_WORDS & set(id_tokens(call.identifier)):
            yield issue("SEC_ANALYZER001", f"It calls {call.identifier}, which runs code.", place)
        if any(_joins_sql(one, joined) for one in call.arguments):
            yield issue("SEC002", "A statement of SQL is put together from parts.", place)
        if known is not None and known.needs_auth and "requires_auth" not in manifest.permissions:
            yield issue("SEC003", f"{call.identifier} needs a credential.", place)
        if not guarded and (known is None or known.acts):
            name = call.identifier or "a computed capability"
            yield issue("QUAL001", f"An error of {name} is not caught.", place)
    for one in facts.plain:
        if one.function in _EXECUTION_FUNCTIONS:
            yield issue("SEC_ANALYZER001", f"It calls {one.function}.", at_line(one.line))


def _built(target: Expression, given: set[str]) -> bool:
    """Whether an id depends on the caller's input otherwise than by choice among known ids."""
    match target:
        case Branch(ways=ways):
            return any(_built(way, given) for way in ways)
        case Block(parts=parts):
            return bool(parts) and _built(parts[-1], given)
        case _:
            return _uses(target, given)


def _joins_sql(node: Expression, joined: set[str | None]) -> bool:
    for one in walk(node):
        if isinstance(one, Use) and one.name in joined:
            return True
        if isinstance(one, Join):
            parts = _flat(one)
            texts = [part.value.split() for part in parts if isinstance(part, Text)]
            starts = {words[0].lower() for words in texts if len(words) > 1}
            others = any(not isinstance(part, Text | Constant) for part in parts)
            if others and starts & _SQL_VERBS:
                return True
    return False


def _flat(join: Join) -> list[Expression]:
    found: list[Expression] = []
    for part in join.parts:
        found += _flat(part) if isinstance(part, Join) else [part]
    return found


def _addresses(facts: _Facts) -> Iterator[Issue]:
    for text in facts.texts:
        scheme, separator, rest = text.value.strip().partition("://")
        plain = separator and scheme.lower() in {"http", "ws", "ftp"}
        if plain and not rest.startswith(("localhost", "127.0.0.1", "[::1]")):
            yield issue("SEC_ANALYZER002", f"{scheme} is not encrypted.", at_line(text.line))
    for name, text in facts.named:
        if name.lower() in {"authorization", "proxy-authorization"} and text.value.strip():
            yield issue("SEC_ANALYZER003", f"{name} is written out.", at_line(text.line))


def _leaks(facts: _Facts, read: Read) -> Iterator[Issue]:
    secret = {name for name in facts.given if is_secret_name(name)}
    if not secret:
        return
    _spread(secret, [one for one in facts.binds if not _calls_host(one.value)])
    for call, _ in facts.calls:
        logs = _LOG_WORDS & set(id_tokens(call.identifier or ""))
        if logs and any(_uses(one, secret) for one in call.arguments):
            yield issue("SEC_ANALYZER004", "A secret is logged.", at_line(call.line))
    for one in facts.plain:
        if one.function in _LOG_WORDS and any(_uses(part, secret) for part in one.arguments):
            yield issue("SEC_ANALYZER004", "A secret is logged.", at_line(one.line))
    for function in facts.functions:
        if function.name == read.entry and any(
            isinstance(one, Use) and one.name in secret for one in _results(function.body)
        ):
            yield issue("SEC_ANALYZER004", "A secret is in the answer.", at_line(function.line))


def _calls_host(node: Expression) -> bool:
    return any(isinstance(one, HostCall) for one in walk(node))


def _results(node: Expression) -> Iterator[Expression]:
    """What a body may answer, in parts."""
    match node:
        case Block(parts=parts):
            for part in parts[:-1]:
                yield from (one for one in _leaves(part))
            if parts:
                yield from _results(parts[-1])
        case Branch(ways=ways):
            for way in ways:
                yield from _results(way)
        case Guard(body=body, handlers=handlers):
            for part in (body, *handlers):
                yield from _results(part)
        case Loop(body=body):
            yield from _results(body)
        case Leave(value=value):
            yield from () if value is None else _results(value)
        case Join() | Parts() | Pairs():
            for part in children(node):
                yield from _results(part)
        case Use():
            yield node
        case _:
            return


def _leaves(node: Expression) -> Iterator[Expression]:
    """Results that leave a function before its end."""
    for one in walk(node):
        if isinstance(one, Leave):
            yield from _results(one)


def _shape(read: Read, facts: _Facts) -> Iterator[Issue]:
    if read.depth > MAXIMUM_DEPTH:
        yield issue("PERF_ANALYZER001", f"It is nested {read.depth} deep.")
    if len(facts.calls) > MAXIMUM_CALLS:
        yield issue("PERF_ANALYZER003", f"It makes {len(facts.calls)} calls.")
    for loop in facts.loops:
        if _endless(loop):
            yield issue("PERF_ANALYZER002", "A loop has no end.", at_line(loop.line))
    certain = {one.name: _surely_called(one.body) for one in facts.functions if one.name}
    for function in facts.functions:
        if function.name and _returns_to(function.name, certain):
            yield issue(
                "PERF_ANALYZER004",
                f"{function.name} always calls itself again.",
                at_line(function.line),
            )


def _endless(loop: Loop) -> bool:
    if loop.bounded:
        return False
    if loop.until is None:
        return _surely(loop.body, lambda one: isinstance(one, Again))
    forever = isinstance(loop.until, Constant | Text) and bool(loop.until.value)
    return forever and not _may_leave(loop.body)


def _may_leave(node: Expression) -> bool:
    if isinstance(node, Leave):
        return True
    if isinstance(node, Function):
        return False
    return any(_may_leave(one) for one in children(node))


def _surely(node: Expression, wanted: Callable[[Expression], bool]) -> bool:
    """Whether something happens on every way through a node."""
    if wanted(node):
        return True
    match node:
        case Function():
            return False
        case Branch(test=test, ways=ways):
            return _surely(test, wanted) or (
                bool(ways) and all(_surely(way, wanted) for way in ways)
            )
        case Loop(until=until, body=body, bounded=bounded):
            first = until is not None and _surely(until, wanted)
            return first or (until is None and not bounded and _surely(body, wanted))
        case Block(parts=parts):
            for part in parts:
                if _surely(part, wanted):
                    return True
                if _may_leave(part):
                    return False
            return False
        case Guard(body=body):
            return _surely(body, wanted)
        case _:
            return any(_surely(one, wanted) for one in children(node))


def _surely_called(body: Expression) -> frozenset[str]:
    """Functions that are called on every way through a body."""
    names = {one.function for one in walk(body) if isinstance(one, Call) and one.function}
    return frozenset(
        name
        for name in names
        if _surely(body, lambda one, name=name: isinstance(one, Call) and one.function == name)  # type: ignore[misc]
    )


def _returns_to(name: str, certain: Mapping[str, frozenset[str]]) -> bool:
    seen: set[str] = set()
    waiting = set(certain.get(name, ()))
    while waiting:
        current = waiting.pop()
        if current == name:
            return True
        if current not in seen:
            seen.add(current)
            waiting |= certain.get(current, frozenset())
    return False


def _dependencies(facts: _Facts, neighbours: Neighbours) -> Iterator[Issue]:
    named = sorted({one.identifier for one, _ in facts.calls if one.identifier})
    if len(named) > MAXIMUM_DEPENDENCIES:
        yield issue("DEP_ANALYZER001", f"It depends on {len(named)} capabilities.")
    for identifier in named:
        known = neighbours.get(identifier)
        if known is None:
            yield issue("DEP_ANALYZER002", f"{identifier} is not registered.")
        elif known.tier is TrustTier.UNKNOWN:
            yield issue("DEP_ANALYZER002", f"Nobody vouches for {identifier}.")
        elif known.deprecated:
            yield issue("DEP_ANALYZER003", f"{identifier} is deprecated.")


def _without_lines(node: Expression) -> Expression | None:
    """The arguments of a call, comparable wherever they stand; None if they are not constant."""
    if any(isinstance(one, Use | Call) for one in walk(node)):
        return Constant(id(node), 0)
    values = tuple(
        Constant(getattr(one, "value", None), 0)
        for one in walk(node)
        if isinstance(one, Text | Constant)
    )
    return Parts(values, 0)
