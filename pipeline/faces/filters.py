"""What is measured of a single face, and which faces are good enough."""

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import FaceQuality, Rejection
from miex.pipeline.faces.config import FaceConfig

REFERENCE_SIZE = 128
"""Side of the crop on which sharpness is measured, whatever size the generator wants."""

_HASH_SIDE = 16


def sharpness(crop: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> float:
    """Variance of the Laplacian of the grey face (Pech-Pacheco et al. 2000).

    Only the inside of the landmarks' convex hull counts: a sharp background does not rescue a
    blurred face.

    Args:
        crop: ``uint8 (S, S, 3)`` RGB; S is `REFERENCE_SIZE` for `FaceQuality.sharpness`.
        landmarks: ``(68, 2)`` pixels of the crop.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)
    hull = cv2.convexHull(landmarks.round().astype(np.int32))
    mask = np.zeros(laplacian.shape, np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    inside = laplacian[mask.astype(bool)]
    return float(inside.var()) if inside.size else 0.0


def perceptual_hash(crop: NDArray[np.uint8]) -> bytes:
    """256-bit difference hash: is a cell of a 16 x 17 grid darker than its right neighbour?

    Taken of the aligned crop, it survives encoding again, resizing and trimming the photograph.

    Args:
        crop: ``uint8 (S, S, 3)`` RGB.

    Returns:
        32 bytes; compare by the number of differing bits.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    cells = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()


def judge(origin: str, quality: FaceQuality, config: FaceConfig) -> Rejection | None:
    """The first threshold that a face misses, or None for a good one."""
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
    """How far a face is from an ideal template: frontal, level, mouth closed, sharp, large.

    A sum of squares, each about 1 where a person starts to notice (our choice): 15 degrees of
    yaw or pitch, inner lips 0.1 eye distances apart, half the sharpness or size of a good crop.
    """
    terms = (
        quality.yaw / 15,
        quality.pitch / 15,
        quality.mouth_opening / 0.1,
        max(0.0, float(np.log2(200 / max(quality.sharpness, 1e-3)))),
        max(0.0, float(np.log2(40 / max(quality.face_size, 1e-3)))),
    )
    return float(sum(term**2 for term in terms))
