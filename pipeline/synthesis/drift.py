"""Drift of the head: what moves between the onset and the apex of a real clip beside the face.

A generator moves the face alone, and a recognizer that has seen nothing else takes any other motion
for an expression. Faces that drift as people do teach it to look past that.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.pipeline.faces.crop import Points, eye_centre_distance
from miex.pipeline.synthesis.config import DriftConfig


def drift_transform(
    config: DriftConfig, normals: NDArray[np.float64], landmarks: NDArray[np.float32]
) -> Points:
    """How far the head has drifted at the apex.

    Args:
        config: How strongly heads drift.
        normals: ``(4,)`` standard normal draws: right, down, turn, growth.
        landmarks: ``(68, 2)`` of the onset, pixels of the frame; the head turns about their mean.

    Returns:
        ``(2, 3)`` matrix M of the change: a point p moves by ``M @ (p, 1)``, pixels.
    """
    shift = config.shift * eye_centre_distance(landmarks) * normals[:2]
    turn, growth = np.radians(config.turn) * normals[2], config.scale * normals[3]
    # Of so small a turn sine and angle are the same: a drift half as long is half of this matrix.
    linear = np.array([[growth, -turn], [turn, growth]])
    return np.column_stack([linear, shift - linear @ landmarks.mean(axis=0, dtype=np.float64)])


def drifted(image: NDArray[np.uint8], change: Points) -> NDArray[np.uint8]:
    """A frame whose content has drifted.

    Args:
        image: ``uint8 (S, S, 3)``.
        change: ``(2, 3)``, see `drift_transform`; beyond the border the frame is reflected.

    Returns:
        ``uint8 (S, S, 3)``, sampled once (Lanczos), so that it stays as sharp as the onset.
    """
    matrix = np.eye(2, 3) + change
    moved = cv2.warpAffine(
        image,
        matrix,
        image.shape[1::-1],
        flags=cv2.INTER_LANCZOS4,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(moved, np.uint8)
