"""The system calls a jail is made of, for programs that have nothing but Python itself.

The launcher runs before every start of a worker, without site packages, so this imports little.
Landlock is called directly and not through landlockpy: that would cost its import of ``enum``,
and it looks for the C library with ``ctypes.util.find_library``, which starts other programs.

Every function raises :class:`OSError` with the name of the call when the kernel refuses.

Sources: ``linux/prctl.h``, ``linux/capability.h``, ``linux/sched.h``, ``linux/landlock.h``,
``linux/seccomp.h``; https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMESPACES = {
    "network": 0x40000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "mount": 0x00020000,
    "cgroup": 0x02000000,
}
USER_NAMESPACE = 0x10000000

READ_FILE = 1 << 2
READ_DIRECTORY = 1 << 3
EXECUTE = 1 << 0

_SET_DUMPABLE, _SET_SECCOMP, _CAPABILITY_DROP, _SET_NO_NEW_PRIVILEGES = 4, 22, 24, 38
_GET_NO_NEW_PRIVILEGES, _AMBIENT, _AMBIENT_CLEAR_ALL = 39, 47, 4
_SECCOMP_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION, _LANDLOCK_PATH_BENEATH = 1, 1
_CLOSE_RANGE = 436
_AT_EMPTY_PATH = 0x1000
_SIGNAL_ON_EVENT = 0o20000
_SET_SIGNAL = 10

_FILE_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16), (9, 17))
_NETWORK_RIGHTS = ((4, 2), (10, 4))
_SCOPES = ((6, 2),)
"""Landlock's rights by the ABI that brought them: from which ABI on there are how many bits."""

