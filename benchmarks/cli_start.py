"""How long `ccos --help` takes from start to exit: the median of ten runs, after one to warm up."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 10
ALLOWED_SECONDS = 0.3


def seconds() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "ccos", "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> int:
    seconds()
    times = [seconds() for _ in range(RUNS)]
    median = statistics.median(times)
    print(f"ccos --help: median {median:.3f} s of {RUNS} runs (allowed {ALLOWED_SECONDS} s)")
    print(f"fastest {min(times):.3f} s, slowest {max(times):.3f} s")
    return 0 if median < ALLOWED_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
