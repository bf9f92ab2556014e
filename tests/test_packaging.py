"""The packaging itself: what is installed, what is not, and what must not be shadowed."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

FRONT = ("__init__.py", "__main__.py", "py.typed")
ROOMS = ("pipeline", "generators", "au_sources", "datasets", "flows")
DATA_SUFFIXES = (".csv", ".html", ".js", ".json", ".md", ".safetensors", ".yaml")
_NOT_OURS = ("__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache")


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folders(root: Path) -> list[Path]:
    """Every folder of the five rooms that holds a file, the rooms themselves included."""
    files = (path for room in ROOMS for path in (root / room).rglob("*") if path.is_file())
    return sorted({path.parent for path in files if not set(path.parts) & set(_NOT_OURS)})


def test_the_package_list_equals_the_tree(root, project, folders):
    below = ("miex." + ".".join(path.relative_to(root).parts) for path in folders)
    expected = sorted(["miex", *below])
    assert sorted(project["tool"]["setuptools"]["packages"]) == expected


def test_every_folder_is_typed_and_has_no_init(folders):
    assert [path for path in folders if not (path / "py.typed").is_file()] == []
    assert [path for path in folders if (path / "__init__.py").exists()] == []


def test_the_root_is_the_front_door(root):
    """The only `__init__.py` lies at the root, and nothing but it and `python -m miex`."""
    assert {path.name for path in root.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert (root / "py.typed").is_file()


def test_every_file_in_the_rooms_is_code_or_listed_data(folders, project):
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    assert set(patterns) == {"py.typed", *(f"*{suffix}" for suffix in DATA_SUFFIXES)}
    files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
    allowed = {".py", *DATA_SUFFIXES}
    assert [p for p in files if p.suffix not in allowed and p.name != "py.typed"] == []


def python(root: Path, *arguments: str) -> str:
    """Runs Python in the repository root, without `PYTHONPATH` or an activated environment."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=root, env={"PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_hugging_face_datasets_is_not_shadowed(root):
    """From the root, which is on `sys.path` with `python -c`."""
    code = (
        "import datasets, sys, miex.datasets.base as ours; assert sys.path[0] == ''; "
        "print(callable(datasets.load_dataset), datasets.__file__, ours.__file__, sep='|')"
    )
    loadable, theirs, ours = python(root, "-c", code).split("|")
    assert loadable == "True"
    assert root not in Path(theirs).parents or ".venv" in Path(theirs).parts
    assert Path(ours).resolve() == root / "datasets" / "base.py"


def test_it_is_not_shadowed_under_pytest_either(root, tmp_path):
    """`python -m pytest` puts the root on `sys.path`, and pytest imports the tests by file."""
    test = tmp_path / "test_shadow.py"
    test.write_text(
        "import importlib.util, os, sys\n"
        "def test_shadow():\n"
        "    assert os.getcwd() in sys.path\n"
        "    assert importlib.util.find_spec('datasets').origin.endswith('__init__.py')\n"
    )
    assert "1 passed" in python(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test))


def test_the_bare_rooms_are_no_packages(root):
    """`import generators` may find a folder from the root, but nothing regular."""
    rooms = [room for room in ROOMS if room != "datasets"]
    code = f"import importlib.util as u; print([u.find_spec(n).origin for n in {rooms!r}])"
    assert python(root, "-c", code) == str([None] * len(rooms))


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy, so that nothing is left in the tree."""
    pytest.importorskip("build", reason="the package `build` is part of the extra `dev`")
    copy = tmp_path_factory.mktemp("wheel") / "source"
    keep = (*ROOMS, "kernels", "tests", "docs", ".ci")
    for name in keep:
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns(*_NOT_OURS))
    for path in root.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, copy / path.name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    done = subprocess.run(
        [*command, copy.parent / "dist", copy], capture_output=True, text=True, cwd=copy.parent
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (path,) = (copy.parent / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_carries_only_the_package(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (information,) = tops - {"miex"}
    assert re.fullmatch(r"miex-[\d.]+\.dist-info", information)
    inside = {name.split("/")[1] for name in wheel.namelist() if name.startswith("miex/")}
    assert {name for name in inside if not name.startswith("_kernels.")} == {*ROOMS, *FRONT}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_wheel_carries_the_kernels_for_every_python(wheel):
    library = [name for name in wheel.namelist() if name.startswith("miex/_kernels.")]
    assert len(library) == 1
    assert re.match(r"miex-[\d.]+-cp311-abi3-", Path(wheel.filename).name)


def test_the_wheel_carries_every_file_of_the_rooms(wheel, root, folders):
    expected = {
        "miex/" + path.relative_to(root).as_posix()
        for folder in folders
        for path in folder.iterdir()
        if path.is_file()
    }
    expected |= {f"miex/{name}" for name in FRONT}
    packed = {
        name
        for name in wheel.namelist()
        if name.startswith("miex/") and not name.startswith("miex/_kernels.")
    }
    assert packed == expected
    assert {Path(name).suffix for name in packed} >= {".py", ".csv", ".yaml", ".html", ".md"}


def test_the_wheel_carries_the_licence(wheel):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_constraints_hold_versions_and_nothing_else(root):
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    wrong = [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][\w.!]*", line)]
    assert wrong == []
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(set(names))


def test_every_dependency_is_constrained(root, project):
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    constrained = {line.split("==")[0] for line in text.splitlines()}
    extras = project["project"]["optional-dependencies"]
    wanted = project["project"]["dependencies"] + extras["dev"]
    names = {re.match(r"[\w-]+", entry).group().lower().replace("_", "-") for entry in wanted}
    assert names - constrained == set()


def test_console_scripts_resolve(project):
    scripts = project["project"]["scripts"]
    installed = {entry.name: entry.value for entry in entry_points(group="console_scripts")}
    for name, target in scripts.items():
        module, _, attribute = target.partition(":")
        assert callable(getattr(import_module(module), attribute))
        assert installed[name] == target
