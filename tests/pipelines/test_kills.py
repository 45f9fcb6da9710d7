"""Kill -9 and resume, in its short form; `make results-kills` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_killed_and_resumed_runs_end_in_the_bytes_of_an_undisturbed_one(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/kills.py", "--quick", "--json", "--work", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["wrong"] == 0
    assert told["kills"] >= 12
    assert told["files"] >= 30
