"""Reports of a migration: as a page for people, for continuous integration, and their schema.

Names, messages and paths come from files that nobody vouches for; all of them are escaped.
"""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET  # only written, never parsed
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from ccos.migration.outcomes import MigrationReport

_UNPRINTABLE: Final = re.compile(
    r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What XML 1.0 (production 2) has no place for, and marks that turn the direction of text."""

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #ccc}
td{overflow-wrap:anywhere}.failed{color:#a00000}.done{color:#006000}
"""


@cache
def report_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report as JSON data."""
    text = resources.files("ccos.migration").joinpath("report.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def as_html(report: MigrationReport) -> str:
    """A page that needs nothing else and runs nothing."""
    state = report.state
    title = f"Migration {report.migration_id}"
    seconds = "-" if report.duration is None else f"{report.duration.total_seconds():.1f} s"
    facts = [
        ("Phase", state.phase.value),
        ("Mode", report.config.mode.value),
        ("Security level", report.config.security_level.value),
        ("Validation", report.config.validation_mode.value),
        ("Discovered", state.total_discovered),
        ("Migrated", state.successfully_migrated),
        ("Failed", state.failed_migrations),
        ("Skipped", state.skipped),
        ("Rolled back", "yes" if report.rolled_back else "no"),
        ("Duration", seconds),
        ("Finished", report.timestamp.isoformat(timespec="seconds")),
        ("Copies of the originals", report.backup or "-"),
    ]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
        _table((), facts),
    ]
    if report.failed_tools:
        rows = [
            (one.tool_name, one.error_type.value, one.message, _place(one.context))
            for one in report.failed_tools
        ]
        parts += ['<h2 class="failed">Failed</h2>', _table(("tool", "type", "why", "where"), rows)]
    if report.plan is not None:
        rows = [
            (one.tool, one.action, "; ".join(one.problems) or "-", one.path) for one in report.plan
        ]
        parts += ["<h2>Plan</h2>", _table(("tool", "action", "problems", "where"), rows)]
    if report.validation is not None:
        parts += _findings(report)
    if report.migrated_tools:
        names = [(name,) for name in report.migrated_tools]
        parts += ['<h2 class="done">Migrated</h2>', _table(("tool",), names)]
    if report.skipped_tools:
        parts += ["<h2>Skipped</h2>", _table(("tool", "why"), report.skipped_tools.items())]
    if state.warnings:
        parts += ["<h2>Warnings</h2>", _table((), [(one,) for one in state.warnings])]
    return "\n".join([*parts, "</body></html>", ""])


def as_junit(report: MigrationReport) -> str:
    """One test case for each tool, in the form that build servers read."""
    state = report.state
    seconds = 0.0 if report.duration is None else report.duration.total_seconds()
    suite = ET.Element(
        "testsuite",
        name=f"migration {report.migration_id}",
        tests=str(state.total_discovered),
        failures=str(state.failed_migrations),
        errors="0",
        skipped=str(state.skipped),
        time=f"{seconds:.3f}",
        timestamp=report.timestamp.isoformat(timespec="seconds"),
    )
    failures = list(report.failed_tools)
    for name in report.migrated_tools:
        _case(suite, name, "migrated")
    for one in failures:
        case = _case(suite, one.tool_name or "migration", "failed")
        failure = ET.SubElement(
            case, "failure", type=one.error_type.value, message=_clean(one.message)
        )
        failure.text = _clean(json.dumps(dict(one.context), indent=2, ensure_ascii=False))
    for name, why in report.skipped_tools.items():
        ET.SubElement(_case(suite, name, "skipped"), "skipped", message=_clean(why))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, name: str, outcome: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=f"migration.{outcome}", name=_clean(name))


def _findings(report: MigrationReport) -> list[str]:
    validation = report.validation
    assert validation is not None
    word = "valid" if validation.valid else "not valid"
    rows = [
        *(("issue", one) for one in validation.issues),
        *(("warning", one) for one in validation.warnings),
    ]
    summary = f"{validation.valid_tools} of {validation.total_tools} tools are sound: {word}."
    found = ["<h2>Validation</h2>", f"<p>{_text(summary)}</p>"]
    return [*found, _table(("kind", "what"), rows)] if rows else found


def _place(context: Any) -> str:
    line = f", line {context['line']}" if context.get("line") else ""
    return f"{context.get('path', '')}{line}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{_text(one)}</th>" for one in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<tr>{head}</tr>' if head else ''}\n{body}\n</table>"


def _text(value: object) -> str:
    return html.escape(_clean(str(value)), quote=True)


def _clean(text: str) -> str:
    """The text with what cannot be shown, or would mislead, as escapes."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
