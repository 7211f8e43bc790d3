"""Choices, definitions and loops as statements."""

from __future__ import annotations

from dataclasses import replace

from ccos.rtfs import kinds, nodes
from ccos.rtfs.emitting.constants import repr_data
from ccos.rtfs.emitting.library_calls import LibraryCalls
from ccos.rtfs.emitting.shapes import always_recurs, chain_length, parameter_name, tail_recurs
from ccos.rtfs.emitting.text import OR, Code, in_order, negated
from ccos.rtfs.emitting.writer import CLAUSES, DISCARD, Destination
from ccos.rtfs.nodes import Node
from ccos.rtfs.typedata import type_data


class Statements(LibraryCalls):
    """Writes statements."""

    def _if_statement(self, node: nodes.If, to: Destination) -> None:
        if not to.jumps and chain_length(node) > CLAUSES:
            self._long_choice(node, to)
            return
        test = self.condition(node.test)
        if test in ("True", "False"):
            self.into(node.then if test == "True" else node.otherwise, to)
            return
        with self._inside([]) as then:
            self.into(node.then, to)
        if to.jumps:
            self._line(f"if {test}:")
            self._block.append(then)
            self.into(node.otherwise, to)
            return
        with self._inside([]) as otherwise:
            self.into(node.otherwise, to)
        self._choose(test, then, otherwise)

    def _long_choice(self, node: nodes.If, to: Destination) -> None:
        """A chain of choices one after another, with a flag instead of nesting."""
        flag = self._temporary("undecided")
        self._line(f"{flag} = True")
        rest: Node = node
        while isinstance(rest, nodes.If):
            with self._inside([]) as block:
                test = self.condition(rest.test)
                with self._inside([]) as then:
                    self._line(f"{flag} = False")
                    self.into(rest.then, to)
                self._block += [f"if {test}:", then]
            self._block += [f"if {flag}:", block]
            rest = rest.otherwise
        with self._inside([]) as block:
            self.into(rest, to)
        self._block += [f"if {flag}:", block]

    def _do_statement(self, node: nodes.Do, to: Destination) -> None:
        for one in node.body[:-1]:
            self.into(one, DISCARD)
        self.into(node.body[-1], to)

    def _let_statement(self, node: nodes.Let, to: Destination) -> None:
        for binding in node.bindings:
            self._bind(binding)
        self.into(node.body, to)

    def _define(self, node: nodes.Define, to: Destination) -> None:
        name = node.variable.python
        if isinstance(node.value, nodes.Function):
            self._function_named(node.value, node.variable)
        else:
            if node.variable.is_stable:
                node.variable.kind = self.kind(node.value)
            self.into(node.value, Destination("assign", name))
        self._check_variable(name, node.type, node.variable.name, node.value, node.at)
        if to.way != "discard" or to.leaves:
            self._finish(Code(name), to, node)

    def _define_expression(self, node: nodes.Define) -> Code:
        self._define(node, DISCARD)
        return Code(node.variable.python)

    def _name_type(self, node: nodes.NameType, to: Destination) -> None:
        data = repr_data(type_data(node.type))
        self._line(f"NAMED_TYPES[{node.name!r}] = {data}", node.at)
        if to.way != "discard" or to.leaves:
            self._finish(Code("None"), to, node)

    def _loop(self, node: nodes.Loop, to: Destination) -> None:
        for binding, variable in zip(node.bindings, node.variables, strict=True):
            self.into(binding.value, Destination("assign", variable.python))
            variable.kind = self.kind(binding.value)
        if not node.repeat.active:
            self._enter_loop(node)
            self.into(node.body, to)
            return
        self._settle_kinds(node)
        inner = to if to.way == "return" else replace(to, leaves=True)
        rest = self._while_loop(node, to)
        if rest is not None:
            self.into(rest, to)
            return
        with self._inside([]) as block:
            self._enter_loop(node)
            self.into(node.body, inner)
        self._block += ["while True:", block]
        if to.leaves:
            self._line("break")

    def _enter_loop(self, node: nodes.Loop) -> None:
        for binding, variable in zip(node.bindings, node.variables, strict=True):
            self._check_variable(variable.python, binding.type, variable.name, None, binding.at)
            if not isinstance(binding.pattern, nodes.Name | nodes.Ignore):
                self._take_apart(binding.pattern, Code(variable.python))

    def _settle_kinds(self, node: nodes.Loop) -> None:
        """Find kinds of the loop's variables that hold for every round."""
        if self._inferring > 3:
            for variable in node.variables:
                variable.kind = "any"
            return
        self._inferring += 1
        recurs = [one for one in tail_recurs(node.body) if one.target is node]
        for _ in range(4):
            changed = False
            for index, variable in enumerate(node.variables):
                found = variable.kind
                for one in recurs:
                    found = kinds.joined(found, self.kind(one.arguments[index]))
                changed = changed or found != variable.kind
                variable.kind = found
            if not changed:
                break
        else:
            for variable in node.variables:
                variable.kind = "any"
        self._inferring -= 1

    def _while_loop(self, node: nodes.Loop, to: Destination) -> Node | None:
        """``while test``, if one branch always goes round and the other never does.

        Answers the other branch, which comes after the loop.
        """
        body = node.body
        plain = all(isinstance(one.pattern, nodes.Name) for one in node.bindings)
        if not isinstance(body, nodes.If) or not plain or any(one.type for one in node.bindings):
            return None
        rounds = body.then, body.otherwise
        always = [always_recurs(one, node) for one in rounds]
        never = [not any(one.target is node for one in tail_recurs(branch)) for branch in rounds]
        if not (always[0] and never[1]) and not (always[1] and never[0]):
            return None
        with self._inside([]) as before:
            test = self.condition(body.test)
        if before:
            return None
        with self._inside([]) as block:
            self.into(body.then if always[0] else body.otherwise, replace(DISCARD, leaves=True))
        if block and block[-1] == "continue":
            block.pop()
        self._line(f"while {test if always[0] else negated(test)}:")
        self._block.append(block)
        return body.otherwise if always[0] else body.then

    def _recur(self, node: nodes.Recur, to: Destination) -> None:
        codes = self._arguments(node.arguments)
        if isinstance(node.target, nodes.Loop):
            names = [variable.python for variable in node.target.variables]
        else:
            names = [parameter_name(one) for one in node.target.parameters]
            if node.target.has_rest:
                codes[-1] = Code(f"tuple(items({codes[-1]})) or None", OR)
        for name, code in in_order(list(zip(names, codes, strict=True)), self._temporary):
            self._line(f"{name} = {code}", node.at)
        self._line("continue")

    def _while(self, node: nodes.While, to: Destination) -> None:
        turns = self._temporary("turns")
        value = self._temporary("value")
        self._line(f"{turns} = 0")
        self._line(f"{value} = None")
        with self._inside([]) as block:
            test = self.condition(node.test)
            self._line(f"if {negated(test)}:")
            self._block.append(["break"])
            self._line(f"{turns} = turned({turns})", node.at)
            self.into(node.body, Destination("assign", value))
        self._block += ["while True:", block]
        self._finish(Code(value), to, node)
