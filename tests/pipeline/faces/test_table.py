import json

import fake_faces as fakes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from miex.datasets.base import Rejection
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.faces.table_file import pack_rejections, unpack_rejections


def prepare(source, out) -> FaceTable:
    return prepare_faces(source, out, workers=1, detector=fakes.FakeDetector)


def test_rows_are_loaded_in_any_order_from_any_group(tmp_path, monkeypatch):
    monkeypatch.setattr("miex.pipeline.faces.table_file.ROWS_PER_GROUP", 4)
    table = prepare(fakes.drawn_source(tmp_path, people=11), tmp_path / "f.parquet")
    assert pq.ParquetFile(table.path).num_row_groups == 3
    rows = [9, 0, 9, 4, 3]
    assert [face.identity for face in table.load(rows)] == [f"p{row}" for row in rows]
    assert table.load([]) == []
    with pytest.raises(IndexError, match="row 11"):
        table.load([11])
    with pytest.raises(IndexError):
        table.load([-1])


def test_opening_what_is_no_face_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="no face table at"):
        FaceTable.open(tmp_path / "nothing.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(ValueError, match="no readable Parquet"):
        FaceTable.open(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(ValueError, match="no face table"):
        FaceTable.open(tmp_path / "foreign.parquet")
    table = prepare(fakes.drawn_source(tmp_path, people=3), tmp_path / "f.parquet")
    whole = table.path.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="no readable Parquet"):
        FaceTable.open(tmp_path / "cut.parquet")
    content = pq.read_table(table.path)
    metadata = dict(content.schema.metadata)
    metadata[b"miex"] = json.dumps({**json.loads(metadata[b"miex"]), "format": "miex-faces/9"})
    pq.write_table(content.replace_schema_metadata(metadata), tmp_path / "future.parquet")
    with pytest.raises(ValueError, match="miex-faces/9"):
        FaceTable.open(tmp_path / "future.parquet")


def test_huggingface_opens_the_table(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = prepare(fakes.drawn_source(tmp_path, people=2), tmp_path / "f.parquet")
    rows = datasets.load_dataset(
        "parquet", data_files=str(table.path), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert isinstance(rows[0]["crop"], Image.Image)
    np.testing.assert_array_equal(np.asarray(rows[1]["crop"]), table.load([1])[0].crop)
    assert np.asarray(rows[1]["landmarks"]).shape == (68, 2)


def test_metadata_of_another_version(tmp_path):
    table = prepare(fakes.drawn_source(tmp_path, people=1), tmp_path / "f.parquet")
    content = pq.read_table(table.path)
    for change in ({"config": {"crop_size": 128}}, {"colour": "red"}):
        notes = {**json.loads(content.schema.metadata[b"miex"]), **change}
        metadata = {**content.schema.metadata, b"miex": json.dumps(notes)}
        pq.write_table(content.replace_schema_metadata(metadata), tmp_path / "other.parquet")
        with pytest.raises(ValueError, match="another version of miex"):
            FaceTable.open(tmp_path / "other.parquet")


def test_a_damaged_row_is_reported(tmp_path):
    table = prepare(fakes.drawn_source(tmp_path, people=2), tmp_path / "f.parquet")
    content = bytearray(table.path.read_bytes())
    content[1000:3000] = bytes(2000)
    table.path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged|cannot be decoded"):
        FaceTable.open(table.path).load([0])


def test_a_hundred_thousand_rejections_stay_small():
    rejections = [
        Rejection(f"list:folder/{number:06d}.jpg", "turned", f"yaw {number % 90}, at most 32")
        for number in range(100_000)
    ]
    packed = pack_rejections(rejections)
    assert len(packed) < 1_500_000
    assert unpack_rejections(packed) == rejections
