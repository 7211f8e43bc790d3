"""A small, direct evaluator of a part of RTFS, to hold the compiler against.

It walks forms. Its values are the tagged JSON data that compiled programs answer with, and Python
functions; nothing of the compiler or the prelude is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccos.rtfs.forms import (
    Form,
    Keyword,
    ListForm,
    Literal,
    MapForm,
    Symbol,
    VectorForm,
    head_name,
)

Scope = dict[str, Any]


class RaisedError(Exception):
    def __init__(self, kind: str, value: Any = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.value = value


class AgainError(Exception):
    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self.values = values


def evaluate(form: Form, scope: Scope) -> Any:
    match form:
        case Literal("float", float(value)):
            return {"float": value}
        case Literal(_, value):
            return value
        case Keyword(name):
            return {"kw": name}
        case Symbol(name):
            return variable(name, scope)
        case VectorForm(items):
            return {"vec": [evaluate(item, scope) for item in items]}
        case MapForm():
            pairs: list[list[Any]] = []
            for key, item in form.pairs:
                put(pairs, evaluate(key, scope), evaluate(item, scope))
            return {"map": pairs}
        case ListForm(()):
            return {"list": []}
        case ListForm((head, *rest)):
            special = SPECIAL.get(head_name(form))
            if special is not None:
                return special(rest, scope)
            function = evaluate(head, scope)
            return apply(function, [evaluate(item, scope) for item in rest])
    raise AssertionError(form)


def variable(name: str, scope: Scope) -> Any:
    if name in scope:
        return scope[name]
    if name in LIBRARY:
        return LIBRARY[name]
    raise RaisedError("UndefinedSymbol")


def apply(function: Any, values: list[Any]) -> Any:
    if callable(function):
        return function(*values)
    if isinstance(function, dict) and "kw" in function:
        if not 1 <= len(values) <= 2:
            raise RaisedError("ArityMismatch")
        return look_up(values[0], function, values[1] if len(values) == 2 else None)
    if isinstance(function, dict) and "map" in function:
        if not 1 <= len(values) <= 2:
            raise RaisedError("ArityMismatch")
        return found(function["map"], values[0], values[1] if len(values) == 2 else None)
    if isinstance(function, dict) and "vec" in function:
        if len(values) != 1:
            raise RaisedError("ArityMismatch")
        return nth(function, values[0])
    raise RaisedError("TypeError")


def truth(value: Any) -> bool:
    return value is not None and value is not False


def equal(a: Any, b: Any) -> bool:
    if callable(a) or callable(b):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        [(one, left)], [(other, right)] = a.items(), b.items()
        if {one, other} <= {"vec", "list"}:
            return len(left) == len(right) and all(map(equal, left, right))
        if one != other:
            return False
        if one == "map":
            return len(left) == len(right) and all(
                any(equal(k, x) and equal(v, y) for x, y in right) for k, v in left
            )
        return bool(left == right)
    return type(a) is type(b) and bool(a == b)


def put(pairs: list[list[Any]], key: Any, value: Any) -> None:
    check_key(key)
    for pair in pairs:
        if equal(pair[0], key):
            pair[1] = value
            return
    pairs.append([key, value])


def check_key(key: Any) -> None:
    if callable(key):
        raise RaisedError("TypeError")


def found(pairs: list[list[Any]], key: Any, default: Any = None) -> Any:
    check_key(key)
    for k, v in pairs:
        if equal(k, key):
            return v
    return default


def look_up(value: Any, key: Any, default: Any) -> Any:
    if value is None:
        return default
    if isinstance(value, dict) and "map" in value:
        missing = object()
        first = found(value["map"], key, missing)
        return found(value["map"], key["kw"], default) if first is missing else first
    if isinstance(value, RaisedError):
        return {"kw": "application-error"} if key["kw"] == "kind" else value.value
    raise RaisedError("TypeError")


def items(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, str):
        return list(value)
    if isinstance(value, dict):
        [(tag, inner)] = value.items()
        if tag in ("vec", "list"):
            return list(inner)
        if tag == "map":
            return [{"vec": [k, v]} for k, v in inner]
    raise RaisedError("TypeError")


def number(value: Any) -> int | float:
    if isinstance(value, dict) and "float" in value:
        return float(value["float"])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise RaisedError("TypeError")


def tagged(value: int | float) -> Any:
    return {"float": value} if isinstance(value, float) else value


# --- Special forms --------------------------------------------------------------------------


def body(forms: list[Form], scope: Scope) -> Any:
    value = None
    for form in forms:
        value = evaluate(form, scope)
    return value


def do_if(forms: list[Form], scope: Scope) -> Any:
    if truth(evaluate(forms[0], scope)):
        return evaluate(forms[1], scope)
    return evaluate(forms[2], scope) if len(forms) > 2 else None


def do_let(forms: list[Form], scope: Scope) -> Any:
    inner = dict(scope)
    bindings = items_of(forms[0])
    for pattern, value in zip(bindings[::2], bindings[1::2], strict=True):
        bind(pattern, evaluate(value, inner), inner)
    return body(forms[1:], inner)


def items_of(form: Form) -> tuple[Form, ...]:
    assert isinstance(form, VectorForm)
    return form.items


def bind(pattern: Form, value: Any, scope: Scope) -> None:
    match pattern:
        case Symbol("_"):
            pass
        case Symbol(name):
            scope[name] = value
        case VectorForm(parts):
            bind_items(list(parts), value, scope)
        case MapForm((Keyword("keys"), VectorForm(names))):
            if not isinstance(value, dict) or "map" not in value:
                raise RaisedError("TypeError")
            for one in names:
                assert isinstance(one, Symbol)
                scope[one.name] = look_up(value, {"kw": one.name}, None)


def bind_items(parts: list[Form], value: Any, scope: Scope) -> None:
    if not isinstance(value, dict) or not ("vec" in value or "list" in value):
        raise RaisedError("TypeError")
    given = items(value)
    rest = len(parts) > 1 and parts[-2] == Symbol("&")
    fixed = parts[:-2] if rest else parts
    if len(given) < len(fixed) or (not rest and len(given) != len(fixed)):
        raise RaisedError("TypeError")
    for part, one in zip(fixed, given, strict=False):
        bind(part, one, scope)
    if rest:
        left = given[len(fixed) :]
        bind(parts[-1], {"vec": left} if left else None, scope)


def do_fn(forms: list[Form], scope: Scope) -> Callable[..., Any]:
    parameters = list(items_of(forms[0]))
    rest = len(parameters) > 1 and parameters[-2] == Symbol("&")
    fixed = parameters[:-2] if rest else parameters

    def function(*values: Any) -> Any:
        if len(values) < len(fixed) or (not rest and len(values) > len(fixed)):
            raise RaisedError("ArityMismatch")
        inner = dict(scope)
        for parameter, value in zip(fixed, values, strict=False):
            bind(parameter, value, inner)
        if rest:
            left = list(values[len(fixed) :])
            bind(parameters[-1], {"list": left} if left else None, inner)
        return body(forms[1:], inner)

    return function


def do_loop(forms: list[Form], scope: Scope) -> Any:
    bindings = items_of(forms[0])
    inner = dict(scope)
    for pattern, value in zip(bindings[::2], bindings[1::2], strict=True):
        bind(pattern, evaluate(value, inner), inner)
    while True:
        try:
            return body(forms[1:], inner)
        except AgainError as again:
            inner = dict(inner)
            for pattern, value in zip(bindings[::2], again.values, strict=True):
                bind(pattern, value, inner)


def do_recur(forms: list[Form], scope: Scope) -> Any:
    raise AgainError([evaluate(form, scope) for form in forms])


def do_for(forms: list[Form], scope: Scope) -> Any:
    pattern, collection = items_of(forms[0])
    result = []
    for item in items(evaluate(collection, scope)):
        inner = dict(scope)
        bind(pattern, item, inner)
        result.append(body(forms[1:], inner))
    return {"vec": result}


def do_and(forms: list[Form], scope: Scope) -> Any:
    value: Any = True
    for form in forms:
        value = evaluate(form, scope)
        if not truth(value):
            return value
    return value


def do_or(forms: list[Form], scope: Scope) -> Any:
    value: Any = False
    for form in forms:
        value = evaluate(form, scope)
        if truth(value):
            return value
    return value


def do_try(forms: list[Form], scope: Scope) -> Any:
    *main, catch = forms
    assert isinstance(catch, ListForm)
    _, selector, name, *handler = catch.items
    try:
        return body(main, scope)
    except RaisedError as error:
        assert isinstance(selector, Symbol)
        assert isinstance(name, Symbol)
        if selector.name not in ("Exception", error.kind):
            raise
        return body(handler, {**scope, name.name: error})


def do_match(forms: list[Form], scope: Scope) -> Any:
    value = evaluate(forms[0], scope)
    clauses = list(forms[1:])
    while clauses:
        pattern, result = clauses.pop(0), clauses.pop(0)
        guard: Form | None = None
        if result == Symbol("when"):
            guard, result = clauses.pop(0), clauses.pop(0)
        inner = dict(scope)
        if fits(pattern, value, inner) and (guard is None or truth(evaluate(guard, inner))):
            return evaluate(result, inner)
    raise RaisedError("MatchError")


def fits(pattern: Form, value: Any, scope: Scope) -> bool:
    match pattern:
        case Symbol("_"):
            return True
        case Symbol(name):
            scope[name] = value
            return True
        case Literal() | Keyword():
            return equal(evaluate(pattern, {}), value)
        case VectorForm(parts):
            if not isinstance(value, dict) or not ("vec" in value or "list" in value):
                return False
            given = items(value)
            return len(given) == len(parts) and all(
                fits(part, one, scope) for part, one in zip(parts, given, strict=True)
            )
        case MapForm():
            if not isinstance(value, dict) or "map" not in value:
                return False
            if not pattern.items:
                return not value["map"]
            missing = object()
            for key, inner in pattern.pairs:
                one = found(value["map"], evaluate(key, {}), missing)
                if one is missing or not fits(inner, one, scope):
                    return False
            return True
    raise AssertionError(pattern)


SPECIAL: dict[str | None, Callable[[list[Form], Scope], Any]] = {
    "if": do_if,
    "do": body,
    "let": do_let,
    "fn": do_fn,
    "loop": do_loop,
    "recur": do_recur,
    "for": do_for,
    "and": do_and,
    "or": do_or,
    "try": do_try,
    "match": do_match,
}


# --- Library --------------------------------------------------------------------------------


def fixed(count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*values: Any) -> Any:
        if len(values) != count:
            raise RaisedError("ArityMismatch")
        return function(*values)

    return checked


def folded(operation: Callable[[Any, Any], Any], single: Callable[[Any], Any]) -> Any:
    def function(*values: Any) -> Any:
        if not values:
            raise RaisedError("ArityMismatch")
        numbers = [number(value) for value in values]
        if len(numbers) == 1:
            return tagged(single(numbers[0]))
        total = numbers[0]
        for one in numbers[1:]:
            total = operation(total, one)
        return tagged(total)

    return function


def quotient(a: Any, b: Any) -> Any:
    if b == 0:
        raise RaisedError("DivisionByZero")
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    result = a / b
    return int(result) if abs(result) <= 2**53 and result == int(result) else result


def ordered(test: Callable[[Any, Any], bool]) -> Any:
    def compare(a: Any, b: Any) -> bool:
        if isinstance(a, str) and isinstance(b, str):
            return test(a, b)
        return test(number(a), number(b))

    return fixed(2, compare)


def conj(collection: Any, item: Any) -> Any:
    if collection is None:
        return {"vec": [item]}
    if isinstance(collection, dict) and ("vec" in collection or "list" in collection):
        [(tag, inner)] = collection.items()
        return {tag: [*inner, item]}
    if isinstance(collection, dict) and "map" in collection:
        pairs = [list(pair) for pair in collection["map"]]
        if isinstance(item, dict) and "map" in item:
            for k, v in item["map"]:
                put(pairs, k, v)
            return {"map": pairs}
        if item is None:
            return {"map": pairs}
        entry = items(item)
        if isinstance(item, str) or len(entry) != 2:
            raise RaisedError("TypeError")
        put(pairs, entry[0], entry[1])
        return {"map": pairs}
    raise RaisedError("TypeError")


def assoc(collection: Any, key: Any, value: Any) -> Any:
    if isinstance(collection, dict) and ("vec" in collection or "list" in collection):
        given = items(collection)
        if not isinstance(key, int) or isinstance(key, bool):
            raise RaisedError("TypeError")
        if not 0 <= key <= len(given):
            raise RaisedError("IndexOutOfBounds")
        return {"vec": [*given[:key], value, *given[key + 1 :]]}
    if collection is None or (isinstance(collection, dict) and "map" in collection):
        pairs = [list(pair) for pair in (collection or {"map": []})["map"]]
        put(pairs, key, value)
        return {"map": pairs}
    raise RaisedError("TypeError")


def get(collection: Any, key: Any) -> Any:
    if collection is None:
        return None
    if isinstance(collection, dict) and "map" in collection:
        return found(collection["map"], key)
    if isinstance(collection, dict) and ("vec" in collection or "list" in collection):
        if not isinstance(key, int) or isinstance(key, bool):
            raise RaisedError("TypeError")
        given = items(collection)
        return given[key] if 0 <= key < len(given) else None
    if isinstance(collection, RaisedError):
        return None
    raise RaisedError("TypeError")


def nth(collection: Any, index: Any) -> Any:
    given = items(collection)
    if not isinstance(index, int) or isinstance(index, bool):
        raise RaisedError("TypeError")
    if not 0 <= index < len(given):
        raise RaisedError("IndexOutOfBounds")
    return given[index]


def count(collection: Any) -> int:
    return len(items(collection))


def rest(collection: Any) -> Any:
    return collection[1:] if isinstance(collection, str) else {"vec": items(collection)[1:]}


def check_callable(function: Any) -> None:
    if callable(function):
        return
    if not isinstance(function, dict) or not (function.keys() & {"kw", "map", "vec"}):
        raise RaisedError("TypeError")


def mapped(function: Any, collection: Any) -> Any:
    check_callable(function)
    return {"vec": [apply(function, [item]) for item in items(collection)]}


def filtered(function: Any, collection: Any) -> Any:
    check_callable(function)
    return {"vec": [item for item in items(collection) if truth(apply(function, [item]))]}


def reduced(*values: Any) -> Any:
    if not 2 <= len(values) <= 3:
        raise RaisedError("ArityMismatch")
    check_callable(values[0])
    given = items(values[-1])
    if len(values) == 3:
        total = values[1]
    elif given:
        total = given.pop(0)
    else:
        raise RaisedError("InvalidArgument")
    for item in given:
        total = apply(values[0], [total, item])
    return total


def throw(value: Any) -> Any:
    if isinstance(value, RaisedError):
        raise value
    if isinstance(value, str):
        raise RaisedError("ApplicationError", value)
    raise RaisedError("TypeError")


LIBRARY: dict[str, Any] = {
    "+": folded(lambda a, b: a + b, lambda a: a),
    "-": folded(lambda a, b: a - b, lambda a: -a),
    "*": folded(lambda a, b: a * b, lambda a: a),
    "/": folded(quotient, lambda a: quotient(1, a)),
    "inc": fixed(1, lambda a: tagged(number(a) + 1)),
    "<": ordered(lambda a, b: a < b),
    ">=": ordered(lambda a, b: a >= b),
    "=": fixed(2, equal),
    "not": fixed(1, lambda value: not truth(value)),
    "nil?": fixed(1, lambda value: value is None),
    "vector": lambda *values: {"vec": list(values)},
    "list": lambda *values: {"list": list(values)},
    "count": fixed(1, count),
    "first": fixed(1, lambda c: (items(c) or [None])[0]),
    "rest": fixed(1, rest),
    "conj": fixed(2, conj),
    "assoc": fixed(3, assoc),
    "get": fixed(2, get),
    "nth": fixed(2, nth),
    "map": fixed(2, mapped),
    "filter": fixed(2, filtered),
    "reduce": reduced,
    "throw": fixed(1, throw),
}
