from pathlib import Path

import cv2
import numpy as np
import pytest

from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import DriftConfig, QualityConfig, SynthesisConfig
from miex.pipeline.synthesis.drift import drift_transform, drifted
from miex.pipeline.synthesis.run import redraw

STRONG = DriftConfig(shift=0.05, turn=1.0, scale=0.01)


def square_of_landmarks() -> np.ndarray:
    """Return 68 landmarks with an eye distance of 40 px and their mean at (64, 60)."""
    points = np.tile([64.0, 60.0], (68, 1))
    points[36:42] -= [20, 0]
    points[42:48] += [20, 0]
    return points.astype(np.float32)


def test_the_change_is_in_the_units_that_are_asked_for() -> None:
    points = square_of_landmarks()
    shift = drift_transform(DriftConfig(shift=0.05), np.array([1.0, -2, 3, 4]), points)
    np.testing.assert_allclose(shift, [[0, 0, 2], [0, 0, -4]], atol=1e-6)
    turn = drift_transform(DriftConfig(turn=1.0), np.array([1.0, 1, 1, 1]), points)
    right_of_the_middle = turn @ [64 + 10, 60, 1]
    np.testing.assert_allclose(right_of_the_middle, [0, 10 * np.pi / 180], atol=1e-6)
    grown = drift_transform(DriftConfig(scale=0.01), np.array([0.0, 0, 0, 1]), points)
    np.testing.assert_allclose(grown @ [74, 40, 1], [0.1, -0.2], atol=1e-6)


def test_content_moves_as_the_change_says() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (96, 96, 3), dtype=np.uint8), (0, 0), 3)
    change = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, -1.0]])
    moved = drifted(image, change)
    assert np.array_equal(moved[8:80, 12:80], image[9:81, 10:78])
    half = drifted(drifted(image, change / 4), change / 4)
    whole = drifted(image, change / 2)
    assert np.abs(half.astype(int) - whole).max() <= 3


def affine(row: dict) -> np.ndarray:
    """Return the mean and the gradients of the flow from onset to apex."""
    frames = decode_frames(row)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames[[0, row["apex_index"]]]]
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    side = len(flow)
    y, x = np.mgrid[:side, :side] / side - 0.5
    basis = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
    return np.linalg.lstsq(basis, flow.reshape(-1, 2), rcond=None)[0]


@pytest.fixture(scope="module")
def two(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Synthesize the same samples without and with drift."""
    folders = []
    for drift in (DriftConfig(), STRONG):
        folder = tmp_path_factory.mktemp("drift") / "dataset"
        config = SynthesisConfig(
            faces=str(sample_table),
            samples=24,
            identities=6,
            drift=drift,
            sequence={"frames": 3},
            quality=QualityConfig(identity_share=0),
        )
        synthesize(config, folder, workers=1)
        folders.append(folder)
    return folders


def test_heads_drift_and_nothing_else_changes(two: list[Path]) -> None:
    still, moving = (list(DatasetFolder.open(folder).rows()) for folder in two)
    for one, other in zip(still, moving, strict=True):
        frames = [decode_frames(row) for row in (one, other)]
        assert np.array_equal(frames[0][0], frames[1][0])
        assert not np.array_equal(frames[0][1], frames[1][1])
        skipped = {"frames", "sample_id"}
        assert {k: v for k, v in one.items() if k not in skipped} == {
            k: v for k, v in other.items() if k not in skipped
        }
    spread = [np.std([affine(row)[0] for row in rows], axis=0) for rows in (still, moving)]
    assert (spread[1] > 4 * spread[0]).all()


def test_half_way_the_head_has_drifted_by_half(two: list[Path]) -> None:
    still, moving = (list(DatasetFolder.open(folder).rows()) for folder in two)
    whole = np.array([affine(b) - affine(a) for a, b in zip(still, moving, strict=True)])[:, 0]
    half = [
        affine(b | {"apex_index": 1}) - affine(a | {"apex_index": 1})
        for a, b in zip(still, moving, strict=True)
    ]
    slope = (whole * np.array(half)[:, 0]).sum() / (whole**2).sum()
    assert slope == pytest.approx(0.5, abs=0.07)


def test_one_row_alone_is_the_same(two: list[Path]) -> None:
    rows = {row["sample_id"]: row for row in DatasetFolder.open(two[1]).rows()}
    name = sorted(rows)[7]
    assert redraw(two[1], name)["frames"] == rows[name]["frames"]


def test_true_means_as_measured() -> None:
    measured = DriftConfig(shift=0.01, turn=0.1, scale=0.003)
    assert SynthesisConfig.model_validate({"drift": True}).drift == measured
    assert not SynthesisConfig.model_validate({"drift": False}).drift.any


def test_without_drift_the_config_is_what_it_was() -> None:
    assert "drift" not in SynthesisConfig().canonical()
    assert SynthesisConfig().sha256() != SynthesisConfig(drift=STRONG).sha256()
