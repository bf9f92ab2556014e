"""Drift of the head: small head motion between onset and apex, as in real clips.

A generator moves the facial features only. A recognizer that is trained on such frames alone can
mistake head motion for an expression; samples with drift train it to be invariant to that motion.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.pipeline.faces.crop import Points, eye_centre_distance
from miex.pipeline.synthesis.config import DriftConfig


def drift_transform(
    config: DriftConfig, normals: NDArray[np.float64], landmarks: NDArray[np.float32]
) -> Points:
    """Return the head motion from onset to apex as an affine displacement field.

    Args:
        config: Standard deviations of the motion.
        normals: ``float64 (4,)`` standard normal draws for the shift to the right, the shift
            downwards, the rotation and the scale.
        landmarks: ``float32 (68, 2)`` landmarks of the onset in pixels; their mean is the centre
            of the rotation and the scale.

    Returns:
        ``float64 (2, 3)`` matrix M: the point (x, y) moves by ``M @ (x, y, 1)`` pixels.
    """
    shift = config.shift * eye_centre_distance(landmarks) * normals[:2]
    turn, growth = np.radians(config.turn) * normals[2], config.scale * normals[3]
    # The small-angle approximation makes the motion linear: half the drift is half this matrix.
    linear = np.array([[growth, -turn], [turn, growth]])
    return np.column_stack([linear, shift - linear @ landmarks.mean(axis=0, dtype=np.float64)])


def drifted(image: NDArray[np.uint8], change: Points) -> NDArray[np.uint8]:
    """Apply a head motion to a frame.

    The frame is resampled once by Lanczos interpolation, which keeps its sharpness, and continued
    by reflection outside its border.

    Args:
        image: ``uint8 (S, S, 3)``.
        change: ``float64 (2, 3)`` displacement field, see `drift_transform`.

    Returns:
        ``uint8 (S, S, 3)``.
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
