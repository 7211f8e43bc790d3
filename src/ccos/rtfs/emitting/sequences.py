"""``for``, ``map``, ``filter`` and ``reduce`` as comprehensions and loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ccos.rtfs import kinds, nodes
from ccos.rtfs.emitting.calls import Calls
from ccos.rtfs.emitting.text import OR, Block, Code, call_text, marked
from ccos.rtfs.emitting.writer import DISCARD, Destination
from ccos.rtfs.forms import Keyword
from ccos.rtfs.library import BY_NAME, IMPURE
from ccos.rtfs.nodes import Node


@dataclass(slots=True)
class Inlined:
    """A function that is written where it is applied."""

    parameters: list[nodes.Pattern]
    body: Node
    repeat: nodes.Repeat


class Sequences(Calls):
    """Writes loops over sequences."""

    def _each(self, node: nodes.LibraryCall) -> Code | None:
        """``map`` as a comprehension or a loop."""
        item = self._inlined(node.arguments[0], 1)
        if item is None:
            return None
        generator = self._generator(item, node)
        return self._comprehension(nodes.For([generator], item.body, True, node.at))

    def _keep(self, node: nodes.LibraryCall) -> Code | None:
        """``filter`` and ``remove``."""
        item = self._inlined(node.arguments[0], 1)
        if item is None or not isinstance(item.parameters[0], nodes.Name):
            return None
        test = item.body
        if BY_NAME[node.name].python == "remove":
            test = nodes.LibraryCall("not", [test], node.at)
        generator = self._generator(item, node)
        generator.steps.append(test)
        kept = nodes.Ref(item.parameters[0].variable, node.at)
        return self._comprehension(nodes.For([generator], kept, True, node.at))

    def _generator(self, item: Inlined, node: nodes.LibraryCall) -> nodes.Generator:
        [pattern] = item.parameters
        return nodes.Generator(pattern, node.arguments[1], [], item.repeat, node.at)

    def _reduce(self, node: nodes.LibraryCall) -> Code | None:
        """``reduce`` as a loop."""
        item = self._inlined(node.arguments[0], 2)
        if item is None or not isinstance(item.parameters[0], nodes.Name):
            return None
        total = item.parameters[0].variable
        sequence = node.arguments[-1]
        kind = kinds.item_of(self.kind(sequence))
        if isinstance(item.parameters[1], nodes.Name):
            item.parameters[1].variable.kind = kind
        if len(node.arguments) == 3:
            start, xs = self._arguments([node.arguments[1], sequence])
            total.kind = self._stable_kind(total, self.kind(node.arguments[1]), item.body)
            items = self._items_of(xs, sequence)
            self._line(f"{total.python} = {start}")
        else:
            [xs] = self._arguments([sequence])
            whole = self._held(self._items_of(xs, sequence), "xs")
            total.kind = self._stable_kind(total, kind, item.body)
            self._line(f"{total.python} = {marked(node.at, f'first_of({whole})')}")
            items = Code(f"{whole}[1:]")
        name, apart = self._loop_name(item.parameters[1])
        with self._inside([]) as block:
            if apart is not None:
                self._take_apart(apart, Code(name))
            self.into(item.body, Destination("assign", total.python))
        self._block += [f"for {name} in {items}:", block]
        return Code(total.python)

    def _stable_kind(self, variable: nodes.Variable, start: str, body: Node) -> str:
        """The kind of a variable that a loop starts with one value and goes on with others."""
        variable.kind = start
        for _ in range(3):
            found = kinds.joined(variable.kind, self.kind(body))
            if found == variable.kind:
                return found
            variable.kind = found
        return "any"

    def _loop_name(self, pattern: nodes.Pattern) -> tuple[str, nodes.Pattern | None]:
        """The Python name of a loop's items, and what is left to take apart."""
        match pattern:
            case nodes.Name(variable):
                return variable.python, None
            case nodes.Ignore():
                return "_", None
        return self._temporary("item"), pattern

    def _inlined(self, function: Node, count: int) -> Inlined | None:
        """A function that is written where it is applied; None if it has to be called."""
        match function:
            case nodes.Function(clauses=[clause]):
                plain = not (clause.before or clause.after or clause.returns or clause.has_rest)
                typed = any(one.type is not None for one in clause.parameters)
                if plain and not typed and not clause.repeat.active and clause.accepts(count):
                    if function.variable is not None and function.variable.used:
                        return None
                    clause.repeat.active = True
                    patterns = [one.pattern for one in clause.parameters]
                    return Inlined(patterns, clause.body, clause.repeat)
            case nodes.LibraryRef(name) if BY_NAME[name].accepts(count):
                if BY_NAME[name].python in IMPURE:
                    return None
                return self._applied(
                    lambda refs: nodes.LibraryCall(name, refs, function.at), count, function.at
                )
            case nodes.Const(Keyword()):
                return self._applied(
                    lambda refs: nodes.Call(function, refs, function.at), count, function.at
                )
            case nodes.Ref() if self._known_function(function) is not None:
                return self._applied(
                    lambda refs: nodes.Call(function, refs, function.at), count, function.at
                )
        return None

    def _applied(self, make: Callable[[list[Node]], Node], count: int, at: int) -> Inlined:
        """The application of a function to new variables."""
        repeat = nodes.Repeat(None, self._frame, active=True)
        variables = [
            nodes.Variable(name, self._frame.fresh(name), self._frame, repeat, definitions=1)
            for name in (("item",) if count == 1 else ("total", "item"))
        ]
        patterns: list[nodes.Pattern] = [nodes.Name(variable, at) for variable in variables]
        body = make([nodes.Ref(variable, at) for variable in variables])
        return Inlined(patterns, body, repeat)

    def _items_of(self, code: Code, node: Node) -> Code:
        """Something that Python can loop over."""
        kind = self.kind(node)
        if kinds.is_vector(kind) or kind == "str":
            return code
        return call_text("items", [code], node.at)

    def _for(self, node: nodes.For) -> Code:
        if node.collect:
            return self._comprehension(node)
        self._loops(node, None)
        return Code("None")

    def _for_statement(self, node: nodes.For, to: Destination) -> None:
        if node.collect and to.way != "discard":
            self._finish(self._comprehension(node), to, node)
            return
        self._loops(node, None)
        if to.way != "discard" or to.leaves:
            self._finish(Code("None"), to, node)

    def _comprehension(self, node: nodes.For) -> Code:
        with self._inside([]) as outside:
            written = self._clauses_of(node)
        if written is not None:
            self._block.extend(outside)
            return written
        name = self._temporary("collected")
        self._line(f"{name} = []")
        self._loops(node, name)
        return Code(name)

    def _clauses_of(self, node: nodes.For) -> Code | None:
        """A Python comprehension; None if a part needs statements."""
        parts: list[str] = []
        for index, generator in enumerate(node.generators):
            if not isinstance(generator.pattern, nodes.Name | nodes.Ignore):
                return None
            block, source = self._captured_source(generator)
            if block and index:
                return None
            self._block.extend(block)
            name, _ = self._loop_name(generator.pattern)
            parts.append(f"for {name} in {source.at_least(OR)}")
            for step in generator.steps:
                clause = self._comprehension_step(step)
                if clause is None:
                    return None
                parts.append(clause)
        block, body = self._captured(node.body)
        if block:
            return None
        return Code(f"[{body} {' '.join(parts)}]")

    def _captured_source(self, generator: nodes.Generator) -> tuple[Block, Code]:
        """What a generator loops over, without an assignment inside, which Python forbids there."""
        if isinstance(generator.pattern, nodes.Name):
            generator.pattern.variable.kind = kinds.item_of(self.kind(generator.collection))
        with self._inside([]) as block:
            code = self._source(generator)
            if ":=" in code:
                code = self._held(code)
        return block, code

    def _source(self, generator: nodes.Generator) -> Code:
        collection = generator.collection
        if isinstance(collection, nodes.LibraryCall):
            counted = self._counted(collection)
            if counted is not None:
                return counted
        return self._items_of(self.expr(collection), collection)

    def _counted(self, node: nodes.LibraryCall) -> Code | None:
        """Python's own ``range`` where no list has to be made."""
        function = BY_NAME[node.name]
        if function.python != "number_range" or not 1 <= len(node.arguments) <= 2:
            return None
        if not all(kinds.is_integer(self.kind(one)) for one in node.arguments):
            return None
        return Code(f"range({', '.join(self._arguments(node.arguments))})")

    def _comprehension_step(self, step: Node | nodes.Bind) -> str | None:
        if isinstance(step, nodes.Bind):
            if not isinstance(step.pattern, nodes.Name) or step.type is not None:
                return None
            step.pattern.variable.kind = self.kind(step.value)
            block, code = self._captured(step.value)
            name = step.pattern.variable.python
            return None if block or ":=" in code else f"for {name} in [{code}]"
        with self._inside([]) as block:
            test = self.condition(step)
        return None if block else f"if {test.at_least(OR)}"

    def _loops(self, node: nodes.For, collected: str | None) -> None:
        """Loops inside loops, one for each generator."""
        self._loop_of(node, 0, collected)

    def _loop_of(self, node: nodes.For, index: int, collected: str | None) -> None:
        if index == len(node.generators):
            if collected is None:
                self.into(node.body, DISCARD)
            else:
                self._line(f"{collected}.append({self.expr(node.body)})", node.body.at)
            return
        generator = node.generators[index]
        block, source = self._captured_source(generator)
        self._block.extend(block)
        name, apart = self._loop_name(generator.pattern)
        with self._inside([]) as inner:
            if apart is not None:
                self._take_apart(apart, Code(name))
            self._steps(node, index, 0, collected)
        self._block += [f"for {name} in {source}:", inner]

    def _steps(self, node: nodes.For, index: int, step: int, collected: str | None) -> None:
        steps = node.generators[index].steps
        if step == len(steps):
            self._loop_of(node, index + 1, collected)
            return
        one = steps[step]
        if isinstance(one, nodes.Bind):
            self._bind(one)
            self._steps(node, index, step + 1, collected)
            return
        test = self.condition(one)
        with self._inside([]) as block:
            self._steps(node, index, step + 1, collected)
        self._block += [f"if {test}:", block]
