"""The story of CCOS in one run, with real parts and in a home folder of its own.

A plan calls two capabilities that nobody registered. It parks; one provider is found and
registered without asking, the other waits for a person; the process is killed with SIGKILL; a
new process approves, and the plan completes.

The parts are the MCP server ``mcp-server-time``, found through the catalogue of CCOS, and the
HTTP service ``httpbin``, served on a free port of this machine and found through its own API
document. Nothing outside this machine is contacted, and nothing is left behind.

Exit code 0 if all of it came true, 1 if not, 130 if interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
PATIENCE_SECONDS: Final = 60.0
SETTINGS: Final = {
    "CCOS_MISSING_CAPABILITY_ENABLED": "true",
    "CCOS_AUTO_RESOLUTION": "true",
    "CCOS_AUTO_RESUME_ENABLED": "true",
    "CCOS_HUMAN_APPROVAL_REQUIRED": "false",
    "CCOS_IMPORTERS_ENABLED": "true",
    "CCOS_MCP_REGISTRY_ENABLED": "false",
}


class DemoError(Exception):
    """Something did not come out as the story says."""


class CommandLine:
    """Runs ``ccos`` as a program of its own, and shows what it is told and what it says."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def start(self, *tokens: str) -> subprocess.Popen[str]:
        """Start a command whose lines can be read as it writes them."""
        return subprocess.Popen(  # noqa: S603 - the commands of this file
            [sys.executable, "-m", "ccos", *tokens],
            cwd=HERE,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *tokens: str, expect: int = 0) -> str:
        """Run a command to its end and return what it wrote.

        Raises:
            DemoError: if its exit code is not the expected one.
        """
        return self._finish(self.start(*tokens), tokens, expect)

    def look(self, *commands: tuple[str, ...]) -> list[str]:
        """Run commands that only read, all at once, and show one after the other."""
        with contextlib.ExitStack() as exits:
            programs = [exits.enter_context(ended(self.start(*tokens))) for tokens in commands]
            return [
                self._finish(program, tokens)
                for program, tokens in zip(programs, commands, strict=True)
            ]

    def _finish(
        self, program: subprocess.Popen[str], tokens: tuple[str, ...], expect: int = 0
    ) -> str:
        with ended(program):
            prompt(*tokens)
            written = "".join(echoed(program))
            code = program.wait(PATIENCE_SECONDS)
        if code != expect:
            raise DemoError(f"`ccos {tokens[0]} …` ended with exit code {code}, not {expect}.")
        return written


def prompt(*tokens: str) -> None:
    say(f"\n$ {shlex.join(('ccos', *tokens))}")


def say(text: str) -> None:
    print(text, flush=True)


def explain(text: str) -> None:
    say(f"\n# {text}")


def echoed(program: subprocess.Popen[str]) -> Iterator[str]:
    """The lines a program writes, each shown as it comes."""
    assert program.stdout is not None
    for line in program.stdout:
        say(line.rstrip())
        yield line


