"""A software rasterizer: which triangle is in front at each pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EDGE = -1e-5
"""Barycentric coordinate from which a point counts as inside, so that no seam stays open."""


@dataclass(frozen=True, slots=True)
class Raster:
    """The N pixels that a mesh covers.

    Attributes:
        size: Side of the image, pixels.
        pixels: ``(N,)`` index into the flat image.
        corners: ``(N, 3)`` vertices of the triangle in front.
        weights: ``float32 (N, 3)`` their shares.
        depth: ``(N,)``.
    """

    size: int
    pixels: NDArray[np.int64]
    corners: NDArray[np.int64]
    weights: NDArray[np.float32]
    depth: NDArray[np.float32]

    def interpolate(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(N, C)`` values at the pixels of ``(V, C)`` at the vertices."""
        mixed = values[self.corners[:, 0]] * self.weights[:, :1]
        mixed += values[self.corners[:, 1]] * self.weights[:, 1:2]
        mixed += values[self.corners[:, 2]] * self.weights[:, 2:]
        return mixed

    def image(self, values: NDArray[np.float32], fill: float = 0.0) -> NDArray[np.float32]:
        """``(S, S, C)`` of ``(N, C)``, `fill` where nothing is covered."""
        image = np.full((self.size**2, values.shape[1]), fill, np.float32)
        image[self.pixels] = values
        return image.reshape(self.size, self.size, -1)


def rasterize(
    points: NDArray[np.float32],
    depth: NDArray[np.float32],
    triangles: NDArray[np.int64],
    size: int,
) -> Raster:
    """Finds the front triangle of each pixel with a z-buffer.

    Args:
        points: ``(V, 2)`` x to the right and y down, pixels; centres of pixels are integers.
        depth: ``(V,)``, larger is nearer.
        triangles: ``(T, 3)``, counterclockwise from outside as seen with y up; those that show
            their back are left out.
        size: Side of the image.
    """
    corners = points[triangles]
    first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
    # y points down, so a front face turns the other way.
    area = _cross(second - first, third - first)
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(axis=1)), size - 1).astype(np.int64)
    extent = high - low + 1
    shown = np.flatnonzero((area < -1e-9) & (extent > 0).all(axis=1))
    counts = extent[shown].prod(axis=1)
    # One candidate for each pixel of each bounding box.
    owner = np.repeat(shown, counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    width = extent[owner, 0]
    x, y = low[owner, 0] + number % width, low[owner, 1] + number // width
    at = np.column_stack([x, y]).astype(np.float32)
    one = _cross(third[owner] - second[owner], at - second[owner]) / area[owner]
    two = _cross(first[owner] - third[owner], at - third[owner]) / area[owner]
    weights = np.column_stack([one, two, 1 - one - two]).astype(np.float32)
    inside = (weights >= _EDGE).all(axis=1)
    owner, weights, pixel = owner[inside], weights[inside], (y * size + x)[inside]
    nearness = (depth[triangles[owner]] * weights).sum(axis=1)
    front = np.full(size * size, -np.inf, np.float32)
    np.maximum.at(front, pixel, nearness)
    winners = np.flatnonzero(nearness == front[pixel])
    # Two triangles may be equally near along their common edge.
    pixels, chosen = np.unique(pixel[winners], return_index=True)
    winners = winners[chosen]
    return Raster(size, pixels, triangles[owner[winners]], weights[winners], nearness[winners])


def _cross(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
