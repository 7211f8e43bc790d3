"""What a compiled RTFS program finds at run time, in the Python subset that Monty runs.

The compiler copies from this text what a program needs, so nothing here may use what Monty lacks
(inheritance, ``yield``, ``del``); as an ordinary module it also runs in CPython, which folds
constants with it.

How values are represented:

=====================  ============================================================
integer, float, text   ``int``, ``float``, ``str``; ``nil`` is ``None``
boolean                ``TRUE`` and ``FALSE``, so that no boolean takes part in sums
keyword                ``bytes``: ``:name`` is ``b"name"``
vector, list, map      ``list``, ``tuple``, ``dict``; nobody ever changes one
function               a function
symbol, timestamp, …   the classes below
=====================  ============================================================

A key of a ``dict`` is the value itself if it is text, an integer, a keyword or an instance, and a
:class:`Key` around it otherwise, since ``1`` and ``1.0`` are different keys.
"""

# The table of the library says what each function does.
# ruff: noqa: D103, C419

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

Value = Any

if TYPE_CHECKING:
    rtfs_context: dict[str, Value]

    def rtfs_call(
        key: str,
        target: str,
        arguments: list[Value],
        line: int,
        keywords: list[int] = [],  # noqa: B006
        hints: dict[str, Value] | None = None,
        steps: list[str] = [],  # noqa: B006
    ) -> dict[str, Value]:
        """The host performs one call; the program waits.

        Args:
            key: The place of the call in the run: ``3``, or ``4/0/1`` in a parallel branch.
            target: The id as the program writes it.
            arguments: JSON data.
            line: Of the program, counted from 1.
            keywords: Which arguments were keywords, if the first was: they may name properties.
            hints: The hints in force by name, without ``runtime.`` and ``learning.``.
            steps: The labels of the steps around the call.

        Returns:
            ``{"value": data}``, with ``"shape"`` where a type says more than JSON does (see
            ``shaped``), or ``{"error": {"kind", "type", "message", "data"}}``.
        """

    def rtfs_calls(requests: list[Value]) -> dict[str, dict[str, Value]]:
        """The host performs several calls, each given as the arguments of ``rtfs_call``.

        It answers the outcomes by key as soon as there is one; the others are asked for again.
        """

    def rtfs_event(event: dict[str, Value]) -> None:
        """The host takes notice of something."""


# --- Values ---------------------------------------------------------------------------------


class Bool:
    """``true`` or ``false``."""

    def __init__(self, name: str) -> None:
        self.name = name


TRUE = Bool("true")
FALSE = Bool("false")


class Symbol:
    """A quoted name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: Value) -> bool:
        return type(other) is Symbol and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class Timestamp:
    """An instant, printed as it was written."""

    def __init__(self, text: str) -> None:
        self.text = text
        instant = text[:-1].replace("_", ".")
        self.instant = instant.rstrip("0").rstrip(".") if "." in instant else instant

    def __eq__(self, other: Value) -> bool:
        return type(other) is Timestamp and self.instant == other.instant

    def __hash__(self) -> int:
        return hash(self.instant)


class Uuid:
    """A UUID, printed as it was written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: Value) -> bool:
        return type(other) is Uuid and self.text.lower() == other.text.lower()

    def __hash__(self) -> int:
        return hash(self.text.lower())


