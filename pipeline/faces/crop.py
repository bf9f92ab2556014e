"""The crop convention: an upright square around the face, placed by its landmarks.

The line through the eye centres is level, its length is a fixed share of the side
(`FaceConfig.eye_distance`) and its height a fixed share from the top (`FaceConfig.eye_height`).
Horizontally the crop is centred on the extent of the 68 landmarks, which keeps a turned head in
the middle. GANimation wants its faces aligned like this (reference: Pumarola et al. 2018, sec. 6),
and so do the region cuts of micro-expression recognizers.

Pixel centres have integer coordinates throughout.
"""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]

LEFT_EYE = slice(36, 42)
RIGHT_EYE = slice(42, 48)
"""Rows of the 68 landmarks (iBUG 300-W); left and right of the image."""

INNER_LIPS = ((61, 67), (62, 66), (63, 65))
"""Upper and lower landmark of each of the three pairs between the lips."""


def eye_centres(landmarks: NDArray[np.float32]) -> tuple[Points, Points]:
    """Centres of the eye on the left and on the right of the image, ``(2,)`` pixels each."""
    points = landmarks.astype(np.float64)
    return points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0)


def eye_centre_distance(landmarks: NDArray[np.float32]) -> float:
    """Distance of the eye centres, pixels."""
    left, right = eye_centres(landmarks)
    return float(np.hypot(*(right - left)))


def mouth_opening(landmarks: NDArray[np.float32]) -> float:
    """Mean gap between the inner lips in distances of the eye centres."""
    gaps = [np.hypot(*(landmarks[lower] - landmarks[upper])) for upper, lower in INNER_LIPS]
    return float(np.mean(gaps)) / eye_centre_distance(landmarks)


def crop_transform(
    landmarks: NDArray[np.float32], size: int, eye_distance: float, eye_height: float
) -> Points:
    """The similarity that maps the photograph to the crop.

    Args:
        landmarks: ``(68, 2)`` pixels of the photograph.
        size: Side of the crop, pixels.
        eye_distance: Distance of the eye centres as a share of the side.
        eye_height: Height of the eyes from the top as a share of the side.

    Returns:
        ``(2, 3)`` matrix M with ``crop = M @ (x, y, 1)``.

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
    """Maps ``(N, 2)`` points of the photograph into the crop."""
    mapped = points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return mapped.astype(np.float32)


def cut(image: NDArray[np.uint8], matrix: Points, size: int) -> NDArray[np.uint8]:
    """Cuts the crop out of the photograph.

    The photograph is sampled once (bicubic) on a grid k times as fine as the crop, with k so
    large that it never shrinks, and k x k samples are averaged: no aliasing at any scale. Beyond
    its border the photograph is reflected.

    Args:
        image: ``uint8 (H, W, 3)``.
        matrix: `crop_transform`.
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
    """Share of the crop's area that lies outside a photograph of this width and height."""
    edge = size - 0.5
    corners = np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]])
    square = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    right, bottom = width - 0.5, height - 0.5
    photograph = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    inside, _ = cv2.intersectConvexConvex(square.astype(np.float32), photograph.astype(np.float32))
    area = size**2 / abs(float(np.linalg.det(matrix[:, :2])))
    return float(np.clip(1 - inside / area, 0.0, 1.0))
