"""Security policies: the values of the three levels, and what may be derived from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccos.engine.policy import MIB, SecurityLevel, SecurityPolicy, level_policy, module_name
from ccos.errors import ConfigurationError

SAFE, DEVELOPMENT, PRODUCTION = map(level_policy, SecurityLevel)

LEVELS: dict[SecurityLevel, dict[str, Any]] = {
    SecurityLevel.SAFE: {
        "allowed_modules": ["crucible.basic"],
        "blocked_modules": ["std.fs", "std.net"],
        "max_memory_bytes": 50 * MIB,
        "max_cpu_percentage": 50.0,
        "max_concurrent_operations": 10,
        "operation_timeout": 10.0,
        "execution_timeout": 10.0,
        "allow_file_access": False,
        "allow_network_access": False,
        "allow_system_calls": False,
        "file_roots": [],
    },
    SecurityLevel.DEVELOPMENT: {
        "allowed_modules": ["*"],
        "blocked_modules": [],
        "max_memory_bytes": None,
        "max_cpu_percentage": None,
        "max_concurrent_operations": None,
        "operation_timeout": None,
        "execution_timeout": None,
        "allow_file_access": True,
        "allow_network_access": True,
        "allow_system_calls": True,
        "file_roots": ["/"],
    },
    SecurityLevel.PRODUCTION: {
        "allowed_modules": ["crucible.basic", "crucible.http", "crucible.json"],
        "blocked_modules": ["std.fs", "std.process"],
        "max_memory_bytes": 100 * MIB,
        "max_cpu_percentage": 75.0,
        "max_concurrent_operations": 50,
        "operation_timeout": 30.0,
        "execution_timeout": 30.0,
        "allow_file_access": False,
        "allow_network_access": True,
        "allow_system_calls": False,
        "file_roots": [],
    },
}


@pytest.mark.parametrize("level", SecurityLevel)
def test_values_of_a_level_are_those_of_the_migration_guide(level: SecurityLevel) -> None:
    common = {"name": level.value, "level": level.value, "version": "1.0"}
    open_ended: dict[str, Any] = {"denied_functions": [], "allowed_hosts": []}
    assert level_policy(level).options() == LEVELS[level] | common | open_ended


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("safe", SecurityLevel.SAFE),
        ("Safe", SecurityLevel.SAFE),
        ("development", SecurityLevel.DEVELOPMENT),
        ("dev", SecurityLevel.DEVELOPMENT),
        (" PROD ", SecurityLevel.PRODUCTION),
        ("Production", SecurityLevel.PRODUCTION),
    ],
)
def test_levels_are_named_in_any_case(text: str, level: SecurityLevel) -> None:
    assert SecurityLevel.parse(text) is level


@pytest.mark.parametrize("text", ["", "unsafe", "saf", "develop", "production!", "0"])
def test_an_unknown_level_is_an_error_and_never_a_default(text: str) -> None:
    with pytest.raises(ConfigurationError, match="There is no security level") as caught:
        SecurityLevel.parse(text)
    assert caught.value.details == {"level": text}


@pytest.mark.parametrize(
    ("policy", "module", "allowed"),
    [
        (SAFE, "crucible.basic", True),
        (SAFE, "crucible.json", False),
        (SAFE, "crucible.http", False),
        (SAFE, "crucible.file", False),
        (PRODUCTION, "crucible.json", True),
        (PRODUCTION, "crucible.http", True),
        (PRODUCTION, "crucible.file", False),
        (PRODUCTION, "crucible.process", False),
        (DEVELOPMENT, "crucible.file", True),
        (DEVELOPMENT, "crucible.process", True),
    ],
)
def test_a_level_has_its_modules_and_no_others(
    policy: SecurityPolicy, module: str, allowed: bool
) -> None:
    assert policy.allows_module(module) is allowed


@pytest.mark.parametrize(
    ("module", "switch"),
    [
        ("crucible.file", "allow_file_access"),
        ("crucible.http", "allow_network_access"),
        ("crucible.process", "allow_system_calls"),
    ],
)
def test_a_module_needs_its_access_besides_being_allowed(module: str, switch: str) -> None:
    assert DEVELOPMENT.allows_module(module)
    assert not DEVELOPMENT.derive("without", **{switch: False}).allows_module(module)


def test_a_blocked_module_does_not_exist_whatever_is_allowed() -> None:
    blocked = DEVELOPMENT.derive("blocked", blocked_modules=frozenset({"crucible.file"}))
    assert not blocked.allows_module("crucible.file")
    assert blocked.allows_module("crucible.process")


def test_both_spellings_of_a_module_are_one() -> None:
    assert module_name("crucible::http") == module_name("crucible.http") == "crucible.http"


TIGHTER: list[tuple[SecurityPolicy, dict[str, Any]]] = [
    (SAFE, {"max_memory_bytes": MIB}),
    (SAFE, {"execution_timeout": 1.0}),
    (SAFE, {"allowed_modules": frozenset()}),
    (SAFE, {"denied_functions": frozenset({"crucible.basic.time_now"})}),
    (SAFE, {"blocked_modules": SAFE.blocked_modules | {"crucible.basic"}}),
    (PRODUCTION, {"allow_network_access": False}),
    (PRODUCTION, {"allowed_hosts": frozenset({"example.com"})}),
    (DEVELOPMENT, {"max_memory_bytes": MIB}),
    (DEVELOPMENT, {"allowed_modules": frozenset({"crucible.file"})}),
    (DEVELOPMENT, {"file_roots": (Path("/srv"),)}),
    (DEVELOPMENT, {"file_roots": ()}),
]


@pytest.mark.parametrize(("policy", "changes"), TIGHTER, ids=range(len(TIGHTER)))
def test_tighter_needs_no_word_and_back_again_does(
    policy: SecurityPolicy, changes: dict[str, Any]
) -> None:
    tighter = policy.derive("tighter", **changes)
    assert (tighter.name, tighter.level) == ("tighter", policy.level)
    back = {name: getattr(policy, name) for name in changes}
    with pytest.raises(ConfigurationError, match="would allow more") as caught:
        tighter.derive("back", **back)
    assert caught.value.details == {"attributes": list(changes)}
    again = tighter.derive("back", looser=True, **back)
    assert dataclasses.replace(again, name=policy.name) == policy


LOOSER: list[dict[str, Any]] = [
    {"max_memory_bytes": 51 * MIB},
    {"max_memory_bytes": None},
    {"max_cpu_percentage": 50.5},
    {"max_concurrent_operations": 11},
    {"operation_timeout": None},
    {"execution_timeout": 11.0},
    {"allow_file_access": True},
    {"allow_network_access": True},
    {"allow_system_calls": True},
    {"allowed_modules": frozenset({"crucible.basic", "crucible.json"})},
    {"allowed_modules": frozenset({"*"})},
    {"blocked_modules": frozenset({"std.fs"})},
    {"file_roots": (Path("/"),)},
]


@pytest.mark.parametrize("changes", LOOSER, ids=range(len(LOOSER)))
def test_looser_has_to_be_said(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="would allow more"):
        SAFE.derive("looser", **changes)
    made = SAFE.derive("looser", looser=True, **changes)
    assert all(getattr(made, name) == value for name, value in changes.items())


def test_a_file_root_beside_the_granted_one_is_looser_and_one_below_is_not() -> None:
    granted = DEVELOPMENT.derive("granted", file_roots=(Path("/srv/a"),))
    granted.derive("below", file_roots=(Path("/srv/a/b"),))
    for root in ("/srv", "/srv/ab", "/"):
        with pytest.raises(ConfigurationError):
            granted.derive("beside", file_roots=(Path(root),))


@pytest.mark.parametrize("root", ["/srv/a/../b", "/srv/a/../../etc", "/srv/a/b/../../../etc"])
def test_a_file_root_that_climbs_out_of_the_granted_one_is_looser(root: str) -> None:
    granted = DEVELOPMENT.derive("granted", file_roots=(Path("/srv/a"),))
    with pytest.raises(ConfigurationError):
        granted.derive("climbing", file_roots=(Path(root),))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_memory": 1}, "no attribute 'max_memory'"),
        ({"level": SecurityLevel.DEVELOPMENT}, "no attribute 'level'"),
        ({"version": "2.0"}, "no attribute 'version'"),
        ({"max_memory_bytes": 0}, "max_memory_bytes of policy 'own' has to be above 0"),
        ({"execution_timeout": -1.0}, "has to be above 0"),
        ({"execution_timeout": float("nan")}, "has to be above 0"),
        ({"file_roots": (Path("relative"),)}, "not absolute"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        SAFE.derive("own", looser=True, **changes)


@pytest.mark.parametrize("level", SecurityLevel)
def test_a_derived_policy_cannot_take_the_name_of_a_level(level: SecurityLevel) -> None:
    with pytest.raises(ConfigurationError, match="cannot be called"):
        SAFE.derive(level.value, max_memory_bytes=MIB)


_names = st.frozensets(st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8})?", fullmatch=True), max_size=4)
_limit = st.none() | st.floats(min_value=0.001, max_value=1e9)
_policies = st.builds(
    SecurityPolicy,
    name=st.text(min_size=1, max_size=10),
    level=st.sampled_from(SecurityLevel),
    allowed_modules=_names,
    blocked_modules=_names,
    denied_functions=_names,
    max_memory_bytes=st.none() | st.integers(1, 2**40),
    max_cpu_percentage=_limit,
    max_concurrent_operations=st.none() | st.integers(1, 1000),
    operation_timeout=_limit,
    execution_timeout=_limit,
    allow_file_access=st.booleans(),
    allow_network_access=st.booleans(),
    allow_system_calls=st.booleans(),
    allowed_hosts=_names,
    file_roots=st.lists(
        st.from_regex(r"(/[a-z]{1,5}){1,3}", fullmatch=True).map(Path), max_size=3
    ).map(tuple),
)


@given(_policies)
def test_a_policy_survives_its_options_as_json(policy: SecurityPolicy) -> None:
    assert SecurityPolicy.from_options(json.loads(json.dumps(policy.options()))) == policy


@given(_policies, _policies)
def test_what_derives_without_a_word_allows_nothing_more(
    old: SecurityPolicy, new: SecurityPolicy
) -> None:
    changes = {
        item.name: getattr(new, item.name)
        for item in dataclasses.fields(new)
        if item.name not in ("name", "level", "version")
    }
    try:
        derived = old.derive("derived policy", **changes)
    except ConfigurationError:
        return
    for module in ("crucible.file", "crucible.http", "crucible.process", *new.allowed_modules):
        assert old.allows_module(module) or not derived.allows_module(module)
