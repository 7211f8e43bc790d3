"""The settings of the script engine: keys, defaults, and values that are refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ccos.config import ScriptEngineConfig, describe, load_settings
from ccos.config.fields import definitions
from ccos.errors import ConfigurationError
from ccos.interfaces.cli.init import template

SECTION = "services.script_engine"
PREFIX = "CCOS_SCRIPT_ENGINE_"
DEFAULTS = {
    "enabled": True,
    "security_level": "safe",
    "max_source_size": 1_048_576,
    "default_timeout_secs": 30,
    "enable_caching": True,
    "max_cache_size": 1000,
    "max_cache_bytes": 67_108_864,
    "max_memory_mb": 100,
    "max_cpu_percentage": 80.0,
    "max_concurrent_operations": 50,
    "max_queue_size": 1000,
    "max_output_bytes": 1_048_576,
    "isolation": "jail",
    "file_roots": ["/"],
}
OTHERS: dict[str, Any] = {
    "enabled": False,
    "security_level": "production",
    "max_source_size": 1,
    "default_timeout_secs": 0.5,
    "enable_caching": False,
    "max_cache_size": 2,
    "max_cache_bytes": 3,
    "max_memory_mb": 4,
    "max_cpu_percentage": 100.0,
    "max_concurrent_operations": 5,
    "max_queue_size": 6,
    "max_output_bytes": 7,
    "workers": 8,
    "isolation": "interpreter",
    "file_roots": ["/srv/data", "/srv/more"],
}
LIMITS = [name for name, value in OTHERS.items() if type(value) in (int, float)]


def engine(**variables: str) -> ScriptEngineConfig:
    environ = {PREFIX + name.upper(): value for name, value in variables.items()}
    settings = load_settings(environ={"CCOS_HOME": "/nowhere", **environ}).settings
    return settings.services.script_engine


def as_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower()


def test_the_defaults() -> None:
    values = engine().model_dump(mode="json")
    assert 2 <= values.pop("workers") <= 8
    assert values == DEFAULTS


@pytest.mark.parametrize(("processors", "workers"), [(1, 2), (2, 4), (3, 6), (4, 8), (64, 8)])
def test_workers_follow_the_processors(
    processors: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)))
    assert ScriptEngineConfig().workers == workers
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    assert ScriptEngineConfig().workers == workers


def test_every_key_has_its_own_variable() -> None:
    assert {item.key: item.setting.variable for item in definitions(ScriptEngineConfig)} == {
        name: PREFIX + name.upper() for name in OTHERS
    }


@pytest.mark.parametrize("name", OTHERS)
def test_a_variable_sets_a_key_and_is_its_origin(name: str) -> None:
    variable = PREFIX + name.upper()
    loaded = load_settings(environ={variable: as_text(OTHERS[name])})
    row = next(row for row in describe(loaded) if row.key == f"{SECTION}.{name}")
    assert (row.value, row.origin) == (OTHERS[name], f"environment {variable}")


def toml(values: dict[str, Any]) -> str:
    return f"[{SECTION}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ccos.toml", toml(OTHERS)),
        ("ccos.json", json.dumps({"services": {"script_engine": OTHERS}})),
    ],
)
def test_a_file_sets_every_key(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    loaded = load_settings(config_file=path, environ={})
    assert loaded.settings.services.script_engine.model_dump(mode="json") == OTHERS
    assert {str(loaded.origins[f"{SECTION}.{name}"]) for name in OTHERS} == {f"file {path}"}


def test_the_environment_wins_over_a_file_and_an_override_over_both(tmp_path: Path) -> None:
    path = tmp_path / "ccos.toml"
    path.write_text(f"[{SECTION}]\nworkers = 1\nmax_queue_size = 1")
    settings = load_settings(
        config_file=path,
        environ={PREFIX + "WORKERS": "2", PREFIX + "MAX_QUEUE_SIZE": "2"},
        overrides={SECTION: {"workers": 3}},
    ).settings
    assert settings.services.script_engine.workers == 3
    assert settings.services.script_engine.max_queue_size == 2


def test_the_switch_has_two_spellings_that_must_agree() -> None:
    for name in ("CCOS_SCRIPT_ENGINE", "CCOS_SCRIPT_ENGINE_ENABLED"):
        loaded = load_settings(environ={name: "off"})
        assert not loaded.settings.services.script_engine.enabled
    with pytest.raises(ConfigurationError, match="disagree"):
        load_settings(environ={"CCOS_SCRIPT_ENGINE": "off", "CCOS_SCRIPT_ENGINE_ENABLED": "on"})


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("safe", "safe"),
        ("SAFE", "safe"),
        (" Development ", "development"),
        ("dev", "development"),
        ("Prod", "production"),
        ("production", "production"),
    ],
)
def test_a_level_is_read_in_any_case_and_by_its_short_name(text: str, level: str) -> None:
    assert engine(security_level=text).security_level == level


@pytest.mark.parametrize("text", ["", "unsafe", "safe,dev", "develop", "0"])
def test_an_unknown_level_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ConfigurationError, match="safe, development or production"):
        engine(security_level=text)


@pytest.mark.parametrize("value", [3, True, ["safe"], {"level": "safe"}])
def test_a_level_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="safe, development or production"):
        load_settings(environ={}, overrides={SECTION: {"security_level": value}})


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many", ""])
def test_a_limit_is_a_number_above_0(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=PREFIX + name.upper()):
        engine(**{name: text})


def test_a_processor_has_no_more_than_100_percent() -> None:
    assert engine(max_cpu_percentage="100").max_cpu_percentage == 100
    with pytest.raises(ConfigurationError, match="MAX_CPU_PERCENTAGE"):
        engine(max_cpu_percentage="100.1")


def test_isolation_is_one_of_two() -> None:
    assert engine(isolation="Interpreter").isolation == "interpreter"
    with pytest.raises(ConfigurationError, match=r"ISOLATION.*'jail' or 'interpreter'"):
        engine(isolation="none")


def test_file_roots_are_made_absolute_and_may_be_none() -> None:
    assert engine(file_roots="~/data, rel").file_roots == (Path.home() / "data", Path.cwd() / "rel")
    assert engine(file_roots="").file_roots == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[services.script_engine]\nworker = 1", "did you mean services.script_engine.workers"),
        ("[services.other]\na = 1", "services.other"),
        ("[services]\nscript_engine = 1", "services.script_engine: expected a table"),
        ("services = 1", "services: expected a table"),
        ("[script_engine]\nworkers = 1", "unknown key 'script_engine'"),
    ],
)
def test_a_misplaced_key_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "ccos.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        load_settings(config_file=path, environ={})


def test_the_configuration_that_init_writes_holds_the_section() -> None:
    rows = [row for row in describe(load_settings(environ={})) if row.key.startswith(SECTION)]
    written = template(rows)
    shown = "\n".join(line.removeprefix("# ") for line in written.splitlines() if " = " in line)
    read = tomllib.loads(f"[{SECTION}]\n{shown}")["services"]["script_engine"]
    assert {name: read[name] for name in DEFAULTS} == DEFAULTS
