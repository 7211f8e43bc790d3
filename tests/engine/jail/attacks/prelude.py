"""Runs one attack, inside a jail or outside, and prints what came of it in a word.

It is given to an interpreter as text, with the attack and a description of the surroundings as
arguments. The attack sees the names of this module.
"""

import ast
import ctypes
import errno
import os
import resource  # noqa: F401 - for attacks
import socket  # noqa: F401
import sys
from typing import Any

NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capset": (126, 91),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "execveat": (322, 281),
    "fanotify_init": (300, 262),
    "getpid": (39, 172),
    "inotify_init1": (294, 26),
    "io_uring_setup": (425, 425),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "landlock_create_ruleset": (444, 444),
    "memfd_create": (319, 279),
    "mount": (165, 40),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "pkey_mprotect": (329, 288),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "rt_sigqueueinfo": (129, 138),
    "seccomp": (317, 277),
    "setns": (308, 268),
    "shmget": (29, 194),
    "signalfd4": (289, 74),
    "tgkill": (234, 131),
    "timerfd_create": (283, 85),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vmsplice": (278, 75),
}
"""Of system calls, on x86_64 and aarch64."""

here: dict[str, Any] = ast.literal_eval(sys.argv[2])
"""What there is to reach for: work (a folder), home, parent, port, socket, abstract, inherited
(a descriptor), address (of readable memory in the parent), machine."""

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """A bare system call; raises as Python's own do."""
    return number(NUMBERS[name][here["machine"] != "x86_64"], *arguments)


def number(value: int, *arguments: object) -> int:
    """The same by number."""
    whole = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result = int(libc.syscall(ctypes.c_long(value), *whole))
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def work(name: str) -> str:
    """A path in the work folder, where everybody may do everything."""
    return f"{here['work']}/{name}"


def outcome(attack: str) -> str:
    """ok, the name of an error number, or the name of an exception."""
    try:
        exec(attack, globals())
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except BaseException as error:
        return type(error).__name__
    return "ok"


sys.stdout.write(outcome(sys.argv[1]))
sys.stdout.flush()
os._exit(0)
