"""Gradients, shape model, crop and median, each against a slow and separate computation."""

import math

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from miex.au_sources.estimators import _openface_crop as crops
from miex.au_sources.estimators._openface_fhog import fhog
from miex.au_sources.estimators._openface_median import HistogramMedian
from miex.au_sources.estimators._openface_shape import ShapeModel, read_matrices

DIRECTIONS = [(1, 0), (0.9397, 0.3420), (0.7660, 0.6428), (0.5, 0.8660), (0.1736, 0.9848)]
DIRECTIONS += [(-0.1736, 0.9848), (-0.5, 0.8660), (-0.7660, 0.6428), (-0.9397, 0.3420)]


def slow_fhog(image: np.ndarray) -> np.ndarray:
    """One pixel and one cell after the other, as section 6.1 of Felzenszwalb et al. says."""
    height, width = image.shape[:2]
    rows, columns = height // 8, width // 8
    histogram = np.zeros((rows, columns, 18))
    pixels = image.astype(int)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            best = (-1.0, 0, 0)
            for channel in range(3):
                dx = pixels[y, x + 1, channel] - pixels[y, x - 1, channel]
                dy = pixels[y + 1, x, channel] - pixels[y - 1, x, channel]
                if dx * dx + dy * dy > best[0]:
                    best = (dx * dx + dy * dy, dx, dy)
            squared, dx, dy = best
            nearest, along = 0, 0.0
            for direction, (ux, uy) in enumerate(DIRECTIONS):
                dot = ux * dx + uy * dy
                if abs(dot) > along:
                    along, nearest = abs(dot), direction if dot > 0 else direction + 9
            row, column = (y + 0.5) / 8 - 0.5, (x + 0.5) / 8 - 0.5
            top, left = math.floor(row), math.floor(column)
            for r, weight_r in ((top, 1 - row + top), (top + 1, row - top)):
                for c, weight_c in ((left, 1 - column + left), (left + 1, column - left)):
                    if 0 <= r < rows and 0 <= c < columns:
                        histogram[r, c, nearest] += weight_r * weight_c * math.sqrt(squared)
    energy = ((histogram[..., :9] + histogram[..., 9:]) ** 2).sum(-1)
    features = np.zeros((rows - 2, columns - 2, 31))
    for r in range(1, rows - 1):
        for c in range(1, columns - 1):
            for corner, (down, right) in enumerate(((1, 1), (-1, 1), (1, -1), (-1, -1))):
                block = energy[r, c] + energy[r + down, c] + energy[r, c + right]
                norm = math.sqrt(block + energy[r + down, c + right] + 1e-4)
                directed = np.minimum(histogram[r, c] / norm, 0.2)
                both = np.minimum((histogram[r, c, :9] + histogram[r, c, 9:]) / norm, 0.2)
                features[r - 1, c - 1, :18] += 0.5 * directed
                features[r - 1, c - 1, 18:27] += 0.5 * both
                features[r - 1, c - 1, 27 + corner] = 0.2357 * directed.sum()
    return features


def test_gradients_equal_a_pixel_by_pixel_computation():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 40, 32, 3), dtype=np.uint8)
    pictures[1] //= 64  # many equal and vanishing gradients
    pictures[2, :20] = 0
    found = fhog(pictures)
    assert found.shape == (3, 3, 2, 31)
    expected = np.stack([slow_fhog(picture) for picture in pictures])
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_gradients_of_nothing_are_zero():
    assert not fhog(np.full((1, 32, 32, 3), 90, np.uint8)).any()


@pytest.mark.parametrize("shape", [(1, 30, 32, 3), (1, 16, 32, 3), (32, 32, 3), (1, 32, 32, 1)])
def test_gradients_want_whole_cells(shape):
    with pytest.raises(ValueError, match="multiples of 8"):
        fhog(np.zeros(shape, np.uint8))


@pytest.fixture
def model(model_folder) -> ShapeModel:
    return ShapeModel.read(model_folder / "pdm.txt")


def project(model: ShapeModel, scale, rotation, translation, modes) -> np.ndarray:
    shape = model.mean + np.einsum("apm,m->ap", model.modes, modes)
    return scale * (rotation @ shape)[:2].T + translation


def slow_fit(model: ShapeModel, points: np.ndarray) -> tuple[np.ndarray, float]:
    """The same objective, left to a general solver: amplitudes and the objective's value."""

    def residuals(p: np.ndarray) -> np.ndarray:
        rotation = Rotation.from_rotvec(p[1:4]).as_matrix()
        error = points - project(model, p[0], rotation, p[4:6], p[6:])
        return np.concatenate([error.ravel(), p[6:] / np.sqrt(model.variances)])

    start = np.array([1.2, 0, 0, 0, *points.mean(axis=0), *np.zeros(len(model.variances))])
    found = least_squares(residuals, start, x_scale="jac", xtol=1e-12, ftol=1e-12)
    return found.x[6:], float(found.cost)


