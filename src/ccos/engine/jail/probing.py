"""Tries every mechanism of a jail, each in a process of its own, and prints what works as JSON.

It runs without site packages, in a process that has no threads and can therefore be copied.
What counts is the effect: a mechanism works if something is refused afterwards.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
from functools import partial

from . import kernel, launcher, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY = 512 * 1024 * 1024
_LIFELINE = 1000


def main() -> None:
    """Print an object: by mechanism whether it is available, and a detail."""
    attempts: dict[str, Callable[[], str]] = {
        "no_new_privileges": _no_new_privileges,
        "landlock": _landlock,
        "seccomp": _seccomp,
        "resource_limits": _resource_limits,
        "own_user": _own_user,
        "user_namespace": _user_namespace,
    }
    results = {name: _in_child(attempt) for name, attempt in attempts.items()}
    with_user = results["user_namespace"][0]
    for name in kernel.NAMESPACES:
        results[f"{name}_namespace"] = _in_child(partial(_namespace, name, with_user))
    print(json.dumps(results))  # noqa: T201 - this is how it answers


def _in_child(attempt: Callable[[], str]) -> tuple[bool, str]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = f"+{attempt()}"
        except BaseException as error:
            answer = f"-{str(error) or type(error).__name__}"
        os.write(writer, answer.encode(errors="backslashreplace"))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        return False, "trying it ended the process"
    return text.startswith("+"), text[1:]


def _no_new_privileges() -> str:
    kernel.refuse_new_privileges()
    return "set and read back"


def _landlock() -> str:
    kernel.refuse_new_privileges()
    abi = kernel.landlock_abi()
    kernel.landlock_restrict(kernel.landlock_ruleset(abi, {}))
    _refused(errno.EACCES, lambda: os.open("/", os.O_RDONLY))
    return f"ABI {abi}"


def _seccomp() -> str:
    machine = os.uname().machine
    if machine not in seccomp.ARCHITECTURES:
        raise OSError(f"the system calls of {machine} are not known")
    kernel.refuse_new_privileges()
    kernel.install_filter(seccomp.assemble(machine, pid=os.getpid(), key=0, lifeline=_LIFELINE))
    os.getpid()
    _refused(errno.EPERM, os.fork)
    return f"filter for {machine}"


def _resource_limits() -> str:
    launcher.limit({"AS": _MEMORY, "FSIZE": 0})
    _refused(errno.ENOMEM, lambda: mmap.mmap(-1, _MEMORY))
    return "memory is refused above the limit"


def _own_user() -> str:
    if os.geteuid() != 0:
        raise OSError("only root can change to another user")
    launcher.become_nobody()
    _refused(errno.EPERM, lambda: os.setuid(0))
    return f"ids from {launcher.free_users()[0]}"


def _user_namespace() -> str:
    _become_nobody_if_root()
    before = _inside("user")
    kernel.enter_user_namespace()
    _changed(before, "user")
    return "with one user"


def _namespace(name: str, with_user: bool) -> str:
    short = {"network": "net", "mount": "mnt"}.get(name, name)
    before = _inside(short)
    if with_user:
        _become_nobody_if_root()
        kernel.enter_user_namespace(kernel.NAMESPACES[name])
    else:
        kernel.unshare(kernel.NAMESPACES[name])
    _changed(before, short)
    return "inside a user namespace" if with_user else "as root"


def _become_nobody_if_root() -> None:
    if os.geteuid() == 0:
        try:
            launcher.become_nobody()
        except OSError:
            return


def _refused(number: int, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        if error.errno == number:
            return
        raise
    raise OSError("accepted by the kernel, but without effect")


def _inside(namespace: str) -> str:
    return os.readlink(f"/proc/self/ns/{namespace}")  # noqa: PTH115 - os is imported already


def _changed(before: str, namespace: str) -> None:
    if _inside(namespace) == before:
        raise OSError("accepted by the kernel, but without effect")
