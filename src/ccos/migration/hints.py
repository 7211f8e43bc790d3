"""How to repair what the compiler found, where the compiler does not say so itself."""

from __future__ import annotations

import difflib
import re
from typing import Final

from ccos.engine.modules import host_modules
from ccos.engine.rune import Finding

_MISSING: Final = re.compile(r"^Missing item (?:\{root\})?(?:::)?(?P<path>[\w:]+)\.$")

_INSTEAD: Final = (
    ("std::fs", "Scripts have no file system; use crucible::file, at level development."),
    ("std::net", "Scripts have no sockets; use crucible::http."),
    ("std::process", "Scripts start no processes; use crucible::process, at level development."),
    ("std::env", "Scripts have no environment; use crucible::process::env_get."),
    ("std::thread", "Scripts have no threads; use async functions."),
    ("std::time", "Scripts have no clock; use crucible::basic::time_now."),
    ("http", "Use crucible::http."),
    ("json", "Use crucible::json."),
    ("shell", "Use crucible::process::process_exec, at level development."),
)


def told(finding: Finding) -> tuple[str, str]:
    """What a finding says, and what to do about it; the latter is empty if nobody can tell."""
    if finding.path is not None and not finding.level:
        return f"No security level has {finding.path}.", _in_place_of(finding.path)
    return finding.diagnostic.message, finding.hint or _hint(finding)


def _hint(finding: Finding) -> str:
    found = finding.diagnostic
    missing = _MISSING.match(found.message)
    if missing is not None:
        return _in_place_of(missing["path"])
    if "end of file" in found.message and found.code == "syntax":
        return "A file consists of functions: put statements into `pub fn main() { … }`."
    if found.code == "unsupported" and "Attributes" in found.message:
        return "Remove the attribute, or move the function to a file of its own."
    return ""


def _in_place_of(path: str) -> str:
    for prefix, hint in _INSTEAD:
        if path == prefix or path.startswith(prefix + "::"):
            return hint
    if not path.startswith("crucible"):
        return ""
    known = {function.name: function.target.replace(".", "::") for function in host_modules()}
    (near,) = difflib.get_close_matches(path.rpartition("::")[2], known, n=1) or ("",)
    return f"Did you mean {known[near]}?" if near else ""
