"""Chaos in its short form; `make results-chaos` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_faults_failures_and_kills_all_at_once_leave_the_bytes_of_a_calm_run(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/chaos.py", "--quick", "--json", "--work", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["wrong"] == 0
    assert told["workers"] >= 1
    assert told["drivers"] >= 1
    assert told["turns"] >= 2
    assert told["files"] >= 30
    assert told["faults"]["requests"] >= 200
