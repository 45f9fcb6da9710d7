import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tamis.corpora.drawn.words import SIGNS
from tamis.corpora.errors import ConfigError
from tamis.filters.parrot import cotr_fuzzy
from tamis.pipelines.demo import photographs
from tamis.pipelines.demo.photographs import CAPTIONS, folder, shot


@pytest.mark.parametrize("name", CAPTIONS)
def test_every_photograph_is_in_the_wheel_and_is_shot_at_the_size_asked_for(name: str) -> None:
    picture = shot(name, 320, 240, np.random.default_rng(0))
    assert picture.size == (320, 240)
    with Image.open(folder() / name) as original:
        assert picture.mode == original.mode
    assert np.asarray(picture).std() > 8


@given(st.integers(0, 2**32), st.integers(200, 400), st.integers(200, 400))
@settings(max_examples=25, deadline=None)
def test_a_shot_never_reaches_over_the_photographs_edge(seed: int, width: int, height: int) -> None:
    white = Image.new("L", (451, 300), 255)  # outside of it, a transform gives 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "_photograph", lambda _: white)
        assert np.asarray(shot("chelsea.png", width, height, np.random.default_rng(seed))).min() > 150


def test_shots_differ_in_crop_and_light() -> None:
    first, again, other = (shot("coffee.png", 300, 200, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert np.abs(np.asarray(first, dtype=int) - np.asarray(other, dtype=int)).mean() > 5


def test_no_caption_shares_a_word_with_a_sign() -> None:
    captions = [caption for told in CAPTIONS.values() for caption in told]
    assert len(set(captions)) == 2 * len(CAPTIONS)
    assert {cotr_fuzzy(caption, " ".join(SIGNS)) for caption in captions} == {0.0}


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'tamis\[demo\]'"):
        folder.__wrapped__()


def test_reading_photographs_does_not_import_scikit_image() -> None:
    told = (
        "import sys, numpy; from tamis.pipelines.demo.photographs import shot;"
        "shot('coins.png', 200, 200, numpy.random.default_rng(0)); print('skimage' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