class Handle:
    """A resource handle."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: Value) -> bool:
        return type(other) is Handle and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class Error:
    """An error value; ``type`` is None if it is the kind itself."""

    def __init__(self, kind: str, message: str, cause: Value = None, data: Value = None) -> None:
        self.kind = kind
        self.message = message
        self.cause = cause
        self.data = data


class Key:
    """A key that Python would not tell apart from another, or could not hash."""

    def __init__(self, value: Value, form: Value) -> None:
        self.value = value
        self.form = form

    def __eq__(self, other: Value) -> bool:
        return type(other) is Key and bool(self.form == other.form)

    def __hash__(self) -> int:
        return hash(self.form)


def a_function() -> None:
    """Only its type is of interest."""


Function = type(a_function)
MISSING = Symbol("missing")


def boolean(value: Value) -> Bool:
    return TRUE if value else FALSE


def truth(value: Value) -> bool:
    return value is not None and value is not FALSE


def type_name(value: Value) -> str:
    kind = type(value)
    if kind is str:
        return "string"
    if kind is int:
        return "integer"
    if kind is float:
        return "float"
    if kind is bytes:
        return "keyword"
    if kind is list:
        return "vector"
    if kind is dict:
        return "map"
    if value is None:
        return "nil"
    if kind is Bool:
        return "boolean"
    if kind is tuple:
        return "list"
    if kind is Error:
        return "error"
    if kind is Symbol:
        return "symbol"
    if kind is Timestamp:
        return "timestamp"
    if kind is Uuid:
        return "uuid"
    if kind is Handle:
        return "resource-handle"
    return "function"


# --- Errors ---------------------------------------------------------------------------------

RAISED: list[Value] = [None]
"""The error value that the last RuntimeError stands for."""

KINDS = {
    "TypeError": "RuntimeError",
    "ArityMismatch": "RuntimeError",
    "UndefinedSymbol": "RuntimeError",
    "ArithmeticError": "RuntimeError",
    "DivisionByZero": "ArithmeticError",
    "IndexOutOfBounds": "RuntimeError",
    "KeyNotFound": "RuntimeError",
    "InvalidArgument": "RuntimeError",
    "MatchError": "RuntimeError",
    "JsonError": "RuntimeError",
    "ModuleNotFound": "RuntimeError",
    "ModuleError": "RuntimeError",
    "ApplicationError": "RuntimeError",
    "RuntimeError": "Exception",
    "ValidationError": "Exception",
    "TypeValidationError": "ValidationError",
    "HostError": "Exception",
    "UnknownCapability": "HostError",
    "SecurityViolation": "HostError",
    "ApprovalDenied": "HostError",
    "CapabilityError": "HostError",
    "NetworkError": "HostError",
    "TimeoutError": "HostError",
    "IoError": "HostError",
    "ResourceError": "HostError",
    "StorageError": "HostError",
}
UNCATCHABLE = {
    "ParseError": True,
    "BudgetExhausted": True,
    "ReplayMismatch": True,
    "Cancelled": True,
    "InternalError": True,
    "Suspended": True,
}
KIND_SYNONYMS = {
    "Throwable": "Exception",
    "Error": "Exception",
    "ArithmeticException": "ArithmeticError",
    "RuntimeException": "RuntimeError",
    "IllegalArgumentException": "InvalidArgument",
    "SymbolNotFound": "UndefinedSymbol",
    "ArityError": "ArityMismatch",
}


def raise_error(error: Error) -> NoReturn:
    """Raise an error value. The text of the exception is JSON, for whom it reaches outside."""
    RAISED[0] = error
    words = '{"kind": ' + json_string(error.kind) + ', "message": ' + json_string(error.message)
    if error.cause is not None:
        words = words + ', "type": ' + json_string(text(name_of(error.cause)))
    if error.data is not None:
        words = words + ', "data": ' + data_text(error.data)
    raise RuntimeError(words + "}")


def data_text(data: Value) -> str:
    """What an error carries as JSON; as text if it is no JSON data."""
    try:
        return json_text(data)
    except RuntimeError:
        return json_string(shown(data))


def fail(kind: str, message: str) -> NoReturn:
    raise_error(Error(kind, message))


def type_fault(wanted: str, value: Value) -> NoReturn:
    fail("TypeError", "expected " + wanted + ", got " + article(type_name(value)))


def article(noun: str) -> str:
    if noun == "nil":
        return noun
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def undefined(name: str) -> NoReturn:
    fail("UndefinedSymbol", "`" + name + "` is not defined")


def no_match(value: Value) -> NoReturn:
    fail("MatchError", "no clause matches " + cut(shown(value)))


def cut(words: str) -> str:
    return words if len(words) <= 200 else words[:200] + "…"


def caught(failure: Exception) -> Error:
    """The error value of an exception; what no program may catch is raised again."""
    message = str(failure)
    kind = type(failure).__name__
    if kind == "RuntimeError" and message.startswith('{"kind": '):
        error: Error = RAISED[0]
        if error.kind in UNCATCHABLE:
            raise failure
        return error
    if kind == "TypeError":
        return Error("ArityMismatch" if is_arity(message) else "TypeError", message)
    if kind == "ZeroDivisionError":
        return Error("DivisionByZero", "division by zero")
    if kind == "NameError" or kind == "UnboundLocalError":
        return Error("UndefinedSymbol", message)
    if kind == "OverflowError":
        return Error("ArithmeticError", message)
    if kind == "ValueError":
        return Error("InvalidArgument", message)
    if kind == "AttributeError":
        return Error("TypeError", message)
    raise failure


def again(failure: Exception, error: Error) -> NoReturn:
    """Raise once more what was caught."""
    RAISED[0] = error
    raise failure


def is_arity(message: str) -> bool:
    return "() takes " in message or "() missing " in message


def kebab(name: str) -> str:
    letters: list[str] = []
    for c in name:
        if c.isupper() and letters:
            letters.append("-")
        letters.append(c.lower())
    return "".join(letters)


def family(kind: str) -> list[str]:
    """The kind and all above it."""
    kinds = [kind]
    while kind in KINDS:
        kind = KINDS[kind]
        kinds.append(kind)
    if "TypeValidationError" in kinds:
        kinds.append("TypeError")
    return kinds


def selects_name(error: Error, name: str) -> bool:
    """Whether ``(catch Name …)`` catches the error."""
    wanted = KIND_SYNONYMS.get(name, name)
    return wanted == "Exception" or wanted in family(error.kind)


def selects_keyword(error: Error, name: str) -> bool:
    """Whether ``(catch :name …)`` catches the error."""
    if error.cause is not None and name_of(error.cause) == name:
        return True
    bare = name[6:] if name.startswith("error/") else name
    for kind in [*family(error.kind), "Exception"]:
        kebab_name = kebab(kind)
        if bare == kebab_name or bare + "-error" == kebab_name or bare == kebab_name + "-error":
            return True
    return False


def name_of(value: Value) -> str:
    """The name of a keyword or symbol; other values as text."""
    kind = type(value)
    if kind is bytes:
        return str(value.decode())
    if kind is Symbol:
        return str(value.name)
    return text(value)


def error_get(error: Error, k: Value) -> Value:
    """What an error value answers for a key, or MISSING."""
    if k == b"kind" or k == "kind":
        return kebab(error.kind).encode()
    if k == b"type" or k == "type":
        return kebab(error.kind).encode() if error.cause is None else error.cause
    if k == b"message" or k == "message":
        return error.message
    if k == b"data" or k == "data":
        return error.data
    return MISSING


def throw(value: Value) -> NoReturn:
    if type(value) is Error:
        raise_error(value)
    if type(value) is str:
        raise_error(Error("ApplicationError", value))
    if type(value) is dict:
        message = lookup(value, b"message")
        words = message if type(message) is str else text(message)
        cause = lookup(value, b"type")
        raise_error(Error("ApplicationError", words, cause, lookup(value, b"data")))
    type_fault("an error, a string or a map", value)


def ex_info(message: str, data: Value = None) -> Error:
    return new_error("ApplicationError", message, data)


def new_error(kind: str, message: str, data: Value = None) -> Error:
    if kind in UNCATCHABLE:
        return fail("InvalidArgument", "a program cannot make errors of kind " + kind)
    return Error(kind, check_text(message), None, data)


def error(message: str, data: Value = None) -> NoReturn:
    raise_error(ex_info(message, data))


def check_error(value: Value) -> Error:
    return value if type(value) is Error else type_fault("an error", value)


def ex_message(value: Value) -> str:
    return check_error(value).message


def ex_data(value: Value) -> Value:
    return check_error(value).data


def ex_kind(value: Value) -> bytes:
    return kebab(check_error(value).kind).encode()


def with_context(value: Value, data: Value) -> Error:
    e = check_error(value)
    return Error(e.kind, e.message, e.cause, merge(e.data, check_map(data)))


# --- Keys, equality and order ---------------------------------------------------------------


def key(value: Value) -> Value:
    """What stands for a value as a key of a dict."""
    kind = type(value)
    if kind is bytes or kind is str or kind is int or value is None:
        return value
    if kind is float or kind is list or kind is tuple or kind is dict:
        return Key(value, canonical(value))
    if kind is Function or kind is Error:
        return fail("TypeError", article(type_name(value)) + " cannot be a key")
    return value


def canonical(value: Value) -> Value:
    """A hashable form that is the same for equal values only."""
    kind = type(value)
    if kind is float:
        if value != value:
            return fail("TypeError", "NaN cannot be a key")
        return ("float", value)
    if kind is list or kind is tuple:
        return ("sequence", tuple([canonical(item) for item in value]))
    if kind is dict:
        return ("map", frozenset([(k, canonical(v)) for k, v in value.items()]))
    return key(value)


def unkey(k: Value) -> Value:
    return k.value if type(k) is Key else k


def entries(m: dict[Value, Value]) -> list[Value]:
    return [[unkey(k), v] for k, v in m.items()]


def equal(a: Value, b: Value) -> bool:
    kind = type(a)
    if kind is str or kind is int or kind is bytes or kind is float:
        return type(b) is kind and bool(a == b)
    if kind is list or kind is tuple:
        if type(b) is not list and type(b) is not tuple:
            return False
        if len(a) != len(b):
            return False
        return all([equal(a[i], b[i]) for i in range(len(a))])
    if kind is dict:
        if type(b) is not dict or len(a) != len(b):
            return False
        return all([k in b and equal(v, b[k]) for k, v in a.items()])
    if kind is Symbol or kind is Timestamp or kind is Uuid or kind is Handle:
        return bool(a == b)
    return a is b


def all_equal(first: Value, *others: Value) -> Bool:
    for other in others:
        if not equal(first, other):
            return FALSE
        first = other
    return TRUE


def not_equal(first: Value, *others: Value) -> Bool:
    return FALSE if all_equal(first, *others) is TRUE else TRUE


def sort_key(value: Value) -> Value:
    """A Python value that is ordered as RTFS orders ``value``."""
    kind = type(value)
    if kind is int or kind is float:
        return (2, value)
    if kind is str:
        return (3, value)
    if kind is bytes:
        return (4, value)
    if kind is list or kind is tuple:
        return (8, [sort_key(item) for item in value])
    if value is None:
        return (0,)
    if kind is Bool:
        return (1, 1 if value is TRUE else 0)
    if kind is Symbol:
        return (5, value.name)
    if kind is Timestamp:
        return (6, value.instant)
    if kind is Uuid:
        return (7, value.text.lower())
    return fail("TypeError", article(type_name(value)) + " has no order")


def compare(a: Value, b: Value) -> int:
    x = sort_key(a)
    y = sort_key(b)
    return -1 if x < y else (1 if x > y else 0)


def orderable(a: Value, b: Value) -> Value:
    """Refuse what ``<`` and its like do not compare; timestamps become text."""
    x = type(a)
    y = type(b)
    if (x is int or x is float) and (y is int or y is float):
        return a, b
    if x is str and y is str:
        return a, b
    if x is Timestamp and y is Timestamp:
        return a.instant, b.instant
    return type_fault(
        "two numbers, two strings or two timestamps",
        b if x is int or x is float or x is str else a,
    )


def less(a: Value, b: Value) -> bool:
    x, y = orderable(a, b)
    return bool(x < y)


def less_or_equal(a: Value, b: Value) -> bool:
    x, y = orderable(a, b)
    return bool(x <= y)


def greater(a: Value, b: Value) -> bool:
    x, y = orderable(a, b)
    return bool(x > y)


def greater_or_equal(a: Value, b: Value) -> bool:
    x, y = orderable(a, b)
    return bool(x >= y)


def ascending(test: Value, first: Value, others: Value) -> Bool:
    """Whether ``test`` holds between each two neighbours; all of them are looked at."""
    if not others:
        orderable(first, first)
    result = TRUE
    for other in others:
        if not test(first, other):
            result = FALSE
        first = other
    return result


def lt(first: Value, *others: Value) -> Bool:
    return ascending(less, first, others)


def le(first: Value, *others: Value) -> Bool:
    return ascending(less_or_equal, first, others)


def gt(first: Value, *others: Value) -> Bool:
    return ascending(greater, first, others)


def ge(first: Value, *others: Value) -> Bool:
    return ascending(greater_or_equal, first, others)


# --- Numbers --------------------------------------------------------------------------------


def budget(dimension: str) -> NoReturn:
    fail("BudgetExhausted", "the budget is used up: " + dimension)


def check_number(value: Value) -> Value:
    kind = type(value)
    return value if kind is int or kind is float else type_fault("a number", value)


def check_integer(value: Value) -> int:
    return value if type(value) is int else type_fault("an integer", value)


def add(first: Value, *others: Value) -> Value:
    total = check_number(first)
    for other in others:
        total = total + check_number(other)
    return total


def subtract(first: Value, *others: Value) -> Value:
    total = check_number(first)
    if not others:
        return -total
    for other in others:
        total = total - check_number(other)
    return total


def multiply(first: Value, *others: Value) -> Value:
    total = check_number(first)
    for other in others:
        total = total * check_number(other)
    return total


def divide(first: Value, *others: Value) -> Value:
    if not others:
        return quotient(1, first)
    for other in others:
        first = quotient(first, other)
    return first


def quotient(a: Value, b: Value) -> Value:
    """The exact quotient as an integer where there is one, and a float otherwise."""
    check_number(a)
    check_number(b)
    if b == 0:
        return fail("DivisionByZero", "division by zero")
    if type(a) is int and type(b) is int:
        whole, left = divmod(a, b)
        if left == 0:
            return whole
        try:
            return a / b
        except OverflowError:
            return math.inf if (a < 0) == (b < 0) else -math.inf
    result = a / b
    if -9007199254740992.0 <= result <= 9007199254740992.0 and result == int(result):
        return int(result)
    return result


def inc(x: Value) -> Value:
    return check_number(x) + 1


def dec(x: Value) -> Value:
    return check_number(x) - 1


def absolute(x: Value) -> Value:
    return abs(check_number(x))


def maximum(first: Value, *others: Value) -> Value:
    check_number(first)
    for other in others:
        if check_number(other) > first:
            first = other
    return first


def minimum(first: Value, *others: Value) -> Value:
    check_number(first)
    for other in others:
        if check_number(other) < first:
            first = other
    return first


def sqrt(x: Value) -> float:
    if check_number(x) < 0:
        return fail("InvalidArgument", "a negative number has no square root")
    return math.sqrt(x)


def factorial(n: Value) -> int:
    if check_integer(n) < 0:
        return fail("InvalidArgument", "a negative number has no factorial")
    if n > 70000:
        return budget("bits of an integer")
    product = 1
    for i in range(2, n + 1):
        product = product * i
    return product


def power(x: Value, y: Value) -> Value:
    check_number(x)
    check_number(y)
    if x == 0 and y < 0:
        return fail("DivisionByZero", "zero to a negative power")
    if type(x) is int and type(y) is int:
        if y >= 0:
            if bits(x) * y > 1000000 and x != 1 and x != -1 and x != 0:
                return budget("bits of an integer")
            return x**y
        return quotient(1, x ** (-y)) if x == 1 or x == -1 else float_power(x, y)
    if x < 0 and y != int_part(y):
        return fail("InvalidArgument", "the result is not a real number")
    return float_power(x, y)


def int_part(x: Value) -> Value:
    return x if x != x or x - x != 0 else int(x)


def float_power(x: Value, y: Value) -> float:
    try:
        return float(float(x) ** y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf


def bits(x: int) -> int:
    """About how many bits an integer has; never too many."""
    x = abs(x)
    count = 0
    while x >= 4294967296:
        step = 32
        while x >> (step * 2):
            step = step * 2
        x = x >> step
        count = count + step
    while x > 1:
        x = x >> 1
        count = count + 1
    return count


def modulo(x: Value, y: Value) -> Value:
    check_number(x)
    if check_number(y) == 0:
        return fail("DivisionByZero", "division by zero")
    return x % y


def remainder(x: Value, y: Value) -> Value:
    check_number(x)
    if check_number(y) == 0:
        return fail("DivisionByZero", "division by zero")
    if type(x) is int and type(y) is int:
        left = abs(x) % abs(y)
        return -left if x < 0 else left
    return math.nan if x - x != 0 else math.fmod(x, y)


def integer_quotient(x: Value, y: Value) -> Value:
    check_number(x)
    if check_number(y) == 0:
        return fail("DivisionByZero", "division by zero")
    if type(x) is int and type(y) is int:
        whole = abs(x) // abs(y)
        return whole if (x < 0) == (y < 0) else -whole
    return truncated(x / y)


def truncated(x: Value) -> int:
    if x != x or x - x != 0:
        return fail("InvalidArgument", float_text(x) + " is not finite")
    return int(x)


def is_even(x: Value) -> Bool:
    return TRUE if check_integer(x) % 2 == 0 else FALSE


def is_odd(x: Value) -> Bool:
    return TRUE if check_integer(x) % 2 == 1 else FALSE


def is_zero(x: Value) -> Bool:
    return TRUE if check_number(x) == 0 else FALSE


def is_positive(x: Value) -> Bool:
    return TRUE if check_number(x) > 0 else FALSE


def is_negative(x: Value) -> Bool:
    return TRUE if check_number(x) < 0 else FALSE


def floor(x: Value) -> int:
    whole = truncated(check_number(x))
    return whole - 1 if whole > x else whole


def ceil(x: Value) -> int:
    whole = truncated(check_number(x))
    return whole + 1 if whole < x else whole


def rounded(x: Value) -> int:
    if type(x) is int:
        return x
    whole = truncated(check_number(x))
    if abs(x - whole) >= 0.5:
        return whole + 1 if x > 0 else whole - 1
    return whole


INTEGER = re.compile("[+-]?[0-9]+")
FLOAT = re.compile("[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?")


def parse_int(value: Value) -> Value:
    kind = type(value)
    if kind is int:
        return value
    if kind is float:
        return None if value != value or value - value != 0 else int(value)
    if kind is not str:
        return None
    words = value.strip()
    if not INTEGER.fullmatch(words):
        return None
    digits = words.lstrip("+-")
    if len(digits) > 302000:
        return budget("bits of an integer")
    return -integer_of(digits) if words[0] == "-" else integer_of(digits)


def integer_of(digits: str) -> int:
    """``int(digits)`` for any length."""
    if len(digits) <= 4000:
        return int(digits)
    low = len(digits) // 2
    power: int = 10**low
    return integer_of(digits[:-low]) * power + integer_of(digits[-low:])


def parse_float(value: Value) -> Value:
    kind = type(value)
    if kind is float:
        return value
    if kind is int:
        return as_float(value)
    if kind is not str:
        return None
    words = value.strip()
    return float(words) if FLOAT.fullmatch(words) else None


def as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def to_int(value: Value) -> int:
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is float:
        return truncated(value)
    if value is TRUE:
        return 1
    if value is FALSE or value is None:
        return 0
    if kind is str:
        number = parse_int(value)
        return 0 if number is None else int(number)
    return type_fault("a number, boolean, nil or string", value)


def to_float(value: Value) -> float:
    kind = type(value)
    if kind is int or kind is float:
        return float(parse_float(value))
    if value is TRUE:
        return 1.0
    if value is FALSE or value is None:
        return 0.0
    if kind is str:
        number = parse_float(value)
        return 0.0 if number is None else float(number)
    return type_fault("a number, boolean, nil or string", value)


# --- Printing -------------------------------------------------------------------------------


def float_text(value: float) -> str:
    if value != value:
        return "##NaN"
    if value == math.inf:
        return "##Inf"
    if value == -math.inf:
        return "##-Inf"
    return repr(value)


def integer_text(value: int) -> str:
    """``str(value)`` for any size."""
    if -(10**4000) < value < 10**4000:
        return str(value)
    if value < 0:
        return "-" + integer_text(-value)
    digits = 4000
    while 10 ** (digits * 2) <= value:
        digits = digits * 2
    high, low = divmod(value, 10**digits)
    lower = integer_text(low)
    return integer_text(high) + "0" * (digits - len(lower)) + lower


def quoted(value: str) -> str:
    """A string literal."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'


