"""What is said about settings comes from their definition, and nothing is left unsaid."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import pytest

import ccos.config
from ccos.config import Settings, describe, load_settings, reference_table
from ccos.config.description import is_acted_on
from ccos.config.fields import SettingsModel, definitions

SETTINGS = definitions(Settings)


@pytest.mark.parametrize("definition", SETTINGS, ids=lambda definition: definition.key)
def test_every_setting_has_a_description_and_a_variable(definition: object) -> None:
    setting = definition.setting  # type: ignore[attr-defined]
    assert setting.description.strip().endswith(".") or setting.description.endswith("…")
    assert "\n" not in setting.description
    assert "|" not in setting.description
    assert setting.variable.isupper()


def test_a_setting_without_description_is_an_error() -> None:
    class Undescribed(SettingsModel):
        level: Annotated[int, "nothing"] = 3

    with pytest.raises(TypeError, match=r"Undescribed\.level"):
        definitions(Undescribed)


def test_no_variable_and_no_key_means_two_things() -> None:
    variables = Counter(name for item in SETTINGS for name in item.setting.variables)
    assert [name for name, count in variables.items() if count > 1] == []
    keys = Counter(item.key for item in SETTINGS)
    assert [key for key, count in keys.items() if count > 1] == []


def test_a_row_for_each_setting_with_its_value_and_origin() -> None:
    environ = {
        "CCOS_HOME": "/srv/ccos",
        "CCOS_BLOCKED_DOMAINS": "a.example,b.example",
        "CCOS_PLAN_MAX_CALLS": "7",
    }
    rows = {row.key: row for row in describe(load_settings(environ=environ))}
    assert list(rows) == [item.key for item in SETTINGS]
    assert rows["home"].value == "/srv/ccos"
    assert rows["security_config.blocked_domains"].value == ["a.example", "b.example"]
    assert rows["plan_max_calls"].value == 7
    assert rows["plan_max_calls"].origin == "environment CCOS_PLAN_MAX_CALLS"
    assert rows["mcp_auth_token"].value is None
    assert rows["feature_flags.enabled"].variables == (
        "CCOS_MISSING_CAPABILITY_ENABLED",
        "CCOS_MISSING_CAPABILITY",
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:1/d", "postgresql+psycopg://u:********@h:1/d"),
        ("postgresql://u:se%40cret@h/d", "postgresql+psycopg://u:********@h/d"),
        ("postgresql://h/d?password=secret", "postgresql+psycopg://h/d?password=********"),
        (
            "postgresql://h/d?SSLPassword=secret&a=1",
            "postgresql+psycopg://h/d?SSLPassword=********&a=1",
        ),
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:////srv/c.sqlite", "sqlite:////srv/c.sqlite"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    environ = {"CCOS_HOME": "/srv/ccos", "CCOS_DATABASE_URL": url, "BING_SEARCH_API_KEY": "secret"}
    rows = describe(load_settings(environ=environ))
    by_key = {row.key: row.value for row in rows}
    assert by_key["database_url"] == shown
    assert by_key["bing_search_api_key"] == "********"
    assert "secret" not in str(rows)


def test_the_reference_table_names_every_key_and_variable() -> None:
    table = reference_table()
    lines = table.splitlines()
    assert len(lines) == 2 + len(SETTINGS)
    assert all(line.count("|") == 5 for line in lines)
    for item in SETTINGS:
        assert f"`{item.key}`" in table
        assert all(f"`{name}`" in table for name in item.setting.variables)
    assert "| `plan_max_calls` | `CCOS_PLAN_MAX_CALLS` | `1000` |" in table


def test_a_setting_that_nothing_reads_is_described_as_such() -> None:
    package = Path(ccos.config.__file__).parent.parent
    text = "\n".join(
        path.read_text() for path in package.rglob("*.py") if path.parent.name != "config"
    )
    for item in SETTINGS:
        if item.key == "feature_profile" or item.key.startswith("old_config."):
            continue  # others are derived from these
        leaf = item.key.rpartition(".")[2]
        if re.search(rf'[."]{leaf}\b', text) is None:
            assert not is_acted_on(item.key), f"nothing reads {item.key}"
    rows = {row.key: row.description for row in describe(load_settings(environ={}))}
    assert rows["web_search_config.max_results"].endswith("No stage of this version acts on it.")
    assert not rows["max_resolution_attempts"].endswith("acts on it.")
