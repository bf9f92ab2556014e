"""Geometry of a face in its crop: outline, eyes and mouth, and the line between their sides.

The motion of the skin is smooth except at the eyes and the mouth: there the upper and the lower
side move independently and uncover eyeballs or teeth.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.au_sources.face_motion import Points

OUTLINE_MARGIN = 0.2
"""Distance outside the outline of the face within which motion decreases to 0, in inter-ocular
distances. Pixels farther out never change."""

_HARD_SPLIT_REACH = 0.15
"""Distance from a corner of an eye or the mouth over which the two sides join."""

_PARABOLA_RIDGE = 0.06
"""Ridge of the fit of a curve; values at points of the curve are about 0.2."""

_FAR = 0.08
"""Distance from lid or lip beyond which there is skin, in inter-ocular distances."""


def smoothstep(x: Points) -> Points:
    """Return 0 below 0, 1 above 1, and ``3x² - 2x³`` in between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


@dataclass(frozen=True, slots=True)
class Aperture:
    """Eye or mouth: two curves between two corners.

    Attributes:
        corner: ``(2,)`` left corner, in pixels.
        axis: ``(2,)`` unit vector to the right corner.
        length: Distance of the corners, in pixels.
        upper: Coefficients c of the upper curve, ``t (1 - t) (c0 + c1 u + c2 u²)`` with
            ``u = 2 t - 1``, in pixels below the chord of the corners; t runs from 0 at the left
            corner to 1 at the right one.
        lower: The same for the lower curve.
    """

    corner: Points
    axis: Points
    length: float
    upper: Points
    lower: Points

    @classmethod
    def fit(cls, left: Points, right: Points, upper: Points, lower: Points) -> "Aperture":
        """Fit the curves to points on them, ``(n, 2)`` each."""
        length = max(float(np.linalg.norm(right - left)), 1.0)
        blank = cls(left, (right - left) / length, length, np.zeros(3), np.zeros(3))
        curves = []
        for points in (upper, lower):
            t, below = blank.coordinates(points)
            curves.append(blank.curve(np.clip(t, 0.1, 0.9), below))
        return cls(left, blank.axis, length, *curves)

    def curve(self, t: Points, below: Points) -> Points:
        """Return the coefficients of the curve through points at t, given pixels below the chord.

        A ridge keeps the curve close to a parabola: the points of a turned face are close
        together, and a curve through all of them would oscillate.
        """
        powers = np.vander(2 * t - 1, 3, increasing=True)
        design = np.vstack([powers * (t * (1 - t))[:, None], _PARABOLA_RIDGE * np.eye(3)[1:]])
        coefficients: Points = np.linalg.lstsq(
            design, np.concatenate([below, np.zeros(2)]), rcond=None
        )[0]
        return coefficients

    def coordinates(self, points: Points) -> tuple[Points, Points]:
        """Return the position along the chord (0 to 1 between the corners) and pixels below it."""
        x, y = points[..., 0] - self.corner[0], points[..., 1] - self.corner[1]
        cosine, sine = self.axis
        return (x * cosine + y * sine) / self.length, y * cosine - x * sine

    def heights(self, t: Points) -> tuple[Points, Points]:
        """Return upper and lower curve at positions t, pixels below the chord; 0 outside."""
        inside = np.clip(t, 0.0, 1.0)
        arch, u = inside * (1 - inside), 2 * inside - 1
        upper, lower = (arch * (c[0] + u * (c[1] + u * c[2])) for c in (self.upper, self.lower))
        return upper, lower

    def outside(self, t: Points) -> Points:
        """Return the distance beyond the nearer corner, pixels; 0 between the corners."""
        return np.maximum(np.maximum(-t, t - 1.0), 0.0) * self.length

    def split(self, points: Points, unit: float) -> tuple[Points, Points]:
        """Return the weight of the motion below the cut at each point, in both layers.

        Args:
            points: ``(..., 2)`` pixels.
            unit: Inter-ocular distance, in pixels.

        Returns:
            Weights for the layer above and for the layer below. Between the corners they are 0 and
            1; outside both become the same smooth transition.
        """
        t, y = self.coordinates(points)
        outside = self.outside(t)
        healed = smoothstep(outside / (_HARD_SPLIT_REACH * unit))
        across = smoothstep(0.5 + 0.5 * y / np.maximum(outside, 0.5))
        return healed * across, 1.0 - healed * (1.0 - across)


