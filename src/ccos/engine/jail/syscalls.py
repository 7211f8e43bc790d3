"""Numbers of system calls, and what a jailed program may do with which.

What is not named here is refused. Sources of the numbers: in Linux,
``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``.
"""

Condition = tuple[int, int, int]
"""Index of an argument, the bits of it that count, and what they must be."""
Alternatives = tuple[tuple[Condition, ...], ...]
"""They apply if one of them holds with all its conditions."""

INT = 0xFFFFFFFF
WHOLE = 0xFFFFFFFFFFFFFFFF

ALWAYS = {
    # name: (x86_64, aarch64); a call that an architecture does not have is None
    "read": (0, 63),
    "write": (1, 64),
    "futex": (202, 98),
    "poll": (7, None),
    "madvise": (28, 233),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "brk": (12, 214),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "lseek": (8, 62),
    "close": (3, 57),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "stat": (4, None),
    "lstat": (6, None),
    "statx": (332, 291),
    "getdents64": (217, 61),
    "dup": (32, 23),
    "pipe2": (293, 59),
    "eventfd2": (290, 19),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "membarrier": (324, 283),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "gettid": (186, 178),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "getrandom": (318, 278),
}

NUMBERS = {
    "open": (2, None),
    "openat": (257, 56),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "clone": (56, 220),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "arch_prctl": (158, None),
    "execveat": (322, 281),
}
"""Calls that are allowed with some arguments only, see :func:`allowed`."""

ABSENT = {"clone3": (435, 435), "openat2": (437, 437), "faccessat2": (439, 439)}
"""Calls whose arguments a filter cannot see; a C library that is told that the kernel does not
have them uses an older one that a filter can judge."""

_WRITING = 0o1 | 0o2 | 0o100 | 0o1000
_PATH_ONLY, _UNNAMED_FILE = 0o10000000, 0o20000000
_READ_ONLY = INT & (_WRITING | _PATH_ONLY | _UNNAMED_FILE)
_MAY_WRITE, _MAY_EXECUTE, _ANONYMOUS = 0x2, 0x4, 0x20
_THREAD, _DETACHED = 0x3D0F00, 0x400000
"""What glibc and musl start a thread with; musl adds a flag that means nothing today."""


def allowed(pid: int, key: int) -> dict[str, Alternatives]:
    """What the calls of :data:`NUMBERS` may be used for.

    Args:
        pid: The jailed process, which may signal itself and nobody else.
        key: A number that nobody can guess; it makes the one start of the program possible.
    """
    return {
        # Opened for reading only, whatever else refuses writing; O_PATH escapes Landlock.
        "open": (((1, _READ_ONLY, 0),),),
        "openat": (((2, _READ_ONLY, 0),),),
        # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC.
        "fcntl": tuple(((1, INT, command),) for command in (0, 1, 2, 3, 4, 1030)),
        # TCGETS (is it a terminal?), FIOCLEX, FIONCLEX, FIONREAD.
        "ioctl": tuple(((1, INT, request),) for request in (0x5401, 0x5451, 0x5450, 0x541B)),
        # Machine code comes from files that the loader may read, and from nowhere else.
        "mmap": (
            ((2, _MAY_EXECUTE, 0),),
            ((2, _MAY_EXECUTE | _MAY_WRITE, _MAY_EXECUTE), (3, _ANONYMOUS, 0)),
        ),
        "mprotect": (((2, _MAY_EXECUTE, 0),),),
        "clone": (((0, WHOLE & ~_DETACHED, _THREAD),),),
        "kill": (((0, INT, pid),),),
        "tgkill": (((0, INT, pid),),),
        # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (names of memory areas).
        "prctl": tuple(((0, INT, option),) for option in (15, 16, 0x53564D41)),
        "prlimit64": (((0, INT, 0), (2, WHOLE, 0)), ((0, INT, pid), (2, WHOLE, 0))),
        # ARCH_SET_FS: the loader sets up thread-local storage.
        "arch_prctl": (((0, INT, 0x1002),),),
        "execveat": (((4, INT, 0x1000), (5, WHOLE, key)),),
    }


def refused(lifeline: int) -> dict[str, Alternatives]:
    """What nobody may do with the descriptor by which the process dies with its service."""
    return dict.fromkeys(("close", "dup", "fcntl"), (((0, INT, lifeline),),))
