"""What becomes of the resources, templates and prompts that a server lists."""

from __future__ import annotations

from typing import Any

import pytest

from ccos.capabilities import (
    EffectType,
    HttpServer,
    McpPromptProvider,
    McpResourceProvider,
    StdioServer,
)
from ccos.capabilities.mcp import McpOffers, McpPrompt, McpPromptArgument, McpResource, offer_hash
from ccos.importers.mcp_offers import import_offers

REMOTE = HttpServer(url="https://mcp.example.com/mcp")


def resource(uri: str = "file:///a", name: str = "a", **fields: Any) -> McpResource:
    return McpResource(uri, name, **fields)


def test_a_resource_is_read_and_pinned() -> None:
    offered = resource(title="The A", description="Tells.", mime_type="text/plain")
    (manifest,) = import_offers("w", REMOTE, McpOffers((offered,))).capabilities
    assert manifest.id == "mcp.w.resource.a"
    assert (manifest.name, manifest.description) == ("The A", "Tells.")
    assert manifest.effect_type is EffectType.READ_ONLY
    assert manifest.effects == ("network",)
    assert manifest.provider == McpResourceProvider(
        server=REMOTE, uri="file:///a", definition_hash=offer_hash(offered)
    )
    assert manifest.input_schema == {
        "type": "object", "properties": {}, "additionalProperties": False,
    }  # fmt: skip


def test_variables_of_a_template_are_arguments() -> None:
    offered = resource("db://{table}/{id}{?columns}", "row", is_template=True)
    (manifest,) = import_offers("w", REMOTE, McpOffers((offered,))).capabilities
    assert isinstance(manifest.input_schema, dict)
    assert list(manifest.input_schema["properties"]) == ["table", "id", "columns"]
    assert manifest.input_schema["required"] == ["table", "id"]
    broken = import_offers("w", REMOTE, McpOffers((resource("a://{", "b", is_template=True),)))
    assert broken.capabilities == ()
    assert "brace" in broken.quarantined[0].reason


def test_arguments_of_a_prompt_are_arguments() -> None:
    offered = McpPrompt(
        "sum up",
        arguments=(McpPromptArgument("id", None, "Which.", True), McpPromptArgument("tone")),
    )
    (manifest,) = import_offers("w", REMOTE, McpOffers((), (offered,))).capabilities
    assert manifest.id == "mcp.w.prompt.sum_up"
    assert isinstance(manifest.provider, McpPromptProvider)
    assert manifest.input_schema == {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "Which."},
            "tone": {"type": "string"},
        },
        "required": ["id"],
        "additionalProperties": False,
    }  # fmt: skip


def test_annotations_are_claims() -> None:
    offered = resource(annotations={"audience": ["user"], "priority": 1})
    (manifest,) = import_offers("w", REMOTE, McpOffers((offered,))).capabilities
    assert manifest.metadata["claims"] == '{"audience": ["user"], "priority": 1}'


def test_no_name_is_lost() -> None:
    listed = [
        resource(f"file:///{n}", name) for n, name in enumerate(["a b", "a_b", "long " * 60 + "x"])
    ]
    found = import_offers("w", REMOTE, McpOffers(tuple(listed), (McpPrompt("a b"),)))
    ids = [one.id for one in found.capabilities]
    assert len(set(ids)) == 4
    assert found.quarantined == ()
    again = import_offers("w", REMOTE, McpOffers(tuple(reversed(listed)), (McpPrompt("a b"),)))
    assert {one.id for one in again.capabilities} == set(ids)


def test_what_is_listed_twice_or_hides_text_is_left_out() -> None:
    listed = (
        resource(),
        resource(name="other"),
        resource("file:///b", "b", description="zero\u200bwidth"),
        resource("file:///c", " "),
        resource("file:///d", "d"),
    )
    found = import_offers("w", REMOTE, McpOffers(listed))
    assert [one.id for one in found.capabilities] == ["mcp.w.resource.d"]
    assert [one.name for one in found.quarantined] == ["a", "other", "b", ""]
    assert "U+200B" in found.quarantined[2].reason


@pytest.mark.parametrize(
    "changed",
    [
        resource(description="x"),
        resource(title="x"),
        resource(mime_type="x/y"),
        resource(annotations={"priority": 1}),
        resource(is_template=True),
        resource(name="b"),
    ],
)
def test_a_change_of_any_field_changes_the_hash(changed: McpResource) -> None:
    assert offer_hash(changed) != offer_hash(resource())
    assert offer_hash(resource()) == offer_hash(resource())


def test_a_server_that_runs_here_has_wider_effects() -> None:
    local = StdioServer(registry="pypi", package="weather", version="2.1")
    (manifest,) = import_offers("w", local, McpOffers((resource(),))).capabilities
    assert manifest.effects == ("network", "process")
    assert manifest.version == "2.1.0"
    named = import_offers("w", local, McpOffers((resource(),)), effects=("clock",))
    assert named.capabilities[0].effects == ("clock",)
