"""Invokes Python callables of the embedding program."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

import anyio.to_thread
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs, PydanticSerializationError, to_jsonable_python

from ccos.capabilities import EffectType, LocalProvider, Manifest
from ccos.errors import (
    CapabilityConflictError,
    CapabilityFailedError,
    InvalidArgumentsError,
    InvalidManifestError,
    InvalidResultError,
    ProviderError,
    ProviderUnavailableError,
)

Handler = Callable[..., Any]
Bound = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Registered:
    function: Handler
    bind: Callable[[dict[str, Any]], Bound]
    threaded: bool


class LocalInvoker:
    """Calls the functions that a program registered, in the process that registered them."""

    def __init__(self) -> None:
        self._handlers: dict[str, _Registered] = {}

    def register(self, name: str, function: Handler, *, threaded: bool | None = None) -> None:
        """Make a function callable under a handler name.

        It is called with the arguments by name, converted to the types it asks for.

        Args:
            name: The handler name that manifests refer to.
            function: A function, coroutine function or callable object.
            threaded: Whether it runs in a worker thread; by default a plain function does and a
                coroutine function does not. Say False for a function that never blocks.

        Raises:
            CapabilityConflictError: Another function has this name.
        """
        known = self._handlers.get(name)
        if known is not None and known.function != function:
            raise CapabilityConflictError(
                f"The handler {name!r} is registered with another function.",
                next_step="Choose another handler name.",
                details={"handler": name},
            )
        if threaded is None:
            threaded = not _is_async(function)
        self._handlers[name] = _Registered(function, _binder(function), threaded)

    def describe(
        self,
        capability_id: str,
        handler: Handler,
        *,
        name: str | None = None,
        description: str | None = None,
        **definition: Any,
    ) -> Manifest:
        """Register ``handler`` under the capability's id and return the manifest for it.

        Raises:
            CapabilityConflictError, InvalidManifestError: As :meth:`register` and
                :func:`describe_callable`.
        """
        manifest = describe_callable(
            handler, id=capability_id, name=name, description=description, **definition
        )
        self.register(manifest.id, handler)
        return manifest

    async def invoke(
        self, manifest: Manifest, arguments: dict[str, Any], *, idempotency_key: str
    ) -> Any:
        """Call the function and return its result as JSON data.

        Cancellation passes through; a function in a worker thread is then left to end by itself.
        In results NaN and infinities become null, as ``JSON.stringify`` has it.

        Raises:
            ProviderUnavailableError: This process has no such handler.
            InvalidArgumentsError: The arguments do not fit the function's signature.
            CapabilityFailedError: The function raised; ``details`` name ``type`` and ``message``.
                A ``ProviderError`` of the function passes through as it is.
            InvalidResultError: The result has no JSON form.
        """
        handler = self._handler(manifest)
        try:
            positional, named = handler.bind(arguments)
        except (ValidationError, TypeError) as error:
            raise InvalidArgumentsError(
                f"The arguments do not fit {manifest.id}: {_summary(error)}"
            ) from error
        try:
            if handler.threaded:
                result = await anyio.to_thread.run_sync(
                    functools.partial(handler.function, *positional, **named),
                    abandon_on_cancel=True,
                )
            else:
                result = handler.function(*positional, **named)
            if inspect.isawaitable(result):
                result = await result
        except ProviderError:
            raise
        except (Exception, SystemExit) as error:
            raise CapabilityFailedError(
                f"{manifest.id} failed: {type(error).__name__}: {error}",
                next_step="The function itself raised this; correct the arguments or the function.",
                details={"type": type(error).__name__, "message": str(error)},
            ) from error
        try:
            return to_jsonable_python(result, inf_nan_mode="null")
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidResultError(
                f"{manifest.id} returned {type(result).__name__}, which has no JSON form: {error}"
            ) from error

    async def aclose(self) -> None:
        """Nothing to release."""

    def _handler(self, manifest: Manifest) -> _Registered:
        provider = manifest.provider
        if not isinstance(provider, LocalProvider):
            raise InvalidManifestError(f"{manifest.id} is not a local function.")
        handler = self._handlers.get(provider.handler)
        if handler is None:
            raise ProviderUnavailableError(
                f"{manifest.id} is the function {provider.handler!r} of the program that "
                "registered it, and this process is not that program.",
                next_step="Run the program that registers the function, and call from there.",
                details={"handler": provider.handler, "reason": "not-in-this-process"},
            )
        return handler


def describe_callable(
    function: Handler,
    *,
    id: str,  # noqa: A002
    name: str | None = None,
    description: str | None = None,
    version: str = "1.0.0",
    effect_type: EffectType = EffectType.EFFECTFUL,
    effects: Iterable[str] = (),
    permissions: Iterable[str] = (),
) -> Manifest:
    """The manifest of a Python function, its schemas derived from the type hints by pydantic.

    Args:
        function: A function whose parameters can all be given by name.
        id: The capability's id, which is the handler name as well.
        name: A short name; the function's own by default.
        description: What it does; the docstring by default.
        version: Its semantic version.
        effect_type: What a call does to the world.
        effects: Names of effects, such as ``network``.
        permissions: Names of permissions it needs.

    Raises:
        InvalidManifestError: The signature or a type hint has no JSON Schema.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise InvalidManifestError(
                    f"The parameter {parameter.name!r} of {id} cannot be given by name.",
                    next_step="Make every parameter of the function a named one.",
                )
        input_schema = _adapter(function).json_schema()
        output_schema = _output_schema(function)
    except (PydanticUserError, NameError, TypeError, ValueError) as error:
        raise InvalidManifestError(
            f"The type hints of {id} have no JSON Schema: {_summary(error)}",
            next_step="Use types that pydantic can describe.",
        ) from error
    return Manifest(
        id=id,
        name=name or getattr(function, "__name__", None) or type(function).__name__,
        description=description or inspect.getdoc(function) or "",
        version=version,
        provider=LocalProvider(handler=id),
        input_schema=input_schema,
        output_schema=output_schema,
        effect_type=effect_type,
        effects=tuple(effects),
        permissions=tuple(permissions),
    )


def _adapter(function: Handler) -> TypeAdapter[Bound]:
    """Validates arguments for the function without calling it."""

    def bound(*positional: Any, **named: Any) -> Bound:
        return positional, named

    plain = function if inspect.isroutine(function) else type(function).__call__
    wrapper: Any = functools.wraps(plain)(bound)
    wrapper.__signature__ = inspect.signature(function)
    return TypeAdapter(wrapper)


def _binder(function: Handler) -> Callable[[dict[str, Any]], Bound]:
    try:
        validate = _adapter(function).validator.validate_python
    except (PydanticUserError, NameError, TypeError, ValueError):
        # A hint that pydantic cannot read is no reason to refuse a function that works.
        return lambda arguments: ((), arguments)
    return lambda arguments: validate(ArgsKwargs((), arguments))


def _output_schema(function: Handler) -> dict[str, Any] | None:
    plain: Any = function if inspect.isroutine(function) else type(function).__call__
    hints = get_type_hints(plain, include_extras=True)
    if "return" not in hints:
        return None
    return TypeAdapter(hints["return"]).json_schema(mode="serialization")


def _is_async(function: Handler) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def _summary(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)[:5]
        )
    return str(error).splitlines()[0] if str(error) else type(error).__name__
