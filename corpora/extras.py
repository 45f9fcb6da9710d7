"""What tasks import besides Python's own library, by the pip extra that brings it, and what to say where it is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping

BASE = ""
"""The name here of what comes without an extra."""

EXTRAS: Mapping[str, tuple[str, ...]] = {
    BASE: (
        *("blake3", "duckdb", "fsspec", "numpy", "PIL", "protego", "pyarrow"),
        *("pycurl", "pydantic", "simplejpeg", "sqlglot", "yaml"),
    ),
    "clip": ("torch", "torchvision", "open_clip", "safetensors"),
    "ocr": ("rapidocr", "onnxruntime"),
    "ray": ("ray",),
    "s3": ("s3fs",),
    "spark": ("pyspark",),
    "text": ("pycld2", "ahocorasick_rs", "opencc"),
}
"""Extra: the top-level modules that are imported when it is used."""


def absent(modules: Iterable[str]) -> list[str]:
    """Those of the modules that this process could not import; none is imported to find out."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def remedy(modules: Iterable[str]) -> str:
    """The command that brings the modules: extras of tamis where they are ours, the modules' own names where not."""
    missing = set(modules)
    extras = [extra for extra, brought in EXTRAS.items() if missing.intersection(brought)]
    ours = [f"'tamis[{','.join(filter(None, extras))}]'" if any(extras) else "tamis"] if extras else []
    return " ".join(["pip install", *ours, *sorted(missing.difference(*EXTRAS.values()))])
