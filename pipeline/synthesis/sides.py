"""Asymmetric expressions, which are stronger on one side of the face."""

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AUArray

_SOFTNESS = 0.04
"""Width of the transition between the sides, in distances of the eye centres.

It is narrow enough that lip corners and brows belong to one side, and wide enough to avoid an edge.
"""


def weaker_aus(aus: AUArray, share: float) -> AUArray:
    """Return the AUs of the weaker side, which shows a share of every change from the onset.

    Args:
        aus: AUs of the stronger side, ``float32 (T, 17)``, FACS intensity 0 to 5; the onset is
            first.
        share: Share of the change that the weaker side shows, 0 to 1.

    Returns:
        ``float32 (T, 17)``.
    """
    weaker: AUArray = (aus[:1] + np.float32(share) * (aus - aus[:1])).astype(np.float32)
    return weaker


def joined_sides(
    left: NDArray[np.uint8], right: NDArray[np.uint8], landmarks: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Join two renderings of one face along its midline.

    Args:
        left: Frame for the left half of the image, ``uint8 (S, S, 3)``.
        right: Frame for the right half of the image, ``uint8 (S, S, 3)``.
        landmarks: ``(68, 2)`` pixels of the frames. The midline passes through the midpoint of the
            eyes and through the mean of landmarks of chin, nose and lips.

    Returns:
        ``uint8 (S, S, 3)``; pixels that are equal in both frames are unchanged.
    """
    points = landmarks.astype(np.float64)
    eyes = np.stack([points[36:42].mean(0), points[42:48].mean(0)])
    top, bottom = eyes.mean(0), points[[8, 33, 51, 57]].mean(0)
    down = (bottom - top) / max(np.linalg.norm(bottom - top), 1e-6)
    across = np.array([down[1], -down[0]])
    rows, columns = np.mgrid[: left.shape[0], : left.shape[1]]
    distance = (columns - top[0]) * across[0] + (rows - top[1]) * across[1]
    width = max(1.0, _SOFTNESS * float(np.linalg.norm(eyes[1] - eyes[0])))
    of_right = (1 / (1 + np.exp(-np.clip(distance / width, -30, 30))))[..., None]
    mixed = left.astype(np.float64) * (1 - of_right) + right.astype(np.float64) * of_right
    joined: NDArray[np.uint8] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return joined
