"""Rendered faces in whole photographs: identical outside, no seam, sharp inside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_dataset import synthesize_small
from typer.testing import CliRunner

from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.datasets.faces.base import open_face_source
from miex.flows.cli import app
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.crop import cut
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.faces.preparation import prepare_face
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.reports.full_frame import FacePlace, face_mask, find_place, paste_back


@pytest.fixture(scope="module")
def dataset(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    out = tmp_path_factory.mktemp("whole") / "whole"
    return DatasetFolder.open(synthesize_small(sample_table, out))


def places(dataset: DatasetFolder, table: Path) -> list[tuple[dict[str, Any], FacePlace]]:
    return [(row, find_place(dataset, row, "samples", table)) for row in dataset.rows()]


def test_the_onset_is_the_photograph(dataset: DatasetFolder, sample_table: Path) -> None:
    for row, place in places(dataset, sample_table):
        frames = decode_frames(row)
        assert np.array_equal(cut(place.photograph, place.transform, place.size), frames[0])
        pages = paste_back(frames, place)
        assert pages.shape[1:] == place.photograph.shape
        assert np.array_equal(pages[0], place.photograph)


def test_the_apex_shows_the_rendered_expression_and_nothing_else_changes(
    dataset: DatasetFolder, sample_table: Path
) -> None:
    for row, place in places(dataset, sample_table):
        onset, apex = decode_frames(row)[[0, -1]]
        (page,) = paste_back(apex[None], place)
        mask = face_mask(place.landmarks, place.size)
        again = cut(page, place.transform, place.size).astype(float)
        inside = mask > 0.95
        before = np.abs(onset.astype(float) - apex)[inside].mean()
        assert np.abs(again - apex)[inside].mean() < 0.35 * before
        changed = (page != place.photograph).any(axis=2)
        assert 0.0005 < changed.mean() < 0.2
        rows, columns = np.nonzero(changed)
        x, y = (np.stack([columns, rows], 1) @ place.transform[:, :2].T + place.transform[:, 2]).T
        edge = place.size - 1
        assert x.min() > 0
        assert y.min() > 0
        assert max(x.max(), y.max()) < edge


def test_there_is_no_seam(dataset: DatasetFolder, sample_table: Path) -> None:
    """Where the change begins it is small: at the edge of the mask no more than a few levels."""
    row, place = places(dataset, sample_table)[2]
    (page,) = paste_back(decode_frames(row)[-1:], place)
    change = np.abs(page.astype(int) - place.photograph.astype(int)).max(axis=2)
    weight = face_mask(place.landmarks, place.size)
    rows, columns = np.mgrid[: change.shape[0], : change.shape[1]]
    points = np.stack([columns, rows], -1) @ place.transform[:, :2].T + place.transform[:, 2]
    x, y = np.rint(np.moveaxis(points, -1, 0)).astype(int)
    within = (x >= 0) & (y >= 0) & (x < place.size) & (y < place.size)
    at_edge = within.copy()
    at_edge[within] = (weight[y[within], x[within]] > 0) & (weight[y[within], x[within]] < 0.1)
    assert at_edge.sum() > 200
    assert change[at_edge].max() <= 6
    assert change.max() > 25


def test_the_photograph_stays_sharp(dataset: DatasetFolder, sample_table: Path) -> None:
    """A photograph four times as large as the crop keeps its texture; pasting would blur it."""
    row, place = places(dataset, sample_table)[1]
    rng = np.random.default_rng(0)
    large = np.asarray(
        Image.fromarray(place.photograph).resize(
            (4 * place.photograph.shape[1], 4 * place.photograph.shape[0]), Image.Resampling.BICUBIC
        )
    )
    large = np.clip(large + rng.normal(0, 8, large.shape[:2])[..., None], 0, 255).astype(np.uint8)
    transform = place.transform.copy()
    transform[:, 2] += transform[:, :2] @ np.array([-3 / 8, -3 / 8])
    transform[:, :2] /= 4
    (page,) = paste_back(
        decode_frames(row)[-1:], FacePlace(large, transform, place.landmarks, place.size)
    )
    changed = (page != large).any(axis=2)

    def texture(image: np.ndarray) -> float:
        grey = image.astype(float).mean(axis=2)
        return float(np.abs(np.diff(grey, axis=1))[changed[:, 1:]].mean())

    assert texture(page) > 0.75 * texture(large)


def test_a_shrunk_photograph_has_the_transform_of_its_own_size() -> None:
    photograph = next(
        each for each in open_face_source("samples").photographs() if each.identity == "friend-4"
    )
    config = FaceConfig(max_side=400)
    face = prepare_face(photograph, config, DlibDetector(config))
    whole = prepare_face(photograph, FaceConfig(), DlibDetector(FaceConfig()))
    assert face.transform is not None
    pixels = np.asarray(Image.open(photograph.path).convert("RGB"))
    assert pixels.shape[1] > 800
    crop = cut(pixels, face.transform, face.crop.shape[0]).astype(float)
    # The same region: a shift by half a pixel of the photograph would be seen in the difference.
    assert np.abs(crop - face.crop).mean() < 6
    assert whole.transform is not None
    middle = np.full(2, face.crop.shape[0] / 2)
    first, second = (
        np.linalg.solve(matrix[:, :2], middle - matrix[:, 2])
        for matrix in (face.transform, whole.transform)
    )
    assert np.hypot(*(first - second)) < 4


def test_the_command_writes_whole_photographs(
    dataset: DatasetFolder, sample_table: Path, tmp_path: Path
) -> None:
    sample = next(dataset.rows(["sample_id"]))["sample_id"]
    words = ["video", str(dataset.folder), sample, "--full-frame", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "name the photographs with --photographs" in result.stderr
    words += ["--photographs", "samples"]
    for kind, count in (("png", 3), ("mp4", 1)):
        result = CliRunner().invoke(app, [*words, "--format", kind])
        assert result.exit_code == 0, result.output
        assert len(list(tmp_path.glob(f"*.{kind}"))) == count
    (_, place), *_ = places(dataset, sample_table)
    first = np.asarray(Image.open(tmp_path / f"{sample}-00.png"))
    assert np.array_equal(first, place.photograph)


def test_tables_of_earlier_versions_are_still_read(sample_table: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from miex.datasets.files import whole_file
    from miex.datasets.seals import SEAL, UNSEALED

    table = pq.read_table(sample_table).drop_columns(["transform"])
    metadata = {**table.schema.metadata, SEAL: UNSEALED.encode()}
    with whole_file(tmp_path / "old.parquet", sealed=True) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary)
    old = FaceTable.open(tmp_path / "old.parquet").load([0])[0]
    new = FaceTable.open(sample_table).load([0])[0]
    assert old.transform is None
    assert new.transform is not None
    assert np.array_equal(old.crop, new.crop)
