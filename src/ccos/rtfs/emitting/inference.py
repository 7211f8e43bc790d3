"""What is known of values before the run."""

from __future__ import annotations

from typing import Final

from ccos.rtfs import kinds, nodes
from ccos.rtfs.emitting.constants import data_kind
from ccos.rtfs.emitting.writer import CHAIN, Writer
from ccos.rtfs.library import BY_NAME
from ccos.rtfs.nodes import Node

CONST_KINDS: Final = {
    "integer": "small",
    "float": "float",
    "string": "str",
    "boolean": "bool",
    "nil": "nil",
    "keyword": "kw",
}


class Inference(Writer):
    """Finds the kinds of nodes."""

    def kind(self, node: Node, depth: int = 0) -> str:
        """What is known of the value of a node."""
        if depth > 12:
            return "any"
        match node:
            case nodes.Const(form):
                return CONST_KINDS.get(data_kind(form), "any")
            case nodes.Ref(variable):
                return variable.kind
            case nodes.LibraryCall():
                return self._library_kind(node, depth)
            case nodes.If(_, then, otherwise):
                return kinds.joined(self.kind(then, depth + 1), self.kind(otherwise, depth + 1))
            case nodes.Do(body):
                return self.kind(body[-1], depth + 1)
            case nodes.Let(_, body):
                return self.kind(body, depth + 1)
            case nodes.And(parts) | nodes.Or(parts):
                found = {self.kind(part, depth + 1) for part in parts}
                return "bool" if found == {"bool"} else "any"
            case nodes.VectorNode(items):
                found_kind = "never"
                for item in items[:50]:
                    found_kind = kinds.joined(found_kind, self.kind(item, depth + 1))
                unknown = found_kind == "never" or len(items) > 50
                return "vec" if unknown else kinds.vector_of(found_kind)
            case nodes.MapNode():
                return "map"
            case nodes.Function() | nodes.LibraryRef() | nodes.HostFunction():
                return "fn"
            case nodes.For(_, _, collect):
                return "vec" if collect else "nil"
            case nodes.Recur():
                return "never"
            case nodes.Raw():
                return "any" if node.kind == "reference" else node.kind
        return "any"

    def _library_kind(self, node: nodes.LibraryCall, depth: int) -> str:
        function = BY_NAME[node.name]
        if not function.accepts(len(node.arguments)):
            return "never"
        arguments = [self.kind(one, depth + 1) for one in node.arguments[:CHAIN]]
        match function.python:
            case "add" | "subtract":
                result = arguments[0]
                for one in arguments[1:]:
                    result = kinds.total(result, one)
                return result if kinds.is_number(result) else "num"
            case "inc" | "dec":
                return kinds.total(arguments[0], "small")
            case "multiply":
                result = arguments[0]
                for one in arguments[1:]:
                    result = kinds.total(result, one)
                result = result if kinds.is_number(result) else "num"
                return "int" if result == "small" else result
            case "modulo" | "remainder":
                if kinds.is_integer(arguments[0]) and kinds.is_integer(arguments[1]):
                    return "int"
            case "maximum" | "minimum":
                result = "never"
                for one in arguments:
                    result = kinds.joined(result, one)
                return result if kinds.is_number(result) else "num"
            case "count" | "length" | "string_length":
                return "small"
            case "keep" | "remove":
                return kinds.vector_of(kinds.item_of(arguments[1]))
            case "each":
                return self._mapped_kind(node, depth)
            case "conj" if kinds.is_vector(arguments[0]):
                return "vec"
            case "number_range" | "numbers":
                whole = all(kinds.is_integer(one) for one in arguments)
                return "vec:small" if whole else "vec:num"
            case "get" if len(arguments) == 1:
                return "any"
        return function.kind

    def _mapped_kind(self, node: nodes.LibraryCall, depth: int) -> str:
        function = node.arguments[0]
        if isinstance(function, nodes.LibraryRef):
            if BY_NAME[function.name].python in ("inc", "dec"):
                return kinds.vector_of("num")
            return kinds.vector_of(BY_NAME[function.name].kind.replace("small", "int"))
        if isinstance(function, nodes.Function) and len(function.clauses) == 1:
            [clause] = function.clauses
            if len(clause.parameters) == 1 and isinstance(clause.parameters[0].pattern, nodes.Name):
                item = kinds.item_of(self.kind(node.arguments[1], depth + 1))
                clause.parameters[0].pattern.variable.kind = item
            return kinds.vector_of(self.kind(clause.body, depth + 1))
        return "vec"