@dataclass(frozen=True, slots=True)
class FaceGeometry:
    """Parts of a face, in pixels of its crop.

    Attributes:
        unit: Inter-ocular distance, in pixels.
        outline: ``(n, 2)`` closed polygon along jaw and hairline.
        eyes: The left and the right eye of the image.
        mouth: The inner contour of the lips.
        closed: 1 for a closed mouth, 0 for an open one, in between for parted lips.
    """

    unit: float
    outline: Points
    eyes: tuple[Aperture, Aperture]
    mouth: Aperture
    closed: float

    def descent(self, points: Points) -> Points:
        """Return 0 at the height of the eyes and 1 at the height of the mouth."""
        left, right = (eye.corner + eye.axis * eye.length / 2 for eye in self.eyes)
        eyes = (left + right) / 2
        mouth = self.mouth.corner + self.mouth.axis * self.mouth.length / 2
        across = (right - left) / max(float(np.linalg.norm(right - left)), 1e-6)
        down = np.array([-across[1], across[0]])
        return np.asarray((points - eyes) @ down / max(float((mouth - eyes) @ down), 1e-6))

    def nearer_eye(self, points: Points) -> NDArray[np.bool_]:
        """Return True where the right eye is nearer than the left one."""
        left, right = self.eyes
        return np.asarray(
            left.outside(left.coordinates(points)[0]) > right.outside(right.coordinates(points)[0])
        )

    def split_eyes(self, points: Points) -> tuple[Points, Points]:
        """Return `Aperture.split` of the nearer eye."""
        right = self.nearer_eye(points)
        halves = [eye.split(points, self.unit) for eye in self.eyes]
        return np.where(right, halves[1][0], halves[0][0]), np.where(
            right, halves[1][1], halves[0][1]
        )

    def edges(self, points: Points) -> tuple[Points, Points]:
        """Return signed distances to the edges of the nearest aperture.

        Args:
            points: ``(..., 2)`` pixels.

        Returns:
            Pixels above the upper edge and pixels below the lower edge of the nearest aperture;
            both negative inside it. Outside the corners both edges are the chord.
        """
        nearest = np.where(self.descent(points) > 0.5, 2, self.nearer_eye(points).astype(int))
        above, below = np.empty(nearest.shape), np.empty(nearest.shape)
        # Far from an aperture there is no gap between the layers.
        far = _FAR * self.unit
        for number, aperture in enumerate((*self.eyes, self.mouth)):
            here = nearest == number
            t, y = aperture.coordinates(points[here])
            upper, lower = aperture.heights(t)
            up, down = upper - y, y - lower
            above[here] = np.where(down > far, -down, up)
            below[here] = np.where(up > far, -up, down)
        return above, below


def outline_distance(outline: Points, size: int) -> NDArray[np.float32]:
    """Return the distance from an outline ``(n, 2)``, ``float32 (S, S)`` pixels, < 0 inside."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, shift=4)
    inside, outside = (
        cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for part in (mask, 255 - mask)
    )
    # The last bits of OpenCV depend on the number of threads; squared distances are integers.
    exact = np.sqrt(np.rint((inside + outside).astype(np.float64) ** 2))
    return np.where(inside > 0, -exact, exact).astype(np.float32)


def pixel_centres(size: int, count: int) -> Points:
    """Return the centres of ``count x count`` cells of a crop, ``(count, count, 2)`` pixels."""
    line = (np.arange(count) + 0.5) * (size / count) - 0.5
    return np.stack(np.meshgrid(line, line), axis=-1)
