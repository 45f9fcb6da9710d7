"""What tests of whole runs on any engine share: the demo's recipe by the command line, the digests of what it made."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tamis.pipelines.recipe import load_yaml

from .conftest import Site

SAME = ("plan", "shards", "scores", "duplicates", "verdicts", "selections")
"""The folders of a corpus whose bytes are promised; the export besides."""


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of every file whose bytes are promised (a ``plan.json`` tells paths and fingerprints of its list)."""
    kept = {p: b for p, b in files.items() if p.split("/")[:1] == ["export"] or p.split("/")[1] in SAME}
    return {p: hashlib.sha256(b).hexdigest() for p, b in sorted(kept.items()) if not p.endswith("plan.json")}


def on_disk(folder: Path) -> dict[str, bytes]:
    """Every file of a corpus and its export by its path."""
    paths = [path for name in ("corpus", "export") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def tasks_of(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The log lines of all tasks that workers did; what the driver did itself is not theirs."""
    logs = (content for path, content in sorted(files.items()) if path.startswith("corpus/logs/"))
    lines = [json.loads(line) for content in logs for line in content.splitlines()]
    return [line for line in lines if line.get("worker", {}).get("engine", "driver") != "driver"]


def command_for(folder: Path, site: Site, *options: str, base: str = "", **blocks: Any) -> list[str]:
    """``tamis run`` of the demo's recipe on the site's list in ten shards, its corpus and export below ``base``."""
    told = load_yaml((resources.files("tamis.pipelines.demo") / "recipe.yaml").read_text(encoding="utf-8"))
    told["corpus"] = f"{base}corpus"
    told["source"]["path"] = str(site.folder / "list.parquet")
    told["fetch"] |= {"timeout_seconds": 3, "retries": 0}
    told["shards"]["samples"] = 8
    told["exports"][0] |= {"samples": 20, "to": f"{base}export"}
    told["engine"]["batch_size"] = 8
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(told | blocks, sort_keys=False), encoding="utf-8")
    return [sys.executable, "-m", "tamis.jobs.cli", "run", str(recipe), "--json", *options]


def run_to_the_end(command: list[str], site: Site) -> None:
    """Run the command in a process of its own; it must end well, and account for every URL."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["asked"] == len(site.planted)
