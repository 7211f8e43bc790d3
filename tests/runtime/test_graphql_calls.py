"""GraphQL capabilities in a runtime: approved, called, kept in the journal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ccos.capabilities import ApprovalStatus, EffectType, GraphQlProvider, Manifest
from ccos.errors import CapabilityFailedError, InvalidArgumentsError
from ccos.runtime import Completed, OutcomeUnknown
from egress.internet import Seen, reply, serving
from opening import failure, opened, value

pytestmark = pytest.mark.anyio

LOOPBACK = {"CCOS_EGRESS_PRIVATE_HOSTS": "127.0.0.1"}


def capability(port: int, operation: str, effect_type: EffectType) -> Manifest:
    return Manifest(
        id=f"graphql.shop.{operation}.book",
        name="book",
        provider=GraphQlProvider.model_validate(
            {
                "schema_location": "shop.graphql",
                "endpoint": f"http://127.0.0.1:{port}/graphql",
                "operation": operation,
                "field": "book",
                "document": f"{operation} book($id: ID!) {{ book(id: $id) {{ title }} }}",
            }
        ),
        input_schema={
            "type": "object",
            "properties": {"id": {"type": "string"}},
            "required": ["id"],
            "additionalProperties": False,
        },
        effect_type=effect_type,
        approval_status=ApprovalStatus.APPROVED,
    )


def graphql(**body: Any) -> bytes:
    return reply(200, json.dumps(body).encode(), Content_Type="application/json")


async def hang_up(_: Seen, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_a_query_is_called_by_its_id(tmp_path: Path) -> None:
    answer = graphql(data={"book": {"title": "One"}}, errors=[{"message": "half of it"}])
    async with serving(answer) as server, opened(tmp_path, **LOOPBACK) as ccos:
        one = capability(server.port, "query", EffectType.READ_ONLY)
        await ccos.marketplace.register(one, actor="test")
        outcome = await ccos.call(one.id, {"id": "1"})
        assert isinstance(outcome, Completed)
        assert value(outcome) == {"data": {"title": "One"}, "errors": [{"message": "half of it"}]}
        assert json.loads(server.seen[0].body)["variables"] == {"id": "1"}
        assert isinstance(failure(await ccos.call(one.id, {"id": 1})), InvalidArgumentsError)
        assert len(server.seen) == 1


async def test_a_mutation_that_failed_is_a_failure_and_one_without_an_answer_is_unknown(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, **LOOPBACK) as ccos:
        async with serving(graphql(errors=[{"message": "sold out"}], data=None)) as server:
            one = capability(server.port, "mutation", EffectType.EFFECTFUL)
            await ccos.marketplace.register(one, actor="test")
            error = failure(await ccos.call(one.id, {"id": "1"}))
            assert isinstance(error, CapabilityFailedError)
            assert "sold out" in error.message
            assert "idempotency-key" in server.seen[0].headers
        async with serving(hang_up) as server:
            other = capability(server.port, "mutation", EffectType.EFFECTFUL)
            other = other.model_copy(update={"id": "graphql.shop.mutation.other"})
            await ccos.marketplace.register(other, actor="test")
            assert isinstance(await ccos.call(other.id, {"id": "1"}), OutcomeUnknown)
