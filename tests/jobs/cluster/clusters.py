"""What tests of manifests share: recipes hostile in every string, and programs that only note how they were called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.pipelines.recipe import Recipe, parse_recipe

HOSTILE = "$(touch canary) `touch canary`; touch canary & '\"\\ {{ name }} {% raw %} #\n!*?~%20é中😀\u2028x"
"""What a shell, YAML, a template engine or a careless reader could take for more than text."""

STAND_IN = """#!{python}
import json, os, pathlib, sys
seen = {{}}
for word in sys.argv[1:]:
    path = pathlib.Path(word.removeprefix("--from-file=").partition("=")[2] or word.removeprefix("--from-file="))
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and file.suffix in {{".yaml", ".py", ".sh"}}:
            seen[file.relative_to(path).as_posix() if path.is_dir() else file.name] = file.read_text(encoding="utf-8")
record = {{"program": os.path.basename(sys.argv[0]), "words": sys.argv[1:], "files": seen}}
with open(os.environ["CALLS"], "a", encoding="utf-8") as calls:
    print(json.dumps(record), file=calls)
"""


@dataclass(frozen=True)
class Call:
    """How a program was called, and the files that its words name (or that lie in the folders that they name)."""

    program: str
    words: list[str]
    files: dict[str, str]

    def after(self, option: str) -> str:
        """The word after an option."""
        return self.words[self.words.index(option) + 1]

    def confs(self) -> dict[str, str]:
        """Spark's settings."""
        pairs = [self.words[at + 1] for at, word in enumerate(self.words) if word == "--conf"]
        return dict(pair.split("=", 1) for pair in pairs)


def recipe(kind: str, **blocks: Any) -> Recipe:
    """A recipe with hostile strings wherever it takes any."""
    told: dict[str, Any] = {
        "name": "LAION_2B.en",
        "corpus": f"corpus {HOSTILE}",
        "source": {"kind": "laion", "path": f"{HOSTILE}/*.parquet", "keep": [HOSTILE]},
        "fetch": {"user_agent": HOSTILE},
        "scores": {"look": {}, "old": {"kind": "import", "path": HOSTILE, "on": "uid", "columns": [HOSTILE]}},
        "criteria": {"big": HOSTILE},
        "engine": {"kind": kind, "workers": 3},
    }
    return parse_recipe(told | blocks, Path("/folder of") / "recipes")


def call(
    script: str, folder: Path, *programs: str, **environ: str
) -> tuple[subprocess.CompletedProcess[str], list[Call]]:
    """Run a script where ``programs`` are stand-ins that write down how they are called."""
    (folder / "bin").mkdir()
    for program in programs:
        path = folder / "bin" / program
        path.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
        path.chmod(0o755)
    (folder / "script.sh").write_text(script, encoding="utf-8")
    calls = folder / "calls"
    calls.touch()
    told = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "CALLS": str(calls),
        "TMPDIR": str(folder),
        **environ,
    }
    kept = {name: value for name, value in os.environ.items() if name in {"HOME", "LANG"}}
    done = subprocess.run(
        ["bash", "script.sh"], cwd=folder, env=kept | told, capture_output=True, text=True, check=False, timeout=120
    )
    lines = calls.read_text(encoding="utf-8").splitlines()
    return done, [Call(**json.loads(line)) for line in lines]
