"""Real schemas, where they are at hand: every root field gives a valid document."""

from __future__ import annotations

import os
from pathlib import Path

import graphql
import pytest

from ccos.importers.graphql import import_graphql

from .test_import import provider

FOLDER = os.environ.get("CCOS_GRAPHQL_SCHEMAS")


def test_every_root_field_gives_a_valid_document() -> None:
    if FOLDER is None:
        pytest.skip("CCOS_GRAPHQL_SCHEMAS does not name a folder of schemas")
    files = sorted(Path(FOLDER).rglob("*.graphql"))
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        schema = graphql.build_schema(text, assume_valid=True, assume_valid_sdl=True)
        api = import_graphql(text, location=str(file), endpoint="https://api.test/graphql")
        roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
        assert api.quarantined == ()
        assert len(api.capabilities) == sum(len(root.fields) for root in roots if root)
        for one in api.capabilities:
            document = graphql.parse(provider(one).document)
            assert graphql.validate(schema, document) == [], one.id
