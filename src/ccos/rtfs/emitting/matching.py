"""``match`` and ``case`` as chains of tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from ccos.rtfs import nodes
from ccos.rtfs.emitting.binding import SCALAR_TYPES
from ccos.rtfs.emitting.constants import data_code, key_code
from ccos.rtfs.emitting.statements import Statements
from ccos.rtfs.emitting.text import AND, COMPARISON, NOT, OR, Code, all_tests, is_simple, marked
from ccos.rtfs.emitting.writer import CLAUSES, Destination
from ccos.rtfs.forms import Form, Keyword, ListForm, Literal, head_name
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import Scalar, Type

MatchStep: TypeAlias = "Code | tuple[nodes.Variable, Code] | Node"


class Matching(Statements):
    """Writes matches."""

    def _match(self, node: nodes.Match, to: Destination) -> None:
        code = self.expr(node.subject)
        subject = code
        if not is_simple(code) or isinstance(node.subject, nodes.Const):
            subject = Code(node.variable.python)
            self._line(f"{subject} = {code}")
        node.variable.kind = self.kind(node.subject)
        if to.jumps:
            self._match_jumping(node, subject, to)
        else:
            self._match_choosing(node, subject, to)

    def _no_match(self, node: nodes.Match, subject: Code, to: Destination) -> None:
        fault = Code(marked(node.at, f"no_match({subject})"))
        if to.way == "return":
            self._line(f"return {fault}")
        else:
            self._line(fault)

    def _match_jumping(self, node: nodes.Match, subject: Code, to: Destination) -> None:
        """Clauses one after another; each that fits leaves."""
        for clause in node.clauses:
            tests: list[MatchStep] = list(self._steps_of(clause.pattern, subject))
            if clause.guard is not None:
                tests.append(clause.guard)
            if not any(not isinstance(step, tuple) for step in tests):
                self._bindings(tests)
                self.into(clause.body, to)
                return
            self._nested(tests, partial(self.into, clause.body, to), clause.at)
        self._no_match(node, subject, to)

    def _nested(self, steps: list[MatchStep], finish: Callable[[], None], at: int) -> None:
        """Tests, bindings and guards in order, each test an ``if``."""
        tests = list(itertools.takewhile(lambda step: isinstance(step, Code), steps))
        rest = steps[len(tests) :]
        if not tests:
            self._bindings(rest)
            guards = [step for step in rest if not isinstance(step, tuple | Code)]
            if not guards:
                finish()
                return
            place = next(i for i, step in enumerate(rest) if step is guards[0])
            condition = self.condition(guards[0])
            with self._inside([]) as block:
                self._nested(rest[place + 1 :], finish, at)
            self._block += [f"if {condition}:", block]
            return
        with self._inside([]) as block:
            self._nested(rest, finish, at)
        self._block += [f"if {all_tests([one for one in tests if isinstance(one, Code)])}:", block]

    def _bindings(self, steps: Sequence[MatchStep]) -> None:
        """The bindings up to the next guard or test."""
        for step in steps:
            if not isinstance(step, tuple):
                break
            variable, code = step
            self._line(f"{variable.python} = {code}")

    def _match_choosing(self, node: nodes.Match, subject: Code, to: Destination) -> None:
        """``if … elif … else``, or a flag where guards follow bindings."""
        flat = [list(self._steps_of(clause.pattern, subject)) for clause in node.clauses]
        guarded = any(clause.guard is not None for clause in node.clauses) or any(
            not isinstance(step, tuple | Code) for steps in flat for step in steps
        )
        if guarded or len(node.clauses) > CLAUSES:
            self._match_flagged(node, flat, subject, to)
            return
        word = "if"
        for clause, steps in zip(node.clauses, flat, strict=True):
            tests = all_tests([step for step in steps if isinstance(step, Code)])
            with self._inside([]) as block:
                self._bindings([step for step in steps if isinstance(step, tuple)])
                self.into(clause.body, to)
            if not tests and word == "if":
                self._block.extend(block)
                return
            self._line(f"{word} {tests}:" if tests else "else:")
            self._block.append(block)
            if not tests:
                return
            word = "elif"
        with self._inside([]) as block:
            self._no_match(node, subject, to)
        if node.clauses:
            self._line("else:")
            self._block.append(block)
        else:
            self._block.extend(block)

    def _match_flagged(
        self,
        node: nodes.Match,
        flat: list[list[MatchStep]],
        subject: Code,
        to: Destination,
    ) -> None:
        flag = self._temporary("unmatched")
        self._line(f"{flag} = True")
        for index, (clause, steps) in enumerate(zip(node.clauses, flat, strict=True)):
            if clause.guard is not None:
                steps = [*steps, clause.guard]

            def finish(body: Node = clause.body) -> None:
                self._line(f"{flag} = False")
                self.into(body, to)

            with self._inside([]) as block:
                self._nested(steps, finish, clause.at)
            if index == 0:
                self._block.extend(block)
            else:
                self._block += [f"if {flag}:", block]
        with self._inside([]) as block:
            self._no_match(node, subject, to)
        self._block += [f"if {flag}:", block]

    def _steps_of(self, pattern: nodes.MatchPattern, path: Code) -> Iterator[MatchStep]:
        """Tests, then bindings, then guards: what it takes to match ``path``."""
        tests: list[MatchStep] = []
        bindings: list[MatchStep] = []
        self._collect(pattern, path, tests, bindings)
        yield from tests
        yield from bindings

    def _collect(
        self,
        pattern: nodes.MatchPattern,
        path: Code,
        tests: list[MatchStep],
        bindings: list[MatchStep],
    ) -> None:
        match pattern:
            case nodes.Name(variable):
                bindings.append((variable, path))
            case nodes.Equals(form):
                tests.append(self._equals(path, form, pattern.at))
            case nodes.OneOf(forms):
                choices = [self._equals(path, form, pattern.at) for form in forms]
                if not choices:
                    tests.append(Code("False"))
                else:
                    level = OR if len(choices) > 1 else choices[0].level
                    tests.append(Code(" or ".join(one.at_least(AND) for one in choices), level))
            case nodes.MatchItems(parts, rest, open_end):
                tests.append(Code(f"type({path}) is list or type({path}) is tuple", OR))
                sign = ">=" if open_end else "=="
                tests.append(Code(f"len({path}) {sign} {len(parts)}", COMPARISON))
                for index, part in enumerate(parts):
                    self._collect(part, Code(f"{path}[{index}]"), tests, bindings)
                if rest is not None:
                    bindings.append((rest, Code(f"list({path}[{len(parts)}:]) or None", OR)))
            case nodes.MatchMembers():
                self._collect_members(pattern, path, tests, bindings)
            case nodes.Whole(variable, inner):
                bindings.append((variable, path))
                self._collect(inner, path, tests, bindings)
            case nodes.OfType(kind, inner):
                tests.append(self._type_test(path, kind))
                self._collect(inner, path, tests, bindings)
            case nodes.Guarded(inner, guard):
                self._collect(inner, path, tests, bindings)
                bindings.append(guard)

    def _collect_members(
        self,
        pattern: nodes.MatchMembers,
        path: Code,
        tests: list[MatchStep],
        bindings: list[MatchStep],
    ) -> None:
        tests.append(Code(f"type({path}) is dict", COMPARISON))
        if not pattern.members and pattern.rest is None:
            tests.append(Code(f"not {path}", NOT))
        keys = [key_code(key) for key, _ in pattern.members]
        for (_, inner), key in zip(pattern.members, keys, strict=True):
            tests.append(Code(f"{key} in {path}", COMPARISON))
            self._collect(inner, Code(f"{path}[{key}]"), tests, bindings)
        if pattern.rest is not None:
            bindings.append((pattern.rest, Code(f"without({path}, [{', '.join(keys)}], [])")))

    def _equals(self, path: Code, form: Form, at: int) -> Code:
        """A test that a value equals a constant."""
        if head_name(form) == "quote":
            assert isinstance(form, ListForm)
            form = form.items[1]
        code = data_code(form)
        match form:
            case Keyword() | Literal("string"):
                return Code(f"{path} == {code}", COMPARISON)
            case Literal("nil" | "boolean"):
                return Code(f"{path} is {code}", COMPARISON)
            case Literal("integer"):
                return Code(f"{path} == {code} and type({path}) is int", AND)
        return Code(f"equal({path}, {code})")

    def _type_test(self, path: Code, kind: Type) -> Code:
        if isinstance(kind, Scalar) and kind.name in SCALAR_TYPES:
            return Code(f"type({path}) is {SCALAR_TYPES[kind.name]}", COMPARISON)
        return Code(f"is_of({self._type(kind)}, {path})")
