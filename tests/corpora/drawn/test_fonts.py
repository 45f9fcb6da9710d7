import subprocess
import sys
from pathlib import Path

import pytest

from tamis.corpora.drawn import fonts
from tamis.corpora.drawn.fonts import FEWEST, LATIN, Font, find_fonts, has_glyphs
from tamis.corpora.errors import ConfigError


def _copy(names: list[str], into: Path) -> None:
    found = {font.name: font for font in find_fonts().latin}
    for name, source in zip(names, found.values(), strict=False):
        (into / f"{name}.ttf").write_bytes(source.path.read_bytes())


def test_at_least_eight_fonts_with_all_letters_are_at_hand() -> None:
    latin = find_fonts().latin
    assert len(latin) >= FEWEST
    assert all(has_glyphs(font, "ABCXYZabcxyz0189%!?,.'") for font in latin)


def test_a_font_is_given_once_and_in_the_declared_order(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    _copy(list(LATIN[:FEWEST][::-1]), tmp_path)
    _copy(list(LATIN[:3]), tmp_path / "again")
    assert [font.name for font in find_fonts((tmp_path,)).latin] == list(LATIN[:FEWEST])


def test_unknown_fonts_are_left_alone_whatever_they_claim_to_cover(tmp_path: Path) -> None:
    _copy([*LATIN[:FEWEST], "LastResortHE-Regular"], tmp_path)
    assert "LastResortHE-Regular" not in {font.name for font in find_fonts((tmp_path,)).latin}


def test_too_few_fonts_are_a_clear_error(tmp_path: Path) -> None:
    _copy(["DejaVuSans", "cmr10"], tmp_path)
    with pytest.raises(ConfigError, match=r"8 free fonts, found 2 \(DejaVuSans, cmr10\): pip install matplotlib"):
        find_fonts((tmp_path,))


def test_a_chinese_font_must_have_the_glyphs_and_not_only_the_name(tmp_path: Path) -> None:
    _copy([*LATIN[:FEWEST], "wqy-microhei"], tmp_path)
    assert find_fonts((tmp_path,)).chinese is None


def test_a_missing_glyph_is_told_from_a_drawn_one() -> None:
    font = find_fonts().latin[0]
    assert has_glyphs(font, "A")
    assert not has_glyphs(font, "A永")
    assert not has_glyphs(font, " ")


def test_matplotlib_folder_comes_first_and_alone_when_it_suffices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, system = tmp_path / "wheel", tmp_path / "system"
    for folder, names in ((wheel, LATIN[:FEWEST]), (system, LATIN[: FEWEST + 4])):
        folder.mkdir()
        _copy(list(names), folder)
    monkeypatch.setattr(fonts, "matplotlib_folders", lambda: [wheel])
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", (system,))
    assert {font.path.parent for font in find_fonts.__wrapped__().latin} == {wheel}
    (wheel / f"{LATIN[0]}.ttf").unlink()
    assert {font.path.parent for font in find_fonts.__wrapped__().latin} == {wheel, system}


def test_finding_fonts_does_not_import_matplotlib() -> None:
    told = "import sys; from tamis.corpora.drawn import fonts; fonts.find_fonts(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_font_has_the_size_that_is_asked_for() -> None:
    font = find_fonts().latin[0]
    assert font.at(40).getlength("word") == pytest.approx(2 * font.at(20).getlength("word"), rel=0.05)
    assert Font(Path("/fonts/cmr10.ttf")).name == "cmr10"
