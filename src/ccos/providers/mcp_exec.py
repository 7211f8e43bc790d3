"""What runs in a new process before the MCP server does: it sets limits, then becomes the server.

The launcher starts this file by its path with ``python -I -S``, so it uses the standard library
alone. Doing this here and not between fork and exec in CCOS keeps it safe among threads.

Arguments: process id of the parent, number of open files allowed, program, its arguments.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Set the limits and replace this process by the program."""
    parent, open_files, program, *arguments = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = int(open_files) if hard == resource.RLIM_INFINITY else min(int(open_files), hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):
            raise SystemExit("The parent is gone.")
    try:
        os.execv(program, [program, *arguments])  # noqa: S606
    except OSError as error:
        raise SystemExit(f"{program} cannot be started: {error.strerror}") from error


if __name__ == "__main__":
    main()
