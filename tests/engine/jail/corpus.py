"""The attacks of the folder ``attacks``, and a real CPython that carries them out.

Each attack runs twice: in a jail, where it must be refused in the way its file says, and outside,
where it must succeed, which shows that the refusal is the jail's doing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ccos.engine.jail import Isolation, Jail, JailSpec
from ccos.engine.jail.programs import libraries, needs

ATTACKS: Final = Path(__file__).parent / "attacks"
MEMORY_BYTES: Final = 256 * 1024 * 1024
_PRELUDE: Final = (ATTACKS / "prelude.py").read_text(encoding="utf-8")
_INT_0X80: Final = bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3])
_OWN_NAMESPACES: Final = ("unshare", "--mount", "--uts", "--ipc")
_TIMEOUT: Final = 30


@dataclass(frozen=True, slots=True)
class Attack:
    """A program and what comes of it.

    Attributes:
        inside: Outcomes that are right in a jail.
        outside: Outcomes that are right outside.
        twin: Who can carry it out outside: ``any`` user or ``root``.
        machine: The only kind that it is for; empty for all.
        needs: A mechanism that it is about; empty for those of every jail that confines.
    """

    id: str
    program: str
    inside: tuple[str, ...]
    outside: tuple[str, ...]
    twin: str
    machine: str
    needs: str


def load() -> tuple[Attack, ...]:
    """All attacks, in the order of their files."""
    attacks = []
    for path in sorted(ATTACKS.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["attack"]:
            outside = entry.pop("outside", "ok")
            attacks.append(
                Attack(
                    id=f"{path.stem}-{entry.pop('id')}",
                    program=entry.pop("program"),
                    inside=tuple(entry.pop("inside")),
                    outside=(outside,) if isinstance(outside, str) else tuple(outside),
                    twin=entry.pop("twin", "any"),
                    machine=entry.pop("machine", ""),
                    needs=entry.pop("needs", ""),
                )
            )
            assert not entry, f"{path.name}: {entry}"
    return tuple(attacks)


def public_interpreter() -> Path | None:
    """A CPython of this version that every user can run; None if there is none."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        path = Path(candidate).resolve()
        if path.exists() and is_public(path):
            return path
    return None


def is_public(path: Path) -> bool:
    """Whether every user can reach ``path``."""
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def interpreter_library(interpreter: Path) -> tuple[Path, ...]:
    """What ``interpreter`` reads in order to run programs that use ``ctypes``."""
    question = (
        "import json, os, _ctypes;"
        "print(json.dumps([os.path.dirname(os.__file__), _ctypes.__file__]))"
    )
    answer = subprocess.run(
        [interpreter, "-I", "-S", "-c", question], capture_output=True, check=True
    ).stdout
    library, ctypes_module = map(Path, json.loads(answer))
    loader = needs(interpreter).loader
    assert loader is not None
    return (library, *libraries(loader, ctypes_module))


def privileged() -> bool:
    """Whether this process is a root that may enter namespaces."""
    if os.geteuid() != 0 or shutil.which(_OWN_NAMESPACES[0]) is None:
        return False
    return subprocess.run([*_OWN_NAMESPACES, "true"], capture_output=True).returncode == 0


@dataclass(slots=True)
class Grounds:
    """Where attacks are carried out, with everything around that they reach for."""

    interpreter: Path
    jailed: Path
    port: int
    privileged: bool
    folder: Path
    secret: ctypes.Array[ctypes.c_char] = field(
        default_factory=lambda: ctypes.create_string_buffer(b"secret!", 8)
    )

    def inside(self, attack: Attack) -> str:
        """What comes of an attack in the jail."""
        return self._run([str(self.jailed)], attack)

    def outside(self, attack: Attack) -> str:
        """What comes of it outside; a change to the system is made in namespaces of its own."""
        separate = _OWN_NAMESPACES if self.privileged else ()
        return self._run([*separate, str(self.interpreter)], attack)

    def _run(self, command: list[str], attack: Attack) -> str:
        with self._surroundings() as here:
            done = subprocess.run(
                [*command, "-I", "-S", "-B", "-c", _PRELUDE, attack.program, repr(here)],
                stdin=subprocess.PIPE,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                pass_fds=(here["inherited"],),
            )
        if done.returncode < 0:
            return signal.Signals(-done.returncode).name
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        return done.stdout.strip()

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[dict[str, Any]]:
        with contextlib.ExitStack() as exits:
            work = Path(exits.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
            (work / "data").write_text("secret")
            (work / "link").symlink_to("data")
            (work / "empty").mkdir()
            for path in (work / "data", work / "empty", work):
                path.chmod(0o777)
            reader, writer = os.pipe()
            exits.callback(os.close, reader)
            with os.fdopen(writer, "w") as pipe:
                pipe.write("secret")
            home = Path.home()
            yield {
                "work": str(work),
                "code": str(self.folder / "code"),
                "home": str(home if os.access(home, os.R_OK) else work),
                "parent": os.getpid(),
                "port": self.port,
                "socket": str(self.folder / "socket"),
                "abstract": self.folder.name,
                "inherited": reader,
                "address": ctypes.addressof(self.secret),
                "machine": os.uname().machine,
            }


@contextlib.contextmanager
def grounds(interpreter: Path, isolation: Isolation) -> Iterator[Grounds]:
    """Grounds with a jail that uses all of ``isolation``, and servers that accept connections."""
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="ccos-attacks-")))
        folder.chmod(0o777)
        code = folder / "code"
        code.write_bytes(_INT_0X80)
        server = exits.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        for address in (str(folder / "socket"), f"\0{folder.name}"):
            listener = exits.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen(64)
        readable = (*interpreter_library(interpreter), code)
        spec = JailSpec(interpreter, memory_bytes=MEMORY_BYTES, readable=readable)
        yield Grounds(
            interpreter=interpreter,
            jailed=exits.enter_context(Jail(spec, isolation)),
            port=server.getsockname()[1],
            privileged=privileged(),
            folder=folder,
        )