@contextlib.contextmanager
def ended(program: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """See to it that a program and all it started are gone when the block is left."""
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        if program.stdout is not None:
            program.stdout.close()


@dataclass(frozen=True)
class Service:
    """httpbin, served by a program of its own at a host and port of this machine."""

    address: str
    program: subprocess.Popen[str]

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            DemoError: if it does not.
        """
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not answers(f"http://{self.address}/uuid"):
            if self.program.poll() is not None or time.monotonic() > give_up:
                raise DemoError("httpbin does not start; is `httpbin[mainapp]` installed?")
            time.sleep(0.05)


@contextlib.contextmanager
def httpbin() -> Iterator[Service]:
    """Start httpbin on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(  # noqa: S603 - a fixed command
        [sys.executable, "-m", "flask", "--app", "httpbin", "run", "--port", str(port)],
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        text=True,
        start_new_session=True,
    )
    with ended(server):
        yield Service(f"127.0.0.1:{port}", server)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - always the loopback service
            return True
    except OSError:
        return False


def environment(home: Path, service: str) -> dict[str, str]:
    """What the commands run with: nothing about CCOS but the settings of this demo."""
    catalogue = home / "catalogue.json"
    document = {"url": f"http://{service}/spec.json", "base_url": f"http://{service}"}
    entry = {"name": "httpbin", "matches": ["httpbin.*"], "document": document}
    catalogue.write_text(json.dumps({"entries": [entry]}))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CCOS_")}
    return (
        inherited
        | SETTINGS
        | {
            "CCOS_HOME": str(home),
            "CCOS_CATALOGUE_FILES": str(catalogue),
            "CCOS_EGRESS_PRIVATE_HOSTS": service,
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }
    )


def park_and_kill(ccos: CommandLine) -> None:
    """Run the plan until only a person can help, and kill the process at that moment."""
    awaited = {
        "registered": "time.get_current_time: resolved by",
        "asked": "httpbin.uuid: needs an approval",
    }
    prompt("run", "plan.py")
    with ended(ccos.start("run", "plan.py")) as program:
        for line in echoed(program):
            awaited = {name: text for name, text in awaited.items() if text not in line}
            if not awaited:
                program.kill()
                break
        code = program.wait(PATIENCE_SECONDS)
    if awaited:
        raise DemoError(f"The plan was never parked as it should be: {', '.join(awaited)}.")
    if code != -signal.SIGKILL:
        raise DemoError(f"The process ended by itself, with exit code {code}.")
    say(f"Killed (signal {signal.SIGKILL:d})")


def check(outcome: dict[str, Any]) -> None:
    """Look at what the plan made of the two answers.

    Raises:
        DemoError: if it is not what they should be.
    """
    if outcome.get("outcome") != "completed":
        raise DemoError(f"The plan did not complete: {outcome}.")
    value = outcome["value"]
    if uuid.UUID(value["ticket"]).version != 4:
        raise DemoError(f"httpbin made no random UUID: {value['ticket']}.")
    if value["opened"]["timezone"] != "Europe/Paris":
        raise DemoError(f"The time is not that of Paris: {value['opened']}.")


def tell(ccos: CommandLine, service: Service) -> None:
    explain("A plan calls two capabilities. Nobody has registered them.")
    say(f"\n$ cat plan.py\n{(HERE / 'plan.py').read_text().rstrip()}")
    ccos.run("check", "plan.py", expect=4)

    explain("Run it all the same. It parks while providers are looked for: the MCP server is of")
    say("# low risk and registered at once, the HTTP service waits for a person. Then: kill -9.")
    service.wait()
    park_and_kill(ccos)

    explain("The process is gone. The plan is not.")
    listed, _ = ccos.look(("executions", "list"), ("approvals", "list"))
    found = re.search(r"\bex-\w+", listed)
    if found is None or "parked" not in listed:
        raise DemoError("The plan is not among the parked executions.")

    explain("A new process approves, and the plan goes on where it stood.")
    ccos.run(
        *("approvals", "approve", "--capability-id", "httpbin.uuid"),
        *("--by", "demo", "--reason", "reads a random UUID, nothing else"),
    )

    explain("What came of it, and what is on record.")
    shown, *_ = ccos.look(
        ("executions", "show", found[0]),
        ("queue",),
        ("approvals", "list", "--status", "approved"),
        ("audit", "tail", "--lines", "12"),
        ("audit", "verify"),
    )
    check(json.loads(shown.partition("Outcome:")[2] or "{}"))


def main() -> int:
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="ccos-demo-") as home, httpbin() as service:
            tell(CommandLine(environment(Path(home), service.address)), service)
    except KeyboardInterrupt:
        say("\nInterrupted; everything is cleaned up.")
        return 130
    except (DemoError, ValueError, subprocess.TimeoutExpired) as error:
        say(f"\nThe demo failed: {error}")
        return 1
    say(f"\nAll of it came true, in {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
