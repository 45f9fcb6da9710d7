"""The wheel of what is imported here: it holds what an install holds, and serves from a folder and from inside a zip."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tamis.corpora.errors import ConfigError
from tamis.jobs.shipping import as_zip, pack

USE = """
import sys
sys.path[:0] = sys.argv[1:]
import importlib.metadata, importlib.resources, json
import tamis.jobs.cli, tamis.models.clip_source, tamis.corpora.fetch_settings, tamis.pipelines.report.page
from tamis.pipelines.recipe import load_yaml
recipe = (importlib.resources.files("tamis.pipelines.demo") / "recipe.yaml").read_text(encoding="utf-8")
print(json.dumps({
    "place": tamis.__file__,
    "version": importlib.metadata.version("tamis"),
    "agent": tamis.corpora.fetch_settings.user_agent(),
    "command": [e.value for e in importlib.metadata.entry_points(group="console_scripts", name="tamis")],
    "weights": len(tamis.models.clip_source.tiny_asset("safetensors")),
    "recipe": sorted(load_yaml(recipe)),
    "page": len(tamis.pipelines.report.page._template("page.html")),
}))
"""
AGAIN = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from tamis.jobs.shipping import pack
print(pack(Path(sys.argv[1])))
"""


def fresh(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints that knows no editable install: only the paths it is given, and the libraries'."""
    command = [sys.executable, "-I", "-S", "-c", code, *arguments, sysconfig.get_path("purelib")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return target


def test_the_wheel_holds_exactly_the_files_of_the_rooms(wheel: Path, files: list[str], rooms: dict[str, str]) -> None:
    """What setuptools packs is held to the same list, by test_layout."""
    inside = (name.split("/", 1) for name in files if name.split("/")[0] in rooms)
    expected = {f"{rooms[room].replace('.', '/')}/{rest}" for room, rest in inside}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name and not name.endswith("/")} == expected
    assert len(names) == len(set(names))


def test_the_record_names_every_file_with_its_size(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [record] = [name for name in archive.namelist() if name.endswith("RECORD")]
        rows = {name: size for name, _, size in csv.reader(archive.read(record).decode().splitlines())}
        sizes = {entry.filename: str(entry.file_size) for entry in archive.infolist() if not entry.is_dir()}
    assert rows == {**sizes, record: ""}


def test_pip_installs_it_and_asks_for_nothing_else(installed: Path) -> None:
    """Ray has pip install it on each node, whose libraries are there, and where no index may be reached."""
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"tamis", "bin"}


def test_it_serves_from_a_folder_and_from_inside_a_zip_alike(wheel: Path, installed: Path) -> None:
    for place in (installed, as_zip(wheel)):
        told = json.loads(fresh(USE, str(place)))
        assert told.pop("place") == f"{place}/tamis/__init__.py"
        assert told.pop("weights") > 5_000_000
        assert told.pop("page") > 500
        assert {"corpus", "source", "scores", "policies"} <= set(told.pop("recipe"))
        assert told == {
            "version": version("tamis"),
            "agent": f"tamis/{version('tamis')} (curates image-text datasets)",
            "command": ["tamis.jobs.cli:main"],
        }


def test_a_checkout_an_install_and_a_zip_pack_the_same_bytes(wheel: Path, installed: Path, tmp_path: Path) -> None:
    for place in (installed, as_zip(wheel)):
        again = Path(fresh(AGAIN, str(tmp_path), str(place)))
        assert again.name == wheel.name
        assert again.read_bytes() == wheel.read_bytes()
        again.unlink()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path, with modules of a user's."""
    folder = tmp_path / "own"
    for name, text in {
        "blurring.py": "SIGMA = 3",
        "plugin_pack/blur.py": "from plugin_pack.deep import bottom\nWORD = bottom.WORD",
        "plugin_pack/deep/bottom.py": "WORD = 'found'",
        "plugin_pack/table.csv": "1,2",
        "plugin_pack/.secret": "not for others",
        "fast_pack/__init__.py": "",
        "fast_pack/kernel.so": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_modules_of_the_user_come_along(own: Path, wheel: Path, tmp_path: Path) -> None:
    shipped = pack(tmp_path, ["blurring", "plugin_pack"])
    assert shipped.name != wheel.name
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import blurring, plugin_pack.blur as b; print(blurring.SIGMA, b.WORD)"
    )
    assert fresh(code, str(as_zip(shipped))) == "3 found"
    more = set(zipfile.ZipFile(shipped).namelist()) - set(zipfile.ZipFile(wheel).namelist())
    assert more == {
        "blurring.py",
        "plugin_pack/",
        "plugin_pack/blur.py",
        "plugin_pack/deep/",
        "plugin_pack/deep/bottom.py",
        "plugin_pack/table.csv",
    }
    (own / "blurring.py").write_text("SIGMA = 4", encoding="utf-8")
    assert pack(tmp_path, ["blurring", "plugin_pack"]).name != shipped.name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module", "expected the name of a top-level module"),
        ("plugin_pack.blur", "expected the name of a top-level module"),
        ("fast_pack", "cannot ship fast_pack/kernel.so: compiled"),
        ("sys", "no Python source"),
    ],
)
def test_what_no_zip_can_carry_is_refused(name: str, told: str, own: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        pack(tmp_path, [name])
