from __future__ import annotations

import inspect

import pytest

from ccos.engine.hosts import Effect, HostFunction
from ccos.engine.modules import host_modules
from ccos.engine.policy import SecurityLevel, level_policy

FUNCTIONS = list(host_modules())
KINDS = {"string", "integer", "number", "boolean", "array", "object", "any"}
IN_EVERY_LEVEL = {
    "log_info", "log_error", "log_debug", "log_warn", "string_split", "string_join",
    "string_trim", "math_abs", "math_round", "time_now", "time_format", "validate_email",
    "validate_url", "report_progress",
}  # fmt: skip
WITH_NETWORK = {
    "json_parse", "json_stringify", "http_get", "http_post", "http_json_get", "http_request",
}  # fmt: skip
WITH_MACHINE = {
    "file_read", "file_write", "file_exists", "file_is_dir", "file_is_file", "file_list_dir",
    "process_exec", "env_get",
}  # fmt: skip


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (SecurityLevel.SAFE, IN_EVERY_LEVEL),
        (SecurityLevel.PRODUCTION, IN_EVERY_LEVEL | WITH_NETWORK),
        (SecurityLevel.DEVELOPMENT, IN_EVERY_LEVEL | WITH_NETWORK | WITH_MACHINE),
    ],
)
def test_each_level_has_its_functions(level: SecurityLevel, expected: set[str]) -> None:
    granted = host_modules().granted(level_policy(level))
    assert {function.name for function in granted.values()} == expected


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_table_says_what_the_handler_takes(function: HostFunction) -> None:
    _, *taken = inspect.signature(function.handler).parameters.values()
    assert [parameter.name for parameter in function.parameters] == [one.name for one in taken]
    for parameter, one in zip(function.parameters, taken, strict=True):
        assert parameter.required == (one.default is inspect.Parameter.empty)
        assert parameter.kind in KINDS
    assert function.returns in KINDS | {"none"}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_pure_functions_answer_at_once_and_the_others_are_awaited(function: HostFunction) -> None:
    pure = function.module in ("crucible.basic", "crucible.json")
    assert (function.effect is Effect.PURE) == pure
    assert inspect.iscoroutinefunction(function.handler) != pure


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_summaries_are_sentences(function: HostFunction) -> None:
    assert function.summary.endswith(".")
    assert function.summary[0].isupper()
    assert "\n" not in function.summary


@pytest.mark.parametrize(
    ("method", "effect"),
    [("GET", Effect.READ), ("head", Effect.READ), ("Options", Effect.READ)]
    + [(method, Effect.ACT) for method in ("POST", "put", "PATCH", "DELETE", "FROB", "")],
)
def test_the_effect_of_a_request_is_that_of_its_method(method: str, effect: Effect) -> None:
    [function] = [one for one in FUNCTIONS if one.name == "http_request"]
    assert function.effect_of({"method": method, "url": "https://example.com"}) is effect
