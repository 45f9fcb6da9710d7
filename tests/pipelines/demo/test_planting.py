import itertools
from collections import Counter
from pathlib import Path
from typing import get_args

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.corpora.drawn.posters import Poster
from tamis.corpora.drawn.scenes import Scene
from tamis.filters.parrot import cotr, cotr_fuzzy
from tamis.pipelines.demo.planting import COUNTS, FEWEST, ODD_CAPTIONS, Kind, Planted, plant, write_list

LIST = plant(0)


def _of(kind: Kind, planted: list[Planted] = LIST) -> list[Planted]:
    return [one for one in planted if one.kind == kind]


def _together(group_of: str) -> list[list[Planted]]:
    groups: dict[str, list[Planted]] = {}
    for one in LIST:
        if group := getattr(one, group_of):
            groups.setdefault(group, []).append(one)
    return list(groups.values())


def test_each_kind_is_there_in_its_number() -> None:
    counted = Counter(one.kind for one in LIST)
    assert len(LIST) == 1500
    assert {kind: counted[kind] for kind in COUNTS} == COUNTS
    assert counted["scene"] == 1500 - sum(COUNTS.values())


@given(st.integers(0, 2**31), st.integers(FEWEST, 200))
@settings(max_examples=15, deadline=None)
def test_a_list_of_any_size_has_every_kind(seed: int, size: int) -> None:
    planted = plant(seed, size)
    assert len(planted) == size
    assert {one.kind for one in planted} == set(get_args(Kind))
    assert sorted(one.index for one in planted) == list(range(size))


def test_a_list_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="a list of 59 has no room for every kind of request: plant 60 or more"):
        plant(0, FEWEST - 1)


def test_a_list_is_a_function_of_its_seed() -> None:
    assert plant(7, 100) == plant(7, 100)
    captions = [{one.caption for one in plant(seed, 100) if one.kind == "scene"} for seed in (7, 8)]
    assert captions[0].isdisjoint(captions[1])


def test_the_order_is_shuffled() -> None:
    kinds = [one.kind for one in LIST]
    runs = sum(a != b for a, b in itertools.pairwise(kinds))
    assert runs > 1000


def test_requests_differ_but_for_the_planted_repeats() -> None:
    asked = Counter((one.url("http://h"), one.caption) for one in LIST)
    assert set(asked.values()) == {1, 2}
    repeated = [one for one in LIST if asked[one.url("http://h"), one.caption] == 2]
    assert {one.kind for one in repeated} == {"repeat"}
    assert Counter(one.outcome for one in repeated) == {"ok": 5, "duplicate_uid": 5}
    assert len({one.path for one in LIST}) == len(LIST) - 5


def test_parrots_are_the_posters_and_their_captions_are_what_is_drawn() -> None:
    parrots = [one for one in LIST if one.is_parrot]
    assert set(_of("poster")) <= set(parrots)
    for one in parrots:
        subject = one.body.picture.subject
        assert isinstance(subject, Poster)
        assert not one.honest
        if one.kind != "odd_caption":
            rate = cotr(one.caption, " ".join(subject.lines))
            assert rate is not None
            assert rate >= 0.75


def test_honest_captions_share_no_word_with_what_is_drawn_even_fuzzily() -> None:
    honest = [one for one in LIST if one.honest]
    signs = [one for one in honest if one.body.picture.sign]
    assert len(signs) >= 170
    assert all(cotr_fuzzy(one.caption, one.body.picture.sign) == 0.0 for one in signs)
    assert not any(one.is_parrot or isinstance(one.body.picture.subject, Poster) for one in honest)


def test_only_plain_scenes_are_said_to_match_or_not() -> None:
    told = [one for one in LIST if one.matched is not None]
    assert all(isinstance(one.body.picture.subject, Scene) and not one.body.picture.sign for one in told)
    assert {one.matched for one in _of("scene")} == {True}
    assert {one.matched for one in _of("mismatched")} == {False}
    assert sum(one.matched is False for one in told) == COUNTS["mismatched"]


