"""Tars: what we write every reader reads, what others write we read, and a header that lies is a DataError."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tamis.corpora.errors import DataError
from tamis.corpora.tars import BLOCK, END, Member, TarWriter, header, padded, walk

Files = list[tuple[str, bytes]]

uid_names = st.from_regex(r"[0-9a-f]{32}\.[a-z]{1,5}", fullmatch=True)
bodies = st.binary(max_size=1500)


def ours(files: Files) -> bytes:
    sink = io.BytesIO()
    tar = TarWriter(sink)
    for name, data in files:
        tar.add(name, data)
    tar.close()
    return sink.getvalue()


def theirs(files: Files, tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tar_format) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def walked(data: bytes) -> Files:
    return [(member.name, data[member.offset : member.offset + member.size]) for member in walk(io.BytesIO(data))]


def fault(data: bytes) -> tuple[list[str], str]:
    """The members before the fault, and its reason."""
    found: list[str] = []
    with pytest.raises(DataError) as raised:
        found.extend(member.name for member in walk(io.BytesIO(data)))
    return found, raised.value.reason


def resealed(block: bytes) -> bytes:
    """A header with its checksum made right."""
    summed = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return block[:148] + b"%06o\0 " % summed + block[156:]


def with_field(block: bytes, start: int, value: bytes) -> bytes:
    return resealed(block[:start] + value + block[start + len(value) :])


@given(st.lists(st.tuples(uid_names, bodies), max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_we_write_both_readers_read(files: Files) -> None:
    data = ours(files)
    assert walked(data) == files
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(m.name, tar.extractfile(m).read()) for m in tar] == files  # type: ignore[union-attr]


def test_the_tar_command_reads_ours(tmp_path: Path) -> None:
    files = [("a" * 32 + ".jpg", b"\xff\xd8" + bytes(1000)), ("a" * 32 + ".txt", "一只猫".encode()), ("b.json", b"")]
    (tmp_path / "ours.tar").write_bytes(ours(files))
    subprocess.run(["tar", "-xf", "ours.tar"], cwd=tmp_path, check=True, capture_output=True)
    assert [(name, (tmp_path / name).read_bytes()) for name, _ in files] == files


def test_the_bytes_of_a_tar_are_fixed() -> None:
    """A header that changes changes every digest of every corpus: this value is for ever."""
    data = ours([("0123.jpg", b"image"), ("0123.txt", b"text")])
    assert len(data) == 4 * BLOCK + len(END)
    assert hashlib.sha256(data).hexdigest() == "9a8fbea563e0b47d7d59843dfce2f4e5ba1a26ce2dda4fed49e415e3eff2de17"


def test_the_writer_says_where_each_member_lies_and_hashes_the_whole() -> None:
    sink = io.BytesIO()
    tar = TarWriter(sink)
    members = [tar.add("a.jpg", b"x" * 513), tar.add("a.txt", b"")]
    digest = tar.close()
    data = sink.getvalue()
    assert members == [Member("a.jpg", 0, 512, 513), Member("a.txt", 1536, 2048, 0)] == list(walk(io.BytesIO(data)))
    assert [member.end for member in members] == [1536, 2048]
    assert (tar.size, digest) == (len(data), blake3(data).hexdigest())


def test_samples_copied_by_range_make_the_same_tar() -> None:
    files = [(f"{n}.{ending}", bytes([n]) * 700) for n in range(3) for ending in ("jpg", "txt")]
    source = ours(files)
    sink = io.BytesIO()
    copy = TarWriter(sink)
    for start in range(0, 6 * 1536, 2 * 1536):
        copy.append(source[start : start + 2 * 1536])
    assert copy.close() == blake3(source).hexdigest()
    assert sink.getvalue() == source


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 512), (511, 512), (512, 512), (513, 1024)])
def test_sizes_are_padded_to_blocks(size: int, expected: int) -> None:
    assert padded(size) == expected


def test_what_a_ustar_header_cannot_say_is_refused() -> None:
    assert len(header("x" * 100, 8**11 - 1)) == BLOCK
    with pytest.raises(DataError, match="101 bytes") as raised:
        header("x" * 101, 0)
    assert raised.value.reason == "name_too_long"
    with pytest.raises(DataError, match="ustar member has less than") as raised:
        header("x", 8**11)
    assert raised.value.reason == "too_large"


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda name: not name.endswith("/")
)


@given(st.lists(st.tuples(names, bodies), max_size=4), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
@example([("folder/" * 40 + "图.jpg", b"x")], tarfile.GNU_FORMAT)
@example([("é" * 200 + "=\n.jpg", b"x"), ("b", b"")], tarfile.PAX_FORMAT)
@settings(max_examples=100, deadline=None)
def test_any_names_and_bodies_of_pythons_tarfile_come_back(files: Files, tar_format: int) -> None:
    assert walked(theirs(files, tar_format)) == files


def test_long_ustar_names_are_joined_from_their_prefix() -> None:
    files = [("a" * 90 + "/" + "b" * 90 + ".jpg", b"x")]
    assert walked(theirs(files, tarfile.USTAR_FORMAT)) == files


@pytest.mark.parametrize("style", ["gnu", "oldgnu", "pax", "ustar", "v7"])
def test_the_tar_commands_archives_are_read(style: str, tmp_path: Path) -> None:
    deep = "d" * 80 if style == "v7" else "d" * 90 + "/" + "e" * 90
    (tmp_path / deep).mkdir(parents=True)
    (tmp_path / deep / "1.jpg").write_bytes(b"picture")
    (tmp_path / "2.jpg").symlink_to(tmp_path / "3.jpg")
    (tmp_path / "3.jpg").write_bytes(b"real")
    (tmp_path / "4.jpg").hardlink_to(tmp_path / "3.jpg")
    command = ["tar", f"--format={style}", "-cf", "a.tar", deep, "2.jpg", "3.jpg", "4.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert walked((tmp_path / "a.tar").read_bytes()) == [(f"{deep}/1.jpg", b"picture"), ("3.jpg", b"real")]


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_the_long_name_of_a_folder_or_link_is_not_the_next_files(kind: bytes, tar_format: int) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tar_format) as tar:
        other = tarfile.TarInfo("long/" * 50)
        other.type, other.linkname = kind, "target/" * 50
        tar.addfile(other)
        tar.addfile(tarfile.TarInfo("1.jpg"))
    assert walked(sink.getvalue()) == [("1.jpg", b"")]


def test_a_size_in_a_links_header_means_no_data() -> None:
    link = with_field(with_field(header("l", 0), 156, b"1"), 124, b"00000010000\0")
    assert walked(link + ours([("1.jpg", b"x")])) == [("1.jpg", b"x")]


def test_a_pax_record_about_something_else_keeps_a_gnu_name() -> None:
    name = b"n" * 150
    records = b"20 mtime=1700000000\n"
    long_name = with_field(header("././@LongLink", len(name)), 156, b"L") + name.ljust(512, b"\0")
    pax = with_field(header("pax", len(records)), 156, b"x") + records.ljust(512, b"\0")
    assert walked(long_name + pax + ours([("short", b"x")])) == [(name.decode(), b"x")]


def test_a_pax_size_counts_for_the_member_alone() -> None:
    records = b"10 size=3\n"
    pax = with_field(header("pax", len(records)), 156, b"x") + records.ljust(512, b"\0")
    first = header("1.jpg", 0) + b"abc".ljust(512, b"\0")
    assert walked(pax + first + ours([("2.jpg", b"x")])) == [("1.jpg", b"abc"), ("2.jpg", b"x")]


def test_base_256_sizes_are_read() -> None:
    block = with_field(header("1.jpg", 0), 124, b"\x80" + (3).to_bytes(11, "big"))
    assert walked(block + b"abc".ljust(512, b"\0") + END) == [("1.jpg", b"abc")]


def test_names_that_are_not_utf8_stay_different() -> None:
    one, other = (with_field(header("x", 0), 0, name) for name in (b"\xb1\xb11.jpg", b"\xb1\xb21.jpg"))
    found = [name for name, _ in walked(one + other + END)]
    assert len(set(found)) == 2
    assert all(name.isascii() and name.endswith("1.jpg") for name in found)


THREE = [("1.jpg", b"a" * 600), ("1.txt", b"b" * 512), ("1.json", b"c")]
WHOLE = ours(THREE)
ENDS = [0, 1536, 2560, 3584]
"""Where the members of ``WHOLE`` begin, and where the last one ends."""


@pytest.mark.parametrize("at", [*range(0, len(WHOLE) - len(END) + 1, 128), 1, 511, 513, 1535, 1537, 2559, 2561, 3073])
def test_a_cut_is_found_wherever_it_is(at: int) -> None:
    found, reason = fault(WHOLE[:at])
    assert reason == "truncated_tar"
    assert found == [name for (name, data), start in zip(THREE, ENDS, strict=False) if start + 512 + len(data) <= at]


def test_one_zero_block_ends_an_archive() -> None:
    assert walked(WHOLE[:-BLOCK]) == THREE
    assert walked(WHOLE + b"anything at all") == THREE


@pytest.mark.parametrize(
    "size",
    [
        b"-0000001000\0",
        b"+0000001000\0",
        b"0000001_000\0",
        b"0o000001000\0",
        b"00000001009\0",
        b"\xff" * 12,
        b" " * 5 + b"x" * 7,
    ],
)
def test_sizes_that_are_no_sizes_are_broken(size: bytes) -> None:
    """A negative size once sent the walk back to where it was, for ever."""
    assert fault(with_field(header("1.jpg", 0), 124, size) + WHOLE) == ([], "broken_tar")


@pytest.mark.parametrize("size", [b"77777777777\0", b"777777777777", b"\x80" + b"\xff" * 11, b"\xbf" * 12])
def test_sizes_beyond_the_end_are_cuts(size: bytes) -> None:
    assert fault(with_field(header("1.jpg", 0), 124, size) + WHOLE) == ([], "truncated_tar")


def pax_header(records: bytes) -> bytes:
    block = with_field(header("pax", len(records)), 156, b"x")
    return block + records.ljust(padded(len(records)), b"\0") + WHOLE


@pytest.mark.parametrize(
    "records",
    [
        b"no record",
        b"0 path=x\n",
        b"99 path=x\n",
        b"-5 path=x\n",
        b"6 path=x\n",
        b"1" * 6000 + b" path=x\n",
        b"12 path=1.jpg",
        b"11 size=-1\n\n",
        b"12 size=1_0\n",
        b"10 size=x\n",
        b"7 size=\n",
        b"9999 size=" + b"9" * 9988 + b"\n",
    ],
)
def test_pax_records_that_lie_are_broken(records: bytes) -> None:
    assert fault(pax_header(records)) == ([], "broken_tar")


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_an_endless_name_is_not_read(kind: bytes) -> None:
    size = 1 << 30

    class Endless(io.BytesIO):
        """A gigabyte that refuses to be read in one piece."""

        def seek(self, offset: int, whence: int = 0) -> int:
            return super().seek(offset, whence) if whence == 0 else size + 4 * BLOCK

        def read(self, length: int | None = -1) -> bytes:
            assert length == BLOCK
            return super().read(length)

    data = with_field(with_field(header("x", 0), 124, b"%011o\0" % size), 156, kind)
    with pytest.raises(DataError, match="an extended header of 1073741824 bytes"):
        list(walk(Endless(data)))


def test_a_wrong_checksum_is_broken() -> None:
    assert fault(ours([("1.jpg", b"")])[: -len(END)] + b"x" + WHOLE[1:]) == (["1.jpg"], "broken_tar")


@pytest.mark.parametrize(
    "data", [b"", b"x" * 100, b"x" * 5000, gzip.compress(WHOLE).ljust(1024, b"x"), b"\xff\xd8" * 999]
)
def test_what_is_no_tar_is_a_data_error(data: bytes) -> None:
    assert fault(data)[0] == []


mutations: st.SearchStrategy[Callable[[bytes], bytes]] = st.one_of(
    st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=12)).map(
        lambda m: lambda data: data[: m[0]] + m[1] + data[m[0] + len(m[1]) :]
    ),
    st.integers(0, len(WHOLE)).map(lambda at: lambda data: data[:at]),
    st.tuples(st.sampled_from(ENDS[:3]), st.integers(0, 500), st.binary(min_size=1, max_size=12)).map(
        lambda m: lambda data: data[: m[0]] + with_field(data[m[0] : m[0] + 512], m[1], m[2])[:512] + data[m[0] + 512 :]
    ),
)


@given(st.lists(mutations, min_size=1, max_size=3))
@settings(max_examples=300, deadline=1000)
def test_any_damage_ends_in_members_inside_the_file_or_a_data_error(damage: list[Callable[[bytes], bytes]]) -> None:
    data = WHOLE
    for change in damage:
        data = change(data)
    members: list[Member] = []
    reason = "truncated_tar"
    try:
        members.extend(walk(io.BytesIO(data)))
    except DataError as error:
        reason = error.reason
    assert reason in {"truncated_tar", "broken_tar"}
    assert all(m.header_offset < m.offset <= m.offset + m.size <= len(data) for m in members)
    assert all(one.end <= other.header_offset for one, other in pairwise(members))
