"""Runs as an ordinary user: a Monty worker and every attack in a jail; prints outcomes as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pydantic_monty
from pydantic_monty._binary import find_monty_binary

from ccos.engine.jail import Jail, JailSpec, probe
from engine.jail.corpus import grounds, load


def main() -> None:
    isolation = probe()
    report: dict[str, object] = {"user": os.geteuid(), "isolation": isolation.as_dict()}
    with (
        Jail(JailSpec(Path(find_monty_binary())), isolation) as worker,
        pydantic_monty.Monty(binary_path=worker, min_processes=1, max_processes=1) as pool,
    ):
        began = time.perf_counter()
        with pool.checkout() as session:
            report["monty"] = session.feed_run("1 + 1")
            status = Path(f"/proc/{session.worker_pid}/status").read_text()
        report["seconds"] = time.perf_counter() - began
        report["status"] = dict(line.split(":\t", 1) for line in status.splitlines())
    with grounds(Path(sys.executable), isolation) as prison:
        machine = os.uname().machine
        report["outcomes"] = {
            attack.id: prison.inside(attack)
            for attack in load()
            if attack.machine in ("", machine) and (not attack.needs or isolation.has(attack.needs))
        }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
