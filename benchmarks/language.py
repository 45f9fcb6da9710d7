"""Language of short texts: the scorer `language` beside lid.176.ftz alone, by length, on real captions and titles.

Chinese: THUCNews titles up to 20 characters, lines of ChineseWebText pages beyond (a few are in English); English: CC3M's
captions; both from --data. German and Japanese were written for this (own_captions.py). Texts are cut at 5 to 80
characters. Right is the label of the set; `>= 0.65` is what is left of lid's right answers at FineWeb's bound, `reliable`
what is left of ours when a criterion asks for it. Speed: CPU time of `prepare`, which also counts scripts and traditional
characters, against `predict`, one thread each. Needs `pip install fasttext-predict`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import interleaved, paired_ratio, parser, spread, tell
from own_captions import GERMAN, JAPANESE, JAPANESE_HEADLINES

from tamis.filters.registry import build_scorer
from tamis.filters.scorer import Sample

LENGTHS = (5, 10, 20, 40, 80)
LID = "weights/fasttext_lid/src/fondant/components/filter_language/src/lid.176.ftz"
FINEWEB_BOUND = 0.65


def main() -> None:
    """Measure accuracy, then speed."""
    arguments = parser(str(__doc__))
    arguments.add_argument("--lid", type=Path, default=None, help="lid.176.ftz; by default where --data has it")
    options = arguments.parse_args()
    if options.data is None:
        raise SystemExit("the language benchmark needs real texts: --data DIR or TAMIS_DATA")
    most = 500 if options.quick else 5_000
    sets = dict(_sets(Path(options.data), most))
    ours, lid = _ours(), _lid(options.lid or Path(options.data) / LID)
    rows: list[tuple[str, str]] = [("language, characters, texts", "ours, reliable | lid.176.ftz, >= 0.65; right in %")]
    result: dict[str, Any] = {}
    for (label, length), texts in sets.items():
        mine, theirs = [ours(text) for text in texts], [lid(text) for text in texts]
        right = [code == label for code, _ in mine]
        sure = [good and reliable for good, (_, reliable) in zip(right, mine, strict=True)]
        their_right = [code == label for code, _ in theirs]
        their_sure = [code == label and score >= FINEWEB_BOUND for code, score in theirs]
        shares = [100 * sum(found) / len(texts) for found in (right, sure, their_right, their_sure)]
        rows.append((f"{label}, {length or 'whole'}, {len(texts)}", "{:.1f}, {:.1f} | {:.1f}, {:.1f}".format(*shares)))
        result[f"{label}_{length}"] = shares
    for name, texts in (
        ("captions", sets["en", 40]),
        ("titles", sets["zh", 20]),
        ("documents", _documents(options.data)),
    ):
        speeds = interleaved(5, ours=lambda t=texts: _speed(ours, t), lid=lambda t=texts: _speed(lid, t))  # type: ignore[misc]
        ratio = paired_ratio(speeds["ours"], speeds["lid"])
        rows.append((f"{name}/s a core", f"{spread(speeds['ours'])} | {spread(speeds['lid'])}; ratio {spread(ratio)}"))
        result[f"{name}_ratio"] = sorted(ratio)[len(ratio) // 2]
    tell("language", rows, result, options.json)


def _sets(data: Path, most: int) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Texts by label and length; length 0 is the whole text."""
    titles = [line.split("\t")[0] for line in _lines(data / "thucnews/THUCNews/data/dev.txt")]
    body = [line for document in _documents(data) for line in document.split("\n")]
    captions = [line.split("\t")[0] for line in _lines(data / "cc3m_val/Validation_GCC-1.1.0-Validation.tsv")]
    wholes: Mapping[str, Sequence[str]] = {"zh": [*titles, *body], "en": captions, "de": GERMAN, "ja": JAPANESE}
    for label, texts in wholes.items():
        for length in LENGTHS:
            cut = [text[:length] for text in texts if len(text) >= length]
            if len(cut) >= 10:
                yield (label, length), cut[-most:] if length > 20 else cut[:most]
    yield ("ja", 0), list(JAPANESE_HEADLINES)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _documents(data: Path) -> list[str]:
    return [json.loads(line)["raw_content"] for line in _lines(Path(data) / "chinesewebtext/2021-43/cleared1.jsonl")]


def _ours() -> Callable[[str], tuple[str, bool]]:
    _, scorer = build_scorer("language", {})

    def language(text: str) -> tuple[str, bool]:
        row = scorer.prepare(Sample({"caption": text}))
        return row["language"], row["reliable"]

    return language


def _lid(path: Path) -> Callable[[str], tuple[str, float]]:
    import fasttext

    model = fasttext.load_model(str(path))

    def language(text: str) -> tuple[str, float]:
        labels, scores = model.predict(text.replace("\n", " "))
        code = labels[0].removeprefix("__label__")
        return "zh" if code in {"yue", "wuu"} else code, float(scores[0])  # a lenient reading of its answers

    return language


def _speed(language: Callable[[str], tuple[str, Any]], texts: Sequence[str]) -> float:
    started = time.process_time()
    for text in texts:
        language(text)
    return len(texts) / (time.process_time() - started)


if __name__ == "__main__":
    main()