def text(value: Value) -> str:
    """A value as ``str`` prints it."""
    if type(value) is str:
        return str(value)
    return shown(value)


def shown(value: Value) -> str:
    """A value as it reads inside a collection."""
    kind = type(value)
    if kind is str:
        return quoted(value)
    if kind is int:
        return integer_text(value)
    if kind is float:
        return float_text(value)
    if kind is bytes:
        return ":" + str(value.decode())
    if value is None:
        return "nil"
    if kind is list:
        return "[" + " ".join([shown(item) for item in value]) + "]"
    if kind is tuple:
        return "(" + " ".join([shown(item) for item in value]) + ")"
    if kind is dict:
        pairs = [shown(unkey(k)) + " " + shown(v) for k, v in value.items()]
        return "{" + " ".join(pairs) + "}"
    if kind is Bool or kind is Symbol:
        return str(value.name)
    if kind is Timestamp or kind is Uuid or kind is Handle:
        return str(value.text)
    if kind is Error:
        return "#<error: " + str(value.message) + ">"
    return "#<function>"


def concat_text(*values: Value) -> str:
    return "".join([text(value) for value in values])


def readable_text(*values: Value) -> str:
    return " ".join([shown(value) for value in values])


DIRECTIVE = re.compile("%(%|s|d|f|[.][0-9]+f)")


def format_text(pattern: str, *values: Value) -> str:
    parts: list[str] = []
    position = 0
    used = 0
    for found in DIRECTIVE.finditer(check_text(pattern)):
        plain = pattern[position : found.start()]
        if "%" in plain:
            return fail("InvalidArgument", "the directives are %s %d %f %.nf %%")
        parts.append(plain)
        position = found.end()
        directive = found.group(1)
        if directive == "%":
            parts.append("%")
            continue
        if used == len(values):
            return fail("InvalidArgument", "the format has more directives than values")
        parts.append(formatted(directive, values[used]))
        used = used + 1
    if "%" in pattern[position:]:
        return fail("InvalidArgument", "the directives are %s %d %f %.nf %%")
    if used != len(values):
        return fail("InvalidArgument", "the format has fewer directives than values")
    parts.append(pattern[position:])
    return "".join(parts)


def formatted(directive: str, value: Value) -> str:
    if directive == "s":
        return text(value)
    if directive == "d":
        return integer_text(check_integer(value))
    number = to_float(check_number(value))
    digits = 6 if directive == "f" else int(directive[1:-1])
    if digits > 1000:
        return fail("InvalidArgument", "a float is written with at most 1000 digits")
    if number != number or number - number != 0:
        return float_text(number)
    return f"{number:.{digits}f}"


# --- Strings --------------------------------------------------------------------------------


def check_text(value: Value) -> str:
    return value if type(value) is str else type_fault("a string", value)


def string_length(s: str) -> int:
    return len(check_text(s))


def upper(s: str) -> str:
    return check_text(s).upper()


def lower(s: str) -> str:
    return check_text(s).lower()


def trim(s: str) -> str:
    return check_text(s).strip()


def substring(s: str, start: int, end: Value = MISSING) -> str:
    check_text(s)
    check_integer(start)
    stop = len(s) if end is MISSING else check_integer(end)
    if start < 0 or start > len(s) or start > stop:
        return fail("IndexOutOfBounds", "the text has no such part")
    return s[start:stop]


def starts_with(s: str, prefix: str) -> Bool:
    return TRUE if check_text(s).startswith(check_text(prefix)) else FALSE


def ends_with(s: str, suffix: str) -> Bool:
    return TRUE if check_text(s).endswith(check_text(suffix)) else FALSE


def string_contains(s: str, part: str) -> Bool:
    return TRUE if check_text(part) in check_text(s) else FALSE


def string_index_of(s: str, part: str, start: int = 0) -> Value:
    index = check_text(s).find(check_text(part), max(0, check_integer(start)))
    return None if index < 0 else index


def string_replace(s: str, old: str, new: str) -> str:
    return check_text(s).replace(check_text(old), check_text(new))


def string_repeat(s: str, n: int) -> str:
    if len(check_text(s)) * check_integer(n) > 10000000:
        return budget("characters of a string")
    return s * n


