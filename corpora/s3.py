"""What S3 offers beyond other file systems: conditional writes, uploads in parts, and clearing those that were given up.

A conditional PUT is refused by the server unless its condition holds, in one step. An answer that is lost on the way makes
the client ask again and be refused by its own success, so every such PUT leaves a token in the object's metadata, by which
it knows its own.

Price: one request more for a refused PUT; an upload holds ``MAX_PARTS_AT_ONCE`` parts in memory.
"""

from __future__ import annotations

import errno
import mimetypes
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .errors import ShardError

PART_BYTES = 16 << 20
MAX_PARTS = 9_000
"""S3 takes 10,000."""

MAX_PARTS_AT_ONCE = 4
GIVEN_UP_AFTER = timedelta(days=1)
"""From this age on an upload that is neither complete nor aborted is taken for one whose process was killed."""

_WRITER = "tamis-writer"
_CONFLICT_PAUSES_SECONDS = (0.1, 0.3, 1.0, 3.0)


def check_bucket(fs: Any, path: str) -> None:
    """Make sure that the bucket of ``path`` is there.

    Raises:
        FileNotFoundError: it is not.
    """
    bucket = fs.split_path(path)[0]
    try:
        fs.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, f"there is no bucket {bucket!r}") from error


def upload(fs: Any, spool: Path, path: str) -> None:
    """Make a local file the object ``path``: one PUT, or parts that are put together at the end, else aborted."""
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    part = max(PART_BYTES, -(-spool.stat().st_size // MAX_PARTS))
    fs.put_file(str(spool), path, chunksize=part, max_concurrency=MAX_PARTS_AT_ONCE, ContentType=kind)


def put_if_absent(fs: Any, path: str, data: bytes) -> bool:
    """Create an object unless it exists; whether it was created."""
    return _put_if(fs, path, data, IfNoneMatch="*")


def replace_if(fs: Any, path: str, expected: bytes, data: bytes) -> bool:
    """Replace an object whose bytes are ``expected``; whether it was replaced."""
    try:
        tag = fs.info(path)["ETag"]  # first: should the bytes change from here on, the tag is no longer theirs
        if bytes(fs.cat_file(path)) != expected:
            return False
    except FileNotFoundError:
        return False
    return _put_if(fs, path, data, IfMatch=tag)


def _put_if(fs: Any, path: str, data: bytes, **condition: str) -> bool:
    bucket, key, _ = fs.split_path(path)
    token = secrets.token_hex(16)
    for pause in (*_CONFLICT_PAUSES_SECONDS, None):
        try:
            fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, Metadata={_WRITER: token}, **condition)
        except OSError as error:
            status = _status(error)
            if status in {404, 412}:  # 404: what was to be replaced is gone
                return _written_by(fs, bucket, key) == token
            if status != 409:  # another writer is in the middle of it
                raise
        else:
            return True
        if pause is not None:
            time.sleep(pause)
    raise ShardError(f"{path}: other writers were in the way time and again; run again")


def _status(error: OSError) -> int | None:
    told: dict[str, Any] = getattr(error.__cause__, "response", {})
    status: int | None = told.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def _written_by(fs: Any, bucket: str, key: str) -> str | None:
    """The token that the writer of an object left."""
    try:
        token: str | None = fs.call_s3("head_object", Bucket=bucket, Key=key)["Metadata"].get(_WRITER)
    except FileNotFoundError:
        return None
    return token


def exists(fs: Any, path: str) -> bool:
    """Whether there is an object of this name: one request, where s3fs would list what may be a folder."""
    bucket, key, _ = fs.split_path(path)
    try:
        fs.call_s3("head_object", Bucket=bucket, Key=key)
    except FileNotFoundError:
        return False
    return True


def remove_tree(fs: Any, path: str) -> None:
    """Remove every object below a folder.

    Raises:
        OSError: the server kept some.
    """
    for _ in range(2):  # a bulk delete that met an error of one key goes on with the others, and says nothing
        names = fs.find(path)
        if not names:
            return
        fs.rm(names)
    if left := fs.find(path):
        raise OSError(f"{len(left)} objects below {path} could not be removed, such as {left[0]}")


def abort_given_up_uploads(fs: Any, path: str) -> None:
    """Abort the uploads below ``path`` that a killed process left long ago: they are invisible, and are paid for."""
    bucket, key, _ = fs.split_path(path)
    found = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{key}/" if key else "")
    for begun in found.get("Uploads", ()):
        if datetime.now(UTC) - begun["Initiated"] > GIVEN_UP_AFTER:
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=begun["Key"], UploadId=begun["UploadId"])
