"""Opening file systems: a local folder, or any fsspec URL, always in one way.

Listings are never cached, since other machines write too. Endpoints and credentials come from the environment and
fsspec's own configuration (``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ``FSSPEC_S3_...``), so that no recipe and no log holds
them; a URL with a password in it is refused. What a client library raises beyond ``OSError`` is told as an error of ours.

Price: one client a process and file system; S3's takes half a second to import.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from .errors import ConfigError, ShardError

_PASSWORD = re.compile(r"(?P<protocol>[\w+.-]+)://[^/@]*:[^/@]*@")
_S3_PROTOCOLS = ("s3://", "s3a://")

S3_CONFIG: dict[str, Any] = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "retries": {"mode": "standard", "total_max_attempts": 5},
    "max_pool_connections": 64,
}
"""How long botocore waits, and how often it asks again (on 5xx, SlowDown, resets and time-outs, after
``rand(0, 1) * 2 ** attempt`` seconds); ``FSSPEC_S3='{"config_kwargs": {...}}'`` says otherwise."""

S3_TURNS = 5
"""How often s3fs in turn begins anew, when botocore gave up a connection or a body broke off. A server that is not there
is given up after half a minute, or three of a read."""


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a local path or URL, and the path on it.

    Raises:
        ConfigError: the protocol is unknown, its package is missing, or the URL holds a password.
    """
    if found := _PASSWORD.match(url):
        raise ConfigError(
            f"a {found['protocol']}:// URL holds a password (or a key and its secret): take it out, and give credentials "
            "by the environment or fsspec's configuration, where no recipe and no log shows them"
        )
    options: dict[str, Any] = {"use_listings_cache": False}
    if url.startswith(_S3_PROTOCOLS):
        told = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        options |= {"config_kwargs": {**S3_CONFIG, **told}, "max_concurrency": 1}  # more would ask for each file's size
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"cannot open {url!r} ({error}); use a folder or an fsspec URL like s3://bucket/x{_extra(url)}"
        ) from error
    if is_s3(fs):
        fs.retries = S3_TURNS
    return fs, str(path)


def files_at(path: str, endings: tuple[str, ...] = ()) -> dict[str, int]:
    """The files that a path or a glob names, and those in a folder with one of ``endings``, if given.

    Each by the name by which any process can open it, in the order of names, with its size in bytes. One listing, however
    many there are.
    """
    fs, pattern = filesystem(path)
    with reaching(path):
        try:
            found = fs.info(pattern)
        except (FileNotFoundError, NotADirectoryError):
            found = {"type": ""}
        entries = [found]
        if found["type"] == "directory" and endings:
            entries = [one for one in fs.ls(pattern, detail=True) if str(one["name"]).lower().endswith(endings)]
        elif found["type"] != "file" and fsspec.core.has_magic(pattern):
            entries = list(fs.glob(pattern, detail=True).values())
    sizes = {str(one["name"]): int(one["size"]) for one in entries if one["type"] == "file"}
    return {str(fs.unstrip_protocol(name)).removeprefix("file://"): sizes[name] for name in sorted(sizes)}


def is_s3(fs: Any) -> bool:
    """Whether a file system is S3, or speaks its language."""
    return "s3" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def is_local(fs: Any) -> bool:
    """Whether a file system is this machine's."""
    return isinstance(fs, fsspec.implementations.local.LocalFileSystem)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """What a client library raises inside, told as ours: access refused afar, and servers that do not answer.

    Raises:
        ConfigError: there are no credentials, or they do not suffice.
        ShardError: the server was not reached, however often it was asked.
    """
    try:
        yield
    except PermissionError as error:
        if "://" not in url:
            raise
        raise ConfigError(
            f"{url}: access refused ({error}); check the credentials in the environment, and that they may list, read, "
            "write and delete there"
        ) from error
    except _library_errors() as error:
        told = f"{url}: {error}"
        if "redentials" in type(error).__name__ or "Profile" in type(error).__name__:
            raise ConfigError(f"{told}; give credentials by the environment, such as AWS_PROFILE") from error
        raise ShardError(
            f"{told}; the server was asked again and again: see whether it is up, then run again"
        ) from error


def _library_errors() -> tuple[type[Exception], ...]:
    """What botocore and what is below it raise that is no ``OSError``; nothing where they were never imported."""
    botocore, aiohttp = sys.modules.get("botocore.exceptions"), sys.modules.get("aiohttp")
    return (botocore.BotoCoreError, botocore.HTTPClientError, aiohttp.ClientError) if botocore and aiohttp else ()


def _extra(url: str) -> str:
    return "; pip install 'tamis[s3]'" if url.startswith(_S3_PROTOCOLS) else ""
