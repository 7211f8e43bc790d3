"""Functions as ``def`` and ``lambda``."""

from __future__ import annotations

from dataclasses import replace

from ccos.rtfs import nodes
from ccos.rtfs.analysing import python_name
from ccos.rtfs.emitting.binding import TYPE_KINDS, Binding
from ccos.rtfs.emitting.shapes import parameter_text
from ccos.rtfs.emitting.text import CHOICE, Block, Code, as_lambda, marked, negated
from ccos.rtfs.emitting.writer import RETURN, Destination
from ccos.rtfs.types import Scalar, describes_sequence


class Functions(Binding):
    """Writes functions."""

    def _function(self, node: nodes.Function) -> Code:
        """A function as a value: a lambda where one line will do."""
        own = node.variable is not None and node.variable.used and node.variable.function is node
        if own and node.variable is not None and node.variable.frame is self._frame:
            self._function_named(node, node.variable)
            return Code(node.variable.python)
        name = self._frame.fresh(python_name(node.name))
        body, header = self._definition(node)
        short = as_lambda(header, body)
        frozen = self._frozen(node, None)
        if short is not None:
            if not frozen:
                return Code(short, CHOICE)
            names = ", ".join(frozen)
            return Code(f"(lambda {names}: {short})({names})")
        self._write_definition(name, header, body, frozen, node.at)
        return Code(name)

    def _function_named(self, node: nodes.Function, variable: nodes.Variable) -> None:
        """A function under the name of the variable it is bound to."""
        body, header = self._definition(node)
        if variable.step is None:
            frozen = self._frozen(node, variable)
            self._write_definition(variable.python, header, body, frozen, node.at)
            return
        self._write_definition(variable.step, header, body, [], node.at)
        first = f"{variable.step}({header})"
        definition = marked(node.at, f"def {variable.python}({header}):")
        self._block += [definition, [f"return bounced({first})"]]

    def _tail_call(self, node: nodes.Call, to: Destination) -> None:
        """A call that ends a function; between functions that end with each other it bounces."""
        callee = node.callee
        bounces = (
            node.tail
            and to.way == "return"
            and isinstance(callee, nodes.Ref)
            and callee.variable.step is not None
            and self._bouncing
        )
        if not bounces:
            self._finish(self.expr(node), to, node)
            return
        assert isinstance(callee, nodes.Ref)
        arguments = [callee.variable.step or "", *self._arguments(node.arguments)]
        self._line(f"return Bounce({', '.join(arguments)})", node.at)

    def _write_definition(
        self, name: str, header: str, body: Block, frozen: list[str], at: int
    ) -> None:
        """``def``; what a loop would change under it goes through a function around it."""
        definition: Block = [marked(at, f"def {name}({header}):"), body]
        if not frozen:
            self._block += definition
            return
        maker = self._frame.fresh("make_" + name)
        self._block += [
            f"def {maker}({', '.join(frozen)}):",
            [*definition, f"return {name}"],
            f"{name} = {maker}({', '.join(frozen)})",
        ]

    def _frozen(self, node: nodes.Function, variable: nodes.Variable | None) -> list[str]:
        """The variables that a loop gives other values while the function lives."""
        return [
            free.python
            for free in node.free
            if free is not variable
            and free is not node.variable
            and free.repeat is not None
            and free.repeat.varies()
            and free.function is None
        ]

    def _definition(self, node: nodes.Function) -> tuple[Block, str]:
        """The statements and the parameters of a function."""
        if len(node.clauses) == 1:
            [clause] = node.clauses
            body = self._clause(node, clause)
            return body, ", ".join(parameter_text(one) for one in clause.parameters)
        return self._clauses(node), "*arguments"

    def _clauses(self, node: nodes.Function) -> Block:
        """A function with several arities asks how many arguments it got."""
        block: Block = []
        for clause in sorted(node.clauses, key=lambda one: one.has_rest):
            test = ">=" if clause.has_rest else "=="
            inner: Block = []
            if clause.parameters:
                names = [parameter_text(one) for one in clause.parameters]
                comma = "," if len(names) == 1 else ""
                inner.append(f"{', '.join(names)}{comma} = arguments")
            inner += self._clause(node, clause)
            block += [f"if len(arguments) {test} {clause.required}:", inner]
        block.append(f"return arity_fault({node.name!r}, len(arguments))")
        return block

    def _clause(self, node: nodes.Function, clause: nodes.Clause) -> Block:
        saved = self._frame, self._bouncing
        self._frame = clause.frame
        variable = node.variable
        self._bouncing = variable is not None and variable.function is node and bool(variable.step)
        try:
            with self._inside([]) as block:
                if clause.has_rest:
                    self._rest_parameter(clause.parameters[-1], len(node.clauses) > 1)
                if clause.repeat.active:
                    with self._inside([]) as inner:
                        self._clause_body(node, clause)
                    self._block += ["while True:", inner]
                else:
                    self._clause_body(node, clause)
            return block
        finally:
            self._frame, self._bouncing = saved

    def _rest_parameter(self, parameter: nodes.Parameter, unpacked: bool) -> None:
        name = parameter.variable.python
        if isinstance(parameter.pattern, nodes.Name):
            name = parameter.pattern.variable.python
        if not isinstance(parameter.pattern, nodes.Ignore):
            self._line(
                f"{name} = tuple({name}) or None" if unpacked else f"{name} = {name} or None"
            )

    def _clause_body(self, node: nodes.Function, clause: nodes.Clause) -> None:
        for parameter in clause.parameters:
            self._parameter_check(parameter)
        for parameter in clause.parameters:
            if not isinstance(parameter.pattern, nodes.Name | nodes.Ignore):
                self._take_apart(parameter.pattern, Code(parameter.variable.python))
        for condition in clause.before:
            test = self.condition(condition)
            self._line(f"if {negated(test)}:")
            self._block.append([marked(condition.at, f"condition_failed(':pre', {node.name!r})")])
        path = f"the result of {node.name}"
        to = replace(RETURN, check=clause.returns, path=path)
        if clause.result is None:
            self.into(clause.body, to)
            return
        self.into(clause.body, Destination("assign", clause.result.python))
        for condition in clause.after:
            test = self.condition(condition)
            self._line(f"if {negated(test)}:")
            self._block.append([marked(condition.at, f"condition_failed(':post', {node.name!r})")])
        self._return(Code(clause.result.python), to, clause.body)

    def _parameter_check(self, parameter: nodes.Parameter) -> None:
        kind = parameter.type
        if kind is None:
            return
        name, path = parameter.variable.python, "the argument"
        if isinstance(parameter.pattern, nodes.Name):
            name = parameter.pattern.variable.python
            path = parameter.pattern.variable.name
        if not parameter.rest:
            self._check_variable(name, kind, path, None, parameter.at)
            if isinstance(parameter.pattern, nodes.Name) and isinstance(kind, Scalar):
                known = TYPE_KINDS.get(kind.name, "any")
                parameter.pattern.variable.kind = known
            return
        if describes_sequence(kind):
            self._line(f"typed({name} or (), {self._type(kind)}, {path!r})", parameter.at)
            return
        item = self._temporary("item")
        self._line(f"for {item} in {name} or ():", parameter.at)
        self._block.append([marked(parameter.at, f"typed({item}, {self._type(kind)}, {path!r})")])
