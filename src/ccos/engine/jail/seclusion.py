"""Keeps a program, and all that it starts, away from the processes beside it.

This is not a jail: files, network and processes of its own stay. What goes is the reach into
processes that the program did not start, even those of its own user: their memory, variables and
descriptors, and signals to them. Like the rest of what starts programs it imports little.

Sources: capabilities(7); ptrace(2), "Ptrace access mode checking";
https://docs.kernel.org/userspace-api/landlock.html, "Ptrace restrictions" and "IPC scoping".
"""

import errno
import os
import sys

from . import kernel

_REACHING_CAPABILITIES = (16, 17, 19, 21, 38, 39, 40)
"""SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF and CHECKPOINT_RESTORE."""


def seclude() -> None:
    """Take this thread, and all that it starts from now on, out of the reach of other processes.

    Landlock does that from Linux 5.19 on, for signals from 6.12 on; root loses the capabilities
    that reach into processes as well. An ordinary user who has no Landlock gets nothing. Since
    Landlock asks for it, an ordinary user's program cannot raise its rights afterwards, such as
    by ``sudo``, and before Linux 6.12 it cannot mount file systems.

    Raises:
        OSError: if the machine has the means and refuses them.
    """
    if sys.platform != "linux":
        return
    ruleset = _ruleset()
    if ruleset is not None:
        try:
            kernel.landlock_restrict(ruleset)
        except PermissionError:
            kernel.refuse_new_privileges()
            kernel.landlock_restrict(ruleset)
        finally:
            os.close(ruleset)
    kernel.drop_capabilities(_REACHING_CAPABILITIES)


def _ruleset() -> int | None:
    """A ruleset that refuses no file; being under one is what counts. None without Landlock."""
    try:
        abi = kernel.landlock_abi()
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return None
        raise
    return kernel.landlock_enclosure(abi)
