"""What the filter decides, found by running its instructions, for every machine it knows."""

from __future__ import annotations

import errno
import struct

import pytest

from ccos.engine.jail.seccomp import ARCHITECTURES, assemble
from ccos.engine.jail.syscalls import ABSENT, ALWAYS, NUMBERS

PID, KEY, LIFELINE = 4321, 0x1234_5678_9ABC_DEF0, 63
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED, UNKNOWN = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS

each_machine = pytest.mark.parametrize("machine", sorted(ARCHITECTURES))


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """The filter's verdict on a call, by the rules of classic BPF."""
    program = assemble(machine, pid=PID, key=KEY, lifeline=LIFELINE)
    instructions = list(struct.iter_unpack("=HBBI", program))
    audit = ARCHITECTURES[machine][0] if architecture is None else architecture
    whole = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, audit, 0, *whole)
    accumulator, position = 0, 0
    while True:
        operation, when_true, when_false, operand = instructions[position]
        position += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x15:
            position += when_true if accumulator == operand else when_false
        elif operation == 0x35:
            position += when_true if accumulator >= operand else when_false
        else:
            assert operation == 0x06
            return int(operand)


def number(machine: str, name: str) -> int | None:
    return {**ALWAYS, **NUMBERS, **ABSENT}[name][ARCHITECTURES[machine][1]]


@each_machine
def test_every_number_is_judged_as_the_tables_say(machine: str) -> None:
    column = ARCHITECTURES[machine][1]
    always = {numbers[column] for numbers in ALWAYS.values()}
    absent = {numbers[column] for numbers in ABSENT.values()}
    some = {numbers[column] for numbers in NUMBERS.values()}
    assert (always & some) <= {None}
    for value in range(600):
        verdict = decide(machine, value)
        if value in always:
            assert verdict == ALLOW
        elif value in absent:
            assert verdict == UNKNOWN
        elif value not in some:
            assert verdict == REFUSED


@each_machine
def test_another_architecture_ends_the_process(machine: str) -> None:
    getpid = number(machine, "getpid")
    assert getpid is not None
    for other in (0x40000003, 0xC0000028, 0):
        assert decide(machine, getpid, architecture=other) == KILL
    assert decide(machine, 0x40000000 | getpid) == KILL
    assert decide(machine, 0xFFFFFFFF) == KILL


CASES = [
    ("openat", (0, 0, 0o2000000), ALLOW),
    *[("openat", (0, 0, flag), REFUSED) for flag in (1, 2, 0o100, 0o1000, 0o10000000, 0o20000000)],
    ("open", (0, 0), ALLOW),
    ("open", (0, 1), REFUSED),
    ("close", (LIFELINE - 1,), ALLOW),
    ("close", (LIFELINE,), REFUSED),
    ("close", (LIFELINE | 1 << 32,), REFUSED),
    ("dup", (0,), ALLOW),
    ("dup", (LIFELINE,), REFUSED),
    ("fcntl", (5, 4, 0), ALLOW),
    ("fcntl", (5, 8, 1), REFUSED),
    ("fcntl", (LIFELINE, 3), REFUSED),
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), REFUSED),
    ("mmap", (0, 4096, 3, 0x22), ALLOW),
    ("mmap", (0, 4096, 5, 0x2, 3), ALLOW),
    ("mmap", (0, 4096, 5, 0x22), REFUSED),
    ("mmap", (0, 4096, 7, 0x2, 3), REFUSED),
    ("mprotect", (0, 4096, 3), ALLOW),
    ("mprotect", (0, 4096, 5), REFUSED),
    ("clone", (0x3D0F00,), ALLOW),
    ("clone", (0x7D0F00,), ALLOW),
    ("clone", (17,), REFUSED),
    ("clone", (0x3D0F00 | 0x10000000,), REFUSED),
    ("clone", (0x3D0F00 | 1 << 40,), REFUSED),
    ("kill", (PID, 9), ALLOW),
    ("kill", (1, 9), REFUSED),
    ("kill", (0, 9), REFUSED),
    ("kill", (0xFFFFFFFF, 9), REFUSED),
    ("kill", (2**64 - PID, 9), REFUSED),
    ("tgkill", (PID, PID + 1, 6), ALLOW),
    ("tgkill", (PID - 1, PID, 6), REFUSED),
    ("prctl", (15,), ALLOW),
    *[("prctl", (option,), REFUSED) for option in (1, 4, 22, 23, 24, 38, 47)],
    ("prlimit64", (0, 3, 0, 1), ALLOW),
    ("prlimit64", (PID, 3, 0, 1), ALLOW),
    ("prlimit64", (0, 3, 1 << 32, 0), REFUSED),
    ("prlimit64", (1, 3, 0, 1), REFUSED),
    ("arch_prctl", (0x1002,), ALLOW),
    ("arch_prctl", (0x1012,), REFUSED),
    ("execveat", (3, 1, 1, 1, 0x1000, KEY), ALLOW),
    ("execveat", (3, 1, 1, 1, 0x1000, KEY ^ 1), REFUSED),
    ("execveat", (3, 1, 1, 1, 0x1000, KEY ^ 1 << 63), REFUSED),
    ("execveat", (3, 1, 1, 1, 0, KEY), REFUSED),
]


ON_MACHINES = [
    pytest.param(
        machine, number(machine, name), arguments, verdict,
        id=f"{machine}-{name}-{'-'.join(map(str, arguments))}",
    )
    for machine in sorted(ARCHITECTURES)
    for name, arguments, verdict in CASES
    if number(machine, name) is not None
]  # fmt: skip


@pytest.mark.parametrize(("machine", "call", "arguments", "verdict"), ON_MACHINES)
def test_arguments_decide(
    machine: str, call: int, arguments: tuple[int, ...], verdict: int
) -> None:
    assert decide(machine, call, *arguments) == verdict
