"""A folder, FIFO, device, empty file or dangling link where a reader expects a file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from miex.au_sources.calibration import Calibration
from miex.au_sources.expert_table import load_table
from miex.au_sources.pool import AUPool
from miex.datasets.clips.corrections import read_corrections
from miex.datasets.clips.sheets import read_rows
from miex.datasets.config import FrozenConfig, build
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.documents import read_document
from miex.datasets.faces.emotionnet import read_list
from miex.datasets.given_files import read_text, require_file, require_folder
from miex.datasets.lines import read_lines
from miex.generators.ganimation import checkpoint as generators
from miex.generators.ganimation.training_set import TrainingSet
from miex.pipeline.assessment.held_out import open_held_out
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.recognition import checkpoint as recognizers
from miex.pipeline.recognition.results import Result
from miex.pipeline.synthesis.verify import verify

FILES: dict[str, Callable[[Path], object]] = {
    "face table": FaceTable.open,
    "training set": TrainingSet.open,
    "faces of an assessment": open_held_out,
    "pool": AUPool.read,
    "expert table": load_table,
    "calibration": Calibration.read,
    "corrections": read_corrections,
    "config": lambda path: build(FrozenConfig, file=path),
    "recognizer": recognizers.load_checkpoint,
    "generator": generators.load_checkpoint,
    "sheet": lambda path: read_rows(path, {"subject": ("subject",)}),
    "list of EmotionNet": lambda path: list(read_list(path)),
    "lines": lambda path: list(read_lines(path, "list", "give another")),
    "document": lambda path: read_document(path, "document", "write it again"),
}

FOLDERS: dict[str, Callable[[Path], object]] = {
    "dataset": DatasetFolder.open,
    "result": Result.open,
    "verify": verify,
}


def _folder(path: Path) -> None:
    path.mkdir()


def _empty(path: Path) -> None:
    path.touch()


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _circle(path: Path) -> None:
    path.symlink_to(path)


def _below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("x")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _nothing(_: Path) -> None:
    pass


WRONG = [_folder, _empty, _dangling, _circle, _below_a_file, _fifo, _device, _nothing]


@pytest.mark.parametrize("make", WRONG)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_told_in_one_line(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "below" / "given.parquet"
    path.parent.mkdir()
    make(path)
    with pytest.raises((ValueError, OSError)) as caught:
        FILES[name](path)
    assert "given.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [_empty, _dangling, _circle, _fifo, _device, _nothing])
@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_no_folder_is_told_in_one_line(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "given"
    make(path)
    with pytest.raises((ValueError, OSError), match="given") as caught:
        FOLDERS[name](path)
    assert "\n" not in str(caught.value)


def test_the_messages(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "empty").touch()
    for name, message in (
        ("", "is a folder, expected a regular file, a pool; do this"),
        ("empty", r"is empty \(0 bytes\), expected a pool; do this"),
        ("link", "is a link to gone, where nothing is; do this"),
        ("none", "no pool at .*/none; do this"),
        ("n" * 300, "File name too long, expected a pool; do this"),
        ("a\0b", "is no path of a file; do this"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            require_file(tmp_path / name, "pool", "do this")
    with pytest.raises(NotADirectoryError, match="is a file, expected a folder, the data set"):
        require_folder(tmp_path / "empty", "data set", "do this")


def test_a_name_that_is_no_utf8_can_be_printed(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml"))
    with pytest.raises(FileNotFoundError) as caught:
        require_file(path, "config", "do this")
    assert r"\xff.yaml" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(PermissionError, match="may not be read by this user"):
        require_file(path, "config", "do this")


def test_text_has_a_limit_and_no_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_text(path, "config", "do this") == "a: 1"
    with pytest.raises(ValueError, match="is larger than"):
        read_text(path, "config", "do this", most=3)
