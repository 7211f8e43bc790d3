"""What one file is: the contracts that it keeps, or why it is none of a tool's business."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

from ccos.migration import metadata
from ccos.migration.attributes_form import read_attributes, tools_by_attribute
from ccos.migration.definitions import ToolDefinition
from ccos.migration.discovery_config import DiscoveryConfig
from ccos.migration.functions_form import declares_contract, read_functions
from ccos.migration.header_form import DEFAULT_ENTRY, has_header, read_header
from ccos.migration.hints import told
from ccos.migration.inspection import Outline
from ccos.migration.metadata import MetadataError
from ccos.migration.problems import MigrationErrorType, Problem, invalid
from ccos.migration.reading import Described, Reading, Verdict, refused

MAX_PROBLEMS: Final = 20
MAX_TOOLS: Final = 256
_NAMED: Final = 5


def read_contract(outline: Outline, stem: str, config: DiscoveryConfig) -> Reading:
    """What a file is, with every tool that it has and everything that is wrong.

    Args:
        outline: Of its text.
        stem: Its name without the ending, which is what a tool with a header is called.
        config: Says which contracts are looked for.
    """
    warnings = tuple(
        f"line {one.diagnostic.line}: {one.diagnostic.message}" for one in outline.warnings
    )[:MAX_PROBLEMS]
    if _is_hook(outline):
        return Reading(Verdict.HOOK, _hook_reason(outline), warnings=warnings)
    if not outline.compiled:
        return refused(_compilation_problems(outline), warnings)
    described = [_with_usable_name(one) for one in _tools(outline, stem, config)]
    if not described:
        verdict, reason = _no_tool(outline)
        return Reading(verdict, reason, warnings=warnings)
    problems = [problem for one in described for problem in one.problems]
    tools = tuple(one for one in described if one.definition is not None)
    if len(tools) > MAX_TOOLS:
        problems = [invalid(f"It has {len(tools)} tools; at most {MAX_TOOLS} are allowed.")]
        tools = ()
    warnings += tuple(warning for one in described for warning in one.warnings)
    if not tools:
        return refused(problems[:MAX_PROBLEMS], warnings)
    names = [one.definition.name for one in tools if one.definition is not None]
    reason = f"It has {_listed('the tool', 'the tools', names)}."
    return Reading(Verdict.TOOL, reason, tools, tuple(problems[:MAX_PROBLEMS]), warnings)


def _tools(outline: Outline, stem: str, config: DiscoveryConfig) -> Iterable[Described]:
    patterns, validate = config.patterns, config.validate_tools
    marked = tools_by_attribute(outline)
    if patterns.direct_tools:
        if declares_contract(outline):
            yield read_functions(outline, validate=validate)
        elif not marked and has_header(outline):
            yield read_header(outline, stem)
    for function in marked:
        within = bool(function.module)
        if patterns.module_tools if within else patterns.direct_tools:
            found = read_attributes(function)
            yield _qualified(found, stem, function.module, config) if within else found
    if patterns.module_tools:
        for module in sorted(outline.modules, key=lambda one: (one.line, one.path)):
            if not declares_contract(outline, module.path):
                continue
            if _all_public(outline, module.path):
                found = read_functions(outline, module.path, validate=validate)
                yield _qualified(found, stem, module.path, config)
            else:
                yield Described(
                    None,
                    (
                        invalid(
                            f"The module {module.path} has a contract but is not public.",
                            line=module.line,
                            hint=f"Write pub mod {module.path.rpartition('::')[2]}.",
                        ),
                    ),
                )


def _with_usable_name(found: Described) -> Described:
    """The same, if its name can be one, wherever that comes from."""
    if found.definition is None:
        return found
    try:
        metadata.name(found.definition.name)
    except MetadataError as error:
        problem = invalid(f"The name of the tool {error.message}.", line=found.line)
        return Described(None, (problem,), found.warnings)
    return found


def _all_public(outline: Outline, path: str) -> bool:
    """Whether a module and all modules around it are public."""
    public = {one.path for one in outline.modules if one.public}
    parts = path.split("::")
    return all("::".join(parts[:end]) in public for end in range(1, len(parts) + 1))


def _qualified(found: Described, stem: str, module: str, config: DiscoveryConfig) -> Described:
    """A tool of a module under its long name, where that is asked for."""
    if found.definition is None or not config.patterns.topic_module_function:
        return found
    name = ".".join([stem, *module.split("::"), found.definition.name])
    definition: ToolDefinition = dataclasses.replace(found.definition, name=name)
    return dataclasses.replace(found, definition=definition)


def _compilation_problems(outline: Outline) -> list[Problem]:
    found = []
    for one in outline.errors[:MAX_PROBLEMS]:
        message, hint = told(one)
        problem = Problem(
            type=MigrationErrorType.COMPILATION_FAILED,
            message=message,
            hint=hint,
            code=one.diagnostic.code,
            line=one.diagnostic.line,
            column=one.diagnostic.column,
        )
        found.append(problem)
    unsaid = Problem(
        type=MigrationErrorType.COMPILATION_FAILED,
        message="The compiler does not accept it and does not say why.",
    )
    return found or [unsaid]


def _is_hook(outline: Outline) -> bool:
    """Whether its functions answer events, by an attribute or all of them by their names.

    The attribute is not of the language here, so such a file does not compile; that says nothing
    against it where it comes from.
    """
    functions = outline.functions.values()
    if any(one.has("tool") for one in functions) or declares_contract(outline):
        return False
    if any(one.has("hook") for one in functions):
        return all(one.diagnostic.code == "unsupported" for one in outline.errors)
    public = [one for one in functions if one.public and not one.module]
    return bool(public) and outline.compiled and all(_is_answer(one.name) for one in public)


def _is_answer(name: str) -> bool:
    return name.startswith("on_")


def _hook_reason(outline: Outline) -> str:
    names = [
        one.path
        for one in outline.functions.values()
        if one.has("hook") or (one.public and _is_answer(one.name))
    ]
    listed = _listed("The function", "The functions", names)
    return f"{listed} answer{'s' if len(names) == 1 else ''} events of another system."


def _no_tool(outline: Outline) -> tuple[Verdict, str]:
    if DEFAULT_ENTRY in outline.functions:
        return Verdict.SCRIPT, "It has main() and no tool contract; run it with `ccos script run`."
    if outline.functions:
        names = list(outline.functions)
        listed = _listed("the function", "the functions", names)
        return Verdict.LIBRARY, f"It has {listed} and no tool contract."
    return Verdict.LIBRARY, "It has no functions."


def _listed(one: str, several: str, names: list[str]) -> str:
    first = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{one if len(names) == 1 else several} {first}{more}"
