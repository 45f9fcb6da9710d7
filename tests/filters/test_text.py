from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageFont

from tamis.corpora.drawn import posters, scenes
from tamis.corpora.drawn.fonts import find_fonts
from tamis.corpora.errors import ConfigError
from tamis.filters import text
from tamis.filters.scorer import Device, Pixels, Sample
from tamis.filters.text import Text
from tamis.models.spotting import Quad, Word

SQUARE: Quad = ((10, 10), (30, 10), (30, 20), (10, 20))


class FakeSpotter:
    """Says what it was told to, and remembers the sizes that it was shown."""

    def __init__(self, *words: Word) -> None:
        self.words = list(words)
        self.shapes: list[tuple[int, ...]] = []

    def spot(self, pixels: Pixels) -> list[Word]:
        self.shapes.append(pixels.shape)
        return self.words


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSpotter:
    spotter = FakeSpotter()
    monkeypatch.setattr(text, "load_spotter", lambda engine: spotter)
    return spotter


def measure(scorer: Text, pairs: Sequence[tuple[Pixels, str | None] | None]) -> list[dict[str, Any]]:
    prepared = [pair and scorer.prepare(Sample({"caption": pair[1]}, pixels=pair[0])) for pair in pairs]
    scored = scorer.score(prepared, Device())
    return [{name: values[at] for name, values in scored.items()} for at in range(len(pairs))]


def blank(height: int = 40, width: int = 100) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


def word(said: str, confidence: float = 0.9, box: Quad = SQUARE) -> Word:
    return Word(said, confidence, box)


