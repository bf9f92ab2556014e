"""Geometry of the face crop: an upright square whose position is given by the 68 landmarks.

The line through the eye centres is horizontal. Its length is `FaceConfig.eye_distance` times the
side of the crop, and its distance from the upper edge is `FaceConfig.eye_height` times the side.
Horizontally the crop is centred on the extent of the 68 landmarks, so that a turned head stays in
the middle. GANimation is trained on faces aligned in this way (Pumarola et al. 2018, section 6),
and recognizers that cut facial regions out of a frame rely on it.

Pixel centres have integer coordinates in this module.
"""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]

_LEFT_EYE = slice(36, 42)
_RIGHT_EYE = slice(42, 48)
"""Rows of the 68 landmarks (iBUG 300-W order) of the eye on the left and right of the image."""

_INNER_LIPS = ((61, 67), (62, 66), (63, 65))
"""Upper and lower landmark of the three pairs on the inner contour of the lips."""


def eye_centres(landmarks: NDArray[np.float32]) -> tuple[Points, Points]:
    """Return the centres of the eyes on the left and on the right of the image.

    Args:
        landmarks: ``(68, 2)`` pixels, iBUG 300-W order.

    Returns:
        Two ``float64 (2,)`` points (x, y), pixels.
    """
    points = landmarks.astype(np.float64)
    return points[_LEFT_EYE].mean(axis=0), points[_RIGHT_EYE].mean(axis=0)


def eye_centre_distance(landmarks: NDArray[np.float32]) -> float:
    """Return the distance between the eye centres of ``(68, 2)`` landmarks, in their unit."""
    left, right = eye_centres(landmarks)
    return float(np.hypot(*(right - left)))


def mouth_opening(landmarks: NDArray[np.float32]) -> float:
    """Return the mean gap between the inner lips divided by the distance of the eye centres.

    Args:
        landmarks: ``(68, 2)`` pixels, iBUG 300-W order.
    """
    gaps = [np.hypot(*(landmarks[lower] - landmarks[upper])) for upper, lower in _INNER_LIPS]
    return float(np.mean(gaps)) / eye_centre_distance(landmarks)


def crop_transform(
    landmarks: NDArray[np.float32], size: int, eye_distance: float, eye_height: float
) -> Points:
    """Return the similarity transform that maps the photograph to the crop.

    Args:
        landmarks: ``(68, 2)`` pixels of the photograph.
        size: Side of the crop, pixels.
        eye_distance: Distance between the eye centres as a share of the side.
        eye_height: Distance of the eyes from the upper edge as a share of the side.

    Returns:
        ``float64 (2, 3)`` matrix M with ``crop point = M @ (x, y, 1)``.

    Raises:
        ValueError: The eye centres coincide.
    """
    left, right = eye_centres(landmarks)
    span = right - left
    length = float(np.hypot(*span))
    if length < 1e-6:
        raise ValueError("the eye centres coincide: these landmarks describe no face")
    cosine, sine = span / length
    turn = np.array([[cosine, sine], [-sine, cosine]])
    turned = landmarks.astype(np.float64) @ turn.T
    middle = (turned[:, 0].min() + turned[:, 0].max()) / 2
    eyes = (turn @ (left + right))[1] / 2
    scale = eye_distance * size / length
    target = np.array([(size - 1) / 2, eye_height * size - 0.5])
    return np.column_stack([scale * turn, target - scale * np.array([middle, eyes])])


def transform_points(matrix: Points, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map points of the photograph into the crop.

    Args:
        matrix: The transform of `crop_transform`.
        points: ``(N, 2)`` pixels of the photograph.

    Returns:
        ``float32 (N, 2)`` pixels of the crop.
    """
    mapped = points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return mapped.astype(np.float32)


def cut(image: NDArray[np.uint8], matrix: Points, size: int) -> NDArray[np.uint8]:
    """Cut the crop out of the photograph without aliasing.

    The photograph is resampled once, by bicubic interpolation, to k times the size of the crop.
    The factor k is the smallest integer at which this does not reduce the resolution. Blocks of
    k x k samples are then averaged. Outside its border the photograph is continued by reflection.

    Args:
        image: ``uint8 (H, W, 3)``.
        matrix: The transform of `crop_transform`.
        size: Side of the crop, pixels.

    Returns:
        ``uint8 (size, size, 3)``.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    k = max(1, int(np.ceil(1 / scale)))
    fine = k * matrix
    fine[:, 2] += (k - 1) / 2
    grid = cv2.warpAffine(
        image,
        fine,
        (k * size, k * size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if k > 1:
        grid = cv2.resize(grid, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(grid, dtype=np.uint8)


def outside_share(matrix: Points, size: int, width: int, height: int) -> float:
    """Return the share of the crop's area that lies outside the photograph, 0 to 1.

    Args:
        matrix: The transform of `crop_transform`.
        size: Side of the crop, pixels.
        width: Width of the photograph, pixels.
        height: Height of the photograph, pixels.
    """
    edge = size - 0.5
    corners = np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]])
    square = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    right, bottom = width - 0.5, height - 0.5
    photograph = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    inside, _ = cv2.intersectConvexConvex(square.astype(np.float32), photograph.astype(np.float32))
    area = size**2 / abs(float(np.linalg.det(matrix[:, :2])))
    return float(np.clip(1 - inside / area, 0.0, 1.0))
