"""Render what lids and lips uncover: eyeballs and the inside of the mouth, which do not move."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.au_sources.face_motion import Points
from miex.generators._warp_geometry import (
    Aperture,
    FaceGeometry,
    smoothstep,
)

_CLOSED_GAP = 0.03
_OPEN_GAP = 0.07
"""Lips closer than the first distance are closed, farther apart than the second open, in
inter-ocular distances; the error of dlib's inner lip points is about 0.01."""

_LASHES = 0.012
"""Distance of the edge of the upper lid, with its lashes, below the landmarks."""

_LINE_REACH = 0.045
"""Distance from the landmarks in which the line between closed lips is searched for."""

_UNCOVERED_REACH = 0.15
"""Largest width that a lid uncovers in a micro-expression, in inter-ocular distances."""

_EYES = ((36, 39, (37, 38), (41, 40)), (42, 45, (43, 44), (47, 46)))
_MOUTH = (60, 64, (61, 62, 63), (67, 66, 65))
_LIP_OUTLINE = (48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59)


def _luminance(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.float32)


def _along(mouth: Aperture, t: Points, below: Points) -> Points:
    """Return the points at positions t, given pixels below the chord."""
    normal = np.array([-mouth.axis[1], mouth.axis[0]])
    along = (t * mouth.length)[..., None] * mouth.axis
    points: Points = mouth.corner + along + below[..., None] * normal
    return points


def _look_up(image: NDArray[np.float32], points: Points) -> NDArray[np.float32]:
    """Return bilinear values of an image at ``(..., 2)`` points."""
    flat = points.reshape(-1, 1, 2).astype(np.float32)
    x, y = np.ascontiguousarray(flat[..., 0]), np.ascontiguousarray(flat[..., 1])
    values = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float32).reshape(*points.shape[:-1], *image.shape[2:])


def _lip_line(grey: NDArray[np.float32], mouth: Aperture, unit: float) -> Points:
    """Return the dark line between closed lips, as coefficients of `Aperture`.

    Landmarks are about a pixel off this line; a mouth that opens beside it would show it twice.
    """
    t = np.linspace(0.08, 0.92, 29)
    upper, lower = mouth.heights(t)
    middle = (upper + lower) / 2
    offsets = np.linspace(-_LINE_REACH, _LINE_REACH, 13) * unit
    heights = middle[:, None] + offsets
    values = _look_up(grey, _along(mouth, np.broadcast_to(t[:, None], heights.shape), heights))
    darkness = values.max(axis=1, keepdims=True) - values
    # A dark pixel far from the landmarks is more probably a shadow under the lip.
    trust = darkness**3 * (1.0 - (offsets / (1.5 * _LINE_REACH * unit)) ** 2) + 1e-3
    line = (heights * trust).sum(axis=1) / trust.sum(axis=1)
    return mouth.curve(t, line)


def find_geometry(
    crop: NDArray[np.uint8], landmarks: Points, outline: Points, unit: float
) -> FaceGeometry:
    """Return the geometry of a face: outline, eyes and mouth.

    Args:
        crop: ``uint8 (S, S, 3)`` RGB.
        landmarks: ``(68, 2)`` pixels.
        outline: ``(n, 2)`` polygon, pixels.
        unit: Inter-ocular distance, in pixels.
    """
    shift = np.array([0.0, _LASHES * unit])
    eyes = [
        Aperture.fit(
            landmarks[left], landmarks[right], landmarks[list(above)] + shift,
            landmarks[list(below)],
        )
        for left, right, above, below in _EYES
    ]  # fmt: skip
    left, right, above, below = _MOUTH
    mouth = Aperture.fit(
        landmarks[left], landmarks[right], landmarks[list(above)], landmarks[list(below)]
    )
    upper, lower = mouth.heights(np.linspace(0.3, 0.7, 9))
    gap = float((lower - upper).mean()) / unit
    closed = 1.0 - float(smoothstep(np.array((gap - _CLOSED_GAP) / (_OPEN_GAP - _CLOSED_GAP))))
    if closed > 0.0:
        line = _lip_line(_luminance(crop), mouth, unit)
        mouth = replace(
            mouth,
            upper=mouth.upper + closed * (line - mouth.upper),
            lower=mouth.lower + closed * (line - mouth.lower),
        )
    return FaceGeometry(unit, outline, (eyes[0], eyes[1]), mouth, closed)


def cavity_colour(
    crop: NDArray[np.uint8], landmarks: Points, geometry: FaceGeometry
) -> NDArray[np.float32]:
    """Return the colour ``float32 (3,)`` of the inside of a mouth that opens.

    It is dark, with the hue of the lips and of the line between them.
    """
    t = np.repeat(np.linspace(0.2, 0.8, 25)[:, None], 5, axis=1)
    upper, lower = geometry.mouth.heights(t)
    depth = np.linspace(0.0, 1.0, 5)
    inside = _look_up(
        crop.astype(np.float32), _along(geometry.mouth, t, upper + (lower - upper) * depth)
    ).reshape(-1, 3)
    luminance = inside @ np.array([0.299, 0.587, 0.114], np.float32)
    darkest = inside[luminance <= np.quantile(luminance, 0.15)].mean(axis=0)
    lips = _look_up(crop.astype(np.float32), landmarks[list(_LIP_OUTLINE)]).mean(axis=0)
    # Light between the lips is reflected by red mucosa, and is dim.
    return np.asarray(
        np.minimum(0.65 * darkest + np.array([0.05, 0.0, 0.0]) * lips, 0.45 * lips), np.float32
    )


def eyeball_shift(geometry: FaceGeometry, above: Points, below: Points, softness: float) -> Points:
    """Return where to read uncovered eyeballs: their nearest visible row is repeated.

    Args:
        geometry: Apertures of the face.
        above: ``(S, S)`` pixels above the upper edge, `FaceGeometry.edges` of every pixel.
        below: ``(S, S)`` pixels below the lower edge.
        softness: Width of the transition at an edge, pixels.

    Returns:
        ``(S, S, 2)`` x and y, pixels to add; zero where the eye is open.
    """
    reach = _UNCOVERED_REACH * geometry.unit
    down = np.clip(above - softness / 2, 0.0, reach) - np.clip(below - softness / 2, 0.0, reach)
    axis = geometry.eyes[1].corner - geometry.eyes[0].corner
    normal = np.array([-axis[1], axis[0]]) / max(float(np.hypot(*axis)), 1e-6)
    return down[..., None] * normal
