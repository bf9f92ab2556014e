import cv2
import numpy as np
import pytest

from miex.au_sources.face_motion import motion_table
from miex.pipeline.faces.crop import (
    crop_transform,
    cut,
    eye_centre_distance,
    eye_centres,
    mouth_opening,
    outside_share,
    transform_points,
)


def face(x=120.0, y=100.0, scale=50.0, roll=0.0) -> np.ndarray:
    angle = np.radians(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = motion_table().neutral[:, :2] @ turn.T
    return (scale * points + (x, y)).astype(np.float32)


@pytest.mark.parametrize("roll", [-40, 0, 25])
@pytest.mark.parametrize("size", [64, 128, 512])
def test_eyes_come_to_the_stated_place(roll, size):
    landmarks = face(roll=roll)
    matrix = crop_transform(landmarks, size, 0.30, 0.38)
    left, right = eye_centres(transform_points(matrix, landmarks))
    assert np.hypot(*(right - left)) == pytest.approx(0.30 * size, rel=1e-4)
    assert left[1] == pytest.approx(right[1], abs=1e-3)
    assert left[1] == pytest.approx(0.38 * size - 0.5, abs=1e-2)


def test_forehead_and_a_dropped_jaw_fit_in():
    landmarks = transform_points(crop_transform(face(), 128, 0.30, 0.38), face())
    assert landmarks[:, 0].min() > 8
    assert landmarks[:, 0].max() < 119
    assert landmarks[8, 1] < 122
    brows = landmarks[17:27, 1].min()
    assert brows > 20


def test_crop_and_landmarks_agree():
    landmarks = face(roll=20)
    image = np.zeros((260, 260, 3), np.uint8)
    for index in (36, 45, 30, 8):
        cv2.circle(image, tuple(landmarks[index].round().astype(int).tolist()), 3, (255,) * 3, -1)
    matrix = crop_transform(landmarks, 128, 0.30, 0.38)
    crop = cut(image, matrix, 128)
    for index in (36, 45, 30, 8):
        x, y = transform_points(matrix, landmarks)[index].round().astype(int)
        assert crop[y, x].min() > 200


def test_shrinking_does_not_alias():
    board = np.indices((1000, 1000)).sum(axis=0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    crop = cut(image, crop_transform(face(500, 450, 200), 64, 0.30, 0.38), 64)
    assert crop[5:-5, 5:-5].std() < 12
    assert abs(crop.mean() - 127) < 3


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.2)])
def test_shrinking_keeps_the_place(shift):
    y, x = np.mgrid[0:800, 0:800]
    ramp = np.stack([x / 4, y / 4, x * 0], axis=-1).astype(np.uint8)
    landmarks = face(400 + shift[0], 380 + shift[1], 170)
    matrix = crop_transform(landmarks, 64, 0.30, 0.38)
    crop = cut(ramp, matrix, 64)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    for column, row in [(10, 10), (32, 50), (60, 3)]:
        expected = (inverse @ (column, row, 1))[:2] / 4
        np.testing.assert_allclose(crop[row, column, :2], expected, atol=1.0)


def test_outside_share():
    landmarks = face(120, 110, 50)
    matrix = crop_transform(landmarks, 128, 0.30, 0.38)
    assert outside_share(matrix, 128, 400, 400) == pytest.approx(0, abs=1e-6)
    mask = cv2.warpAffine(np.ones((110, 240), np.uint8) * 255, matrix, (128, 128))
    assert outside_share(matrix, 128, 240, 110) == pytest.approx(1 - mask.mean() / 255, abs=0.01)
    far = crop_transform(face(5000, 5000, 50), 128, 0.30, 0.38)
    assert outside_share(far, 128, 240, 240) == pytest.approx(1)


def test_beyond_the_border_the_photograph_is_reflected():
    image = np.full((200, 200, 3), 90, np.uint8)
    crop = cut(image, crop_transform(face(5, 5, 40), 64, 0.30, 0.38), 64)
    assert (crop == 90).all()


def test_measures():
    landmarks = face(scale=50)
    assert eye_centre_distance(landmarks) == pytest.approx(50, rel=1e-3)  # the table's unit
    shut = landmarks.copy()
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        shut[lower] = shut[upper]
    assert mouth_opening(shut) == 0
    shut[65:68, 1] += 0.2 * eye_centre_distance(landmarks)
    assert mouth_opening(shut) == pytest.approx(0.2, rel=1e-3)


def test_no_face_at_all():
    with pytest.raises(ValueError, match="coincide"):
        crop_transform(np.zeros((68, 2), np.float32), 128, 0.3, 0.38)
