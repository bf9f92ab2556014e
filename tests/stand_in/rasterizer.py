"""A software rasterizer, which finds the front triangle at each pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EDGE = -1e-5
"""Smallest barycentric coordinate of a point inside; a negative value avoids gaps at edges."""


@dataclass(frozen=True, slots=True)
class Raster:
    """The N pixels that a mesh covers.

    Attributes:
        size: Side of the image, pixels.
        pixels: Indices into the flat image, ``(N,)``.
        corners: Vertices of the front triangle, ``(N, 3)``.
        weights: Barycentric coordinates in this triangle, ``float32 (N, 3)``.
        depth: Depth of the point in this triangle, ``(N,)``.
    """

    size: int
    pixels: NDArray[np.int64]
    corners: NDArray[np.int64]
    weights: NDArray[np.float32]
    depth: NDArray[np.float32]

    def interpolate(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate values ``(V, C)`` at the vertices to values ``(N, C)`` at the pixels."""
        mixed = values[self.corners[:, 0]] * self.weights[:, :1]
        mixed += values[self.corners[:, 1]] * self.weights[:, 1:2]
        mixed += values[self.corners[:, 2]] * self.weights[:, 2:]
        return mixed

    def image(self, values: NDArray[np.float32], fill: float = 0.0) -> NDArray[np.float32]:
        """Return an image ``(S, S, C)`` of values ``(N, C)``, with `fill` at other pixels."""
        image = np.full((self.size**2, values.shape[1]), fill, np.float32)
        image[self.pixels] = values
        return image.reshape(self.size, self.size, -1)


def rasterize(
    points: NDArray[np.float32],
    depth: NDArray[np.float32],
    triangles: NDArray[np.int64],
    size: int,
) -> Raster:
    """Find the front triangle of each pixel with a z-buffer.

    Args:
        points: Vertices in pixels, ``(V, 2)``, x to the right and y down; pixel centres are
            integers.
        depth: Depth of each vertex, ``(V,)``; larger values are nearer.
        triangles: Vertices of the triangles, ``(T, 3)``, counterclockwise from outside with y up;
            back faces are left out.
        size: Side of the image, pixels.
    """
    corners = points[triangles]
    first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
    # Since y points down, the area of a front face is negative.
    area = _cross(second - first, third - first)
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners.max(axis=1)), size - 1).astype(np.int64)
    extent = high - low + 1
    shown = np.flatnonzero((area < -1e-9) & (extent > 0).all(axis=1))
    counts = extent[shown].prod(axis=1)
    # Every pixel of a bounding box is a candidate of its triangle.
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
    # Two triangles can have the same depth along their common edge.
    pixels, chosen = np.unique(pixel[winners], return_index=True)
    winners = winners[chosen]
    return Raster(size, pixels, triangles[owner[winners]], weights[winners], nearness[winners])


def _cross(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
