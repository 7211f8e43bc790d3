"""What an import did, for people and for programs, and how far it is."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ccos.capabilities import Difference, Manifest, differences
from ccos.interfaces.cli.safe_text import short
from ccos.interfaces.cli.screen import Screen
from ccos.marketplace import Marketplace
from ccos.resolution.registration import Imported

_EVERY_SECONDS: Final = 0.5
_LISTED: Final = 40
_LINE: Final = 110


@dataclass(slots=True)
class Report:
    """What became of one description."""

    document: str
    title: str = ""
    version: str = ""
    capabilities: Sequence[Manifest] = ()
    quarantined: list[dict[str, str]] = field(default_factory=list)
    """``operation``, ``reason`` and ``where``; no operation stands for the whole description."""
    seconds: float = 0.0
    error: str = ""
    """Why there is nothing at all."""
    more: dict[str, Any] = field(default_factory=dict)
    """What only one kind of description has to say."""
    registered: Imported | None = None
    changed: dict[str, tuple[Difference, ...]] = field(default_factory=dict)
    """By capability id: what differs from what is registered, every field of it."""

    @property
    def operations(self) -> int:
        """How many operations were looked at."""
        return len(self.capabilities) + sum(bool(one["operation"]) for one in self.quarantined)

    def line(self) -> dict[str, Any]:
        """The report as JSON data."""
        found: dict[str, Any] = {
            "document": self.document,
            "title": self.title,
            "version": self.version,
            "operations": self.operations,
            "imported": len(self.capabilities),
            "quarantined": self.quarantined,
            "seconds": round(self.seconds, 3),
            **self.more,
        }
        if self.changed:
            found["changed"] = {
                name: [
                    {"path": one.path, "before": one.before, "after": one.after} for one in parts
                ]
                for name, parts in self.changed.items()
            }
        if self.error:
            found["error"] = self.error
        if self.registered is not None:
            found["registered"] = dict(
                Counter(one.result.value for one in self.registered.registrations)
            )
            found["withheld"] = [
                {"id": one.capability_id, "reason": one.reason} for one in self.registered.withheld
            ]
        return found


class Totals:
    """Counts what all descriptions together gave."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._results: Counter[str] = Counter()
        self._started = time.monotonic()

    def add(self, report: Report) -> None:
        """Count one description."""
        self._counts["documents"] += 1
        self._counts["usable"] += not report.error
        self._counts["operations"] += report.operations
        self._counts["imported"] += len(report.capabilities)
        self._counts["quarantined"] += len(report.quarantined) - bool(report.error)
        if report.registered is not None:
            self._results.update(one.result.value for one in report.registered.registrations)
            self._results["withheld"] += len(report.registered.withheld)

    @property
    def unusable(self) -> int:
        """How many descriptions gave nothing."""
        return self._counts["documents"] - self._counts["usable"]

    def summary(self) -> dict[str, Any]:
        """The counts as JSON data."""
        names = ("documents", "usable", "operations", "imported", "quarantined")
        found: dict[str, Any] = {name: self._counts[name] for name in names}
        found["seconds"] = round(time.monotonic() - self._started, 3)
        return found | ({"registered": dict(self._results)} if self._results else {})

    def text(self) -> str:
        """The counts for people."""
        counts = self._counts
        said = (
            f"{counts['imported']} of {counts['operations']} operations of {counts['usable']} of "
            f"{counts['documents']} documents imported, {counts['quarantined']} quarantined, "
            f"in {time.monotonic() - self._started:.1f} s."
        )
        results = ", ".join(f"{number} {name}" for name, number in self._results.items() if number)
        return said + (f" Registered: {results}." if results else " Nothing was registered.")


class Progress:
    """A line on standard error from time to time; none where there is only one thing to do."""

    def __init__(self, total: int, screen: Screen) -> None:
        self._total = total
        self._screen = screen
        self._next = time.monotonic() + _EVERY_SECONDS
        self._on_terminal = sys.stderr.isatty()

    def step(self, done: int, name: str) -> None:
        """Say how far it is, if that was not said just now."""
        if self._total < 2 or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_SECONDS * (1 if self._on_terminal else 10)
        self._screen.note(f"{done} of {self._total}: {short(name, _LINE)}")


def show(report: Report, screen: Screen, *, alone: bool) -> None:
    """Say what became of one description; all of it where there is no other."""
    screen.json_line(report.line())
    if report.error:
        screen.text(f"{report.document}: {report.error}")
        return
    if alone:
        screen.fields([("title", report.title or "-"), ("version", report.version or "-")])
        screen.table(
            ("capability", "acts", "needs", "description"),
            (
                (
                    one.id,
                    one.effect_type,
                    ", ".join(_required(one)) or "-",
                    short(one.description or one.name, 60),
                )
                for one in report.capabilities[:_LISTED]
            ),
        )
        if len(report.capabilities) > _LISTED:
            screen.text(f"… and {len(report.capabilities) - _LISTED} more.")
    for name, parts in report.changed.items():
        for part in parts:
            screen.text(
                f"Changed: {name}: {part.path}: {_value(part.before)} -> {_value(part.after)}"
            )
    for one in report.quarantined:
        screen.text(f"Left out: {one['operation'] or report.document}: {one['reason']} "
                    f"({one['where'] or 'the whole'})")  # fmt: skip
    for withheld in report.registered.withheld if report.registered else ():
        screen.text(f"Not registered: {withheld.capability_id}: {withheld.reason}")


def show_preview(capability_id: str, request: dict[str, Any], screen: Screen) -> None:
    """Show a request that would be sent."""
    screen.document({"capability": capability_id, **request})
    screen.text(f"{request['method']} {request['url']}")
    for name, value in request["headers"].items():
        screen.text(f"{name}: {value}")
    if request["body"] is not None:
        screen.text("")
        if isinstance(request["body"], str):
            screen.text(request["body"])
        else:
            screen.value(request["body"])


def _required(manifest: Manifest) -> list[str]:
    schema = manifest.input_schema
    required = schema.get("required", []) if isinstance(schema, dict) else []
    return [str(name) for name in required]


def _value(value: Any) -> str:
    return short(json.dumps(value, ensure_ascii=False), 60)


async def changes(marketplace: Marketplace, manifests: Sequence[Manifest]) -> dict[str, Any]:
    """What differs between capabilities and those registered under their ids."""
    found: dict[str, Any] = {}
    for manifest in manifests:
        registered = await marketplace.get(manifest.id)
        if registered is not None and registered.manifest.id == manifest.id:
            before = registered.manifest.definition() | {"version": manifest.version}
            parts = differences(before, manifest.definition())
            if parts:
                found[manifest.id] = parts
    return found
