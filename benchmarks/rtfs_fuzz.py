"""Ten minutes of texts that nobody wrote, for the reader and the compiler of RTFS.

What is looked for is a crash, a hang, or an exception that is none of ours. The time in seconds can
be given instead. Exit status 1 if something was found; the text that did it is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SECONDS = 600
TEST = Path(__file__).parents[1] / "tests" / "rtfs" / "test_fuzz.py"


def main() -> None:
    """Run the test of the reader and the compiler for as long as is asked."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    environment = {**os.environ, "CCOS_FUZZ_SECONDS": str(seconds)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(TEST)]
    done = subprocess.run(command, env=environment, cwd=TEST.parents[2])
    print(f"{seconds} s of fuzzing: {'nothing found' if done.returncode == 0 else 'see above'}")
    sys.exit(1 if done.returncode else 0)


if __name__ == "__main__":
    main()
