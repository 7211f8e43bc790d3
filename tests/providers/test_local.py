"""Python functions as capabilities."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import date
from typing import Annotated, Any

import anyio
import pytest
from pydantic import BaseModel, Field

from ccos.capabilities import EffectType, HttpProvider, LocalProvider, Manifest, SchemaValidator
from ccos.errors import (
    CapabilityConflictError,
    CapabilityFailedError,
    InvalidArgumentsError,
    InvalidManifestError,
    InvalidResultError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ccos.providers.base import Invoker
from ccos.providers.local import LocalInvoker, describe_callable


class Order(BaseModel):
    item: str
    due: date


async def order(
    item: str, due: date, count: Annotated[int, Field(ge=1, description="How many.")] = 1
) -> list[Order]:
    """Order something.

    Delivery takes a day.
    """
    return [Order(item=item, due=due)] * count


async def run(function: Any, *, threaded: bool | None = None, **arguments: Any) -> Any:
    invoker = LocalInvoker()
    invoker.register("f", function, threaded=threaded)
    manifest = Manifest(id="test.f", name="f", provider=LocalProvider(handler="f"))
    return await invoker.invoke(manifest, arguments, idempotency_key="k")


def test_a_function_describes_itself() -> None:
    manifest = describe_callable(
        order, id="shop.order", effect_type=EffectType.IDEMPOTENT, effects=("storage",)
    )
    assert manifest.name == "order"
    assert manifest.description == "Order something.\n\nDelivery takes a day."
    assert manifest.provider == LocalProvider(handler="shop.order")
    assert manifest.effects == ("storage",)
    assert isinstance(manifest.input_schema, dict)
    assert manifest.input_schema["properties"]["count"]["description"] == "How many."
    arguments = SchemaValidator(manifest.input_schema)
    assert arguments.accepts({"item": "a", "due": "2026-01-01"})
    assert not arguments.accepts({"item": "a"})
    assert not arguments.accepts({"item": "a", "due": "2026-01-01", "count": 0})
    assert not arguments.accepts({"item": "a", "due": "2026-01-01", "other": 1})
    assert manifest.output_schema is not None
    result = SchemaValidator(manifest.output_schema)
    assert result.accepts([{"item": "a", "due": "2026-01-01"}])
    assert not result.accepts([{"item": "a"}])


def test_descriptions_of_other_callables() -> None:
    class Adder:
        """Adds."""

        def __call__(self, a: int, **more: int) -> None: ...

        async def method(self, a: int) -> int:
            return a

    adder = describe_callable(Adder(), id="t.adder", name="n", description="d", version="2.1")
    assert (adder.name, adder.description, adder.version) == ("n", "d", "2.1.0")
    assert adder.output_schema == {"type": "null"}
    assert SchemaValidator(adder.input_schema).accepts({"a": 1, "b": 2})
    method = describe_callable(Adder().method, id="t.method")
    assert not SchemaValidator(method.input_schema).accepts({"self": 1, "a": 1})
    assert describe_callable(lambda: 1, id="t.l").output_schema is None


def test_signatures_that_cannot_be_described() -> None:
    def positional(a: int, /) -> None: ...

    def variadic(*values: int) -> None: ...

    def unreadable(a: threading.Lock) -> None: ...

    for function in (positional, variadic, unreadable):
        with pytest.raises(InvalidManifestError):
            describe_callable(function, id="t.f")


@pytest.mark.anyio
async def test_arguments_and_results_are_converted() -> None:
    result = await run(order, item="tea", due="2026-01-02", count=2)
    assert result == [{"item": "tea", "due": "2026-01-02"}] * 2
    with pytest.raises(InvalidArgumentsError, match="due: Input should be a valid date"):
        await run(order, item="tea", due="never")
    with pytest.raises(InvalidArgumentsError, match="item: Missing"):
        await run(order, due="2026-01-02")


@pytest.mark.anyio
async def test_where_a_function_runs() -> None:
    here = threading.get_ident()
    assert await run(threading.get_ident) != here
    assert await run(threading.get_ident, threaded=False) == here

    async def coroutine() -> int:
        return threading.get_ident()

    assert await run(coroutine) == here
    assert await run(lambda: coroutine(), threaded=False) == here


@pytest.mark.anyio
async def test_what_a_function_raises() -> None:
    def broken() -> None:
        raise KeyError("no such key")

    def leaves() -> None:
        raise SystemExit(3)

    def typed() -> None:
        len(5)  # type: ignore[arg-type]

    def careful() -> None:
        raise ProviderTimeoutError("the printer is silent")

    with pytest.raises(CapabilityFailedError, match="KeyError: 'no such key'") as caught:
        await run(broken)
    assert caught.value.details == {"type": "KeyError", "message": "'no such key'"}
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(CapabilityFailedError, match="SystemExit: 3"):
        await run(leaves)
    with pytest.raises(CapabilityFailedError, match="TypeError"):
        await run(typed)
    with pytest.raises(ProviderTimeoutError, match="silent"):
        await run(careful)


@pytest.mark.anyio
async def test_results_are_json_data() -> None:
    assert await run(lambda: {"a": (1, float("nan")), "d": date(2026, 1, 1)}) == {
        "a": [1, None],
        "d": "2026-01-01",
    }
    with pytest.raises(InvalidResultError, match="no JSON form"):
        await run(threading.Lock)


@pytest.mark.anyio
async def test_cancellation_passes_through() -> None:
    cancelled = threading.Event()

    async def waits() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    for function in (waits, lambda: time.sleep(5)):
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run(function), 0.05)
        assert time.monotonic() - started < 4
        with anyio.move_on_after(0.05) as scope:
            await run(function)
        assert scope.cancelled_caught
        assert time.monotonic() - started < 4
    assert cancelled.is_set()


@pytest.mark.anyio
async def test_a_handler_of_another_program() -> None:
    invoker: Invoker = LocalInvoker()
    manifest = Manifest(id="t.f", name="f", provider=LocalProvider(handler="mine"))
    with pytest.raises(ProviderUnavailableError, match="'mine'") as caught:
        await invoker.invoke(manifest, {}, idempotency_key="k")
    assert "Run the program" in caught.value.next_step
    await invoker.aclose()


@pytest.mark.anyio
async def test_names_are_taken_once() -> None:
    invoker = LocalInvoker()
    invoker.register("f", order)
    invoker.register("f", order)
    with pytest.raises(CapabilityConflictError, match="'f'"):
        invoker.register("f", len)


@pytest.mark.anyio
async def test_only_local_functions() -> None:
    other = Manifest(id="a.b", name="x", provider=HttpProvider(base_url="https://a.example"))
    with pytest.raises(InvalidManifestError, match="not a local function"):
        await LocalInvoker().invoke(other, {}, idempotency_key="k")


@pytest.mark.anyio
async def test_a_hint_that_pydantic_cannot_read_is_no_obstacle() -> None:
    async def uses(a: int, lock: threading.Lock | None = None) -> int:
        return a

    assert await run(uses, a=3) == 3
    with pytest.raises(CapabilityFailedError, match="TypeError"):
        await run(uses, b=3)
