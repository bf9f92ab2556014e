"""The file that a generator learns from."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from miex.au_sources.action_units import AU_NAMES
from miex.generators.ganimation import training_set as module
from miex.generators.ganimation.training_notes import AUAgreement, TrainingNotes
from miex.generators.ganimation.training_set import (
    SPLITS,
    TrainingFaces,
    TrainingRow,
    TrainingSet,
    write_training_set,
)

SIZE = 32


def notes_of(**changes) -> TrainingNotes:
    agreement = tuple(
        AUAgreement(name, trusted=name != "AU14", reason="drawn", correlation=0.5)
        for name in AU_NAMES
    )
    given = {
        "image_size": SIZE,
        "source": "drawn",
        "estimator": "fake",
        "estimator_version": "fake 1",
        "agreement": agreement,
        "same_person": (("p1", "p2"),),
    }
    return TrainingNotes(**given | changes)


def image_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def row_of(number: int, **changes) -> TrainingRow:
    """Photograph `number` of person `number // 2`; four people a split."""
    rng = np.random.default_rng([7, number])
    aus = rng.uniform(0, 5, 17).astype(np.float32)
    aus[number % 17] = np.nan
    encoded = cv2.imencode(".png", cv2.cvtColor(image_of(number), cv2.COLOR_RGB2BGR))[1]
    given = {
        "image": encoded.tobytes(),
        "suffix": "png",
        "landmarks": rng.uniform(0, SIZE, (68, 2)).astype(np.float32),
        "aus": aus,
        "identity": f"p{number // 2}",
        "origin": f"drawn:p{number // 2}/{number}.jpg",
        "split": SPLITS[number // 8],
    }
    return TrainingRow(**given | changes)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "training.parquet"
    write_training_set(path, map(row_of, range(24)), notes_of())
    return path


def test_what_is_written_is_read(written):
    found = TrainingSet.open(str(written))
    assert len(found) == 24
    assert found.image_size == SIZE
    assert found.notes == notes_of()
    assert [name for name, ok in zip(AU_NAMES, found.trusted, strict=True) if not ok] == ["AU14"]
    assert len(found.sha256) == 64
    for place, split in enumerate(SPLITS):
        faces = found.faces(split)
        rows = [row_of(number) for number in range(8 * place, 8 * place + 8)]
        assert len(faces) == found.count(split) == 8
        assert faces.identities == tuple(row.identity for row in rows)
        assert faces.origins == tuple(row.origin for row in rows)
        expected = np.stack([image_of(number) for number in range(8 * place, 8 * place + 8)])
        np.testing.assert_array_equal(faces.images, expected)
        np.testing.assert_array_equal(faces.landmarks, np.stack([row.landmarks for row in rows]))
        np.testing.assert_array_equal(faces.aus, np.stack([row.aus for row in rows]))
        np.testing.assert_array_equal(faces.aus, found.aus(split))
        assert (~faces.valid).sum(axis=1).tolist() == [1] * 8
        assert (faces.landmarks.dtype, faces.aus.dtype) == (np.float32, np.float32)


def test_splits_that_share_a_group_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 5)
    path = tmp_path / "t.parquet"
    told = []
    write_training_set(path, map(row_of, reversed(range(24))), notes_of())
    assert pq.ParquetFile(path).num_row_groups == 5
    found = TrainingSet.open(path)
    assert found.faces("validation", told.append).origins == tuple(
        row_of(number).origin for number in reversed(range(8, 16))
    )
    assert told[-1] == 8


def test_an_empty_split(tmp_path):
    path = tmp_path / "t.parquet"
    write_training_set(path, map(row_of, range(8)), notes_of())
    faces = TrainingSet.open(path).faces("held_out")
    assert len(faces) == 0
    assert faces.images.shape == (0, SIZE, SIZE, 3)
    assert faces.landmarks.shape == (0, 68, 2)


def test_some_crops(written):
    crops = TrainingSet.open(written).crops(["drawn:p5/11.jpg", "drawn:p0/1.jpg", "absent"])
    assert sorted(crops) == ["drawn:p0/1.jpg", "drawn:p5/11.jpg"]
    np.testing.assert_array_equal(crops["drawn:p5/11.jpg"], image_of(11))


def test_hugging_face_sees_images(written):
    features = json.loads(pq.read_schema(written).metadata[b"huggingface"])["info"]["features"]
    assert features["crop"] == {"_type": "Image"}
    assert list(features) == pq.read_schema(written).names
    row = pq.read_table(written).to_pylist()[3]
    assert row["crop"]["path"] == "p1/3.png"


def test_equal_rows_give_equal_bytes(written, tmp_path):
    again = tmp_path / "again.parquet"
    write_training_set(again, map(row_of, range(24)), notes_of())
    assert again.read_bytes() == written.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "held_out"}, "'p2' belongs to train already"),
        ({"split": "test"}, "split 'test', expected train"),
        ({"origin": "drawn:p0/0.jpg"}, "drawn:p0/0.jpg occurs twice"),
        ({"landmarks": np.zeros((5, 2), np.float32)}, r"landmarks of shape \(5, 2\)"),
        ({"landmarks": np.full((68, 2), np.nan, np.float32)}, "all finite"),
        ({"aus": np.full(17, 6, np.float32)}, "drawn:p2/5.jpg: AU01 is 6"),
        ({"aus": np.zeros((1, 17), np.float32)}, r"AUs of shape \(1, 17\)"),
    ],
)
def test_wrong_rows_are_named_and_nothing_is_left(tmp_path, changes, message):
    rows = [*map(row_of, range(5)), row_of(5, **changes)]
    with pytest.raises(ValueError, match=message):
        write_training_set(tmp_path / "t.parquet", rows, notes_of())
    assert list(tmp_path.iterdir()) == []


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no photograph"):
        write_training_set(tmp_path / "t.parquet", [], notes_of())


def test_notes_are_about_the_17_aus():
    with pytest.raises(ValueError, match="expected one entry each for AU01"):
        notes_of(agreement=())


def test_faces_of_shapes_that_do_not_agree():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    good = (np.zeros((2, 68, 2), np.float32), np.zeros((2, 17), np.float32), ("a", "b"))
    assert len(TrainingFaces(images, *good, ("o", "p"))) == 2
    with pytest.raises(ValueError, match=r"images of shape \(2, 8, 4, 3\)"):
        TrainingFaces(images[:, :, :4], *good, ("o", "p"))
    with pytest.raises(ValueError, match=r"origins of shape \(1,\)"):
        TrainingFaces(images, *good, ("o",))


def test_files_that_are_none(tmp_path, written):
    with pytest.raises(FileNotFoundError, match="miex training-set"):
        TrainingSet.open(tmp_path / "absent.parquet")
    text = tmp_path / "text.parquet"
    text.write_text("no table")
    with pytest.raises(ValueError, match="no readable Parquet file"):
        TrainingSet.open(text)
    other = tmp_path / "other.parquet"
    pq.write_table(pq.read_table(written).replace_schema_metadata(), other)
    with pytest.raises(ValueError, match="is a Parquet file but no training set; make one"):
        TrainingSet.open(other)
    with pytest.raises(ValueError, match="split 'test', expected one of train"):
        TrainingSet.open(written).faces("test")


def test_a_damaged_file_is_said_to_be(written):
    content = bytearray(written.read_bytes())
    content[2000:3000] = bytes(1000)
    written.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        TrainingSet.open(written).faces("train")


def test_a_crop_of_another_size_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    write_training_set(path, [row_of(0)], notes_of(image_size=64))
    with pytest.raises(ValueError, match=r"drawn:p0/0.jpg has shape \(32, 32, 3\)"):
        TrainingSet.open(path).faces("train")


def test_reading_needs_neither_dlib_nor_pyfeat_nor_prefect(written):
    code = (
        "import sys; from miex.generators.ganimation.training_set import TrainingSet; "
        f"print(len(TrainingSet.open({str(written)!r}).faces('train')), "
        "sorted({'dlib', 'feat', 'prefect', 'mediapipe'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=written.parent
    )
    assert answer.stdout.split() == ["8", "[]"]
