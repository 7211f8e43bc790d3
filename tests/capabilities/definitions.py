"""Manifests as JSON data."""

from __future__ import annotations

from typing import Any


def manifest_data(**changes: Any) -> dict[str, Any]:
    """A complete manifest; ``changes`` replace whole fields."""
    return {
        "id": "weather.current",
        "name": "Current weather",
        "description": "Tells the weather of a city.",
        "version": "1.2.3",
        "provider": {"type": "local", "handler": "weather"},
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
        "output_schema": {"type": "object", "properties": {"celsius": {"type": "number"}}},
        "effect_type": "read_only",
        "effects": ["network"],
        "permissions": ["network.read"],
        "domains": ["weather"],
        "categories": ["data"],
        "metadata": {"licence": "MIT"},
        **changes,
    }
