"""A compiled RTFS program as a session runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ccos.engine.languages import Entry
from ccos.engine.python import Program
from ccos.errors import ScriptRaisedError
from ccos.rtfs.compiler import ANSWER_JSON, LIMITS, CompiledModule, FunctionSignature
from ccos.rtfs.execution import CONTEXT

_GIVEN: Final = "given"


@dataclass(frozen=True, slots=True)
class RtfsProgram(Program):
    """What a session runs; ``module`` is the compiled program."""

    module: CompiledModule | None = None

    def with_entry(self, entry: Entry) -> tuple[str, dict[str, Any]]:
        """The text to feed and its variables.

        Without a function the arguments are the context of the run: ``@name`` reads one.

        Raises:
            ScriptRaisedError: if the function cannot be called with the arguments.
        """
        module = self.compiled
        if entry.function is None:
            return module.source(ANSWER_JSON), {CONTEXT: dict(entry.arguments)}
        function = _function_of(module, entry.function)
        values = _in_order(self.name, function, dict(entry.arguments))
        listed = ", ".join(f"from_json({_GIVEN}[{i}])" for i in range(len(values)))
        answer = f"to_json({function.python}({listed}))"
        return module.source(answer), {CONTEXT: {}, _GIVEN: values}

    @property
    def compiled(self) -> CompiledModule:
        """The compiled program, which is always there."""
        assert self.module is not None
        return self.module


def program_of(module: CompiledModule) -> RtfsProgram:
    """What a session runs of a compiled program."""
    depth = LIMITS["max_recursion_depth"]
    assert depth is not None
    digest = f"sha256:{module.hash}"
    return RtfsProgram(module.text, module.name, digest, recursion=depth, module=module)


def exported(module: CompiledModule) -> dict[str, tuple[str, ...]]:
    """The functions that can be called by name, with the names of their parameters."""
    return {
        one.name: parameters_of(one)
        for one in module.functions
        if len(one.arities) == 1 and "/" not in one.name
    }


def parameters_of(function: FunctionSignature) -> tuple[str, ...]:
    """Names of the parameters; one that is taken apart is called by its number."""
    return tuple(
        f"arg{number}" if name == "_" else name
        for number, name in enumerate(function.parameters, start=1)
    )


def _function_of(module: CompiledModule, name: str) -> FunctionSignature:
    found = next((one for one in module.functions if one.name == name), None)
    if found is None or name not in exported(module):
        raise ScriptRaisedError(
            f"{module.name}: no function {name[:100]!a} can be called by name.",
            details={"kind": "UndefinedSymbol", "function": name},
        )
    return found


def _in_order(name: str, function: FunctionSignature, given: dict[str, Any]) -> list[Any]:
    """Arguments by name as the function takes them."""
    names = parameters_of(function)
    rest = names[-1] if function.has_rest else None
    plain = [one for one in names if one != rest]
    further = given.pop(rest, None) if rest is not None else None
    wrong = [one for one in plain if one not in given] + [one for one in given if one not in plain]
    if wrong or not isinstance(further, list | None):
        raise ScriptRaisedError(
            f"{name}: {function.name} takes {', '.join(names) or 'no arguments'}.",
            details={"kind": "ArityMismatch", "function": function.name},
        )
    return [*(given[one] for one in plain), *(further or ())]
