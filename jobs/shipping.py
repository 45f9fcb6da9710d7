"""The code that a cluster's workers run: a wheel of tamis as it is imported here, with the user's own modules in it.

A wheel is a zip of the packages' files and a ``dist-info`` of three, so it is written here: no build tool is needed where
tamis runs, an editable checkout and an install give the same, and what was edited a minute ago is what workers run.
Spark and Ray keep what they were given by its name; the name therefore carries the digest of the content. The wheel asks
for no dependencies: workers have theirs (an engine's ``check`` says what they lack), and Ray would have pip fetch each of
them anew, on every node.

Price: 50 ms and 7 MB (the embedded CLIP is most of it), once a run; nothing is compressed, so that the bytes do not
depend on the machine's zlib.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ..corpora.errors import ConfigError

PACKAGE = __package__.split(".")[0]
ROOMS = ("corpora", "models", "filters", "train", "evals", "pipelines", "jobs")
"""An editable install keeps the rooms outside the package's own folder, so they are named."""

_COMPILED = (".so", ".pyd", ".dylib")
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: tamis\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def pack(folder: Path, modules: Sequence[str] = ()) -> Path:
    """Write the wheel of tamis as imported here, and of the named top-level modules or packages, into ``folder``.

    The same files give the same bytes and the same name.

    Raises:
        ConfigError: tamis was never installed, or a module is not there or is compiled, so that no zip can carry it.
    """
    held = dict(_package(PACKAGE))
    for room in ROOMS:
        held.update(_package(f"{PACKAGE}.{room}"))
    for name in modules:
        held.update(_module(name))
    told = _installed()
    info = f"{PACKAGE}-{told.version}.dist-info"
    held[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {told.version}\n".encode()
    held[f"{info}/WHEEL"] = _WHEEL.encode()
    held[f"{info}/entry_points.txt"] = (told.read_text("entry_points.txt") or "").encode()
    held[f"{info}/RECORD"] = _record(held, f"{info}/RECORD")
    body = _zipped(held)
    build = hashlib.sha256(body).hexdigest()[:8]
    wheel = folder / f"{PACKAGE}-{told.version}-0_{build}-py3-none-any.whl"
    wheel.write_bytes(body)
    return wheel


def as_zip(wheel: Path) -> Path:
    """A copy beside the wheel that ends in ``.zip``, the one ending that Spark puts on its workers' path."""
    return Path(shutil.copyfile(wheel, wheel.with_suffix(".zip")))


def _installed() -> Distribution:
    try:
        return distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise ConfigError(
            f"{PACKAGE} is imported from a bare folder; install it (pip install -e .) to ship it"
        ) from error


def _module(name: str) -> Iterator[tuple[str, bytes]]:
    """The files of a user's module, or of the package with all that lies in it."""
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None:
        raise ConfigError(f"cannot ship {name!r}: expected the name of a top-level module or package on Python's path")
    if spec.submodule_search_locations is not None:
        yield from _package(name)
    elif spec.origin and spec.origin.endswith(".py"):
        yield f"{name}.py", Path(spec.origin).read_bytes()
    else:
        raise ConfigError(f"cannot ship {name!r}: {spec.origin} is no Python source; install it on the workers")


def _package(name: str) -> Iterator[tuple[str, bytes]]:
    return _folder(files(name), name.replace(".", "/"))


def _folder(folder: Traversable, place: str) -> Iterator[tuple[str, bytes]]:
    """What lies in a folder, without caches and hidden files, under the names that a wheel gives."""
    for entry in folder.iterdir():
        inside = f"{place}/{entry.name}"
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_dir():
            yield from _folder(entry, inside)
        elif entry.name.endswith(_COMPILED):
            raise ConfigError(
                f"cannot ship {inside}: compiled modules do not load from a zip; install it on the workers"
            )
        else:
            yield inside, entry.read_bytes()


def _record(held: Mapping[str, bytes], own: str) -> bytes:
    """The wheel's table of contents (PEP 376): name, digest and size of every file but the table itself."""
    rows = [f"{name},sha256={_digest(held[name])},{len(held[name])}\n" for name in sorted(held)]
    return "".join([*rows, f"{own},,\n"]).encode()


def _digest(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()


def _zipped(held: Mapping[str, bytes]) -> bytes:
    """One zip of all files; folders have entries, without which Python finds no package that lacks ``__init__.py``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted({*held, *_folders(held)}):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.create_system = 3
            entry.external_attr = (0o40755 << 16) | 0x10 if name.endswith("/") else 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED
            archive.writestr(entry, held.get(name, b""))
    return buffer.getvalue()


def _folders(names: Iterable[str]) -> set[str]:
    return {f"{parent}/" for name in names for parent in map(str, Path(name).parents) if parent != "."}
