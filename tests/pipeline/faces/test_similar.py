"""Faces with landmarks like those of chosen ones."""

from pathlib import Path

import numpy as np
import pytest

from miex.pipeline.faces.similar import SimilarConfig, five_points, select_similar
from miex.pipeline.faces.table import FaceTable


def test_the_nearest_faces_of_each_query_are_taken_once(sample_table: Path, tmp_path: Path) -> None:
    table = FaceTable.open(sample_table)
    points = five_points(np.stack([f.landmarks for f in table.load(range(len(table)))]))
    distances = np.linalg.norm(points - points[0], axis=2).mean(1)
    config = SimilarConfig(queries=(table.identities[0],), each=4)
    found = select_similar(table, config, tmp_path / "like.parquet")
    expected = sorted(np.argsort(distances, kind="stable")[:4])
    assert found.identities == [table.identities[row] for row in expected]
    left_out = len(table.rejections)
    assert [each.reason for each in found.rejections[left_out:]] == (
        ["unlike_queries"] * (len(table) - 4)
    )
    (one,) = found.load([0])
    (same,) = table.load([int(expected[0])])
    assert np.array_equal(one.crop, same.crop)
    assert found.notes == table.notes


def test_queries_take_turns_and_share_no_face(sample_table: Path, tmp_path: Path) -> None:
    table = FaceTable.open(sample_table)
    two = SimilarConfig(queries=tuple(table.identities[:2]), each=3)
    found = select_similar(table, two, tmp_path / "two.parquet")
    assert len(found) == len(set(found.identities)) == 6
    assert set(table.identities[:2]) <= set(found.identities)


def test_without_queries_the_least_turned_heads_are_taken(
    sample_table: Path, tmp_path: Path
) -> None:
    table = FaceTable.open(sample_table)
    quality = [face.quality for face in table.load(range(len(table)))]
    turned = [np.hypot(each.yaw, each.pitch) for each in quality]
    found = select_similar(table, SimilarConfig(count=2, each=1), tmp_path / "frontal.parquet")
    straight = sorted(np.argsort(turned, kind="stable")[:2])
    assert found.identities == [table.identities[row] for row in straight]


def test_what_cannot_be_selected_is_named(sample_table: Path, tmp_path: Path) -> None:
    table = FaceTable.open(sample_table)
    with pytest.raises(ValueError, match="faces, and 5000 are to be selected; give fewer"):
        select_similar(table, SimilarConfig(), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"query 'nobody' is no identity of .*; there are: "):
        select_similar(table, SimilarConfig(queries=("nobody",), each=1), tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