def test_a_mismatched_caption_names_neither_shape() -> None:
    for one in _of("mismatched"):
        subject = one.body.picture.subject
        assert isinstance(subject, Scene)
        assert subject.first.shape not in one.caption
        assert subject.second.shape not in one.caption


def test_copies_are_equal_bodies_under_two_to_four_urls() -> None:
    groups = _together("copy_group")
    assert Counter(map(len, groups)) == {2: 12, 3: 12, 4: 12}
    assert all(len({one.body for one in group}) == 1 for group in groups)
    assert all(len({one.path for one in group}) == len(group) for group in groups)
    alone = [one for one in LIST if one.copy_group is None and one.kind not in {"repeat", "variant"}]
    assert len({one.body for one in alone}) == len(alone)


def test_variants_show_one_picture_in_three_files() -> None:
    groups = [group for group in _together("near_group") if group[0].kind == "variant"]
    assert len(groups) == 20
    for group in groups:
        assert len({one.body.picture for one in group}) == 1
        assert len({one.body for one in group}) == 3
        assert min(one.body.scale for one in group) < 0.86


def test_pictures_have_the_sizes_that_need_no_enlarging() -> None:
    for one in LIST:
        sides = (one.body.picture.width, one.body.picture.height)
        assert min(sides) >= 200
        assert max(sides) <= 400
    icons = [one.body.picture.width * one.body.scale for one in _of("icon")]
    assert min(icons) >= 16
    assert max(icons) <= 48


def test_formats_are_mostly_jpeg_of_every_quality() -> None:
    formats = Counter(one.body.format for one in LIST)
    assert 0.75 < formats["jpeg"] / len(LIST) < 0.9
    assert min(formats.values()) > 40
    qualities = {one.body.quality for one in LIST}
    assert min(qualities) == 30
    assert max(qualities) == 95


def test_what_is_broken_is_said_to_be_neither_honest_nor_a_parrot() -> None:
    broken = [one for one in LIST if one.broken]
    assert {one.kind for one in broken} == {
        *["missing", "refused", "hanging", "short", "cut", "page", "internal", "bomb"]
    }
    assert not any(one.honest or one.is_parrot or one.matched is not None for one in broken)
    assert {one.outcome for one in LIST if not one.broken} == {"ok", "duplicate_uid"}


def test_odd_captions_are_all_there() -> None:
    assert {one.caption for one in _of("odd_caption")} == set(ODD_CAPTIONS)
    assert any("<script>" in caption for caption in ODD_CAPTIONS)


def test_only_a_refused_request_goes_elsewhere_than_to_the_server() -> None:
    elsewhere = [one for one in LIST if not one.url("http://127.0.0.1:9000").startswith("http://127.0.0.1:9000/")]
    assert {one.kind for one in elsewhere} == {"refused"}
    assert elsewhere[0].url("http://h").startswith("http://127.0.0.1:1/")


def test_chinese_posters_are_planted_where_a_font_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    from tamis.corpora.drawn.fonts import Fonts, find_fonts

    latin = find_fonts().latin
    lists = []
    for chinese in (None, latin[0]):
        monkeypatch.setattr("tamis.pipelines.demo.planting.find_fonts", lambda font=chinese: Fonts(latin, font))
        lists.append({one.index: one for one in plant(0, 600)})
    changed = [one for index, one in lists[1].items() if one != lists[0][index]]
    subjects = [one.body.picture.subject for one in changed]
    assert all(isinstance(subject, Poster) and subject.language == "zh" for subject in subjects)
    assert 5 < sum(one.kind == "poster" for one in changed) < 30


def test_the_list_is_written_as_laion_writes_it(tmp_path: Path) -> None:
    write_list(LIST, "http://127.0.0.1:9000", tmp_path / "list.parquet")
    table = pq.read_table(tmp_path / "list.parquet")
    assert table.column_names == ["URL", "TEXT", "site", "id"]
    rows = table.to_pylist()
    assert [row["id"] for row in rows] == [one.index for one in LIST]
    assert rows[0]["URL"] == LIST[0].url("http://127.0.0.1:9000")
    assert rows[5]["TEXT"] == LIST[5].caption
    assert {row["site"] for row in rows} == {"drawn", "photo", "poster", "sign"}
