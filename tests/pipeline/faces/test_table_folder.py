from pathlib import Path

import fake_faces as fakes
import numpy as np
import pyarrow as pa
import pytest

from miex.datasets.storage import remove, sizes
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.identities import ListedIdentities, StoredIdentities
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable, _write_identities
from miex.pipeline.faces.table_file import ParquetPart

SEVERAL = FaceConfig(templates_per_identity=3)


def prepare(folder: Path, out: Path, config: FaceConfig = SEVERAL) -> FaceTable:
    source = fakes.drawn_source(folder, people=9)
    return prepare_faces(source, out, config, workers=1, detector=fakes.FakeDetector)


def assert_equal(table: FaceTable, whole: FaceTable) -> None:
    assert len(table.parts) == -(-len(whole) // 4)
    assert table.identities == whole.identities
    assert table.rejections == whole.rejections
    assert table.rejection_counts == whole.rejection_counts
    assert table.notes == whole.notes
    rows = [len(whole) - 1, 0, 3, 4, 0]
    for one, other in zip(table.load(rows), whole.load(rows), strict=True):
        assert one.origin == other.origin
        np.testing.assert_array_equal(one.crop, other.crop)
        np.testing.assert_array_equal(one.embedding, other.embedding)
    assert len(table.people) == len(whole.people)
    for number in range(len(whole.people)):
        assert list(table.people.rows_of(number)) == list(whole.people.rows_of(number))


def test_a_folder_holds_the_same_table_as_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(tmp_path, tmp_path / "whole.parquet")
    monkeypatch.setattr("miex.pipeline.faces.table.ROWS_PER_PART", 4)
    out = tmp_path / "parts.parquet"
    table = prepare(tmp_path, out)
    assert_equal(table, whole)
    assert sorted(sizes(out)) == ["_index.json", *(f"part-0000{n}.parquet" for n in range(3))]
    first = {name: (out / name).stat().st_mtime_ns for name in sizes(out)}
    assert prepare(tmp_path, out).sha256 == table.sha256
    assert {name: (out / name).stat().st_mtime_ns for name in sizes(out)} == first
    with pytest.raises(ValueError, match="already exists"):
        prepare(tmp_path, out, FaceConfig(max_yaw=1.5))


def test_a_table_at_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEX_CACHE", str(tmp_path / "cache"))
    whole = prepare(tmp_path, tmp_path / "whole.parquet")
    for name, per_part in (("one", 100), ("several", 4)):
        monkeypatch.setattr("miex.pipeline.faces.table.ROWS_PER_PART", per_part)
        out = Path(f"memory://{tmp_path.name}/{name}.parquet")
        table = prepare(tmp_path, out)
        assert table.identities == whole.identities
        assert [face.origin for face in table.load([8, 0])] == [
            face.origin for face in whole.load([8, 0])
        ]
        assert prepare(tmp_path, out).sha256 == table.sha256
        remove(out)
        with pytest.raises(FileNotFoundError, match="nothing at memory://"):
            FaceTable.open(out)


@pytest.mark.parametrize("at", [0.3, 0.999])
def test_damage_is_found_in_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: float
) -> None:
    monkeypatch.setattr("miex.pipeline.faces.table.ROWS_PER_PART", 4)
    table = prepare(tmp_path, tmp_path / "f.parquet")
    part = table.parts[1].path
    content = bytearray(part.read_bytes())
    content[int(len(content) * at) - 9] ^= 255
    part.write_bytes(content)
    again = FaceTable.open(tmp_path / "f.parquet")
    assert again.load([0])[0].identity == "p0"
    with pytest.raises(ValueError, match=r"part-00001.*(damaged|no complete)"):
        again.load([4, 5, 6, 7])


def test_identities_with_several_rows_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoredIdentities, "ROWS_PER_GROUP", 2)
    names = ["b", "a", "b", "c", "a", "d", "b"]
    path = tmp_path / "_identities.parquet"
    known = _write_identities(path, pa.chunked_array([names[:3], names[3:]]))
    stored = StoredIdentities(known["count"], ParquetPart(path, known["footer"]))
    listed = ListedIdentities(names)
    assert len(stored) == len(listed) == 4
    for number in range(4):
        assert list(stored.rows_of(number)) == list(listed.rows_of(number))
