"""The commit protocol: a file is there complete or not at all, whoever is killed and whoever else writes."""

from __future__ import annotations

import errno
import os
import pickle
import platform
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import fsspec
import pytest

from tamis.corpora import write_behind
from tamis.corpora.errors import ConfigError, ShardError
from tamis.corpora.store import SPOOL, RangeReader, Store, WriteBehind


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store of each kind; object stores spool under ``tmp_path / "spools"``."""
    (tmp_path / "spools").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spools"))
    roots = {"local": str(tmp_path / "data"), "memory": f"memory://{tmp_path.name}"}
    yield Store(request.getfixturevalue("s3").url("data") if request.param == "s3" else roots[request.param])
    fsspec.filesystem("memory").store.clear()


def leftovers(store: Store, tmp_path: Path) -> list[str]:
    spool = store.local / SPOOL if store.local else tmp_path / "spools"
    return sorted(path.name for path in spool.iterdir()) if spool.is_dir() else []


def write_half(file: IO[bytes], error: BaseException) -> None:
    file.write(b"half of what was to be written")
    raise error


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def dead_pid() -> int:
    """The id of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_committed_file_is_read_back(store: Store, tmp_path: Path) -> None:
    with store.commit("a/b/c.bin") as file:
        file.write(b"one ")
        file.write(b"two")
        assert not store.exists("a/b/c.bin")
    assert store.read("a/b/c.bin") == b"one two"
    assert store.names("a/b") == ["c.bin"]
    assert store.folders("a") == ["b"]
    assert leftovers(store, tmp_path) == []
    with store.open("a/b/c.bin") as reader:
        reader.seek(4)
        assert reader.read() == b"two"


def test_an_exception_inside_commit_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), store.commit("a.bin") as file:
        write_half(file, RuntimeError("stop"))
    assert store.names("") == []
    assert leftovers(store, tmp_path) == []


def test_an_exception_keeps_the_file_that_was_there(store: Store) -> None:
    store.put_atomic("a.bin", b"old")
    with pytest.raises(KeyboardInterrupt), store.commit("a.bin") as file:
        write_half(file, KeyboardInterrupt("stop"))
    assert store.read("a.bin") == b"old"


def test_a_commit_replaces_what_was_there_at_its_end(store: Store) -> None:
    store.put_atomic("a.bin", b"old and long")
    with store.commit("a.bin") as file:
        file.write(b"new")
        assert store.read("a.bin") == b"old and long"
    assert store.read("a.bin") == b"new"


def test_a_name_may_depend_on_what_was_written(store: Store) -> None:
    with store.commit(lambda: f"{size}.bin") as file:
        size = file.write(b"12345")
    assert store.names("") == ["5.bin"]


def test_a_name_that_cannot_be_told_publishes_nothing(store: Store, tmp_path: Path) -> None:
    def name() -> str:
        raise ValueError("no name")

    with pytest.raises(ValueError, match="no name"), store.commit(name) as file:
        file.write(b"x")
    assert (store.names(""), leftovers(store, tmp_path)) == ([], [])


def test_a_failed_upload_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://upload")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "the network went away")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(type(store.fs), "put_file", refuse)
    with pytest.raises(OSError, match="went away"):
        store.put_atomic("a.bin", b"x")
    assert (store.names(""), list(tmp_path.iterdir())) == ([], [])