def split(s: str, separator: str) -> list[Value]:
    if check_text(separator) == "":
        return list(check_text(s))
    return list(check_text(s).split(separator))


def join(separator: str, c: Value) -> str:
    return check_text(separator).join([text(item) for item in items(c)])


BEYOND_THE_DIALECT = re.compile(
    "(^|[^\\\\])(\\\\\\\\)*(\\\\[1-9]|\\\\k<|\\(\\?(=|!|<=|<!|P=|>|\\())"
)


def regex(pattern: Value) -> Value:
    """A compiled pattern of the dialect that needs no backtracking."""
    if BEYOND_THE_DIALECT.search(check_text(pattern)):
        return fail("InvalidArgument", "a pattern has no backreferences and does not look around")
    try:
        return re.compile(pattern)
    except Exception as failure:
        return fail("InvalidArgument", "the pattern cannot be read: " + str(failure))


def re_find(pattern: Value, s: str) -> Value:
    found = regex(pattern).search(check_text(s))
    return None if found is None else found.group(0)


def re_matches(pattern: Value, s: str) -> Value:
    found = regex(pattern).fullmatch(check_text(s))
    return None if found is None else found.group(0)


def re_seq(pattern: Value, s: str) -> list[Value]:
    return [found.group(0) for found in regex(pattern).finditer(check_text(s))]


# --- Sequences ------------------------------------------------------------------------------


def items(c: Value) -> Value:
    """What a sequence holds, as something to loop over and to index."""
    kind = type(c)
    if kind is list or kind is tuple or kind is str:
        return c
    if kind is dict:
        return entries(c)
    if c is None:
        return []
    return type_fault("a sequence", c)


def check_size(n: int) -> int:
    return n if n <= 1000000 else budget("items of a collection")


def count(c: Value) -> int:
    kind = type(c)
    if kind is list or kind is dict or kind is str or kind is tuple:
        return len(c)
    return 0 if c is None else type_fault("a collection", c)


def length(c: Value) -> int:
    return type_fault("a collection", c) if c is None else count(c)


def vector(*values: Value) -> list[Value]:
    return list(values)


def list_of(*values: Value) -> tuple[Value, ...]:
    return values


def vec(c: Value) -> list[Value]:
    return list(items(c))


def seq(c: Value) -> Value:
    return list(items(c)) or None


def not_empty(c: Value) -> Value:
    return c if count(c) else None


def keyword(value: Value) -> bytes:
    kind = type(value)
    if kind is bytes:
        return bytes(value)
    if kind is Symbol or kind is str:
        name = name_of(value)
        words = name[1:] if name[:1] == ":" else name
        return words.encode()
    return type_fault("a string, keyword or symbol", value)


def symbol(value: Value) -> Symbol:
    if type(value) is str or type(value) is bytes or type(value) is Symbol:
        return Symbol(name_of(value))
    return type_fault("a string, keyword or symbol", value)


def name(value: Value) -> str:
    if type(value) is str or type(value) is bytes or type(value) is Symbol:
        return name_of(value)
    return type_fault("a string, keyword or symbol", value)


FRESH = [0]
"""Which expansion of a macro this is."""


def fresh_symbol(name: str) -> Symbol:
    """The symbol of ``name#`` in a quasiquote."""
    return Symbol(name + "·" + str(FRESH[0]))


def hash_map(*values: Value) -> dict[Value, Value]:
    if len(values) % 2:
        return fail("ArityMismatch", "hash-map takes keys and values in turn")
    return {key(values[i]): values[i + 1] for i in range(0, len(values), 2)}


def map_of(*pairs: Value) -> dict[Value, Value]:
    """A map literal with keys that are known at run time only."""
    result: dict[Value, Value] = {}
    for i in range(0, len(pairs), 2):
        result[key(pairs[i])] = pairs[i + 1]
    return result


def zipmap(ks: Value, vs: Value) -> dict[Value, Value]:
    return {key(k): v for k, v in zip(items(ks), items(vs), strict=False)}


def callee(f: Value) -> Value:
    """A function that does what calling ``f`` does."""
    kind = type(f)
    if kind is Function:
        return f
    if kind is bytes:
        return lambda m, d=None: lookup(m, f, d)
    if kind is dict:
        return lambda k, d=None: f.get(key(k), d)
    if kind is list:
        return lambda i: nth(f, i)
    return fail("TypeError", article(type_name(f)) + " cannot be called")


