"""A seccomp filter that allows what a computing program needs and refuses the rest.

Assembled here from the tables in :mod:`syscalls`, in the classic packet filter language. Source:
``Documentation/userspace-api/seccomp_filter.rst`` and ``linux/filter.h`` of Linux.
"""

import errno
import struct

from .syscalls import ABSENT, ALWAYS, NUMBERS, Alternatives, Condition, allowed, refused

ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""By machine: its AUDIT_ARCH constant, and the column of the tables."""

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_AT_LEAST = 0x15, 0x35
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000
_X32_BIT = 0x40000000
"""Set in the numbers of a second set of calls on x86-64, which nobody needs."""

Instruction = tuple[int, int, int, int]
"""Operation, how far to jump when true and when false, and an operand."""


def assemble(machine: str, *, pid: int, key: int, lifeline: int) -> bytes:
    """The filter for one process.

    Args:
        machine: As ``os.uname().machine`` names it.
        pid: The jailed process.
        key: A number that nobody can guess, for its one start of a program.
        lifeline: A descriptor that it must not close.

    Raises:
        KeyError: for a machine whose system calls are not known here.
    """
    architecture, column = ARCHITECTURES[machine]
    instructions: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _KILL),
    ]
    may, must_not = allowed(pid, key), refused(lifeline)
    for name, numbers in {**ALWAYS, **NUMBERS, **ABSENT}.items():
        number = numbers[column]
        if number is None:
            continue
        body = _verdicts(must_not.get(name, ()), _ERROR | errno.EPERM)
        if name in ABSENT:
            body.append((_RETURN, 0, 0, _ERROR | errno.ENOSYS))
        elif name in NUMBERS:
            body += _verdicts(may[name], _ALLOW)
            body.append((_RETURN, 0, 0, _ERROR | errno.EPERM))
        else:
            body.append((_RETURN, 0, 0, _ALLOW))
        instructions += [(_JUMP_EQUAL, 0, len(body), number), *body]
    instructions.append((_RETURN, 0, 0, _ERROR | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def _verdicts(alternatives: Alternatives, verdict: int) -> list[Instruction]:
    """Return ``verdict`` if one alternative holds, otherwise go on."""
    instructions: list[Instruction] = []
    for conditions in alternatives:
        block: list[Instruction] = [(_RETURN, 0, 0, verdict)]
        for condition in reversed(conditions):
            block = _test(condition, len(block)) + block
        instructions += block
    return instructions


def _test(condition: Condition, beyond: int) -> list[Instruction]:
    """Go on if the condition holds, otherwise jump over what follows and ``beyond`` more."""
    index, mask, value = condition
    tests: list[Instruction] = []
    for half in (1, 0):
        part = mask >> (32 * half) & 0xFFFFFFFF
        if not part:
            continue
        # Arguments have 64 bits, low half first here; a filter looks at 32 at a time.
        offset = _ARGUMENTS + 8 * index + 4 * half
        wanted = value >> (32 * half) & 0xFFFFFFFF
        skip = beyond + len(tests)
        tests = [
            (_LOAD, 0, 0, offset),
            (_AND, 0, 0, part),
            (_JUMP_EQUAL, 0, skip, wanted),
            *tests,
        ]
    return tests
