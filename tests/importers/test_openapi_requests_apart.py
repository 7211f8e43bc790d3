"""Generated calls, checked by openapi-core where it is not installed beside CCOS.

It needs an older jsonschema-path than fastmcp does, so it gets a folder of its own, which comes
before what is installed, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import uv

CHECKS = Path(__file__).with_name("test_openapi_requests.py")


@pytest.mark.timeout(240)
@pytest.mark.skipif(
    importlib.util.find_spec("openapi_core") is not None, reason="openapi-core is installed"
)
def test_generated_calls_are_valid(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", sys.executable,
               "--target", str(folder), "openapi-core==0.23.1"]  # fmt: skip
    installed = subprocess.run(install, capture_output=True, text=True, timeout=120)
    if installed.returncode != 0:
        pytest.skip(f"openapi-core cannot be fetched: {installed.stderr.strip()[-200:]}")
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CHECKS)]
    done = subprocess.run(
        run,
        env=os.environ | {"PYTHONPATH": str(folder)},
        cwd=CHECKS.parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