def test_words_boxes_and_rates_are_written_side_by_side(fake: FakeSpotter) -> None:
    fake.words = [word("BIG", 0.95), word("SA1E", 0.8, ((50, 0), (100, 10), (90, 40), (40, 30)))]
    (row,) = measure(Text(), [(blank(), "a big sale")])
    assert row["words"] == ["BIG", "SA1E"]
    assert row["confidences"] == [0.95, 0.8]
    assert row["num_words"] == 2
    assert row["has_text"] is True
    assert row["truncated"] is False
    np.testing.assert_allclose(row["boxes"][0], [0.1, 0.25, 0.3, 0.25, 0.3, 0.5, 0.1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(row["boxes"][1], [0.5, 0, 1, 0.25, 0.9, 1, 0.4, 0.75], rtol=1e-6)
    assert row["text_area"] == pytest.approx((20 * 10 + (50 * 30 + 10 * 10)) / 4000)
    assert row["parrot_rate"] == pytest.approx(1 / 3)
    assert row["parrot_rate_fuzzy"] == pytest.approx(2 / 3)


def test_boxes_are_cut_at_the_pictures_edge_and_their_area_is_at_most_all(fake: FakeSpotter) -> None:
    huge: Quad = ((-50, -50), (150, -50), (150, 90), (-50, 90))
    fake.words = [word("HUGE", box=huge), word("HUGE", box=huge)]
    (row,) = measure(Text(), [(blank(), "x")])
    assert row["boxes"][0] == [0, 0, 1, 0, 1, 1, 0, 1]
    assert row["text_area"] == 1.0


@pytest.mark.parametrize(
    ("spotted", "kept"),
    [
        (["O", "+"], []),
        (["10"], []),
        (["Oc", "十"], []),
        (["福"], []),
        (["五折"], ["五折"]),
        (["SALE", "&", "50", "★"], ["SALE", "50"]),
    ],
)
def test_lone_shapes_are_no_text_but_short_words_beside_long_ones_are(
    fake: FakeSpotter, spotted: list[str], kept: list[str]
) -> None:
    fake.words = [word(said) for said in spotted]
    (row,) = measure(Text(), [(blank(), "x")])
    assert row["words"] == kept
    assert row["has_text"] == bool(kept)
    assert row["num_words"] == len(kept)


def test_unsure_lines_are_left_out(fake: FakeSpotter) -> None:
    fake.words = [word("maybe", 0.699), word("surely", 0.7)]
    assert measure(Text(), [(blank(), "x")])[0]["words"] == ["surely"]
    assert measure(Text(min_confidence=0.6), [(blank(), "x")])[0]["words"] == ["maybe", "surely"]


def test_words_beyond_the_cap_are_cut_and_said_to_be(fake: FakeSpotter) -> None:
    fake.words = [word(f"word{i}") for i in range(5)]
    (row,) = measure(Text(max_words=4), [(blank(), "word4")])
    assert row["num_words"] == 4
    assert row["truncated"] is True
    assert row["parrot_rate"] == 0.0
    assert measure(Text(max_words=5), [(blank(), "x")])[0]["truncated"] is False


def test_large_pictures_are_scaled_down_and_small_ones_never_up(fake: FakeSpotter) -> None:
    fake.words = [word("text")]
    rows = measure(Text(max_side=100), [(blank(400, 200), "x"), (blank(30, 50), "x"), (blank(100, 100), "x")])
    assert fake.shapes == [(100, 50, 3), (30, 50, 3), (100, 100, 3)]
    np.testing.assert_allclose(rows[0]["boxes"][0][:4], [0.2, 0.1, 0.6, 0.1], rtol=1e-6)


@pytest.mark.parametrize("caption", [None, "", "!?"])
def test_a_caption_without_words_has_no_rates_but_text(fake: FakeSpotter, caption: str | None) -> None:
    fake.words = [word("text")]
    (row,) = measure(Text(), [(blank(), caption)])
    assert row["parrot_rate"] is None
    assert row["parrot_rate_fuzzy"] is None
    assert row["has_text"] is True


def test_every_place_of_a_batch_has_every_column_in_its_type(fake: FakeSpotter) -> None:
    fake.words = [word("text")]
    scorer = Text()
    prepared = scorer.prepare(Sample({"caption": "some text"}, pixels=blank()))
    scored = scorer.score([None, prepared, None], Device())
    assert set(scored) == {column.name for column in scorer.columns}
    for column in scorer.columns:
        array = pa.array(scored[column.name], column.type)
        assert len(array) == 3
        assert array[1].is_valid


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "tesseract"}, "engine is 'tesseract'; known: rapidocr"),
        ({"min_confidence": 1.5}, "min_confidence is 1.5"),
        ({"max_side": 16}, "max_side is 16; it must be at least 32"),
        ({"max_words": 0}, "max_words is 0"),
        ({"min_letters": 0}, "min_letters is 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Text(**settings)


def drawn(seed: int, kind: str) -> tuple[Pixels, str]:
    rng = np.random.default_rng([seed, len(kind)])
    width, height = (int(side) for side in rng.integers(200, 401, 2))
    if kind == "scene":
        return np.asarray(scenes.draw(scenes.random_scene(rng), width, height, rng)), "a caption"
    poster = posters.random_poster(rng)
    return np.asarray(posters.draw(poster, width, height, rng, find_fonts())), poster.caption


def test_posters_are_parrots_and_scenes_have_no_text() -> None:
    rows = measure(Text(), [drawn(seed, "poster") for seed in range(12)])
    assert all(row["parrot_rate_fuzzy"] >= 0.5 for row in rows)
    assert np.mean([row["parrot_rate"] for row in rows]) > 0.85
    rows = measure(Text(), [drawn(seed, "scene") for seed in range(20)])
    assert [row["words"] for row in rows if row["has_text"]] == []


def test_a_batch_measured_twice_and_row_by_row_is_equal_to_the_bit() -> None:
    image = Image.new("RGB", (300, 80), "white")
    ImageDraw.Draw(image).text((10, 20), "Fresh coffee", "black", ImageFont.load_default(36))
    pairs = [(np.asarray(image), "fresh coffee beans"), None, drawn(3, "poster"), drawn(4, "scene")]
    together = measure(Text(), pairs)
    assert together == measure(Text(), pairs)
    assert together[0]["words"] == ["Fresh", "coffee"]
    assert [row for at in (0, 2, 3) for row in measure(Text(), [pairs[at]])] == [together[at] for at in (0, 2, 3)]


def test_the_model_digest_is_the_weights() -> None:
    assert len(Text().model_digest()) == 64
