import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tamis.corpora.drawn.fonts import find_fonts
from tamis.corpora.drawn.scenes import describe, random_scene
from tamis.corpora.drawn.signs import hang, random_sign
from tamis.corpora.drawn.words import SIGNS
from tamis.filters.parrot import cotr_fuzzy


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_no_sign_shares_a_word_with_a_scenes_caption_even_fuzzily(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert cotr_fuzzy(describe(random_scene(rng), rng), " ".join(SIGNS)) == 0.0


def test_signs_say_a_word_two_words_or_a_word_and_a_number() -> None:
    said = [random_sign(np.random.default_rng(seed)).split() for seed in range(60)]
    assert {len(words) for words in said} == {1, 2}
    assert all(words[0] in SIGNS for words in said)
    assert any(words[-1].isdigit() for words in said)


def test_a_sign_hangs_at_the_top_or_the_bottom_and_leaves_the_rest_alone() -> None:
    plain = Image.new("RGB", (280, 360), (90, 120, 150))
    places = set()
    for seed in range(20):
        hung = hang(plain, "BAKERY", np.random.default_rng(seed), find_fonts())
        changed = np.abs(np.asarray(hung, dtype=int) - np.asarray(plain, dtype=int)).max(axis=2) > 0
        assert not changed[60:300].any()
        assert changed.mean() > 0.03
        places.add("top" if changed[:60].any() else "bottom")
    assert places == {"top", "bottom"}
    assert np.asarray(plain).std(axis=(0, 1)).max() == 0.0  # the picture given is not drawn on
