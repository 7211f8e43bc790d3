"""Sources, their precedence, and the origin of each value."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ccos.config
from ccos.config import LoadedSettings, MissingCapabilityConfig, Settings, load_settings
from ccos.errors import ConfigurationError

KEY = "max_resolution_attempts"
VARIABLE = "CCOS_MAX_RESOLUTION_ATTEMPTS"


def load(environ: dict[str, str] | None = None, **overrides: Any) -> LoadedSettings:
    return load_settings(environ={"CCOS_HOME": "/nowhere", **(environ or {})}, overrides=overrides)


def file_in(folder: Path, text: str, name: str = "ccos.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# --- precedence ---------------------------------------------------------------------------


@pytest.mark.parametrize("present", list(itertools.product([False, True], repeat=3)))
def test_later_sources_win(tmp_path: Path, present: tuple[bool, bool, bool]) -> None:
    in_file, in_environment, overridden = present
    path = file_in(tmp_path, f"{KEY} = 11" if in_file else "")
    loaded = load_settings(
        config_file=path,
        environ={VARIABLE: "12"} if in_environment else {},
        overrides={KEY: 13} if overridden else {},
    )
    expected = (
        (13, f"override {KEY}")
        if overridden
        else (12, f"environment {VARIABLE}")
        if in_environment
        else (11, f"file {path}")
        if in_file
        else (3, "default")
    )
    assert (loaded.settings.missing.max_resolution_attempts, str(loaded.origins[KEY])) == expected


def test_a_file_wins_over_the_preset_and_the_preset_over_the_default(tmp_path: Path) -> None:
    path = file_in(tmp_path, "[feature_flags]\nimporters_enabled = false")
    loaded = load_settings(config_file=path, environ={"CCOS_FEATURE_PROFILE": "development"})
    flags = loaded.settings.missing.feature_flags
    assert (flags.importers_enabled, flags.http_wrapper_enabled) == (False, True)
    assert loaded.origins["feature_flags.importers_enabled"].kind == "file"
    assert str(loaded.origins["feature_flags.http_wrapper_enabled"]) == "preset development"


def test_a_file_may_name_the_preset_and_the_environment_another(tmp_path: Path) -> None:
    path = file_in(tmp_path, 'feature_profile = "development"')
    assert load_settings(config_file=path, environ={}).settings.missing.feature_flags.enabled
    other = load_settings(config_file=path, environ={"CCOS_FEATURE_PROFILE": "production"})
    assert not other.settings.missing.feature_flags.enabled


def test_every_setting_has_an_origin() -> None:
    assert {origin.kind for origin in load().origins.values()} == {
        "default",
        "derived",
        "environment",
    }


def test_overrides_may_be_nested_and_none_is_not_given() -> None:
    loaded = load(security_config={"require_auth": "off"}, approver=None)
    assert loaded.settings.missing.security_config.require_auth is False
    assert loaded.origins["approver"].kind == "derived"


def test_an_unknown_override_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'aprover'; did you mean approver\?"):
        load(aprover="me")


# --- values -------------------------------------------------------------------------------


@given(number=st.integers(1, 2**63 - 1), sign=st.sampled_from(["", "+", " ", "00"]))
def test_whole_numbers(number: int, sign: str) -> None:
    text = f"{sign}{number}"
    if len(text.strip()) <= 19:
        assert load({"CCOS_PLAN_MAX_CALLS": text}).settings.plan_max_calls == number


@given(
    text=st.sampled_from(["", "abc", "1.5", "1e3", "0x10", "1_000", "٣", "1 2", "true", "9" * 5000])
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{VARIABLE}: expected a whole number"):
        load({VARIABLE: text})


@given(number=st.floats(0.001, 1e9))
def test_numbers(number: float) -> None:
    loaded = load({"CCOS_POLL_INTERVAL_SECONDS": repr(number)})
    assert loaded.settings.missing.poll_interval_seconds == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "-Infinity", "1e999", "1,5", "1_0", "ten"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="CCOS_POLL_INTERVAL_SECONDS: expected a number"):
        load({"CCOS_POLL_INTERVAL_SECONDS": text})


@pytest.mark.parametrize("value", ["true", "1.5", "[]", "{}"])
def test_a_file_value_of_another_type_is_refused_with_path_and_key(
    tmp_path: Path, value: str
) -> None:
    path = file_in(tmp_path, f'{{"{KEY}": {value}}}', "c.json")
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(config_file=path, environ={})
    assert refusal.value.message.startswith(f"{path}: {KEY}: expected a whole number, got ")


def test_lists_are_comma_separated_in_the_environment() -> None:
    loaded = load({"CCOS_ALLOWED_DOMAINS": " a.example, b.example,,", "CCOS_CATALOGUE_FILES": "/c"})
    assert loaded.settings.missing.security_config.allowed_domains == ("a.example", "b.example")
    assert loaded.settings.catalogue_files == (Path("/c"),)


def test_several_bad_values_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({VARIABLE: "many", "CCOS_REQUIRE_AUTH": "maybe", "CCOS_APPROVAL_SCOPE": "few"})
    assert refusal.value.message.startswith("3 settings cannot be used:")
    for name in (VARIABLE, "CCOS_REQUIRE_AUTH", "CCOS_APPROVAL_SCOPE"):
        assert f"\n- {name}: " in refusal.value.message


def test_a_misspelt_variable_is_a_warning_with_the_nearest_name() -> None:
    loaded = load({"CCOS_AUTO_RESOLUTON": "secret", "CCOS_ZZZ": "1", "CCOS_AUTH_GITHUB": "t"})
    assert loaded.warnings == (
        "CCOS_AUTO_RESOLUTON is no setting of CCOS; did you mean CCOS_AUTO_RESOLUTION?",
        "CCOS_ZZZ is no setting of CCOS",
    )


def test_importing_the_settings_imports_nothing_slow() -> None:
    program = "import sys, ccos.config; print(*sys.modules)"
    source = str(Path(ccos.config.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    slow = {"pydantic_settings", "sqlalchemy", "fastmcp", "dbos", "httpx2", "asyncio"}
    assert "pydantic" in done.stdout.split()
    assert slow.isdisjoint(done.stdout.split())


# --- the process --------------------------------------------------------------------------


def test_defaults_follow_the_home_folder() -> None:
    settings = Settings(home=Path("/srv/ccos"))
    assert settings.database_url == "sqlite:////srv/ccos/ccos.sqlite"
    assert settings.openapi_documents == ("/srv/ccos/apis",)
    assert settings.capability_storage == Path("/srv/ccos/capabilities")
    assert settings.generated_capability_storage == Path("/srv/ccos/capabilities/generated")
    assert settings.synthesized_capability_storage == Path("/srv/ccos/capabilities/synthesized")


def test_a_bad_home_is_reported_once() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({"CCOS_HOME": ""})
    assert refusal.value.message == "CCOS_HOME: expected a path, got ''"


def test_the_approver_has_a_name() -> None:
    with pytest.raises(ConfigurationError, match="CCOS_APPROVER"):
        load({"CCOS_APPROVER": " "})
    assert load({"CCOS_APPROVER": " ann "}).settings.approver == "ann"
    assert load().settings.approver


def test_home_is_absolute_and_expanded() -> None:
    assert load({"CCOS_HOME": "~/c"}).settings.home == Path("~/c").expanduser()
    assert load({"CCOS_HOME": "c"}).settings.home == Path.cwd() / "c"
    with pytest.raises(ConfigurationError, match=r"home folder .* is unknown"):
        load({"CCOS_HOME": "~nobody-of-this-name/c"})


@pytest.mark.parametrize(
    ("given_url", "read_url"),
    [
        ("sqlite:///relative.sqlite", "sqlite:///relative.sqlite"),
        ("sqlite:////var/c.sqlite", "sqlite:////var/c.sqlite"),
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h:5432/d", "postgresql+psycopg://u:p@h:5432/d"),
        ("postgresql+psycopg:///d", "postgresql+psycopg:///d"),
    ],
)
def test_databases(given_url: str, read_url: str) -> None:
    assert load({"CCOS_DATABASE_URL": given_url}).settings.database_url == read_url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret",
        "mysql://u:secret@h/d",
        "sqlite://secret",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgresql://u:secret@h:port/d",
        "postgresql+asyncpg://u:secret@h/d",
    ],
)
def test_other_databases_are_refused_without_showing_the_address(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load({"CCOS_DATABASE_URL": url})
    assert refusal.value.message.startswith("CCOS_DATABASE_URL: expected ")
    assert "secret" not in refusal.value.message
    assert (
        refusal.value.__suppress_context__
        or refusal.value.__context__ is None
        or ("secret" not in str(refusal.value.__context__))
    )


def test_secrets_are_not_in_the_representation() -> None:
    loaded = load({"MCP_AUTH_TOKEN": "token-1", "CCOS_DATABASE_URL": "postgresql://u:token-2@h/d"})
    assert "token-1" not in repr(loaded)
    assert "token-2" not in repr(loaded)
    assert loaded.settings.mcp_auth_token is not None
    assert loaded.settings.mcp_auth_token.get_secret_value() == "token-1"
    assert load({"MCP_AUTH_TOKEN": " "}).settings.mcp_auth_token is None


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing-capability-config.json", "ccos.toml", "ccos.json"])
def test_the_file_in_the_home_folder_is_found(tmp_path: Path, name: str) -> None:
    text = f"{KEY} = 7" if name.endswith("toml") else f'{{"{KEY}": 7}}'
    path = file_in(tmp_path, text, name)
    loaded = load({"CCOS_HOME": str(tmp_path)})
    assert loaded.settings.missing.max_resolution_attempts == 7
    assert loaded.settings.config_file == path
    assert str(loaded.origins["config_file"]) == "derived (found in home)"


def test_two_files_in_the_home_folder_are_refused(tmp_path: Path) -> None:
    named = file_in(tmp_path, "")
    file_in(tmp_path, "{}", "ccos.json")
    with pytest.raises(ConfigurationError, match=r"ccos\.toml, ccos\.json"):
        load({"CCOS_HOME": str(tmp_path)})
    assert load({"CCOS_HOME": str(tmp_path), "CCOS_CONFIG": str(named)}).settings.config_file


def test_an_explicit_file_wins_over_the_variable(tmp_path: Path) -> None:
    first, second = file_in(tmp_path, f"{KEY} = 1", "1.toml"), file_in(tmp_path, "", "2.toml")
    environ = {"CCOS_CONFIG": str(first)}
    assert load_settings(environ=environ).settings.missing.max_resolution_attempts == 1
    loaded = load_settings(config_file=second, environ=environ)
    assert loaded.settings.missing.max_resolution_attempts == 3
    assert loaded.settings.config_file == second


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load({"CCOS_CONFIG": str(tmp_path / "none.toml")})
    with pytest.raises(ConfigurationError, match="not a regular file"):
        load({"CCOS_CONFIG": str(tmp_path)})


def test_a_pipe_is_refused_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        load({"CCOS_CONFIG": str(tmp_path / "pipe.json")})


SHORT_SECTION = """
[missing_capabilities]
enabled = true
runtime_detection = true
auto_resolution = true
llm_synthesis = true
web_search = true
human_approval_required = false
verbose_logging = true
max_attempts = 4
output_schema_introspection = false
"""


@pytest.mark.parametrize(
    "selector", ["tool_selector = false", "[missing_capabilities.tool_selector]\nenabled = false"]
)
def test_the_section_with_short_names(tmp_path: Path, selector: str) -> None:
    path = file_in(tmp_path, SHORT_SECTION + selector)
    loaded = load_settings(config_file=path, environ={})
    config = loaded.settings.missing
    expected = {
        "enabled": True,
        "runtime_detection": True,
        "auto_resolution": True,
        "llm_synthesis_enabled": True,
        "web_search_enabled": True,
        "human_approval_required": False,
        "output_schema_introspection_enabled": False,
    }
    assert config.feature_flags.model_dump().items() >= expected.items()
    assert loaded.settings.debug_missing_capability is True
    assert config.max_resolution_attempts == 4
    assert config.tool_selection.enabled is False
    assert loaded.origins["feature_flags.web_search_enabled"].name == str(path)


REFUSED_FILES = [
    ("c.toml", "max_atempts = 3", "unknown key 'max_atempts'"),
    ("c.json", '{"max_resolution_attempt": 3}', f"did you mean {KEY}?"),
    ("c.toml", "[feature_flags]\nenabld = true", "did you mean feature_flags.enabled?"),
    ("c.toml", "[missing_capabilities]\nmax_attempt = 3", "did you mean max_attempts?"),
    ("c.toml", "feature_flags = true", "feature_flags: expected a table, got True"),
    ("c.toml", "missing_capabilities = 1", "missing_capabilities: expected a table, got 1"),
    ("c.json", '{"new_config": []}', "new_config: expected a table, got a list"),
    ("c.json", '{"old_config": {"stubs": true}}', "unknown key 'old_config.stubs'"),
    (
        "c.toml",
        f"{KEY} = 3\n[missing_capabilities]\nmax_attempts = 3",
        f"{KEY} is set twice",
    ),
    ("c.toml", f"{KEY} = 3\n{KEY} = 4\n", "line 2"),
    ("c.json", f'{{"{KEY}": 3,\n  "{KEY}": 4}}', f"'{KEY}' appears twice: line 2 column 3"),
    ("c.json", '{"a": {"b": 1, "\\u0062": 2}}', "'b' appears twice: line 1 column 16"),
    ("c.json", '{"a": ' + "[" * 16 + "]" * 16 + "}", "nested deeper than 16 levels: line 1"),
    ("c.json", '{"a": ' + "[" * 15 + "]" * 15 + "}", "unknown key 'a'"),
    ("c.json", f'{{"{KEY}": {2**63}}}', "at most 63 bits, got 64 bits"),
    ("c.json", '{"openapi_documents": [1]}', "expected a list of texts, got a list"),
    ("c.json", '{"catalogue_files": [1]}', "expected a path, got 1"),
    ("c.json", "[" * 100_000, "nested too deeply"),
    ("c.toml", "a = " + "[" * 100_000, "nested too deeply"),
    ("c.json", f'{{"{KEY}": NaN}}', "NaN is not a number of JSON"),
    ("c.json", f'{{"{KEY}": {"9" * 5000}}}', "Exceeds the limit"),
    ("c.json", '{"a" 1}', "line 1 column 6"),
    ("c.json", "[1]", "expected a table of settings, got a list"),
    ("c.json", "", "Expecting value"),
    ("c.json", '{"home": "/x"}', "home can only be set by the environment variable CCOS_HOME"),
    ("c.toml", 'mcp_auth_token = "t"', "only be set by the environment variable MCP_AUTH_TOKEN"),
]


@pytest.mark.parametrize(("name", "text", "reason"), REFUSED_FILES)
def test_a_bad_file_is_refused_by_path(tmp_path: Path, name: str, text: str, reason: str) -> None:
    path = file_in(tmp_path, text, name)
    with pytest.raises(ConfigurationError) as refusal:
        MissingCapabilityConfig.from_file(path)
    assert refusal.value.message.startswith(f"{path}: ")
    assert reason in refusal.value.message


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff{"approval_scope": "HIGH_and_synthesis"}',
        '{"approval_scope": "high_and_synthesis", "approver": "{[,\\"approver\\": "}',
        '{"approval_scope": "high_and_synthesis", "approver": "approver", "interactive": 1}',
        '{"approval_scope": "high_and_synthesis", "openapi_documents": ["approver", "approver"]}',
    ],
)
def test_good_files_that_look_odd(tmp_path: Path, text: str) -> None:
    path = file_in(tmp_path, text, "c.json")
    assert MissingCapabilityConfig.from_file(path).approval_scope == "high_and_synthesis"


def test_size_and_encoding_of_files(tmp_path: Path) -> None:
    path = file_in(tmp_path, "#" * 1024 * 1024)
    assert load({"CCOS_CONFIG": str(path)}).settings.config_file == path
    file_in(tmp_path, "#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="larger than 1048576 bytes"):
        load({"CCOS_CONFIG": str(path)})
    path.write_bytes(b"# \xff")
    with pytest.raises(ConfigurationError, match="no UTF-8 text at byte 2"):
        load({"CCOS_CONFIG": str(path)})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*Settings.model_fields, "feature_flags"]), inner, max_size=3
            )
        ),
    )
)
def test_any_override_is_read_or_refused_as_configuration(value: Any) -> None:
    overrides = value if isinstance(value, dict) else {KEY: value}
    overrides.pop("config_file", None)
    with contextlib.suppress(ConfigurationError):
        load(**overrides)