def test_the_fit_is_the_least_of_its_objective(model, landmarks):
    fit = model.fit(landmarks)
    for row, points in enumerate(landmarks):
        modes, cost = slow_fit(model, points)
        parts = fit.scale[row], fit.rotation[row], fit.translation[row], fit.modes[row]
        error = points - project(model, *parts)
        prior = fit.modes[row] ** 2 / model.variances
        assert ((error**2).sum() + prior.sum()) / 2 == pytest.approx(cost, rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(fit.modes[row], modes, atol=0.05)


def test_rotations_are_rotations(model, landmarks):
    rotation = model.fit(landmarks).rotation
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), [np.eye(3)] * 4, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(rotation), 1)


def test_each_face_is_fitted_by_itself(model, landmarks):
    together = model.fit(landmarks)
    for row in range(len(landmarks)):
        alone = model.fit(landmarks[row : row + 1])
        np.testing.assert_allclose(alone.modes[0], together.modes[row], atol=1e-9)
    assert len(model.fit(landmarks[:0]).scale) == 0


def test_geometry_is_displacement_then_amplitudes(model, landmarks):
    fit = model.fit(landmarks)
    geometry = model.geometry(fit)
    assert geometry.shape == (4, 3 * 68 + 5)
    moved = np.einsum("apm,m->ap", model.modes, fit.modes[1])
    np.testing.assert_allclose(geometry[1, :204], moved.ravel())
    np.testing.assert_allclose(geometry[1, 204:], fit.modes[1])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("# only\n1 1\n", "cut off"), ("1 2 6 0.5 x", "no number"), ("1 1 6 0.5", "matrix 2 of 2")],
)
def test_bad_matrices_are_named(tmp_path, text, complaint):
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"m\.txt.*{complaint}"):
        read_matrices(tmp_path / "m.txt", 2)


def test_a_shape_model_of_other_landmarks_is_refused(tmp_path):
    (tmp_path / "pdm.txt").write_text("3 1 6 1 2 3\n3 1 6 1 2 3\n1 1 6 1\n")
    with pytest.raises(ValueError, match="68 landmarks"):
        ShapeModel.read(tmp_path / "pdm.txt")


def test_the_crop_does_not_depend_on_place_size_and_turn(model, model_folder, landmarks, images):
    outline = crops.read_outline(model_folder / "tris.txt")

    def cut(image, points):
        fit = model.fit(points[None])
        transform = crops.similarity(points, model.mean, fit.translation[0])
        return crops.crop(image, points, transform, outline).astype(int)

    upright = cut(images[0], landmarks[1])
    turned = np.rot90(images[0])  # counterclockwise: (x, y) goes to (y, width - 1 - x)
    points = np.stack([landmarks[1][:, 1], images[0].shape[1] - 1 - landmarks[1][:, 0]], axis=1)
    difference = np.abs(upright - cut(np.ascontiguousarray(turned), points))
    assert (difference > 4).mean() < 0.01


def test_rigid_landmarks_come_to_those_of_the_mean_face(model):
    points = 1.7 * model.mean[:2].T @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + (200, 150)
    transform = crops.similarity(points, model.mean, np.array([200.0, 150.0]))
    there = points @ transform[:, :2].T + transform[:, 2]
    np.testing.assert_allclose(there, 0.7 * model.mean[:2].T + 56, atol=1e-9)


def test_the_mask_is_the_union_of_the_triangles(model, model_folder, landmarks):
    (triangles,) = read_matrices(model_folder / "tris.txt", 1)
    points = landmarks[0]
    transform = crops.similarity(points, model.mean, model.fit(points[None]).translation[0])
    white = np.full((260, 300, 3), 255, np.uint8)
    outline = crops.read_outline(model_folder / "tris.txt")
    mask = crops.crop(white, points, transform, outline)[..., 0] > 0
    corners = points @ transform[:, :2].T + transform[:, 2]
    corners[[0, *range(16, 27)], 1] -= 30
    y, x = np.mgrid[0:112, 0:112]
    expected = np.zeros((112, 112), bool)
    for a, b, c in corners[triangles.astype(int)]:
        sides = [
            (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])
            for p, q in ((a, b), (b, c), (c, a))
        ]
        expected |= np.all(np.array(sides) >= 0, 0) | np.all(np.array(sides) <= 0, 0)
    assert (mask != expected).sum() < 0.1 * np.sqrt(expected.sum()) * 4
    assert not (expected & ~mask).any()


def test_an_outline_needs_one_loop(tmp_path):
    (tmp_path / "t.txt").write_text("2 3 4\n0 1 2\n3 4 5\n")
    with pytest.raises(ValueError, match="single loop"):
        crops.read_outline(tmp_path / "t.txt")
    (tmp_path / "t.txt").write_text("1 3 4\n0 1 99\n")
    with pytest.raises(ValueError, match="landmarks 0 to 67"):
        crops.read_outline(tmp_path / "t.txt")


@pytest.mark.parametrize("count", [1, 2, 51, 200])
def test_the_median_is_exact_to_half_a_bin(count):
    values = np.random.default_rng(0).normal(0, 1, (count, 7))
    median = HistogramMedian(7, -5, 5, 1000)
    for first in range(0, count, 16):
        median.add(values[first : first + 16])
    lower = np.sort(values, axis=0)[(count - 1) // 2]
    np.testing.assert_allclose(median.median(), lower, atol=0.005 + 1e-9)


def test_the_median_of_nothing_is_not_a_number():
    assert np.isnan(HistogramMedian(3, 0, 1, 10).median()).all()
