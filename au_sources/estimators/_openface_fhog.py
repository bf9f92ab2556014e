"""Compute Felzenszwalb's histogram of oriented gradients as dlib does, for many images at once.

Felzenszwalb, Girshick, McAllester, Ramanan: Object Detection with Discriminatively Trained
Part-Based Models, PAMI 32(9), 2010, section 6; with dlib's constants (`extract_fhog_features`), on
which OpenFace's AU regressors were trained.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

CELL = 8
"""Pixels of a cell's side."""

CHANNELS = 31
"""Features a cell: 18 directions, 9 orientations, 4 normalisers."""

_DIRECTIONS = np.array(
    [
        [1.0000, 0.0000],
        [0.9397, 0.3420],
        [0.7660, 0.6428],
        [0.5000, 0.8660],
        [0.1736, 0.9848],
        [-0.1736, 0.9848],
        [-0.5000, 0.8660],
        [-0.7660, 0.6428],
        [-0.9397, 0.3420],
    ]
)
"""Unit vectors (x, y) every 20 degrees, with dlib's four digits; the other 9 are opposite."""

_STEEPEST = 255
_TRUNCATION = np.float32(0.2)
_TEXTURE_GAIN = np.float32(0.2357)
_ENERGY_FLOOR = np.float32(1e-4)


@cache
def _direction_table() -> NDArray[np.uint8]:
    """Return the nearest of 18 directions of each gradient: ``[dy + 255, dx + 255]``."""
    steps = np.arange(-_STEEPEST, _STEEPEST + 1)
    dy, dx = np.meshgrid(steps, steps, indexing="ij")
    along = dx[..., None] * _DIRECTIONS[:, 0] + dy[..., None] * _DIRECTIONS[:, 1]
    nearest = np.abs(along).argmax(axis=-1)
    backwards = np.take_along_axis(along, nearest[..., None], axis=-1)[..., 0] < 0
    table: NDArray[np.uint8] = (nearest + 9 * backwards).astype(np.uint8)
    return table


@cache
def _cell_weights(size: int) -> NDArray[np.float32]:
    """Return ``(cells, size - 2)``: the linear share of each inner pixel in each cell."""
    cells = size // CELL
    place = (np.arange(1, size - 1) + 0.5) / CELL - 0.5
    distance = np.abs(np.arange(cells)[:, None] - place)
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)


def _gradients(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return direction 0-17 and length of the steepest channel's gradient, inner pixels."""
    pixels = images.astype(np.int16)
    dx = pixels[:, 1:-1, 2:] - pixels[:, 1:-1, :-2]
    dy = pixels[:, 2:, 1:-1] - pixels[:, :-2, 1:-1]
    squared = np.square(dx, dtype=np.int32) + np.square(dy, dtype=np.int32)
    steepest = squared[..., 0]
    x, y = dx[..., 0], dy[..., 0]
    for channel in (1, 2):
        steeper = squared[..., channel] > steepest
        x = np.where(steeper, dx[..., channel], x)
        y = np.where(steeper, dy[..., channel], y)
        steepest = np.maximum(steepest, squared[..., channel])
    width = 2 * _STEEPEST + 1
    index = (y.astype(np.int32) + _STEEPEST) * width + (x + _STEEPEST)
    directions = _direction_table().ravel()[index]
    return directions, np.sqrt(steepest, dtype=np.float32)


def _histograms(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return ``(N, rows, columns, 18)``: gradient lengths by direction, shared by cells."""
    count, height, width, _ = images.shape
    directions, lengths = _gradients(images)
    rows, columns = _cell_weights(height), _cell_weights(width)
    spread = np.zeros((count, 18, height - 2, width - 2), np.float32)
    np.put_along_axis(spread, directions[:, None].astype(np.intp), lengths[:, None], axis=1)
    # n image, d direction, r and c cell
    cells = rows @ (spread @ columns.T)
    return np.ascontiguousarray(cells.transpose(0, 2, 3, 1))


def fhog(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return histograms of oriented gradients.

    Args:
        images: ``uint8 (N, H, W, 3)`` RGB, H and W multiples of 8, at least 24. Of channels with
            equally steep gradients the first counts.

    Returns:
        ``(N, H / 8 - 2, W / 8 - 2, 31)``: cells without those at the border; of each the 18
        directions, the 9 orientations and the gradient energy under the 4 normalisers.

    Raises:
        ValueError: Another shape or type.
    """
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] != 3
        or any(side % CELL or side < 3 * CELL for side in images.shape[1:3])
    ):
        raise ValueError(
            f"images have shape {images.shape} and type {images.dtype}, expected uint8 "
            f"(N, H, W, 3) with H and W multiples of {CELL}, at least {3 * CELL}"
        )
    histograms = _histograms(images)
    directed = histograms[:, 1:-1, 1:-1]
    undirected = histograms[..., :9] + histograms[..., 9:]
    energy = np.square(undirected).sum(axis=-1)
    # Energy of each block of 2 x 2 cells. A cell belongs to four; dlib's order of them is below
    # right, above right, below left, above left.
    blocks = energy[:, :-1, :-1] + energy[:, :-1, 1:] + energy[:, 1:, :-1] + energy[:, 1:, 1:]
    corners = [(slice(1, None), slice(1, None)), (slice(None, -1), slice(1, None))]
    corners += [(slice(1, None), slice(None, -1)), (slice(None, -1), slice(None, -1))]
    features = np.zeros((*directed.shape[:3], CHANNELS), np.float32)
    for corner, (row, column) in enumerate(corners):
        scale = 1 / np.sqrt(blocks[:, row, column, None] + _ENERGY_FLOOR)
        capped = np.minimum(directed * scale, _TRUNCATION)
        features[..., :18] += capped
        features[..., 18:27] += np.minimum(undirected[:, 1:-1, 1:-1] * scale, _TRUNCATION)
        features[..., 27 + corner] = _TEXTURE_GAIN * capped.sum(axis=-1)
    features[..., :27] *= 0.5
    return features
