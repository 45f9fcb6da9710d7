"""What the store promises on S3 alone: no dangling uploads, conditions that lost answers do not confuse, no surprises."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from tamis.corpora import filesystems, ranges
from tamis.corpora import s3 as s3_module
from tamis.corpora.errors import ConfigError
from tamis.corpora.ranges import RangeReader
from tamis.corpora.store import Store

from ..s3_server import S3

MIB = 1 << 20


@pytest.fixture
def store(s3: S3) -> Store:
    return Store(s3.url("corpus"))


class Calls:
    """Stands between s3fs and its client: counts the requests, and may change what becomes of one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self._ask = S3FileSystem._call_s3

        async def call(fs: S3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
            return await self.answer(fs, method, *args, **kwargs)

        monkeypatch.setattr(S3FileSystem, "_call_s3", call)
        monkeypatch.setattr(S3FileSystem, "call_s3", sync_wrapper(call))

    async def answer(self, fs: S3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
        self.made.append(method)
        return await self._ask(fs, method, *args, **kwargs)


class SecondPartFails(Calls):
    async def answer(self, fs: S3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("PartNumber") == 2:
            raise OSError("the network went away")
        return await super().answer(fs, method, *args, **kwargs)


class AnswersAreLost(Calls):
    """Each PUT is sent again, as a client does that never saw the answer to the first."""

    async def answer(self, fs: S3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "put_object":
            await super().answer(fs, method, *args, **kwargs)
        return await super().answer(fs, method, *args, **kwargs)


def test_small_files_are_one_put_and_say_what_they_are(s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    store.put_atomic("reports/a b.html", b"<p>")
    assert calls.made == ["put_object"]
    assert s3.files("corpus") == {"reports/a b.html": b"<p>"}
    assert store.fs.info(store.full("reports/a b.html"))["ContentType"] == "text/html"


def test_large_files_go_up_in_parts(s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "PART_BYTES", 5 * MIB)
    calls = Calls(monkeypatch)
    data = os.urandom(11 * MIB)
    store.put_atomic("a.tar", data)
    assert calls.made == ["create_multipart_upload", *["upload_part"] * 3, "complete_multipart_upload"]
    assert s3.files("corpus") == {"a.tar": data}
    assert s3.dangling_uploads() == []


def test_an_upload_that_fails_half_way_is_aborted(s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "PART_BYTES", 5 * MIB)
    calls = SecondPartFails(monkeypatch)
    with pytest.raises(OSError, match="went away"):
        store.put_atomic("a.tar", bytes(11 * MIB))
    assert "upload_part" in calls.made
    assert (s3.files(), s3.dangling_uploads()) == ({}, [])


def test_uploads_of_processes_killed_long_ago_are_aborted(
    s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("corpus/shards/a.tar", "corpus-of-others/a.tar"):
        s3.ask("POST", f"{path}?uploads")
    with monkeypatch.context() as patient:
        patient.setattr(s3_module, "GIVEN_UP_AFTER", timedelta(days=100_000))  # the server says 2010 of all
        store.sweep()
        assert len(s3.dangling_uploads()) == 2
    store.sweep()
    assert s3.dangling_uploads() == ["corpus-of-others/a.tar"]


def test_a_condition_is_not_confused_by_a_lost_answer(s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    AnswersAreLost(monkeypatch)
    assert store.put_if_absent("claim", b"mine")
    assert not store.put_if_absent("claim", b"mine")  # the same bytes by another writer
    assert store.replace_if("claim", b"mine", b"still mine")
    assert not store.replace_if("claim", b"mine", b"still mine")
    assert s3.files("corpus") == {"claim": b"still mine"}


def test_an_object_replaced_between_look_and_put_is_left_alone(
    s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_atomic("claim", b"mine")

    class Overtaken(Calls):
        async def answer(self, fs: S3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
            if method == "put_object":
                s3.put("corpus/claim", b"theirs")
            return await super().answer(fs, method, *args, **kwargs)

    Overtaken(monkeypatch)
    assert not store.replace_if("claim", b"mine", b"still mine")
    assert s3.files("corpus") == {"claim": b"theirs"}


def test_listings_see_at_once_what_others_do(s3: S3, store: Store) -> None:
    assert (store.names("shards"), store.exists("shards/a")) == ([], False)
    s3.put("corpus/shards/a", b"")
    assert (store.names("shards"), store.folders(""), store.exists("shards/a")) == (["a"], ["shards"], True)
    s3.ask("DELETE", "corpus/shards/a")
    assert (store.names("shards"), store.exists("shards/a")) == ([], False)


def test_an_object_that_stands_for_a_folder_is_no_file(s3: S3, store: Store) -> None:
    for path in ("corpus/", "corpus/shards/", "corpus/shards/a"):
        s3.put(path, b"")
    assert (store.names("shards"), store.names(""), store.folders("")) == (["a"], [], ["shards"])


def test_listings_and_removals_go_on_page_by_page(s3: S3, store: Store) -> None:
    names = [f"{number:05d}" for number in range(203)]
    for name in names:
        s3.put(f"corpus/many/{name}", b"")
    s3.put("corpus/many-others/a", b"")
    assert store.names("many") == names
    store.remove_tree("many")
    assert list(s3.files("corpus")) == ["many-others/a"]


def test_a_tree_that_the_server_keeps_is_told(s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("corpus/many/a", b"")
    monkeypatch.setattr(store.fs, "rm", lambda names: None)
    with pytest.raises(OSError, match=r"1 objects below .*many could not be removed, such as .*many/a"):
        store.remove_tree("many")


def test_a_bucket_must_be_there_and_is_not_made(s3: S3) -> None:
    for _ in range(2):
        with pytest.raises(
            ConfigError, match="no-such-bucket-here/x': there is no bucket 'no-such-bucket-here'; choose"
        ):
            Store("s3://no-such-bucket-here/x").check_writable()


def test_asking_for_a_bucket_leaves_nothing(s3: S3, store: Store) -> None:
    store.check_writable()
    assert s3.files() == {}


WITHOUT_CREDENTIALS = """
import sys
from tamis.corpora.errors import ConfigError
from tamis.corpora.store import Store
for step in (lambda s: s.check_writable(), lambda s: s.exists("corpus.json"), lambda s: s.read("x")):
    try:
        step(Store(sys.argv[1]))
    except ConfigError as error:
        print("ConfigError", error)
"""


def test_missing_credentials_are_told_whatever_is_done_first(s3: S3) -> None:
    environ = {name: value for name, value in os.environ.items() if "ACCESS_KEY" not in name}
    command = [sys.executable, "-c", WITHOUT_CREDENTIALS, s3.url("corpus")]
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == 3
    assert all("Unable to locate credentials; give credentials by the environment" in line for line in told)


def test_a_url_with_a_secret_is_refused_without_saying_it() -> None:
    with pytest.raises(ConfigError, match="holds a password") as caught:
        Store("s3://AKIAEXAMPLE:verysecret@bucket/x")
    assert "verysecret" not in str(caught.value)


def test_patience_with_the_server_is_ours_unless_the_user_says_otherwise(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = filesystems.S3_CONFIG
    assert Store(s3.url("a")).fs.config_kwargs == asked
    assert asked["retries"]["total_max_attempts"] > 1
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 7}})
    assert Store(s3.url("b")).fs.config_kwargs == {**asked, "read_timeout": 7}


def test_ranges_read_in_order_take_few_requests(s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(100_000)
    s3.put("corpus/a.tar", data)
    calls = Calls(monkeypatch)
    with RangeReader(store.url("a.tar"), ahead=30_000) as reader:
        assert all(reader.read(start, 700) == data[start : start + 700] for start in range(0, 99_000, 1000))
        assert reader.read(5_000, 50_000) == data[5_000:55_000]
    assert calls.made == ["head_object", *["get_object"] * 5]


@pytest.mark.parametrize("size", [0, 9_999, 30_000])
def test_a_small_file_is_one_request_and_a_footer_two(
    size: int, s3: S3, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "TAIL_BYTES", 10_000)
    data = os.urandom(size)
    s3.put("corpus/a", data)
    calls = Calls(monkeypatch)
    with store.open("a") as file:
        file.seek(0, 2)
        assert file.tell() == size
        file.seek(max(0, size - 100))
        assert file.read(100) == data[-100:]
        assert calls.made == ["get_object", "head_object"][: 1 + (size > 10_000)]
        file.seek(0)
        assert file.read() == data


def test_what_is_not_there_is_one_request(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    with pytest.raises(FileNotFoundError):
        store.open("none")
    assert not store.exists("none")
    assert calls.made == ["get_object", "head_object"]


def test_readers_and_stores_travel_to_other_processes(s3: S3, store: Store) -> None:
    store.put_atomic("a.txt", b"x")
    assert store.url("a.txt") == s3.url("corpus/a.txt")
    assert b"secret" not in pickle.dumps(store)
    program = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).read('a.txt'))"
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, input=pickle.dumps(store), capture_output=True, check=True).stdout == b"b'x'\n"


FORKING = """
import os, sys
from tamis.corpora.store import Store
store = Store(sys.argv[1])
store.append_line("logs/x.jsonl", "parent's")
assert store.read("a.txt") == b"x"
child = os.fork()
if not child:
    store.append_line("logs/x.jsonl", "child's")
    store.put_atomic("b.txt", store.read("a.txt") + b"y")
    store.flush_lines()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
store.flush_lines()
store.put_atomic("c.txt", store.read("b.txt") + b"z")
"""


def test_a_store_lives_on_in_a_forked_process(s3: S3, store: Store) -> None:
    s3.put("corpus/a.txt", b"x")
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING, store.root], check=True, timeout=60)
    found = s3.files("corpus")
    logs = [found.pop(name) for name in list(found) if name.startswith("logs/")]
    assert found == {"a.txt": b"x", "b.txt": b"xy", "c.txt": b"xyz"}
    assert logs == [b"parent's\n"]


def test_spools_do_not_stay(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with store.commit("a.tar") as file:
        file.write(b"x")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