KILLED_IN_COMMIT = """
import sys, time
from tamis.corpora.store import Store
with Store(sys.argv[1]).commit("shards/00000.tar") as file:
    file.write(b"half a shard")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_process_killed_inside_commit_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    command = [sys.executable, "-c", KILLED_IN_COMMIT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        store.sweep()
        swept = not leftovers(store, tmp_path)
        child.send_signal(signal.SIGKILL)
    assert not swept, "the spool of a living process"
    assert not store.exists("shards/00000.tar")
    assert len(leftovers(store, tmp_path)) == 1
    store.sweep()
    assert not (tmp_path / SPOOL).exists()


def test_a_sweep_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    here, dead = platform.node(), dead_pid()
    kept = {f"{here}-{os.getpid()}-00ff", f"elsewhere-{dead}-00ff", ".DS_Store", "notes-by-me", f"{here}-{dead}-"}
    (tmp_path / SPOOL).mkdir()
    for name in (*kept, f"{here}-{dead}-00ff"):
        (tmp_path / SPOOL / name).touch()
    store.sweep()
    assert set(leftovers(store, tmp_path)) == kept


def test_a_scratch_folder_is_there_for_a_while_and_swept_when_its_process_was_killed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with store.scratch() as folder:
        (Path(folder) / "rows").write_bytes(b"rows")
        store.sweep()
        assert (Path(folder) / "rows").read_bytes() == b"rows"
        assert store.names("") == []
        left = Path(folder).rename(tmp_path / SPOOL / f"{platform.node()}-{dead_pid()}-00ff")
    assert leftovers(store, tmp_path) == [left.name]
    store.sweep()
    assert not (tmp_path / SPOOL).exists()


def test_a_scratch_folder_of_a_far_store_is_on_this_machine() -> None:
    with Store("memory://scratch").scratch() as folder:
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_sweeping_where_nothing_was_written_is_fine(store: Store) -> None:
    store.sweep()
    assert store.names("") == []


def test_writers_are_not_disturbed_by_sweeps(tmp_path: Path) -> None:
    """A sweep removes the empty spool folder; once a writer between mkdir and open lost it under its feet."""
    store = Store(str(tmp_path))
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            store.sweep()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(50):
            store.put_atomic(f"{number}.bin", b"x")
    finally:
        stop.set()
        sweeper.join()
    assert len(store.names("")) == 50


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_of_racing_writers_exactly_one_claims_a_name(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    root = str(tmp_path) if kind == "local" else request.getfixturevalue("s3").url("race")
    ready = threading.Barrier(6)

    def claim(number: int) -> bool:
        store = Store(root)
        ready.wait()
        return store.put_if_absent("claim.json", str(number).encode() * 1000)

    with ThreadPoolExecutor(6) as racers:
        claims = list(racers.map(claim, range(6)))
    assert Store(root).read("claim.json") == str(claims.index(True)).encode() * 1000
    assert claims.count(True) == 1
    assert kind == "s3" or list((tmp_path / SPOOL).iterdir()) == []


def test_a_file_is_replaced_only_where_it_holds_what_was_expected(store: Store, tmp_path: Path) -> None:
    store.put_atomic("a/claim", b"first")
    if not store.conditional:
        with pytest.raises(ConfigError, match="only this machine's folders and S3"):
            store.replace_if("a/claim", b"first", b"second")
        return
    assert not store.replace_if("a/claim", b"other", b"second")
    assert not store.replace_if("a/none", b"", b"second")
    assert store.read("a/claim") == b"first"
    assert store.replace_if("a/claim", b"first", b"second")
    assert store.read("a/claim") == b"second"
    assert not store.replace_if("a/claim", b"first", b"third")
    assert (store.names("a"), leftovers(store, tmp_path)) == (["claim"], [])


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_of_racing_replacers_each_step_has_exactly_one(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = str(tmp_path) if kind == "local" else request.getfixturevalue("s3").url("race")
    Store(root).put_atomic("count", b"0")

    def add(rounds: int) -> None:
        store = Store(root)
        for _ in range(rounds):
            while True:
                now = store.read("count")
                if store.replace_if("count", now, str(int(now) + 1).encode()):
                    break

    with ThreadPoolExecutor(4) as racers:
        list(racers.map(add, [5] * 4))
    assert Store(root).read("count") == b"20"


def test_put_if_absent_writes_once(store: Store, tmp_path: Path) -> None:
    assert store.put_if_absent("a/claim", b"first")
    assert not store.put_if_absent("a/claim", b"second")
    assert store.read("a/claim") == b"first"
    assert store.names("a") == ["claim"]
    assert leftovers(store, tmp_path) == []


def test_a_server_that_says_it_exists_in_other_words_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://words")
    store.put_atomic("claim", b"first")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EINVAL, "PreconditionFailed")

    monkeypatch.setattr(type(store.fs), "pipe_file", refuse)
    assert not store.put_if_absent("claim", b"second")
    with pytest.raises(OSError, match="PreconditionFailed"):
        store.put_if_absent("other", b"x")


def test_files_have_the_rights_that_the_user_gives(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    before = os.umask(0o022)
    try:
        store.put_atomic("one", b"")
        store.put_if_absent("two", b"")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("one", "two")] == [0o644, 0o644]


def test_spools_of_an_object_store_cannot_be_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = Store("memory://guess")
    with store.commit("a"), store.commit("b"):
        one, other = tmp_path.iterdir()
        assert one.name != other.name
        assert stat.S_IMODE(one.stat().st_mode) == 0o600


def test_json_is_sorted_readable_and_survives_any_text(store: Store) -> None:
    store.put_json("a.json", {"b": 1, "a": "图 \ud800"})
    assert store.read("a.json") == '{\n "a": "图 \\ud800",\n "b": 1\n}\n'.encode()
    assert store.read_json("a.json") == {"a": "图 \ud800", "b": 1}


def test_log_lines_are_appended_and_survive_any_text(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for line in ("one", "zwei 图 \udcff"):
        store.append_line("logs/x.jsonl", line)
    assert (tmp_path / "logs/x.jsonl").read_text("utf-8") == "one\nzwei 图 \\udcff\n"


def test_listings_name_files_and_folders_apart(store: Store) -> None:
    for path in ("b.txt", "a.txt", "sub/c.txt", "sub/deep/d.txt"):
        store.put_atomic(path, b"")
    assert [name for name in store.names("") if name != SPOOL] == ["a.txt", "b.txt"]
    assert [name for name in store.folders("") if name != SPOOL] == ["sub"]
    assert (store.names("none"), store.folders("none")) == ([], [])


def test_removing_is_idempotent(store: Store) -> None:
    store.put_atomic("a/b.txt", b"")
    store.put_atomic("a/c/d.txt", b"")
    store.remove("a/b.txt")
    store.remove("a/b.txt")
    assert (store.names("a"), store.folders("a")) == ([], ["c"])
    store.remove_tree("a")
    store.remove_tree("a")
    assert not store.exists("a/c/d.txt")


def test_a_store_travels_by_its_root(store: Store) -> None:
    store.put_atomic("a.txt", b"x")
    assert pickle.loads(pickle.dumps(store)).read("a.txt") == b"x"  # noqa: S301 - our own


def test_any_process_can_open_the_url_of_a_file(store: Store) -> None:
    store.put_atomic("a/b.tar", b"0123456789")
    with RangeReader(store.url("a/b.tar")) as reader:
        assert reader.read(3, 4) == b"3456"
        assert reader.read(0, 10) == b"0123456789"


def test_a_range_beyond_the_file_is_an_error_of_the_shard(store: Store) -> None:
    store.put_atomic("b.tar", b"0123456789")
    with RangeReader(store.url("b.tar")) as reader:
        for offset, size in ((8, 3), (10, 1), (99, 4)):
            with pytest.raises(ShardError, match=rf"of {size} bytes at offset {offset}; the file is shorter"):
                reader.read(offset, size)


def test_a_range_reader_gives_its_file_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    before = open_files()
    for _ in range(5):
        with RangeReader(str(tmp_path / "a")) as reader:
            reader.read(0, 1)
        reader.close()
    assert open_files() <= before


def test_opening_a_folder_as_root_creates_it(tmp_path: Path) -> None:
    Store(str(tmp_path / "new" / "corpus")).check_writable()
    assert list((tmp_path / "new" / "corpus").iterdir()) == []


def test_a_root_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=rf"cannot write to '{root}': .+; choose a folder"):
            Store(str(root)).check_writable()


@pytest.mark.parametrize("root", ["nosuch://bucket/x", "s4://x"])
def test_an_unknown_protocol_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match=rf"cannot open '{root}'"):
        Store(root)


def test_writing_behind_gives_the_same_file_and_tells_of_a_failing_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_behind, "WRITE_BEHIND_BYTES", 10)
    with (tmp_path / "file").open("wb") as file, WriteBehind(file) as behind:
        for number in range(50):
            behind.write(bytes([number]) * 7)
    assert (tmp_path / "file").read_bytes() == b"".join(bytes([number]) * 7 for number in range(50))

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(os, "fdatasync", fails)
    with (
        pytest.raises(OSError, match="the disk fails"),
        (tmp_path / "other").open("wb") as file,
        WriteBehind(file) as behind,
    ):
        behind.write(bytes(20))