def each(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    return [f(x) for x in items(c)]


def each_indexed(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    return [f(i, x) for i, x in enumerate(items(c))]


def keep(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    return [x for x in items(c) if truth(f(x))]


def remove(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    return [x for x in items(c) if not truth(f(x))]


def reduce(f: Value, start: Value, c: Value = MISSING) -> Value:
    f = callee(f)
    if c is MISSING:
        xs = items(start)
        if len(xs) == 0:
            return fail("InvalidArgument", "reduce of nothing needs a start")
        total = xs[0]
        for x in xs[1:]:
            total = f(total, x)
        return total
    for x in items(c):
        start = f(start, x)
    return start


def first_of(xs: Value) -> Value:
    """What ``reduce`` begins with if it was given no start."""
    return xs[0] if len(xs) else fail("InvalidArgument", "reduce of nothing needs a start")


def mapcat(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    return [y for x in items(c) for y in items(f(x))]


def take_while(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    xs = items(c)
    i = 0
    while i < len(xs) and truth(f(xs[i])):
        i = i + 1
    return list(xs[:i])


def drop_while(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    xs = items(c)
    i = 0
    while i < len(xs) and truth(f(xs[i])):
        i = i + 1
    return list(xs[i:])


def is_every(f: Value, c: Value) -> Bool:
    f = callee(f)
    for x in items(c):
        if not truth(f(x)):
            return FALSE
    return TRUE


def first_true(f: Value, c: Value) -> Value:
    f = callee(f)
    for x in items(c):
        result = f(x)
        if truth(result):
            return result
    return None


def is_some(f: Value, c: Value = MISSING) -> Bool:
    if c is MISSING:
        return FALSE if f is None else TRUE
    return FALSE if first_true(f, c) is None else TRUE


def is_not_any(f: Value, c: Value) -> Bool:
    return TRUE if first_true(f, c) is None else FALSE


def is_not_every(f: Value, c: Value) -> Bool:
    return TRUE if is_every(f, c) is FALSE else FALSE


def apply(f: Value, *values: Value) -> Value:
    if not values:
        return fail("ArityMismatch", "apply takes a function and a sequence")
    return callee(f)(*values[:-1], *items(values[-1]))


def comp(*fs: Value) -> Value:
    if not fs:
        return identity
    callees = [callee(f) for f in fs]

    def composed(*values: Value) -> Value:
        result = callees[-1](*values)
        for f in callees[-2::-1]:
            result = f(result)
        return result

    return composed


def partial(f: Value, *values: Value) -> Value:
    f = callee(f)
    return lambda *others: f(*values, *others)


def complement(f: Value) -> Value:
    f = callee(f)
    return lambda *values: FALSE if truth(f(*values)) else TRUE


def constantly(value: Value) -> Value:
    return lambda *values: value


def identity(x: Value) -> Value:
    return x


def like(c: Value, xs: Value) -> Value:
    """Items of ``c`` as text if ``c`` is text, and as a vector otherwise."""
    return "".join(xs) if type(c) is str else list(xs)


def sort(a: Value, b: Value = MISSING) -> Value:
    if b is MISSING:
        return like(a, sorted(items(a), key=sort_key))
    return like(b, sorted_with(a, list(items(b)), list(items(b))))


def sort_by(f: Value, a: Value, b: Value = MISSING) -> Value:
    f = callee(f)
    if b is MISSING:
        return like(a, sorted(items(a), key=lambda x: sort_key(f(x))))
    xs = items(b)
    order = sorted_with(a, [f(x) for x in xs], list(range(len(xs))))
    return like(b, [xs[i] for i in order])


def sorted_with(comparator: Value, ks: list[Value], xs: list[Value]) -> list[Value]:
    """``xs`` in the order of their keys ``ks``; equal ones stay as they are."""
    if comparator is lt or comparator is gt:
        for k in ks:
            orderable(k, ks[0])
        order = sorted(range(len(ks)), key=lambda i: sort_key(ks[i]), reverse=comparator is gt)
        return [xs[i] for i in order]
    f = callee(comparator)
    runs = [[i] for i in range(len(ks))]
    while len(runs) > 1:
        pairs = range(0, len(runs) - 1, 2)
        merged = [merged_runs(f, ks, runs[i], runs[i + 1]) for i in pairs]
        if len(runs) % 2:
            merged.append(runs[-1])
        runs = merged
    return [xs[i] for i in runs[0]] if runs else []


def merged_runs(f: Value, ks: list[Value], a: list[int], b: list[int]) -> list[int]:
    result = []
    i = 0
    j = 0
    while i < len(a) and j < len(b):
        if is_before(f(ks[b[j]], ks[a[i]])):
            result.append(b[j])
            j = j + 1
        else:
            result.append(a[i])
            i = i + 1
    return result + a[i:] + b[j:]


def is_before(answer: Value) -> bool:
    """What a comparator's answer means: a negative number or a true value."""
    if type(answer) is int or type(answer) is float:
        return bool(answer < 0)
    return truth(answer)


def max_key(f: Value, first: Value, *others: Value) -> Value:
    f = callee(f)
    best = check_number(f(first))
    for other in others:
        size = check_number(f(other))
        if size >= best:
            first = other
            best = size
    return first


def min_key(f: Value, first: Value, *others: Value) -> Value:
    f = callee(f)
    best = check_number(f(first))
    for other in others:
        size = check_number(f(other))
        if size <= best:
            first = other
            best = size
    return first


def distinct(c: Value) -> Value:
    seen = {}
    result = []
    for x in items(c):
        k = distinct_key(x)
        if k not in seen:
            seen[k] = True
            result.append(x)
    return like(c, result)


def distinct_key(x: Value) -> Value:
    """As :func:`key`, but functions and errors are themselves, and each NaN is another."""
    kind = type(x)
    if kind is Function or kind is Error:
        return x
    if kind is float and x != x:
        return Symbol("NaN " + str(id(x)))
    return key(x)


def reverse(c: Value) -> Value:
    return like(c, items(c)[::-1])


def frequencies(c: Value) -> dict[Value, Value]:
    counts: dict[Value, Value] = {}
    for x in items(c):
        k = key(x)
        counts[k] = counts.get(k, 0) + 1
    return counts


def group_by(f: Value, c: Value) -> dict[Value, Value]:
    f = callee(f)
    groups: dict[Value, Value] = {}
    for x in items(c):
        k = key(f(x))
        if k in groups:
            groups[k].append(x)
        else:
            groups[k] = [x]
    return groups


def partition_all(n: int, c: Value) -> list[Value]:
    if check_integer(n) < 1:
        return fail("InvalidArgument", "a part has at least one item")
    xs = items(c)
    return [list(xs[i : i + n]) for i in range(0, len(xs), n)]


def partition(n: int, c: Value) -> list[Value]:
    return [part for part in partition_all(n, c) if len(part) == n]


def partition_by(f: Value, c: Value) -> list[Value]:
    f = callee(f)
    parts: list[Value] = []
    last = MISSING
    for x in items(c):
        k = f(x)
        if parts and equal(k, last):
            parts[-1].append(x)
        else:
            parts.append([x])
        last = k
    return parts


def first(c: Value) -> Value:
    if type(c) is dict:
        return entries(c)[0] if c else None
    xs = items(c)
    return xs[0] if len(xs) else None


def second(c: Value) -> Value:
    xs = items(c)
    return xs[1] if len(xs) > 1 else None


def last(c: Value) -> Value:
    xs = items(c)
    return xs[-1] if len(xs) else None


def rest(c: Value) -> Value:
    kind = type(c)
    if kind is list or kind is str:
        return c[1:]
    return list(items(c)[1:])


def next_items(c: Value) -> Value:
    xs = rest(c)
    return xs if len(xs) else None


def butlast(c: Value) -> Value:
    return like(c, items(c)[:-1])


def nth(c: Value, i: int, default: Value = MISSING) -> Value:
    xs = items(c)
    if 0 <= check_integer(i) < len(xs):
        return xs[i]
    if default is MISSING:
        return fail("IndexOutOfBounds", f"index {i} of {len(xs)} items")
    return default


def take(n: int, c: Value) -> Value:
    return like(c, items(c)[: max(0, check_integer(n))])


def drop(n: int, c: Value) -> Value:
    return like(c, items(c)[max(0, check_integer(n)) :])


def subvec(c: Value, start: int, end: Value = MISSING) -> list[Value]:
    xs = items(c)
    check_integer(start)
    stop = len(xs) if end is MISSING else check_integer(end)
    if not 0 <= start <= stop <= len(xs):
        return fail("IndexOutOfBounds", f"items {start} to {stop} of {len(xs)}")
    return list(xs[start:stop])


def concat(*cs: Value) -> list[Value]:
    result: list[Value] = []
    for c in cs:
        xs = items(c)
        check_size(len(result) + len(xs))
        result.extend(xs)
    return result


def number_range(a: Value, b: Value = MISSING, step: Value = 1) -> list[Value]:
    if b is MISSING:
        return number_range(0, a)
    return steps(a, b, step)


def steps(a: Value, b: Value, step: Value) -> list[Value]:
    """The numbers from ``a`` up to ``b``, without it."""
    check_number(a)
    check_number(b)
    if check_number(step) == 0:
        return fail("InvalidArgument", "the step is zero")
    if type(a) is int and type(b) is int and type(step) is int:
        check_size(max(0, (b - a) // step))
        return list(range(a, b, step))
    result: list[Value] = []
    i = 0
    x = a
    while x < b if step > 0 else x > b:
        result.append(x)
        i = check_size(i + 1)
        x = a + i * step
    return result


def numbers(a: Value, b: Value) -> list[Value]:
    if type(a) is int and type(b) is int:
        return steps(a, b + 1, 1)
    xs = steps(a, b, 1)
    return [*xs, b] if check_number(a) <= check_number(b) and (b - a) % 1 == 0 else xs


def flatten(c: Value) -> list[Value]:
    result: list[Value] = []
    for x in items(c):
        if type(x) is list or type(x) is tuple:
            result.extend(flatten(x))
        else:
            result.append(x)
    return result


def interpose(separator: Value, c: Value) -> list[Value]:
    result: list[Value] = []
    for x in items(c):
        if result:
            result.append(separator)
        result.append(x)
    return result


def repeat(n: int, x: Value) -> list[Value]:
    return [x] * check_size(check_integer(n))


def interleave(a: Value, *others: Value) -> list[Value]:
    if not others:
        return fail("ArityMismatch", "interleave takes two sequences or more")
    columns = [items(c) for c in [a, *others]]
    return [xs[i] for i in range(min([len(xs) for xs in columns])) for xs in columns]


# --- Collections ----------------------------------------------------------------------------


def check_map(value: Value) -> dict[Value, Value]:
    if type(value) is dict:
        return value
    return {} if value is None else type_fault("a map", value)


def conj(c: Value, *xs: Value) -> Value:
    kind = type(c)
    if kind is list:
        return c + list(xs)
    if kind is tuple:
        return c + xs
    if c is None:
        return list(xs)
    if kind is dict:
        result = dict(c)
        for x in xs:
            if type(x) is dict:
                result.update(x)
            elif x is not None:
                pair = items(x)
                if type(x) is str or len(pair) != 2:
                    return type_fault("a map or an entry of two items", x)
                result[key(pair[0])] = pair[1]
        return result
    return type_fault("a collection", c)


def into(to: Value, c: Value) -> Value:
    return conj(to, *items(c))


def cons(x: Value, c: Value) -> Value:
    if type(c) is str and type(x) is str:
        return x + c
    return [x, *items(c)]


def is_empty(c: Value) -> Bool:
    return TRUE if count(c) == 0 else FALSE


def contains(c: Value, x: Value) -> Bool:
    kind = type(c)
    if kind is dict:
        return TRUE if key(x) in c else FALSE
    if kind is str:
        return TRUE if check_text(x) in c else FALSE
    for item in items(c):
        if equal(item, x):
            return TRUE
    return FALSE


def find(m: Value, k: Value) -> Value:
    if type(m) is list or type(m) is tuple:
        return [k, m[k]] if 0 <= check_integer(k) < len(m) else None
    found = check_map(m).get(key(k), MISSING)
    return None if found is MISSING else [k, found]


def get(m: Value, k: Value, default: Value = None) -> Value:
    kind = type(m)
    if kind is dict:
        return m.get(key(k), default)
    if kind is list or kind is tuple:
        return m[k] if 0 <= check_integer(k) < len(m) else default
    if m is None:
        return default
    if kind is Error:
        found = error_get(m, k)
        return default if found is MISSING else found
    return type_fault("a map or a vector", m)


def lookup(m: Value, k: bytes, default: Value = None) -> Value:
    """``(:k m default)``: the keyword, or else the text of the same name."""
    kind = type(m)
    if kind is dict:
        if k in m:
            return m[k]
        return m.get(k.decode(), default)
    if m is None:
        return default
    if kind is Error:
        found = error_get(m, k)
        return default if found is MISSING else found
    return type_fault("a map", m)


def get_in(m: Value, path: Value, default: Value = None) -> Value:
    for k in items(path):
        if m is None:
            return default
        m = get(m, k, MISSING)
        if m is MISSING:
            return default
    return m


def assoc(m: Value, *pairs: Value) -> Value:
    if not pairs or len(pairs) % 2:
        return fail("ArityMismatch", "assoc takes keys and values in turn")
    if type(m) is list or type(m) is tuple:
        xs = list(m)
        for i in range(0, len(pairs), 2):
            index = check_integer(pairs[i])
            if not 0 <= index <= len(xs):
                return fail("IndexOutOfBounds", f"index {index} of {len(xs)} items")
            if index == len(xs):
                xs.append(pairs[i + 1])
            else:
                xs[index] = pairs[i + 1]
        return xs
    result = dict(check_map(m))
    for i in range(0, len(pairs), 2):
        result[key(pairs[i])] = pairs[i + 1]
    return result


def assoc_in(m: Value, path: Value, value: Value) -> Value:
    return changed_in(m, path, lambda old: value)


def update(m: Value, k: Value, f: Value, *values: Value) -> Value:
    return assoc(m, k, callee(f)(get(m, k), *values))


def update_in(m: Value, path: Value, f: Value, *values: Value) -> Value:
    f = callee(f)
    return changed_in(m, path, lambda old: f(old, *values))


def changed_in(m: Value, path: Value, change: Value) -> Value:
    ks = items(path)
    if len(ks) == 0:
        return fail("InvalidArgument", "the path has no keys")
    if len(ks) == 1:
        return assoc(m, ks[0], change(get(m, ks[0])))
    return assoc(m, ks[0], changed_in(get(m, ks[0]), ks[1:], change))


def dissoc(m: Value, *ks: Value) -> Value:
    if not ks:
        return fail("ArityMismatch", "dissoc takes a map and keys")
    result = dict(check_map(m))
    for k in ks:
        result.pop(key(k), None)
    return None if m is None else result


def keys(m: Value) -> list[Value]:
    return [unkey(k) for k in check_map(m)]


def vals(m: Value) -> list[Value]:
    return list(check_map(m).values())


def entry(value: Value) -> Value:
    if (type(value) is list or type(value) is tuple) and len(value) == 2:
        return value
    return type_fault("an entry of two items", value)


def entry_key(e: Value) -> Value:
    return entry(e)[0]


def entry_value(e: Value) -> Value:
    return entry(e)[1]


def merge(*maps: Value) -> dict[Value, Value]:
    result: dict[Value, Value] = {}
    for m in maps:
        result.update(check_map(m))
    return result


def merge_with(f: Value, *maps: Value) -> dict[Value, Value]:
    if not maps:
        return fail("ArityMismatch", "merge-with takes a function and maps")
    f = callee(f)
    result: dict[Value, Value] = {}
    for m in maps:
        for k, v in check_map(m).items():
            result[k] = f(result[k], v) if k in result else v
    return result


def select_keys(m: Value, ks: Value) -> dict[Value, Value]:
    old = check_map(m)
    wanted = [key(k) for k in items(ks)]
    return {k: old[k] for k in wanted if k in old}


def rename_keys(m: Value, names: Value) -> dict[Value, Value]:
    new = check_map(names)
    return {key(new[k]) if k in new else k: v for k, v in check_map(m).items()}


# --- Predicates -----------------------------------------------------------------------------


def is_nil(x: Value) -> Bool:
    return TRUE if x is None else FALSE


def is_bool(x: Value) -> Bool:
    return TRUE if type(x) is Bool else FALSE


def is_true(x: Value) -> Bool:
    return TRUE if x is TRUE else FALSE


def is_false(x: Value) -> Bool:
    return TRUE if x is FALSE else FALSE


def is_int(x: Value) -> Bool:
    return TRUE if type(x) is int else FALSE


def is_float(x: Value) -> Bool:
    return TRUE if type(x) is float else FALSE


def is_number(x: Value) -> Bool:
    return TRUE if type(x) is int or type(x) is float else FALSE


def is_string(x: Value) -> Bool:
    return TRUE if type(x) is str else FALSE


def is_function(x: Value) -> Bool:
    return TRUE if type(x) is Function else FALSE


def is_symbol(x: Value) -> Bool:
    return TRUE if type(x) is Symbol else FALSE


def is_keyword(x: Value) -> Bool:
    return TRUE if type(x) is bytes else FALSE


def is_vector(x: Value) -> Bool:
    return TRUE if type(x) is list else FALSE


def is_list(x: Value) -> Bool:
    return TRUE if type(x) is tuple else FALSE


def is_map(x: Value) -> Bool:
    return TRUE if type(x) is dict else FALSE


def is_error(x: Value) -> Bool:
    return TRUE if type(x) is Error else FALSE


def is_sequential(x: Value) -> Bool:
    return TRUE if type(x) is list or type(x) is tuple else FALSE


def is_coll(x: Value) -> Bool:
    return TRUE if type(x) is list or type(x) is tuple or type(x) is dict else FALSE


def negated(x: Value) -> Bool:
    return TRUE if x is None or x is FALSE else FALSE


def all_of(*values: Value) -> Value:
    result: Value = TRUE
    for value in values:
        result = value
        if not truth(value):
            break
    return result


def any_of(*values: Value) -> Value:
    result: Value = FALSE
    for value in values:
        result = value
        if truth(value):
            break
    return result


# --- JSON -----------------------------------------------------------------------------------


def json_string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def json_text(value: Value) -> str:
    return json_of(to_json(value), "", "")


def json_pretty(value: Value) -> str:
    return json_of(to_json(value), "\n", "  ")


def json_of(value: Value, newline: str, indent: str) -> str:
    kind = type(value)
    if kind is str:
        return json_string(value)
    if kind is int:
        return integer_text(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if kind is float:
        return repr(value)
    inner = newline + indent if newline else ""
    space = " " if newline else ""
    if kind is list:
        if not value:
            return "[]"
        parts = [json_of(item, inner, indent) for item in value]
        return "[" + inner + ("," + inner).join(parts) + newline + "]"
    if not value:
        return "{}"
    pairs = [json_string(k) + ":" + space + json_of(v, inner, indent) for k, v in value.items()]
    return "{" + inner + ("," + inner).join(pairs) + newline + "}"


def to_json(value: Value) -> Value:
    """A value as data of Python's ``json``, as it crosses the boundary to the host."""
    kind = type(value)
    if kind is str or kind is int or value is None:
        return value
    if kind is bytes:
        return value.decode()
    if kind is float:
        if value != value or value - value != 0:
            return fail("JsonError", float_text(value) + " is no JSON number")
        return value
    if kind is Bool:
        return value is TRUE
    if kind is list or kind is tuple:
        return [to_json(item) for item in value]
    if kind is dict:
        return json_object(value)
    if kind is Symbol:
        return value.name
    if kind is Timestamp or kind is Uuid or kind is Handle:
        return value.text
    if kind is Error:
        kind_name = kebab(value.kind)
        cause = kind_name if value.cause is None else name_of(value.cause)
        whole = {"kind": kind_name, "type": cause, "message": value.message}
        whole["data"] = to_json(value.data)
        return whole
    return fail("TypeError", "a function is no JSON data")


def json_object(m: dict[Value, Value]) -> dict[str, Value]:
    result: dict[str, Value] = {}
    for k, v in m.items():
        kind = type(k)
        if kind is bytes:
            word = k.decode()
        elif kind is str:
            word = k
        elif kind is int:
            word = integer_text(k)
        else:
            return fail("JsonError", shown(unkey(k)) + " is no key of a JSON object")
        if word in result:
            return fail("JsonError", "two keys have the name " + word)
        result[word] = to_json(v)
    return result


KEYWORD = re.compile(
    "[A-Za-z_$+*/=<>!?%λ-][A-Za-z0-9_$+*/=<>!?%λ.@#-]*(:v[0-9]+([.][0-9]+)*/"
    "[A-Za-z_$+*/=<>!?%λ-][A-Za-z0-9_$+*/=<>!?%λ.@#-]*)?"
)


def from_json(data: Value) -> Value:
    """What the host sent as a value; names that can be keywords become keywords."""
    kind = type(data)
    if kind is dict:
        return {from_json_key(k): from_json(v) for k, v in data.items()}
    if kind is list or kind is tuple:
        return [from_json(item) for item in data]
    if kind is bool:
        return TRUE if data else FALSE
    return data


def shaped(data: Value, shape: Value) -> Value:
    """What the host sent as a value of a type; a shape is what the type says beyond JSON.

    ``None`` says nothing; ``["keyword"]``, ``["symbol"]``, ``["timestamp"]``, ``["uuid"]`` and
    ``["int"]`` are of text and numbers; ``["items", s]``, ``["tuple", [s …]]``,
    ``["record", {name: s}, s]`` and ``["dict", text keys?, s]`` of collections.
    """
    if shape is None or data is None:
        return from_json(data)
    word = shape[0]
    kind = type(data)
    if kind is list and word == "items":
        return [shaped(item, shape[1]) for item in data]
    if kind is list and word == "tuple" and len(data) == len(shape[1]):
        return [shaped(data[i], shape[1][i]) for i in range(len(data))]
    if kind is dict and word == "record":
        return {from_json_key(k): shaped(v, shape[1].get(k, shape[2])) for k, v in data.items()}
    if kind is dict and word == "dict":
        if shape[1]:
            return {k: shaped(v, shape[2]) for k, v in data.items()}
        return {from_json_key(k): shaped(v, shape[2]) for k, v in data.items()}
    if kind is float and word == "int" and data - data == 0 and data == int(data):
        return int(data)
    if kind is not str:
        return from_json(data)
    if word == "keyword":
        return data.encode()
    if word == "symbol":
        return Symbol(data)
    if word == "timestamp":
        return Timestamp(data)
    if word == "uuid":
        return Uuid(data)
    return data


KNOWN_KEYS: dict[str, Value] = {}
"""What names of JSON objects became so far."""


def from_json_key(k: str) -> Value:
    known = KNOWN_KEYS.get(k)
    if known is None:
        known = k.encode() if KEYWORD.fullmatch(k) else k
        if len(KNOWN_KEYS) < 1000:
            KNOWN_KEYS[k] = known
    return known


JSON_TOKEN = re.compile(
    '[ \\t\\n\\r]*(?:([\\[\\]{},:]|true|false|null)|("(?:[^"\\\\\\x00-\\x1f]|\\\\.)*")'
    "|(-?(?:0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?))"
)


def parse_json(source: str) -> Value:
    tokens: list[Value] = []
    position = 0
    for found in JSON_TOKEN.finditer(check_text(source)):
        if found.start() != position:
            break
        position = found.end()
        tokens.append(found)
    if source[position:].strip(" \t\n\r"):
        return json_fault(position)
    tokens.append(None)
    value, after = json_value(tokens, 0, 0)
    if after != len(tokens) - 1:
        return json_fault(tokens[after].start())
    return value


def json_fault(position: int) -> NoReturn:
    fail("JsonError", f"the text is no JSON from character {position} on")


def json_value(tokens: list[Value], i: int, depth: int) -> Value:
    """The value that begins at a token, and the index of the token behind it."""
    token = tokens[i]
    if token is None:
        return fail("JsonError", "the JSON text ends too early")
    if depth > 500:
        return fail("JsonError", "the JSON text is nested more than 500 deep")
    mark = token.group(1)
    if token.group(2) is not None:
        return json_word(token.group(2)), i + 1
    if mark is None:
        return json_number(token), i + 1
    if mark == "[":
        return json_items(tokens, i, depth)
    if mark == "{":
        return json_members(tokens, i, depth)
    if mark == "true":
        return TRUE, i + 1
    if mark == "false":
        return FALSE, i + 1
    if mark == "null":
        return None, i + 1
    return json_fault(token.start())


def json_mark(token: Value) -> Value:
    return None if token is None else token.group(1)


def json_items(tokens: list[Value], i: int, depth: int) -> Value:
    result: list[Value] = []
    i = i + 1
    if json_mark(tokens[i]) == "]":
        return result, i + 1
    while True:
        value, i = json_value(tokens, i, depth + 1)
        result.append(value)
        mark = json_mark(tokens[i])
        i = i + 1
        if mark == "]":
            return result, i
        if mark != ",":
            return fail("JsonError", "an array goes on with `,` or `]`")


def json_members(tokens: list[Value], i: int, depth: int) -> Value:
    result: dict[Value, Value] = {}
    i = i + 1
    if json_mark(tokens[i]) == "}":
        return result, i + 1
    while True:
        token = tokens[i]
        if token is None or token.group(2) is None or json_mark(tokens[i + 1]) != ":":
            return fail("JsonError", "a member of an object is a name, `:` and a value")
        word = json_word(token.group(2))
        if word in result:
            return fail("JsonError", "the object has two members " + cut(word))
        value, i = json_value(tokens, i + 2, depth + 1)
        result[word] = value
        mark = json_mark(tokens[i])
        i = i + 1
        if mark == "}":
            return result, i
        if mark != ",":
            return fail("JsonError", "an object goes on with `,` or `}`")


def json_word(token: str) -> Value:
    try:
        return json.loads(token)
    except Exception:
        return fail("JsonError", "this is no JSON string: " + cut(token))


def json_number(token: Value) -> Value:
    if token.group(4) is None and token.group(5) is None:
        return parse_int(token.group(3))
    return float(token.group(3))


def tagged(value: Value) -> Value:
    """A value as JSON data that keeps its kind: ``{"kw": "a"}``, ``{"vec": […]}`` and so on."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else {"integer": hex(value)}
    if kind is Bool:
        return value is TRUE
    if kind is float:
        return {"float": value}
    if kind is bytes:
        return {"kw": value.decode()}
    if kind is Symbol:
        return {"sym": value.name}
    if kind is list:
        return {"vec": [tagged(item) for item in value]}
    if kind is tuple:
        return {"list": [tagged(item) for item in value]}
    if kind is dict:
        return {"map": [[tagged(unkey(k)), tagged(v)] for k, v in value.items()]}
    if kind is Timestamp or kind is Uuid or kind is Handle:
        return {type_name(value): value.text}
    if kind is Error:
        return {"error": to_json(value)}
    return {"function": shown(value)}


# --- Types ----------------------------------------------------------------------------------

NAMED_TYPES: dict[str, Value] = {}
"""Types of ``deftype`` and ``defstruct`` by name; see :func:`mismatch` for their shape."""


def mismatch(kind: Value, value: Value, path: str) -> Value:
    """Where ``value`` differs from a type, as text; None if it does not.

    A type is a tuple: a word, then what belongs to it.
    """
    word = kind[0]
    simple = SIMPLE_TYPES.get(word)
    if simple is not None:
        return None if simple(value) else differs(kind[-1] if len(kind) > 1 else word, value, path)
    return TYPE_TESTS[word](kind, value, path)


def differs(wanted: str, value: Value, path: str) -> str:
    return path + " is not " + wanted + ": " + cut(shown(value))


def is_callable(value: Value) -> bool:
    kind = type(value)
    return kind is Function or kind is bytes or kind is dict or kind is list


SIMPLE_TYPES: dict[str, Value] = {
    "int": lambda v: type(v) is int,
    "float": lambda v: type(v) is float or type(v) is int,
    "string": lambda v: type(v) is str,
    "bool": lambda v: type(v) is Bool,
    "nil": lambda v: v is None,
    "keyword": lambda v: type(v) is bytes,
    "symbol": lambda v: type(v) is Symbol,
    "timestamp": lambda v: type(v) is Timestamp,
    "uuid": lambda v: type(v) is Uuid,
    "any": lambda v: True,
    "never": lambda v: False,
    "fn": is_callable,
    "resource": lambda v: type(v) is Handle,
}


def vector_mismatch(kind: Value, value: Value, path: str) -> Value:
    if type(value) is not list and type(value) is not tuple:
        return differs("a sequence", value, path)
    if kind[2] is not None and len(value) != kind[2]:
        return path + " has " + str(len(value)) + " items, not " + str(kind[2])
    for i in range(len(value)):
        found = mismatch(kind[1], value[i], path + "[" + str(i) + "]")
        if found is not None:
            return found
    return None


def tuple_mismatch(kind: Value, value: Value, path: str) -> Value:
    if type(value) is not list and type(value) is not tuple:
        return differs("a sequence", value, path)
    if len(value) != len(kind[1]):
        return path + " has " + str(len(value)) + " items, not " + str(len(kind[1]))
    for i in range(len(value)):
        found = mismatch(kind[1][i], value[i], path + "[" + str(i) + "]")
        if found is not None:
            return found
    return None


def record_mismatch(kind: Value, value: Value, path: str) -> Value:
    """``("record", ((key, type, optional), …), type of other values or None)``."""
    if type(value) is not dict:
        return differs("a map", value, path)
    known = {}
    for k, inner, optional in kind[1]:
        found = k if k in value or type(k) is not bytes else k.decode()
        known[found] = True
        if found in value:
            fault = mismatch(inner, value[found], path + "." + text(name_of(unkey(k))))
            if fault is not None:
                return fault
        elif not optional:
            return path + " has no " + shown(unkey(k))
    if kind[2] is not None:
        for k, v in value.items():
            if k not in known:
                fault = mismatch(kind[2], v, path + "." + text(name_of(unkey(k))))
                if fault is not None:
                    return fault
    return None


def dict_mismatch(kind: Value, value: Value, path: str) -> Value:
    if type(value) is not dict:
        return differs("a map", value, path)
    for k, v in value.items():
        word = text(name_of(unkey(k)))
        found = mismatch(kind[1], unkey(k), path + " key " + word)
        if found is None:
            found = mismatch(kind[2], v, path + "." + word)
        if found is not None:
            return found
    return None


def enum_mismatch(kind: Value, value: Value, path: str) -> Value:
    for one in kind[1]:
        if equal(one, value):
            return None
    return differs("one of " + shown(kind[1]), value, path)


def union_mismatch(kind: Value, value: Value, path: str) -> Value:
    for inner in kind[1]:
        if mismatch(inner, value, path) is None:
            return None
    return differs(kind[2], value, path)


def and_mismatch(kind: Value, value: Value, path: str) -> Value:
    for inner in kind[1]:
        found = mismatch(inner, value, path)
        if found is not None:
            return found
    return None


def optional_mismatch(kind: Value, value: Value, path: str) -> Value:
    return None if value is None else mismatch(kind[1], value, path)


def named_mismatch(kind: Value, value: Value, path: str) -> Value:
    inner = NAMED_TYPES.get(kind[1])
    if inner is None:
        return path + " has the unknown type " + str(kind[1])
    return mismatch(inner, value, path)


def is_count_like(value: Value) -> bool:
    kind = type(value)
    return kind is list or kind is tuple or kind is dict


def holds(word: str, bound: Value, value: Value) -> bool:
    """Whether a refinement holds for a value."""
    kind = type(value)
    number = kind is int or kind is float
    if word == ">":
        return number and bool(value > bound)
    if word == ">=":
        return number and bool(value >= bound)
    if word == "<":
        return number and bool(value < bound)
    if word == "<=":
        return number and bool(value <= bound)
    if word == "in-range":
        return number and bool(bound[0] <= value <= bound[1])
    if word == "=":
        return equal(value, bound)
    if word == "!=":
        return not equal(value, bound)
    if word == "min-length":
        return kind is str and len(value) >= bound
    if word == "max-length":
        return kind is str and len(value) <= bound
    if word == "length":
        return kind is str and len(value) == bound
    if word == "matches-regex":
        return kind is str and regex(bound).search(value) is not None
    if word == "min-count":
        return is_count_like(value) and len(value) >= bound
    if word == "max-count":
        return is_count_like(value) and len(value) <= bound
    if word == "count":
        return is_count_like(value) and len(value) == bound
    if word == "non-empty":
        return (is_count_like(value) or kind is str) and len(value) > 0
    if word == "required-keys":
        return kind is dict and all([has_key(value, k) for k in bound])
    if word == "is-url":
        return kind is str and URL.fullmatch(value) is not None
    return kind is str and EMAIL.fullmatch(value) is not None


def has_key(m: dict[Value, Value], k: Value) -> bool:
    return key(k) in m or (type(k) is bytes and k.decode() in m)


URL = re.compile('[A-Za-z][A-Za-z0-9+.-]*:[^ \\t\\r\\n<>"{}|\\\\^`]+')
EMAIL = re.compile("[^@ \\t\\r\\n]+@[^@ \\t\\r\\n.]+([.][^@ \\t\\r\\n.]+)*")


def refinement_mismatch(kind: Value, value: Value, path: str) -> Value:
    if holds(kind[1], kind[2], value):
        return None
    return differs(kind[3], value, path)


TYPE_TESTS: dict[str, Value] = {
    "vector": vector_mismatch,
    "tuple": tuple_mismatch,
    "record": record_mismatch,
    "dict": dict_mismatch,
    "enum": enum_mismatch,
    "union": union_mismatch,
    "and": and_mismatch,
    "optional": optional_mismatch,
    "name": named_mismatch,
    "refinement": refinement_mismatch,
}


def type_error(message: str) -> NoReturn:
    fail("TypeValidationError", message)


def typed(value: Value, kind: Value, path: str) -> Value:
    """``value`` if it is of a type; the error names ``path``."""
    found = mismatch(kind, value, path)
    return value if found is None else type_error(found)


def is_of(kind: Value, value: Value) -> bool:
    return mismatch(kind, value, "it") is None


def constructed(name: str, value: Value) -> Value:
    """What the constructor of a ``defstruct`` does."""
    return typed(check_record(value), ("name", name), name)


def check_record(value: Value) -> Value:
    return value if type(value) is dict else type_error("a record is made of one map")


# --- Binding --------------------------------------------------------------------------------


def unpacked(value: Value, size: int, open_end: bool) -> Value:
    """The items of a vector pattern's value, once their number is right."""
    if type(value) is not list and type(value) is not tuple:
        return type_fault("a vector", value)
    if len(value) != size and not (open_end and len(value) > size):
        words = " or more" if open_end else ""
        return fail("TypeError", f"the pattern takes {size}{words} items, got {len(value)}")
    return value


def opened(value: Value) -> Value:
    """The value of a map pattern as a dict."""
    if type(value) is dict:
        return value
    if type(value) is Error:
        return {k: error_get(value, k) for k in (b"kind", b"type", b"message", b"data")}
    return type_fault("a map", value)


def without(m: dict[Value, Value], exact: Value, lenient: Value) -> dict[Value, Value]:
    """The entries of a map that a pattern does not use."""
    used = dict.fromkeys(exact, True)
    for k in lenient:
        used[k if k in m else k.decode()] = True
    return {k: v for k, v in m.items() if k not in used}


def arity_fault(name: str, given: int) -> NoReturn:
    fail("ArityMismatch", f"{name} cannot be called with {given} arguments")


def not_callable(value: Value) -> NoReturn:
    fail("TypeError", article(type_name(value)) + " cannot be called")


def call(f: Value, *values: Value) -> Value:
    return callee(f)(*values)


class Bounce:
    """A call that a function ends with, not made yet."""

    def __init__(self, f: Value, *values: Value) -> None:
        self.f = f
        self.values = values


def bounced(result: Value) -> Value:
    """Make the calls that functions end with, one after another."""
    while type(result) is Bounce:
        result = result.f(*result.values)
    return result


def condition_failed(which: str, name: str) -> NoReturn:
    fail("ValidationError", f"a {which} condition of {name} does not hold")


# --- The host -------------------------------------------------------------------------------


class Run:
    """Where the run is: what numbers its calls, and what they happen in."""

    def __init__(self) -> None:
        self.prefix = ""
        self.number = 0
        self.branch: Value = None
        self.steps: list[str] = []
        self.hints: list[Value] = []


RUN = Run()


class Branch:
    """What the calls of one parallel branch have come to so far, by key."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Value] = {}
        self.waiting: list[Value] = []


def next_key() -> str:
    RUN.number = RUN.number + 1
    return RUN.prefix + str(RUN.number - 1)


def host_call(target: Value, line: int, *values: Value) -> Value:
    """``(call id …)``: ask the host, and wait."""
    kind = type(target)
    if kind is bytes:
        target = target.decode()
    elif kind is not str:
        return type_fault("a keyword or a string as the id of a capability", target)
    arguments = [to_json(value) for value in values]
    keywords: list[int] = []
    if values and type(values[0]) is bytes:
        keywords = [i for i, value in enumerate(values) if type(value) is bytes]
    call_key = RUN.prefix + str(RUN.number)
    RUN.number = RUN.number + 1
    if RUN.branch is None and not (keywords or RUN.hints or RUN.steps):
        outcome = rtfs_call(call_key, target, arguments, line)
    else:
        request = [call_key, target, arguments, line, keywords, merged_hints(), RUN.steps]
        outcome = rtfs_call(*request) if RUN.branch is None else recorded(request)
    if "error" in outcome:
        return settled(outcome)
    if "shape" in outcome:
        return shaped(outcome["value"], outcome["shape"])
    return from_json(outcome["value"])


def merged_hints() -> Value:
    """The hints in force, or None; inner ones win, hint by hint."""
    if not RUN.hints:
        return None
    result: dict[str, Value] = {}
    for hints in RUN.hints:
        result.update(hints)
    return result


def settled(outcome: dict[str, Value]) -> NoReturn:
    """Raise what a call failed with."""
    failure = outcome["error"]
    cause = failure.get("type")
    raise_error(
        Error(
            failure.get("kind", "CapabilityError"),
            failure.get("message", "the call failed"),
            None if cause is None or cause == failure.get("kind") else cause.encode(),
            from_json(failure.get("data")),
        )
    )


def recorded(request: Value) -> dict[str, Value]:
    """The outcome of a call in a parallel branch; one that has none yet ends the branch's turn."""
    known: dict[str, Value] = RUN.branch.outcomes
    if request[0] in known:
        outcome: dict[str, Value] = known[request[0]]
        return outcome
    RUN.branch.waiting.append(request)
    return fail("Suspended", "the branch waits for the host")


def host_event(event: dict[str, Value]) -> None:
    """Tell the host; a branch that runs again does not tell twice."""
    event["key"] = next_key()
    event["steps"] = list(RUN.steps)
    if RUN.branch is not None:
        if event["key"] in RUN.branch.outcomes:
            return
        RUN.branch.outcomes[event["key"]] = True
    rtfs_event(event)


def in_parallel(branches: list[Value]) -> list[Value]:
    """Run branches so that their host calls overlap.

    A branch runs until its first call without an outcome. When all have ended or wait, the host
    gets what they wait for together, and those that got an answer run again from their start:
    between two calls a program is a pure function, so they come to the same place.
    """
    outer = RUN.branch
    prefix = next_key() + "/"
    saved = (RUN.prefix, RUN.number, RUN.steps, RUN.hints)
    known = Branch() if outer is None else outer
    results: list[Value] = [MISSING] * len(branches)
    failures: list[Value] = [None] * len(branches)
    waiting: list[Value] = [None] * len(branches)
    runnable = list(range(len(branches)))
    while runnable:
        for i in runnable:
            own = Branch()
            own.outcomes = known.outcomes
            RUN.branch = own
            RUN.prefix = prefix + str(i) + "/"
            RUN.number = 0
            RUN.steps = list(saved[2])
            RUN.hints = list(saved[3])
            waiting[i] = None
            try:
                results[i] = branches[i]()
            except Exception as failure:
                if own.waiting and RAISED[0].kind == "Suspended":
                    waiting[i] = own.waiting
                else:
                    RUN.branch = outer
                    failures[i] = caught(failure)
        RUN.branch = outer
        RUN.prefix, RUN.number, RUN.steps, RUN.hints = saved
        requests = [request for some in waiting if some is not None for request in some]
        if not requests:
            break
        if outer is not None:
            outer.waiting.extend(requests)
            return fail("Suspended", "the branch waits for the host")
        answers = rtfs_calls(requests)
        known.outcomes.update(answers)
        runnable = [
            i
            for i in range(len(branches))
            if waiting[i] is not None
            and len([request for request in waiting[i] if request[0] in answers]) > 0
        ]
    for error in failures:
        if error is not None:
            raise_error(error)
    return results


def step_started(label: Value, data: Value) -> None:
    name = name_of(label)
    RUN.steps = [*RUN.steps, name]
    host_event({"event": "step-started", "label": name, "options": to_json(data)})


def step_ended(event: str, message: Value) -> None:
    host_event({"event": event, "label": RUN.steps[-1], "message": message})
    RUN.steps = RUN.steps[:-1]


def in_step(label: Value, data: Value, body: Value) -> Value:
    """Run the body of a ``step`` and tell the host how it goes."""
    step_started(label, data)
    steps = RUN.steps
    try:
        result = body()
    except Exception as failure:
        error = caught(failure)
        RUN.steps = steps
        step_ended("step-failed", error.message)
        return raise_error(error)
    step_ended("step-completed", None)
    return result


def log(level: str, message: Value, data: Value = None) -> None:
    host_event({"event": "log", "level": level, "message": text(message), "data": to_json(data)})


def with_hints(hints: Value, body: Value) -> Value:
    """Run ``body`` with hints for the calls made in it."""
    saved = RUN.hints
    RUN.hints = [*saved, to_json(hints)]
    try:
        result = body()
    except Exception as failure:
        error = caught(failure)
        RUN.hints = saved
        return raise_error(error)
    RUN.hints = saved
    return result


CONTEXT: list[Value] = []
"""The context as a value, once it was asked for."""


def context_get(k: Value, default: Value = None) -> Value:
    if not CONTEXT:
        CONTEXT.append(from_json(rtfs_context))  # noqa: F821 (the host gives it)
    if type(k) is bytes:
        return lookup(CONTEXT[0], k, default)
    return get(CONTEXT[0], k, default)


def context_set(k: Value, v: Value) -> None:
    host_event({"event": "context-set", "name": name_of(k), "value": to_json(v)})


def turned(turns: int) -> int:
    """Count a turn of ``step-loop``."""
    return turns + 1 if turns < 10000 else budget("turns of step-loop")
