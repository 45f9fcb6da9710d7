from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from tamis.corpora.errors import ConfigError
from tamis.models.clip_inputs import CaptionTokenizer, caption_tokenizer, exact_pixels, fast_pixels
from tamis.models.clip_source import ClipSource, Preprocess

SIDES = st.integers(1, 90)
THEIRS = SimpleTokenizer(context_length=12)


def plan(size: tuple[int, int] = (32, 32), resize_mode: str = "shortest") -> Preprocess:
    """A preprocessing whose normalisation changes nothing, so that values stay grey levels over 255."""
    return Preprocess(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic", resize_mode)


@given(SIDES, SIDES, st.sampled_from(["shortest", "squash"]), st.integers(0, 99))
def test_fast_pixels_frame_a_picture_as_open_clip_does(width: int, height: int, mode: str, seed: int) -> None:
    smooth = np.random.default_rng(seed).integers(40, 200, (3, 3, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(smooth).resize((width, height), Image.Resampling.BILINEAR))
    fast, exact = fast_pixels(picture, plan(resize_mode=mode)), exact_pixels(picture, plan(resize_mode=mode))
    assert (fast.dtype, tuple(fast.shape)) == (torch.uint8, (3, 32, 32))
    assert (fast.float() - exact * 255).abs().max() <= 3


def test_a_strip_is_cut_to_its_middle_before_it_is_scaled_up() -> None:
    strip = np.zeros((1, 60_000, 3), np.uint8)
    strip[:, 29_990:30_010] = 200
    for pixels in (strip, strip.transpose(1, 0, 2)):
        assert (fast_pixels(pixels, plan((224, 224))) == 200).all()
        assert (exact_pixels(pixels, plan((224, 224))) * 255 == 200).all()


def test_pixels_that_may_not_be_written_are_taken_too() -> None:
    picture = np.full((40, 50, 3), 77, np.uint8)
    picture.setflags(write=False)
    assert (fast_pixels(picture, plan()) == 77).all()


@pytest.mark.parametrize("wanted", [plan(resize_mode="longest"), plan((32, 48))])
def test_a_geometry_that_fast_lacks_is_refused(wanted: Preprocess) -> None:
    picture = np.full((40, 50, 3), 77, np.uint8)
    with pytest.raises(ConfigError, match="use 'open_clip'"):
        fast_pixels(picture, wanted)
    assert tuple(exact_pixels(picture, wanted).shape) == (3, *wanted.size)


@given(st.text(max_size=60))
def test_tokens_are_those_of_open_clip(caption: str) -> None:
    tokens, truncated = CaptionTokenizer(THEIRS, 12)(caption)
    assert tokens.tolist() == THEIRS([caption])[0].tolist()
    assert truncated == (len(THEIRS.encode(caption)) > 10)


@pytest.mark.parametrize("letters", ["abcdefghijklmnopqrstuvwxyz", "红蓝绿黄黑白大小圆方星", "?!.,;:&<>"])
def test_a_hostile_caption_costs_little_and_counts_as_truncated(letters: str) -> None:
    word = "".join(np.random.default_rng(0).choice(list(letters), 50_000))  # 20 s and more, were it not cut
    started = time.process_time()
    tokens, truncated = CaptionTokenizer(SimpleTokenizer(context_length=12), 12)(word)
    assert time.process_time() - started < 2
    assert truncated
    assert tokens.shape == (12,)


def test_words_beyond_the_cut_count_as_truncated() -> None:
    assert CaptionTokenizer(THEIRS, 12)(f"a red circle{' ' * 500}and more")[1]


def test_words_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamis.models.clip_inputs._CACHED_WORDS", 50)
    theirs = SimpleTokenizer(context_length=12)
    tokenizer = CaptionTokenizer(theirs, 12)
    before = tokenizer("a red circle")[0].tolist()
    for number in range(40):
        tokenizer(f"{'ab' * number} {'ba' * number} {'ca' * number}")
        assert len(theirs.cache) <= 53
    assert tokenizer("a red circle")[0].tolist() == before


def test_threads_may_share_a_hugging_face_tokenizer(tmp_path: Path) -> None:
    model = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3}, unk_token="<unk>"))
    model.pre_tokenizer = Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<pad>", unk_token="<unk>")  # type: ignore[no-untyped-call]
    words.save_pretrained(tmp_path)
    shared = CaptionTokenizer(HFTokenizer(str(tmp_path), context_length=8), 8)
    captions = [f"a circle {'red ' * length}" for length in range(12)] * 60
    alone = [(ids.tolist(), cut) for ids, cut in map(shared, captions)]
    assert {cut for _, cut in alone} == {True, False}
    with ThreadPoolExecutor(8) as pool:
        assert [(ids.tolist(), cut) for ids, cut in pool.map(shared, captions)] == alone


def test_a_tokenizer_that_is_nowhere_is_told_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host\nmore")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", unreachable)
    with pytest.raises(
        ConfigError, match=r"timm/ViT-B-16-SigLIP: .*\(no route to host\).*name their folder as tokenizer"
    ):
        caption_tokenizer(ClipSource("ViT-B-16-SigLIP", "webli"))
    with pytest.raises(ConfigError, match="no such folder"):
        caption_tokenizer(ClipSource("ViT-B-16-SigLIP", "webli", str(tmp_path / "none")))


WORDS = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        st.sampled_from(
            ["it's", "DON'T", "we'll", "3.5cm", "A4", "--", "http://a.b/c?d=e", "I'VE", "'s", "&amp;", "<b>"]
        ),
        st.text(max_size=10),
    ),
    max_size=40,
)


@lru_cache
def tokenizer_of(length: int) -> SimpleTokenizer:
    return SimpleTokenizer(context_length=length)


@given(WORDS, st.sampled_from([8, 32, 77]))
@settings(deadline=None, max_examples=300)
def test_captions_looked_up_by_words_get_the_ids_of_open_clip(words: list[str], length: int) -> None:
    theirs = tokenizer_of(length)
    caption = " ".join(words)[: 16 * length]
    ids, truncated = CaptionTokenizer(theirs, length)(caption)
    assert ids.tolist() == theirs([caption])[0].tolist()
    assert truncated == (len(theirs.encode(caption)) + 2 > length)
