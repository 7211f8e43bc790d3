"""``ccos rtfs``: run, check, lay out and translate programs in RTFS."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from ccos.interfaces.cli.calls import Arg, Arguments
from ccos.interfaces.cli.exits import ExitCode, UsageError
from ccos.interfaces.cli.options import (
    COMMON,
    Common,
    Timeout,
    Wait,
    read_arguments,
    read_input,
)
from ccos.interfaces.cli.session import opened, screen_of

if TYPE_CHECKING:
    from ccos.rtfs import Dependency

app = App(name="rtfs", help="Run, check, lay out and translate programs in RTFS.")

File = Annotated[
    str,
    Parameter(help="A file of text, or - for standard input.", allow_leading_hyphen=True),
]


@app.command
async def run(
    file: File,
    /,
    *,
    arg: Arg = (),
    arguments: Arguments = None,
    wait: Wait = True,
    timeout: Timeout = None,
    common: Common = COMMON,
) -> ExitCode:
    """Run a program as a plan: its calls are governed, recorded, and wait for what is missing.

    Its arguments are the context of the run: @name, or (context/get :name), reads one.
    """
    from ccos.interfaces.cli.calls import run_text

    data = read_arguments(arg, arguments)
    name = "standard input" if file == "-" else Path(file).name
    named = name if name.endswith(".rtfs") else f"{name}.rtfs"
    return await run_text(read_input(file), named, data, wait=wait, timeout=timeout, common=common)


@app.command
def repl(
    *,
    arg: Arg = (),
    arguments: Arguments = None,
    common: Common = COMMON,
) -> ExitCode:
    """Type programs and see what they give. Definitions stay; every entry runs as a plan.

    :help lists what can be asked besides. Its arguments are the context of every entry.
    """
    from ccos.interfaces.cli.rtfs_repl import converse

    return converse(read_arguments(arg, arguments), common)


@app.command
def check(file: File, /, *, common: Common = COMMON) -> ExitCode:
    """Say everything that is wrong with a program, or doubtful, without running it.

    Exit code 1 if something is wrong; a warning is no failure.
    """
    from ccos.rtfs import check as report_on

    screen = screen_of(common)
    report = report_on(read_input(file), file)
    screen.document({"valid": not report.errors, "diagnostics": report.as_data()})
    if report.diagnostics:
        screen.text(report.rendered())
    warnings = len(report.diagnostics) - len(report.errors)
    screen.text(f"{file}: {len(report.errors)} errors, {warnings} warnings.")
    return ExitCode.FAILED if report.errors else ExitCode.DONE


@app.command(name="format")
def lay_out(
    file: File,
    /,
    *,
    write: Annotated[
        bool, Parameter(name="--write", negative="", help="Change the file in place.")
    ] = False,
    common: Common = COMMON,
) -> None:
    """Print a program in its one layout; with --write the file has it afterwards."""
    from ccos.rtfs import format_text

    if write and file == "-":
        raise UsageError("Standard input cannot be changed in place.")
    screen = screen_of(common)
    text = read_input(file)
    laid_out = format_text(text, file)
    changed = laid_out != text
    if write and changed:
        _replace(Path(file), laid_out)
    screen.document({"changed": changed, "written": write and changed, "text": laid_out})
    if write:
        screen.text(f"{file} was laid out." if changed else f"{file} was laid out already.")
    else:
        screen.part(laid_out)


@app.command(name="compile")
def translate(
    file: File,
    /,
    *,
    emit: Annotated[Literal["python"], Parameter(help="What to print.")] = "python",
    runtime: Annotated[
        bool,
        Parameter(name="--runtime", negative="", help="Print what the program stands on as well."),
    ] = False,
    common: Common = COMMON,
) -> None:
    """Print the Python that a program is translated to."""
    from ccos.rtfs import compile_module

    screen = screen_of(common)
    module = compile_module(read_input(file), file)
    text = module.source() if runtime else module.python
    screen.document(
        {
            emit: text,
            "hash": module.hash,
            "functions": [
                {"name": one.name, "parameters": list(one.parameters)} for one in module.functions
            ],
            "warnings": len(module.warnings),
        }
    )
    screen.part(text if text.endswith("\n") else f"{text}\n")


@app.command
def deps(file: File, /, *, common: Common = COMMON) -> None:
    """List the capabilities that a program calls; ids that it computes are listed as such."""
    from ccos.rtfs import dependencies

    screen = screen_of(common)
    found = dependencies(read_input(file), file)
    screen.document({"dependencies": [_described(one) for one in found]})
    screen.table(
        ("capability", "version", "as", "line", "column"),
        (
            (one.canonical or "(computed)", one.version or "", one.reason, one.line, one.column)
            for one in found
        ),
    )
    if not found:
        screen.text(f"{file} calls no capability.")


@app.command
async def register(
    file: File,
    /,
    *,
    by: Annotated[str, Parameter(help="Who vouches for them.")],
    level: Annotated[
        str | None,
        Parameter(help="safe, development or production; by default that of the engine."),
    ] = None,
    force: Annotated[
        bool, Parameter(negative="", help="Allow changes that break callers.")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative="", help="Say what would be registered.")
    ] = False,
    common: Common = COMMON,
) -> None:
    """Register the capabilities of a file: all or none. Nothing of the file is run for it.

    Whoever registers them approves them. What an implementation does to the world is worked out
    from what it calls.
    """
    from ccos.engine.modules import host_modules
    from ccos.engine.policy import SecurityLevel
    from ccos.engine.rtfs.capabilities import manifest_of
    from ccos.interfaces.cli.levels import policy_at
    from ccos.rtfs import load_artefacts

    if not by.strip():
        raise UsageError("--by names nobody.")
    artefacts = load_artefacts(read_input(file), file)
    async with opened(common) as session:
        engine, marketplace = session.ccos.script_engine, session.ccos.marketplace
        policy = (
            engine.get_security_policy()
            if level is None
            else policy_at(SecurityLevel.parse(level), engine, session.settings)
        )
        functions = dict(host_modules().granted(policy))
        manifests = [
            await manifest_of(one, engine, functions, policy=policy, reference=file, by=by)
            for one in artefacts.capabilities
        ]
        results = ["would be registered" for _ in manifests]
        if not dry_run:
            found = await marketplace.storage.write(
                "register",
                lambda transaction: [
                    marketplace.register_in(transaction, one, actor=by, allow_breaking=force)
                    for one in manifests
                ],
            )
            results = [str(one.result) for one in found]
        rows = [
            (one.id, one.version, one.effect_type.value, one.provider.type, result)
            for one, result in zip(manifests, results, strict=True)
        ]
        names = ("capability", "version", "effect", "provider", "result")
        session.screen.document(
            {"capabilities": [dict(zip(names, row, strict=True)) for row in rows]}
        )
        session.screen.table(names, rows, empty=f"{file} holds no capability.")


@app.command
def cases(
    file: Annotated[Path, Parameter(help="A JSON file of cases.")],
    /,
    *,
    common: Common = COMMON,
) -> ExitCode:
    """Run the programs of a case file and compare what they give with what they have to give.

    Exit code 1 if one differs.
    """
    from ccos.rtfs import run_cases

    screen = screen_of(common)
    report = run_cases(file)
    screen.document(
        {
            "passed": report.passed,
            "total": len(report.results),
            "differences": [
                {"index": one.index, "code": one.code, "wanted": one.wanted, "got": one.got}
                for one in report.differences
            ],
        }
    )
    for one in report.differences:
        screen.text(f"case {one.index}: {one.code}")
        screen.text(f"  wanted {one.wanted}")
        screen.text(f"  got    {one.got}")
    screen.text(str(report))
    return ExitCode.FAILED if report.differences else ExitCode.DONE


def _described(one: Dependency) -> dict[str, object]:
    return {
        "capability": one.canonical,
        "written": one.identifier,
        "version": one.version,
        "reason": one.reason,
        "line": one.line,
        "column": one.column,
    }


def _replace(file: Path, text: str) -> None:
    """Write a file so that it is never half there."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=file.parent, prefix=f".{file.name}.", delete=False
    ) as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    written = Path(new.name)
    try:
        written.chmod(file.stat().st_mode & 0o7777)
        written.replace(file)
    except BaseException:
        written.unlink()
        raise
