"""Quality measures of a single face, and the thresholds that it must meet."""

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import FaceQuality, Rejection
from miex.pipeline.faces.config import FaceConfig

REFERENCE_SIZE = 128
"""Side in pixels of the crop on which sharpness is measured, independent of `FaceConfig.size`."""

_HASH_SIDE = 16


def sharpness(crop: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> float:
    """Return the variance of the Laplacian of the grey face (Pech-Pacheco et al. 2000).

    Only pixels inside the convex hull of the landmarks count, so that a sharp background does not
    hide a blurred face.

    Args:
        crop: ``uint8 (S, S, 3)`` RGB; S is `REFERENCE_SIZE` for `FaceQuality.sharpness`.
        landmarks: ``(68, 2)`` pixels of the crop.

    Returns:
        The variance in squared grey levels; 0 where the hull contains no pixel.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)
    hull = cv2.convexHull(landmarks.round().astype(np.int32))
    mask = np.zeros(laplacian.shape, np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    inside = laplacian[mask.astype(bool)]
    return float(inside.var()) if inside.size else 0.0


def perceptual_hash(crop: NDArray[np.uint8]) -> bytes:
    """Return a 256-bit difference hash of an aligned crop.

    Each bit states whether a cell of a grid of 16 rows and 17 columns is darker than its right
    neighbour. Since the crop is aligned, the hash changes little when the photograph is
    re-encoded, resized or trimmed.

    Args:
        crop: ``uint8 (S, S, 3)`` RGB.

    Returns:
        32 bytes, to be compared by the number of differing bits.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    cells = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def judge(origin: str, quality: FaceQuality, config: FaceConfig) -> Rejection | None:
    """Compare the quality of a face with the thresholds.

    Args:
        origin: Origin of the photograph, for the rejection.
        quality: Measures of the face.
        config: The thresholds.

    Returns:
        A rejection that names the first threshold that the face misses, or None if it meets all.
    """
    lower = (
        ("face_too_small", "eye distance", quality.face_size, config.min_face_size, "pixels"),
        ("blurred", "sharpness", quality.sharpness, config.min_sharpness, ""),
    )
    upper = (
        ("bad_landmarks", "misfit", quality.misfit, config.max_misfit, "eye distances"),
        ("turned", "yaw", abs(quality.yaw), config.max_yaw, "degrees"),
        ("nodding", "pitch", abs(quality.pitch), config.max_pitch, "degrees"),
        ("tilted", "roll", abs(quality.roll), config.max_roll, "degrees"),
        ("outside_image", "outside share", quality.outside, config.max_outside, ""),
    )
    for reason, name, value, limit, unit in lower:
        if not value >= limit:
            return Rejection(
                origin, reason, f"{name} {value:.3g}, at least {limit:g} {unit}".strip()
            )
    for reason, name, value, limit, unit in upper:
        if not value <= limit:
            return Rejection(
                origin, reason, f"{name} {value:.3g}, at most {limit:g} {unit}".strip()
            )
    return None


def template_cost(quality: FaceQuality) -> float:
    """Return how far a face is from an ideal template: frontal, mouth closed, sharp and large.

    The cost is a sum of squares. The scales are our choice: each square is about 1 where a person
    starts to notice the defect, namely at 15 degrees of yaw or pitch, at a mouth opening of 0.1
    eye distances, at a sharpness of 100, and at an eye distance of 20 pixels in the photograph.

    Returns:
        A cost of at least 0; the template of an identity is the face with the lowest cost.
    """
    terms = (
        quality.yaw / 15,
        quality.pitch / 15,
        quality.mouth_opening / 0.1,
        max(0.0, float(np.log2(200 / max(quality.sharpness, 1e-3)))),
        max(0.0, float(np.log2(40 / max(quality.face_size, 1e-3)))),
    )
    return float(sum(term**2 for term in terms))
