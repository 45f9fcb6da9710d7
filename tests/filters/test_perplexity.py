from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tamis.corpora.errors import ConfigError
from tamis.filters.ngrams import train
from tamis.filters.perplexity import MAX_CHARACTERS, Perplexity
from tamis.filters.scorer import Device, Sample, identity


@pytest.fixture
def model(tmp_path: Path) -> str:
    train(["两只狗在草地上玩耍。", "一只猫在窗边睡觉。", "一个人在草地上睡觉。"], 3).save(tmp_path / "zh.npz")
    return str(tmp_path / "zh.npz")


def measured(scorer: Perplexity, text: str) -> tuple[float | None, float | None]:
    return scorer.prepare(Sample({"caption": text}))


def test_perplexity_is_the_inverse_geometric_mean(tmp_path: Path) -> None:
    # One letter, four times: p = (4 + 1/2) / 5, then with a context (3 + p) / 4, and first in the text (1 + p) / 2.
    train(["aaaa"], 2).save(tmp_path / "a.npz")
    alone = (4 + 1 / 2) / 5
    first, later = (1 + alone) / 2, (3 + alone) / 4
    found, unknown = measured(Perplexity(str(tmp_path / "a.npz")), "AA")
    assert found == pytest.approx((first * later) ** -0.5)
    assert unknown == 0


def test_what_is_like_the_models_texts_surprises_less(model: str) -> None:
    scorer = Perplexity(model)
    scorer.setup(Device())
    like, shuffled, other = (measured(scorer, text) for text in ("一只狗在草地上睡觉。", "上地睡只。草觉狗在一", "abc"))
    assert like[0] is not None
    assert shuffled[0] is not None
    assert like[0] < shuffled[0]
    assert (like[1], other[1]) == (0, 1)


def test_a_text_of_spaces_is_not_measured_and_only_the_head_of_a_long_one_is(model: str) -> None:
    scorer = Perplexity(model)
    assert measured(scorer, " \n") == (None, None)
    assert measured(scorer, "草" * MAX_CHARACTERS + "猫" * 99) == measured(scorer, "草" * MAX_CHARACTERS)


def test_the_identity_tells_the_model_and_not_its_place(model: str, tmp_path: Path) -> None:
    (tmp_path / "moved.npz").write_bytes(Path(model).read_bytes())
    train(["另一个"], 3).save(tmp_path / "other.npz")
    told = [
        identity(Perplexity(path), "perplexity", Device())
        for path in (model, str(tmp_path / "moved.npz"), str(tmp_path / "other.npz"))
    ]
    assert told[0] == told[1] != told[2]


def test_a_missing_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the model"):
        Perplexity(str(tmp_path / "none.npz")).model_digest()


def test_unreadable_places_stay_empty_and_columns_fit_their_types(model: str) -> None:
    scorer = Perplexity(model)
    scored = scorer.score([None, measured(scorer, "猫")], Device())
    for column in scorer.columns:
        values = pa.array(scored[column.name], column.type)
        assert values.is_valid().to_pylist() == [False, True]
        assert np.isfinite(values[1].as_py())
