"""Calls of library functions, as Python operators where those do the same."""

from __future__ import annotations

from typing import Any, Final

from ccos.rtfs import kinds, nodes, prelude
from ccos.rtfs.emitting.constants import FOLDABLE, NO_VALUE, constant_form, constant_value
from ccos.rtfs.emitting.sequences import Sequences
from ccos.rtfs.emitting.shapes import is_nonzero, is_plain_key
from ccos.rtfs.emitting.text import (
    AND,
    ATOM,
    CHOICE,
    COMPARISON,
    NOT,
    PRODUCT,
    SIGN,
    SUM,
    Code,
    call_text,
    is_simple,
    marked,
    negated,
    part_level,
    without_marks,
)
from ccos.rtfs.emitting.writer import CHAIN
from ccos.rtfs.forms import Keyword, Literal
from ccos.rtfs.library import BY_NAME
from ccos.rtfs.nodes import Node

PYTHON_TYPES: Final = {
    "is_int": "int",
    "is_float": "float",
    "is_string": "str",
    "is_bool": "Bool",
    "is_keyword": "bytes",
    "is_symbol": "Symbol",
    "is_vector": "list",
    "is_list": "tuple",
    "is_map": "dict",
    "is_function": "Function",
    "is_error": "Error",
}


class LibraryCalls(Sequences):
    """Writes calls of the library."""

    def _library_call(self, node: nodes.LibraryCall) -> Code:
        function = BY_NAME[node.name]
        count = len(node.arguments)
        if not function.accepts(count):
            words = f"`{node.name}` takes {function.arity} arguments, got {count}"
            self._warn(words, node.at, "ArityMismatch")
            return self._arity_fault(node.name, node.arguments, node.at)
        folded = self._folded(node)
        if isinstance(folded, nodes.Const):
            return self.expr(folded)
        test = self._library_test(node)
        if test is not None:
            return self._boolean(test)
        writer = _LIBRARY.get(function.python)
        if writer is not None:
            code: Code | None = writer(self, node)
            if code is not None:
                return code
        if function.python == "get" and count == 1:
            return call_text("context_get", self._arguments(node.arguments), node.at)
        return call_text(function.python, self._arguments(node.arguments), node.at)

    def _folded(self, node: nodes.LibraryCall) -> Node:
        """A constant, if all arguments are and the function is cheap and pure."""
        function = BY_NAME[node.name]
        if function.python not in FOLDABLE or not function.accepts(len(node.arguments)):
            return node
        values: list[Any] = []
        for argument in node.arguments:
            one = self._folded(argument) if isinstance(argument, nodes.LibraryCall) else argument
            if not isinstance(one, nodes.Const) or not isinstance(one.form, Literal | Keyword):
                return node
            values.append(constant_value(one.form))
            if values[-1] is NO_VALUE:
                return node
        try:
            result = getattr(prelude, function.python)(*values)
        except Exception as failure:
            self._warn_failure(node, failure)
            return node
        form = constant_form(result, node.at)
        return node if form is None else nodes.Const(form, node.at)

    def _warn_failure(self, node: nodes.LibraryCall, failure: Exception) -> None:
        """Say that a call with constant arguments always fails."""
        try:
            error = prelude.caught(failure)
        except Exception:
            return
        self._warn(f"`{node.name}` always fails here: {error.message}", node.at, error.kind)

    def _library_test(self, node: nodes.LibraryCall) -> Code | None:
        """A Python boolean for a library function that answers true or false."""
        function = BY_NAME[node.name]
        if function.kind != "bool" or not function.accepts(len(node.arguments)):
            return None
        writer = _TESTS.get(function.python)
        if writer is not None:
            code: Code | None = writer(self, node)
            if code is not None:
                return code
        called = call_text(function.python, self._arguments(node.arguments), node.at)
        return Code(f"{called} is TRUE", COMPARISON)

    def _sum(self, node: nodes.LibraryCall) -> Code | None:
        return self._arithmetic(node, "+")

    def _difference(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) == 1:
            [code] = self._arguments(node.arguments)
            return Code(marked(node.at, f"-{code.at_least(SIGN)}"), SIGN)
        return self._arithmetic(node, "-")

    def _product(self, node: nodes.LibraryCall) -> Code | None:
        return self._arithmetic(node, "*")

    def _arithmetic(self, node: nodes.LibraryCall, sign: str) -> Code | None:
        """Python's operators. A sign before an operand refuses what is no number."""
        arguments = node.arguments
        if len(arguments) > CHAIN:
            return None
        codes = self._arguments(arguments)
        numbers = [kinds.is_number(self.kind(one)) for one in arguments]
        level = PRODUCT if sign == "*" else SUM
        if len(codes) == 1:
            code = codes[0]
            return code if numbers[0] else Code(marked(node.at, f"+{code.at_least(SIGN)}"), SIGN)
        signed = self._signed(sign, numbers)
        text = ""
        for index, code in enumerate(codes):
            tight = level if index == 0 else level + 1
            operand = f"+{code.at_least(SIGN)}" if signed[index] else code.at_least(tight)
            text = f"{text} {sign} {operand}" if index else operand
        return Code(marked(node.at, text), level)

    def _signed(self, sign: str, numbers: list[bool]) -> list[bool]:
        """Which operands need a sign so that only numbers get through."""
        if sign == "-":
            return [False] * len(numbers)
        if sign == "*":
            return [not one for one in numbers]
        first_two = numbers[0] or numbers[1]
        return [not first_two, *[False] * (len(numbers) - 1)]

    def _increment(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        sign = "+" if BY_NAME[node.name].python == "inc" else "-"
        return Code(marked(node.at, f"{code.at_least(SUM)} {sign} 1"), SUM)

    def _modulo(self, node: nodes.LibraryCall) -> Code | None:
        left, right = node.arguments
        if not kinds.is_integer(self.kind(left)) or not is_nonzero(right):
            return None
        codes = self._arguments(node.arguments)
        return Code(f"{codes[0].at_least(PRODUCT)} % {codes[1].at_least(SIGN)}", PRODUCT)

    def _text_of(self, node: nodes.LibraryCall) -> Code | None:
        if not node.arguments or len(node.arguments) > CHAIN:
            return None
        codes = self._arguments(node.arguments)
        parts: list[str] = []
        for argument, code in zip(node.arguments, codes, strict=True):
            match self.kind(argument):
                case "str":
                    parts.append(code.at_least(SUM))
                case "small":
                    parts.append(f"str({code})")
                case _:
                    parts.append(f"text({code})")
        return Code(
            marked(node.at, " + ".join(parts)), SUM if len(parts) > 1 else part_level(parts)
        )

    def _join(self, node: nodes.LibraryCall) -> Code | None:
        separator, parts = node.arguments
        if self.kind(separator) != "str" or kinds.item_of(self.kind(parts)) != "str":
            return None
        joint, items = self._arguments([separator, parts])
        return Code(f"{joint.at_least(ATOM)}.join({items})")

    def _count(self, node: nodes.LibraryCall) -> Code | None:
        kind = self.kind(node.arguments[0])
        if kinds.is_vector(kind) or kind in ("str", "map"):
            return call_text("len", self._arguments(node.arguments), node.at)
        return None

    def _conj(self, node: nodes.LibraryCall) -> Code | None:
        if not kinds.is_vector(self.kind(node.arguments[0])) or len(node.arguments) < 2:
            return None
        target, *items = self._arguments(node.arguments)
        return Code(f"{target.at_least(SUM)} + [{', '.join(items)}]", SUM)

    def _get(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 2 or not is_plain_key(node.arguments[1]):
            return None
        target, key = self._arguments(node.arguments)
        if self.kind(node.arguments[0]) == "map":
            return Code(f"{target.at_least(ATOM)}.get({key})")
        if not without_marks(target).isidentifier() or self.kind(node.arguments[1]) == "small":
            return call_text("get", [target, key], node.at)
        slow = call_text("get", [target, key], node.at)
        return Code(f"{target}.get({key}) if type({target}) is dict else {slow}", CHOICE)

    def _equality(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 2:
            return None
        left, right = node.arguments
        if isinstance(left, nodes.Const) and not isinstance(right, nodes.Const):
            left, right = right, left
        codes = self._arguments([left, right])
        a, b = codes
        one, other = self.kind(left), self.kind(right)
        for kind, text in (("nil", "None"), ("bool", b)):
            if other == kind and (kind == "nil" or isinstance(right, nodes.Const)):
                return Code(f"{a.at_least(SUM)} is {text}", COMPARISON)
        plain = ("str", "kw")
        if one in plain or other in plain or (kinds.is_integer(one) and kinds.is_integer(other)):
            return Code(f"{a.at_least(SUM)} == {b.at_least(SUM)}", COMPARISON)
        if kinds.is_integer(other) and isinstance(right, nodes.Const):
            if not is_simple(a):
                name = self._temporary()
                return Code(f"({name} := {a}) == {b} and type({name}) is int", AND)
            return Code(f"{a} == {b} and type({a}) is int", AND)
        return call_text("equal", [a, b], node.at)

    def _inequality(self, node: nodes.LibraryCall) -> Code | None:
        test = self._equality(node)
        return None if test is None else negated(test)

    def _order(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 2:
            return None
        sign = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}[BY_NAME[node.name].python]
        left, right = (self.kind(one) for one in node.arguments)
        a, b = self._arguments(node.arguments)
        direct = f"{a.at_least(SUM)} {sign} {b.at_least(SUM)}"
        if any(kinds.is_number(one) or one == "str" for one in (left, right)):
            return Code(marked(node.at, direct), COMPARISON)
        name = {"<": "less", "<=": "less_or_equal", ">": "greater", ">=": "greater_or_equal"}[sign]
        slow = call_text(name, [a, b], node.at)
        if is_simple(a) and is_simple(b):
            fast = marked(node.at, direct)
            return Code(f"{fast} if type({a}) is int else {slow}", CHOICE)
        return slow

    def _not(self, node: nodes.LibraryCall) -> Code:
        return negated(self.condition(node.arguments[0]))

    def _is_type(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        name = PYTHON_TYPES[BY_NAME[node.name].python]
        return Code(f"type({code}) is {name}", COMPARISON)

    def _is_nil(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        return Code(f"{code.at_least(SUM)} is None", COMPARISON)

    def _is_some(self, node: nodes.LibraryCall) -> Code | None:
        if len(node.arguments) != 1:
            return None
        [code] = self._arguments(node.arguments)
        return Code(f"{code.at_least(SUM)} is not None", COMPARISON)

    def _parity(self, node: nodes.LibraryCall) -> Code | None:
        if not kinds.is_integer(self.kind(node.arguments[0])):
            return None
        [code] = self._arguments(node.arguments)
        wanted = 0 if BY_NAME[node.name].python == "is_even" else 1
        return Code(f"{code.at_least(PRODUCT)} % 2 == {wanted}", COMPARISON)

    def _sign_test(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        sign = {"is_zero": "==", "is_positive": ">", "is_negative": "<"}[BY_NAME[node.name].python]
        number = sign != "==" or kinds.is_number(self.kind(node.arguments[0]))
        text = code.at_least(SUM) if number else f"+{code.at_least(SIGN)}"
        return Code(marked(node.at, f"{text} {sign} 0"), COMPARISON)

    def _emptiness(self, node: nodes.LibraryCall) -> Code:
        [code] = self._arguments(node.arguments)
        kind = self.kind(node.arguments[0])
        if kinds.is_vector(kind) or kind in ("str", "map"):
            return Code(f"not {code.at_least(NOT)}", NOT)
        return Code(f"{call_text('count', [code], node.at)} == 0", COMPARISON)


_LIBRARY: Final[dict[str, Any]] = {
    "add": LibraryCalls._sum,
    "subtract": LibraryCalls._difference,
    "multiply": LibraryCalls._product,
    "inc": LibraryCalls._increment,
    "dec": LibraryCalls._increment,
    "modulo": LibraryCalls._modulo,
    "concat_text": LibraryCalls._text_of,
    "join": LibraryCalls._join,
    "count": LibraryCalls._count,
    "length": LibraryCalls._count,
    "conj": LibraryCalls._conj,
    "get": LibraryCalls._get,
    "each": LibraryCalls._each,
    "keep": LibraryCalls._keep,
    "remove": LibraryCalls._keep,
    "reduce": LibraryCalls._reduce,
}


_TESTS: Final[dict[str, Any]] = {
    "all_equal": LibraryCalls._equality,
    "not_equal": LibraryCalls._inequality,
    "lt": LibraryCalls._order,
    "le": LibraryCalls._order,
    "gt": LibraryCalls._order,
    "ge": LibraryCalls._order,
    "negated": LibraryCalls._not,
    "is_nil": LibraryCalls._is_nil,
    "is_some": LibraryCalls._is_some,
    "is_even": LibraryCalls._parity,
    "is_odd": LibraryCalls._parity,
    "is_zero": LibraryCalls._sign_test,
    "is_positive": LibraryCalls._sign_test,
    "is_negative": LibraryCalls._sign_test,
    "is_empty": LibraryCalls._emptiness,
    **dict.fromkeys(PYTHON_TYPES, LibraryCalls._is_type),
}
