"""Another installed package adds a plug-in of each kind, and the tests of miex test it.

The examples in `tests/plugins` are one file each, as they would lie in miex or in that package.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from outside_package import EXAMPLE_POINTS, EXAMPLES, write_information

from miex.au_sources.estimators.base import create_estimator, estimator_names
from miex.au_sources.expert_table import load_table
from miex.datasets.clips.base import clip_database_facts, open_clips
from miex.datasets.faces.base import open_face_source
from miex.datasets.labels import Emotion
from miex.generators.base import GeneratorConfig, create_generator
from miex.pipeline.recognition.recognizers.base import (
    create_recognizer,
    recognizer_class,
    recognizer_names,
    recognizer_places,
)
from miex.pipeline.reports.plots.base import plot_names

PLACES = {
    "flow_linear": "pipeline/recognition/recognizers/flow_linear.py",
    "emotion_folders": "datasets/micro/emotion_folders.py",
    "portraits": "datasets/faces/portraits.py",
    "brightness": "au_sources/estimators/brightness.py",
    "blush": "generators/blush.py",
    "identities": "pipeline/reports/plots/identities.py",
}
"""Where the examples would lie in miex."""

SUITES = (
    "tests/pipeline/recognition/test_recognizers.py",
    "tests/datasets/test_readers.py",
    "tests/datasets/faces/test_face_readers.py",
    "tests/au_sources/estimators/test_registry.py",
    "tests/au_sources/test_expert.py",
    "tests/generators/test_registry.py",
    "tests/pipeline/reports/test_plots.py",
)
"""Tests that are parametrised over the plug-ins."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a package with all examples is installed."""
    if any((EXAMPLES.parents[1] / place).is_file() for place in PLACES.values()):
        pytest.skip("the examples lie in miex itself; a name may not be claimed twice")
    folder = tmp_path_factory.mktemp("examples")
    write_information(folder, "examples-of-miex", EXAMPLE_POINTS)
    for path in EXAMPLES.iterdir():
        if path.is_file():
            (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@pytest.fixture
def installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(package)
    return package


def test_names_are_listed_with_their_package(installed: Path) -> None:
    assert "flow_linear" in recognizer_names()
    assert recognizer_places()["flow_linear"] == "examples-of-miex (flow_linear:FlowLinear)"
    assert "brightness" in estimator_names()
    assert "identities" in plot_names()


def test_each_kind_is_used_by_its_name(installed: Path, tmp_path: Path) -> None:
    assert recognizer_class("flow_linear").title == "FlowLinear"
    assert create_recognizer("flow_linear", 3, {"side": 8}).classes == 3
    toy = clip_database_facts("emotion_folders").toy
    assert toy is not None
    clips = open_clips(f"emotion_folders:{toy(tmp_path / 'clips')}").clips()
    assert [clip.emotion for clip in clips] == [Emotion.HAPPINESS, Emotion.SURPRISE]
    for name in ("anna_1.jpg", "anna_2.jpg", "ben_1.png", "notes.txt"):
        (tmp_path / name).touch()
    source = open_face_source(f"portraits:{tmp_path}")
    assert [one.identity for one in source.photographs()] == ["anna", "anna", "ben"]
    assert [one.reason for one in source.skipped()] == ["not_an_image_file"]
    grey = np.full((8, 8, 3), 102, np.uint8)
    assert create_estimator("brightness").estimate([grey]).aus[0, 8] == 2
    assert create_generator(GeneratorConfig(name="blush")).max_intensity == 5
    assert load_table("smile").probabilities(Emotion.HAPPINESS).max() == 1


@pytest.mark.parametrize("name", PLACES)
def test_examples_keep_the_rules_of_the_code(name: str, root: Path) -> None:
    """All rules of ruff, docstrings included, as at the place where the file would lie."""
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", PLACES[name], "-"]
    done = subprocess.run(command, cwd=root, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_examples_have_sound_types(root: Path, tmp_path: Path) -> None:
    (tmp_path / "miex").symlink_to(root, target_is_directory=True)
    files = [str(EXAMPLES / f"{name}.py") for name in (*PLACES, "smile")]
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), *files]
    environment = os.environ | {"MYPYPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_suites_test_what_another_package_adds(package: Path, root: Path) -> None:
    names = [name for points in EXAMPLE_POINTS.values() for name in points]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *SUITES]
    environment = os.environ | {"PYTHONPATH": str(package)}
    done = subprocess.run(
        [*command, "-k", " or ".join(names), "-v"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    for name in names:
        assert f"[{name}]" in done.stdout, name
