"""Running modules of this package in an interpreter that knows no packages."""

from __future__ import annotations

from pathlib import Path


def interpreter_options() -> tuple[str, ...]:
    """How such an interpreter is started: no variables, no user folders, no site packages."""
    return ("-I", "-S")


def standalone(module: str, call: str) -> str:
    """A program that imports ``module`` of this package by itself and then runs ``call``.

    The parents of the package are left out, for importing them would import the whole engine.
    """
    name = call.partition("(")[0]
    return (
        "import sys\n"
        "package = type(sys)('jail')\n"
        f"package.__path__ = [{str(Path(__file__).parent)!r}]\n"
        "sys.modules['jail'] = package\n"
        f"from jail.{module} import {name}\n"
        f"{call}\n"
    )
