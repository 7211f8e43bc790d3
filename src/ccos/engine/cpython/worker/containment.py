"""Ways to make sure that nothing a script starts outlives it."""

from __future__ import annotations

import ctypes
import os
import sys

PID_NAMESPACE = "pid-namespace"
USER_NAMESPACE = "user-namespace"
SUBREAPER = "subreaper"
PROCESS_GROUP = "process-group"

CONTAINMENTS = (PID_NAMESPACE, USER_NAMESPACE, SUBREAPER, PROCESS_GROUP)
"""From the best to the least; the first that the machine allows is used."""

NAMESPACES = (PID_NAMESPACE, USER_NAMESPACE)

# Linux: include/uapi/linux/sched.h and include/uapi/linux/prctl.h
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def contain(containment: str) -> None:
    """Apply ``containment`` to the children that this process will have.

    Raises:
        OSError: if the machine does not allow it.
    """
    if containment == PROCESS_GROUP:
        return
    if sys.platform != "linux":
        raise OSError(f"There is no {containment} on {sys.platform}.")
    if containment == PID_NAMESPACE:
        _checked(_libc().unshare(_CLONE_NEWPID))
    elif containment == USER_NAMESPACE:
        user, group = os.geteuid(), os.getegid()
        _checked(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWPID))
        # user_namespaces(7): a group can only be mapped once setgroups(2) is given up.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    else:
        _checked(_libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def die_with_parent(signal_number: int) -> None:
    """Get a signal when the parent ends, where the machine has that."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _write(path: str, text: str) -> None:
    # Opened by hand: pathlib takes longer to import than all the rest. As bytes: a codec may lie
    # where a user namespace cannot read any more.
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(text.encode())
