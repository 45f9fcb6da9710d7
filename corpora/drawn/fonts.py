"""The fonts that drawn pictures are lettered with: free ones that a dependency or the system carries.

Known files are looked for by name, since a font's own coverage does not say that it can be read (Last Resort covers
all of Unicode with boxes; Computer Modern's symbol fonts put arrows at the letters). Matplotlib's wheel is taken first
and alone when it is there, so that one seed draws the same pictures on every machine; its files are found without
importing it. Without it, Debian's DejaVu and Liberation serve. Chinese comes from the first known Chinese font that has
the glyphs, if any. Price: a walk over the font folders once a process, about 10 ms.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import ImageFont

from ..errors import ConfigError

FEWEST = 8
"""Fonts that pictures must at least be lettered with, so that a text spotter is tried on more than one typeface."""

SYSTEM_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))

LATIN = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
    *("LiberationSans-Regular", "LiberationSans-Bold", "LiberationSansNarrow-Bold", "LiberationMono-Bold"),
    *("LiberationSerif-Regular", "LiberationSerif-Bold", "LiberationSerif-Italic"),
)
"""File names without their ending, in the order in which fonts are given out."""

CHINESE = (
    *("NotoSansCJK-Regular", "NotoSansCJKsc-Regular", "NotoSansSC-Regular", "SourceHanSansSC-Regular"),
    *("NotoSerifCJK-Regular", "wqy-microhei", "wqy-zenhei", "DroidSansFallbackFull", "DroidSansFallback"),
    *("uming", "ukai", "Cubic_11"),
)
"""The same for fonts with Chinese glyphs; the first one that is there and has the glyphs is used."""

_ENDINGS = {".ttf", ".otf", ".ttc"}
_UNASSIGNED = "\uffff"  # never a character: what a font draws for it is its "no such glyph" box


@dataclass(frozen=True)
class Font:
    """A font file, known to have the glyphs that it was looked for."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def at(self, size_px: int) -> ImageFont.FreeTypeFont:
        """The font at a size in px (the em square's side)."""
        return _loaded(self.path, size_px)


@dataclass(frozen=True)
class Fonts:
    """What pictures are lettered with: at least ``FEWEST`` fonts for English, and one for Chinese or none."""

    latin: tuple[Font, ...]
    chinese: Font | None


@cache
def _loaded(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def find_fonts(folders: tuple[Path, ...] | None = None) -> Fonts:
    """Find the fonts in ``folders``, or by default in matplotlib's wheel and the system's folders.

    Raises:
        ConfigError: fewer than ``FEWEST`` known fonts are there.
    """
    wheel = [] if folders is not None else matplotlib_folders()
    system = SYSTEM_FOLDERS if folders is None else folders
    latin = _known(LATIN, wheel)
    if len(latin) < FEWEST:
        latin = _known(LATIN, [*wheel, *system])
    if len(latin) < FEWEST:
        found = ", ".join(font.name for font in latin) or "none"
        raise ConfigError(
            f"pictures with text need {FEWEST} free fonts, found {len(latin)} ({found}): "
            "pip install matplotlib, or apt install fonts-dejavu fonts-liberation"
        )
    chinese = [font for font in _known(CHINESE, system) if has_glyphs(font, "永和你我的天地人")]
    return Fonts(tuple(latin), chinese[0] if chinese else None)


def matplotlib_folders() -> list[Path]:
    """Where matplotlib keeps its fonts, or nothing when it is not installed."""
    spec = importlib.util.find_spec("matplotlib")
    return [Path(place) / "mpl-data" / "fonts" / "ttf" for place in (spec and spec.submodule_search_locations) or []]


def has_glyphs(font: Font, characters: str) -> bool:
    """Whether the font draws each character as something else than its "no such glyph" box."""
    face = font.at(24)
    missing = bytes(face.getmask(_UNASSIGNED))
    return all(bytes(face.getmask(character)) not in {missing, b""} for character in characters)


def _known(names: Sequence[str], folders: Sequence[Path]) -> list[Font]:
    """The fonts of ``names`` that ``folders`` have, in the order of ``names``, each once."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in _ENDINGS:
                files.setdefault(path.stem, path)
    return [Font(files[name]) for name in names if name in files]
