"""Crop the aligned, masked face of 112 x 112 pixels that OpenFace's AU regressors take.

The crop follows OpenFace's `AlignFaceMask` (Baltrušaitis, Mahmoud and Robinson: Cross-dataset
learning and person-specific normalisation for automatic Action Unit detection, FG 2015, section
III).
"""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.au_sources.estimators._openface_shape import Array, read_matrices
from miex.au_sources.face_motion import LANDMARK_COUNT

SIDE = 112
"""Pixels of the crop's side (OpenFace's `sim_size_au`)."""

_SCALE = 0.7
"""Pixels of the crop for a millimetre of the shape model (OpenFace's `sim_scale_au`)."""

_FOREHEAD = 30.0
"""Pixels by which the mask reaches above brows and temples."""

_BROWS_AND_TEMPLES = [0, *range(16, 27)]

_RIGID = [
    1,
    2,
    3,
    4,
    12,
    13,
    14,
    15,
    27,
    28,
    29,
    31,
    32,
    33,
    34,
    35,
    36,
    39,
    40,
    41,
    42,
    45,
    46,
    47,
]
"""Landmarks that expressions move least (OpenFace's `extract_rigid_points`)."""

_FRACTION_BITS = 8
"""OpenCV's polygons have fixed-point corners."""

_SUPERSAMPLING = 4
"""OpenCV fills the pixels that an outline touches; on a finer grid those are few."""


def similarity(landmarks: Array, mean: Array, centre: Array) -> Array:
    """Return the transform that brings a face to the middle of the crop, upright.

    Turn and scale bring the rigid landmarks to those of the mean face: the turn by Kabsch's
    method (1976), the scale as the ratio of their spreads (OpenFace's `AlignShapesWithScale`).

    Args:
        landmarks: ``(68, 2)`` pixels of the image.
        mean: ``(3, 68)`` mean face, millimetres.
        centre: ``(2,)`` the fitted model's origin in the image, pixels.

    Returns:
        ``(2, 3)`` affine matrix from the image to the crop.
    """
    source = landmarks[_RIGID] - landmarks[_RIGID].mean(axis=0)
    target = _SCALE * mean[:2, _RIGID].T
    target = target - target.mean(axis=0)
    left, _, right = np.linalg.svd(target.T @ source)
    turn = left @ np.diag([1.0, np.linalg.det(left @ right)]) @ right
    turn *= np.linalg.norm(target) / np.linalg.norm(source)
    return np.column_stack([turn, SIDE / 2 - turn @ centre])


def read_outline(path: Path) -> NDArray[np.intp]:
    """Return the landmarks of the face outline in order: edges of one triangle only.

    Args:
        path: OpenFace's triangulation of the 68 landmarks.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file holds something else, or the triangles' border is no single loop.
    """
    (matrix,) = read_matrices(path, 1)
    if matrix.shape[1] != 3 or not np.isin(matrix, np.arange(LANDMARK_COUNT)).all():
        raise ValueError(f"{path}: expected triangles of the landmarks 0 to {LANDMARK_COUNT - 1}")
    sides = [
        tuple(sorted(side))
        for a, b, c in matrix.astype(int).tolist()
        for side in ((a, b), (b, c), (c, a))
    ]
    border = [side for side, count in Counter(sides).items() if count == 1]
    neighbours: dict[int, list[int]] = {}
    for a, b in border:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    start, following = border[0]
    loop = [start, following]
    while len(loop) < len(border) and len(neighbours[loop[-1]]) == 2:
        loop.append(next(point for point in neighbours[loop[-1]] if point != loop[-2]))
    if len(set(loop)) != len(border) or start not in neighbours[loop[-1]]:
        raise ValueError(f"{path}: the triangles' border is no single loop around the face")
    return np.array(loop)


def crop(
    image: NDArray[np.uint8], landmarks: Array, transform: Array, outline: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Cut the face out of an image.

    Args:
        image: ``uint8 (H, W, 3)``.
        landmarks: ``(68, 2)`` pixels of the image.
        transform: From `similarity`.
        outline: From `read_outline`.

    Returns:
        ``uint8 (112, 112, 3)``, black outside the face.
    """
    size = (SIDE, SIDE)
    aligned = np.asarray(cv2.warpAffine(image, transform, size, flags=cv2.INTER_LINEAR), np.uint8)
    points = landmarks @ transform[:, :2].T + transform[:, 2]
    points[_BROWS_AND_TEMPLES, 1] -= _FOREHEAD
    corners = np.round(points[outline] * _SUPERSAMPLING * 2**_FRACTION_BITS).astype(np.int32)
    fine = np.zeros((SIDE * _SUPERSAMPLING, SIDE * _SUPERSAMPLING), np.uint8)
    cv2.fillPoly(fine, [corners], 1, shift=_FRACTION_BITS)
    return aligned * fine[::_SUPERSAMPLING, ::_SUPERSAMPLING, None]
