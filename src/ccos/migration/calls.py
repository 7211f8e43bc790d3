"""What every call of a tool goes through, whoever runs it: arguments in, result out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ccos.canonical import canonical_json
from ccos.capabilities import SchemaValidator
from ccos.engine.hosts import INTEGERS
from ccos.engine.values import json_data
from ccos.errors import InvalidArgumentsError, InvalidResultError, ScriptConflictError
from ccos.migration.definitions import Binding, ToolDefinition

_VALIDATORS_KEPT: Final = 1000
_ROOT: Final = "$"


def bound_arguments(definition: ToolDefinition, arguments: Any) -> dict[str, Any]:
    """The arguments of a call by parameter of the tool's function, after they were checked.

    Args:
        definition: Of the tool.
        arguments: An object of JSON data. Of a tool with named parameters, null for an optional
            one leaves it out.

    Raises:
        ScriptConflictError: if the tool is disabled.
        InvalidArgumentsError: naming the argument that is missing, or what is wrong with it.
    """
    if not definition.enabled:
        raise ScriptConflictError(
            f"Tool {definition.name!r} is disabled.", next_step="Enable it before it is called."
        )
    given = _as_object(definition, arguments)
    missing = [name for name in _required(definition) if name not in given]
    if missing:
        fields = "field" if len(missing) == 1 else "fields"
        raise _refusal(definition, f"Missing required {fields}: {', '.join(missing)}", missing)
    faults = _validator(canonical_json(definition.input_schema)).faults(given)
    if faults:
        said = "; ".join(f"{one.path or '/'}: {one.message}" for one in faults)
        raise _refusal(definition, said, [one.path for one in faults])
    return definition.entry.bound(given)


def checked_result(definition: ToolDefinition, value: Any) -> Any:
    """The result of a call, if it is what the tool promises.

    Raises:
        InvalidResultError: if it is not.
    """
    if definition.output_schema is None:
        return value
    faults = _validator(canonical_json(definition.output_schema)).faults(value)
    if faults:
        said = "; ".join(f"{one.path or '/'}: {one.message}" for one in faults)
        raise InvalidResultError(
            f"The result of {definition.name!r} is not what it promises: {said}",
            next_step="Correct the tool, or its OUTPUT_SCHEMA.",
            details={"tool": definition.name, "places": [one.path for one in faults]},
        )
    return value


def _as_object(definition: ToolDefinition, arguments: Any) -> dict[str, Any]:
    if not isinstance(arguments, Mapping):
        raise _refusal(definition, "The arguments have to be an object", [])
    try:
        given: dict[str, Any] = json_data(dict(arguments))
    except TypeError as error:
        raise _refusal(definition, f"The arguments are no JSON data: {error}", []) from None
    beyond = _beyond(given, _ROOT)
    if beyond is not None:
        raise _refusal(definition, f"{beyond} is an integer beyond 64 bits", [beyond])
    if definition.entry.binding is Binding.NAMED:
        required = _required(definition)
        return {name: one for name, one in given.items() if one is not None or name in required}
    return given


def _required(definition: ToolDefinition) -> list[str]:
    required = definition.input_schema.get("required")
    return required if isinstance(required, list) else []


def _beyond(value: Any, path: str) -> str | None:
    """The place of the first integer that Rune does not have; None if there is none."""
    match value:
        case dict():
            children = ((f"{path}.{name}", one) for name, one in value.items())
        case list():
            children = ((f"{path}[{index}]", one) for index, one in enumerate(value))
        case int() if value not in INTEGERS:
            return path
        case _:
            return None
    return next((found for place, one in children if (found := _beyond(one, place))), None)


@lru_cache(maxsize=_VALIDATORS_KEPT)
def _validator(schema: bytes) -> SchemaValidator:
    return SchemaValidator(json.loads(schema))


def _refusal(definition: ToolDefinition, message: str, places: list[str]) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"{message}." if not message.startswith("Missing required") else message,
        next_step=f"See its arguments with `ccos tools show {definition.name}`.",
        details={"tool": definition.name, "places": places},
    )
