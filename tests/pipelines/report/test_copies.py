from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from tamis.pipelines.report.contents import Card, Thumbnail
from tamis.pipelines.report.copies import GROUPS_SHOWN, MEMBERS_SHOWN, Groups
from tamis.pipelines.report.rows import Place, Rows


def uid(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def found(clusters: dict[str, list[int]], kept: set[int], rows: int = 200) -> Groups:
    members = [(uid(n), name) for name, numbers in clusters.items() for n in numbers]
    table = pa.table({"uid": [m[0] for m in members], "cluster": [m[1] for m in members]})
    groups = Groups(
        "exact", "image_sha256", table.cast(pa.schema([("uid", pa.string()), ("cluster", pa.string())])), ["policy.p"]
    )
    for start in range(0, rows, 50):
        numbers = range(start, start + 50)
        verdicts = pa.table({"policy.p": [n in kept for n in numbers]})
        groups.add(Rows(f"{start // 50:05d}", np.arange(50), pa.table({"uid": [uid(n) for n in numbers]}), verdicts))
    return groups


def card(place: Place) -> Card:
    return Card("", place.shard, place.row, "", "", Thumbnail("", 1, 1, (1, 1)), (), ())


def numbers_of(groups: Groups) -> list[list[int]]:
    told = groups.told({place: card(place) for place in groups.places()})
    return [[int(c.shard) * 50 + c.row for c in copies.cards] for copies in told.shown]


def test_groups_are_shown_whole_the_largest_first_and_the_kept_one_in_front() -> None:
    groups = found({"a": [3, 120], "b": [5, 77, 199]}, kept={120, 77})
    shown = numbers_of(groups)
    assert [members[0] for members in shown] == [77, 120]
    assert [set(members) for members in shown] == [{5, 77, 199}, {3, 120}]


def test_the_kept_one_of_a_large_group_is_among_the_few_that_are_shown() -> None:
    [members] = numbers_of(found({"a": list(range(150))}, kept={149}))
    assert len(members) == MEMBERS_SHOWN
    assert members[0] == 149


def test_sizes_are_counted_over_all_groups() -> None:
    clusters = {f"g{n}": [2 * n, 2 * n + 1] for n in range(20)} | {"h": [100, 101, 102]}
    groups = found(clusters, kept=set())
    told = groups.told({place: card(place) for place in groups.places()})
    assert (told.groups, told.members, told.sizes) == (21, 43, ((2, 20), (3, 1)))
    assert len(told.shown) == GROUPS_SHOWN
    assert told.shown[0].size == 3


def test_members_that_are_gone_are_not_shown() -> None:
    assert numbers_of(found({"a": [4, 5000]}, kept=set())) == [[4]]


def test_no_duplicates_are_no_groups() -> None:
    groups = found({}, kept=set())
    assert groups.places() == []
    assert groups.told({}).groups == 0