_MOVE, _MOVE_SINCE = 1 << 13, 2
_SIGNALS, _SIGNALS_SINCE = 1 << 1, 6

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def close_descriptors(first: int) -> None:
    """Close every descriptor from ``first`` on."""
    last = ctypes.c_uint(0xFFFFFFFF)
    if _libc.syscall(_CLOSE_RANGE, ctypes.c_uint(first), last, 0) != 0:
        _known_call_missing(ctypes.get_errno())
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` name for new ones."""
    _checked("unshare", _libc.unshare(ctypes.c_int(flags)))


def enter_user_namespace(also: int = 0) -> None:
    """Go to a user namespace of one's own that knows one user and one group: the present ones.

    Args:
        also: Flags of further namespaces to leave in the same step.
    """
    user, group = os.geteuid(), os.getegid()
    # After a change of user the own entries in /proc belong to root, which would lock them.
    prctl(_SET_DUMPABLE, 1)
    unshare(USER_NAMESPACE | also)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def drop_capabilities(numbers: Iterable[int] = range(64)) -> None:
    """Give up capabilities, by default every one, and the way back to them."""
    if _libc.prctl(_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0) != 0:
        _known_call_missing(ctypes.get_errno())
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    sets = (_CapabilitySet * 2)()
    _checked("capget", _libc.capget(ctypes.byref(header), sets))
    shrinks = True
    for number in numbers:
        # Who may not shrink the bounding set has no capability that it could give back.
        shrinks = shrinks and _libc.prctl(_CAPABILITY_DROP, number, 0, 0, 0) == 0
        half, bit = sets[number // 32], 1 << number % 32
        half.effective &= ~bit
        half.permitted &= ~bit
        half.inheritable &= ~bit
    _checked("capset", _libc.capset(ctypes.byref(header), sets))


def refuse_new_privileges() -> None:
    """Make sure that no program started from here gets more rights than its starter has."""
    prctl(_SET_NO_NEW_PRIVILEGES, 1)
    if prctl(_GET_NO_NEW_PRIVILEGES) != 1:
        raise OSError(errno.ENOSYS, "prctl(PR_SET_NO_NEW_PRIVS) had no effect")


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers, from 1."""
    return _call("landlock_create_ruleset", _LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)


def landlock_ruleset(abi: int, allowed: dict[int, int]) -> int:
    """A ruleset, not in force yet, that refuses everything Landlock knows but ``allowed``.

    Args:
        abi: The version of Landlock whose rights to refuse, at most the kernel's own.
        allowed: Rights by descriptor of the file or folder that they are for.

    Returns:
        The descriptor of the ruleset.
    """
    attributes = _RulesetAttributes(
        _bits(_FILE_RIGHTS, abi), _bits(_NETWORK_RIGHTS, abi), _bits(_SCOPES, abi)
    )
    return _new_ruleset(attributes, allowed)


def landlock_enclosure(abi: int) -> int | None:
    """A ruleset that lets a program use every file, but keeps it from other programs' processes.

    Whoever is under any ruleset cannot trace processes that are not; signals to them are refused
    from ABI 6 on. Before that a ruleset has to name something to do with files.

    Returns:
        Its descriptor; None if ``abi`` knows no such ruleset.
    """
    if abi >= _SIGNALS_SINCE:
        return _new_ruleset(_RulesetAttributes(0, 0, _SIGNALS), {})
    if abi < _MOVE_SINCE:
        return None
    root = os.open("/", os.O_PATH)
    try:
        return _new_ruleset(_RulesetAttributes(_MOVE, 0, 0), {root: _MOVE})
    finally:
        os.close(root)


def _new_ruleset(attributes: _RulesetAttributes, allowed: dict[int, int]) -> int:
    # An older kernel takes the longer structure as long as what it does not know is zero.
    size = ctypes.sizeof(attributes)
    ruleset = _call("landlock_create_ruleset", _LANDLOCK_CREATE, ctypes.byref(attributes), size, 0)
    for descriptor, rights in allowed.items():
        rule = ctypes.byref(_PathBeneath(rights, descriptor))
        _call("landlock_add_rule", _LANDLOCK_ADD, ruleset, _LANDLOCK_PATH_BENEATH, rule, 0)
    return ruleset


def landlock_restrict(ruleset: int) -> None:
    """Put a ruleset in force for this thread and all that it starts."""
    _call("landlock_restrict_self", _LANDLOCK_RESTRICT, ruleset, 0)


def install_filter(program: bytes) -> None:
    """Put a seccomp filter in force for this thread and all that it starts.

    Args:
        program: Instructions of 8 bytes each, in the byte order of the machine.
    """
    filter_program = _FilterProgram(len(program) // 8, program)
    prctl(_SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(filter_program))


def die_with_writer(descriptor: int) -> None:
    """Have this process killed when nobody holds the other end of a pipe any more.

    Unlike ``PR_SET_PDEATHSIG`` this does not fire when only the thread ends that started the
    process, and no change of user switches it off.

    Args:
        descriptor: The reading end, which must stay open.
    """
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, _SET_SIGNAL, signal.SIGKILL)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _SIGNAL_ON_EVENT)


def execute(
    number: int, descriptor: int, arguments: list[str], environment: dict[str, str], key: int
) -> None:
    """Become the program open as ``descriptor``. Returns only by raising.

    Args:
        number: Of the system call ``execveat`` on this machine.
        descriptor: The program, which need not be reachable by any path.
        arguments: The first is the program's name.
        environment: All its variables.
        key: Passed in the register after the last argument, where a filter can see it.
    """
    variables = [f"{name}={value}" for name, value in environment.items()]
    _call(
        "execveat",
        number,
        descriptor,
        ctypes.c_char_p(b""),
        _strings(arguments),
        _strings(variables),
        _AT_EMPTY_PATH,
        ctypes.c_uint64(key),
    )


def prctl(option: int, *arguments: object) -> int:
    """Call ``prctl``; arguments that are left out are zero."""
    whole = [*map(_argument, arguments), *[ctypes.c_ulong(0)] * 4][:4]
    return _checked("prctl", _libc.prctl(ctypes.c_int(option), *whole))


def _call(name: str, number: int, *arguments: object) -> int:
    return _checked(name, _libc.syscall(ctypes.c_long(number), *map(_argument, arguments)))


def _argument(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(name: str, result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _known_call_missing(number: int) -> None:
    """Pass over that a kernel is too old for a call; raise any other error."""
    if number not in (errno.ENOSYS, errno.EINVAL):
        raise OSError(number, os.strerror(number))


def _strings(texts: list[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(texts) + 1))(*[os.fsencode(text) for text in texts], None)


def _bits(table: tuple[tuple[int, int], ...], abi: int) -> int:
    count = max((bits for since, bits in table if since <= abi), default=0)
    return (1 << count) - 1


def _write(path: str, text: str) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 - pathlib is slow to import
        file.write(text.encode())
