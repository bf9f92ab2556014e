"""Interpolate images by cubic B-splines on CPU or GPU."""

from functools import cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_POLE = np.sqrt(3.0) - 2.0
"""Pole of the cubic B-spline's inverse (Unser 1999, Splines, IEEE Signal Processing Magazine)."""

_REACH = 14
"""Number of taps of the inverse filter, up to |pole|^14 = 1e-8."""

_PAD = 2


def spline_coefficients(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the B-spline coefficients of an image, for `read_spline`.

    Among kernels of four taps per axis the interpolating cubic B-spline blurs least (Thevenaz, Blu
    and Unser 2000), and a pixel that does not move keeps its value.

    Args:
        image: ``uint8 (S, S, C)``.

    Returns:
        ``float32 (C, S + 4, S + 4)``, mirrored by two pixels at each border.
    """
    kernel = np.sqrt(3.0) * _POLE ** np.abs(np.arange(-_REACH, _REACH + 1))
    mirrored = np.pad(image, ((_PAD, _PAD), (_PAD, _PAD), (0, 0)), mode="reflect")
    filtered = cv2.sepFilter2D(
        mirrored.astype(np.float64), -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101
    )
    coefficients = np.reshape(filtered, mirrored.shape)
    return np.ascontiguousarray(coefficients.transpose(2, 0, 1), dtype=np.float32)


def pixel_grid(size: int, count: int, device: torch.device) -> Tensor:
    """Return the centres of ``count x count`` cells, ``(1, count, count, 2)`` pixels."""
    line = (torch.arange(count, device=device) + 0.5) * (size / count) - 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1)[None]


def sample_linear(image: Tensor, points: Tensor, side: float | None = None) -> Tensor:
    """Return bilinear values.

    Args:
        image: ``(N, C, H, H)``.
        points: ``(N, h, w, 2)``, x and y in pixels.
        side: Number of pixels that the image spans, if it is stored at a lower resolution; H by
            default.

    Returns:
        ``(N, C, h, w)``.
    """
    side = side or image.shape[-1]
    grid = points * (2 / side) + (1 / side - 1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def read_linear(images: Tensor, which: Tensor, points: Tensor) -> Tensor:
    """Return bilinear values at single points, with the border repeated.

    Unlike `sample_linear` it uses single operations only, so that the values are equal to the bit
    on every processor, and those of the kernels (`linear` in kernels/warp.c).

    Args:
        images: ``(N, C, H, H)``.
        which: ``int64 (P,)``, the image of each point.
        points: ``(P, 2)``, x and y in pixels.

    Returns:
        ``float32 (C, P)``.
    """
    side = images.shape[-1]
    at = points.clamp(0, side - 1)
    near = at.floor()
    share = at - near
    low = near.long()
    high = (low + 1).clamp(max=side - 1)
    planes = images.movedim(1, 0).flatten(1)
    top, bottom = (which * side + y[:, 1] for y in (low, high))
    corners = (
        planes.index_select(1, row * side + x[:, 0]).float()
        for row in (top, bottom)
        for x in (low, high)
    )
    one, two, three, four = corners
    upper = one + share[:, 0] * (two - one)
    lower = three + share[:, 0] * (four - three)
    return upper + share[:, 1] * (lower - upper)


def _weights(t: Tensor) -> list[Tensor]:
    """Return the four weights of the cubic B-spline at distances t, 0 to 1."""
    rest = 1 - t
    first = rest * rest * rest * (1 / 6)
    second = (4 - t * t * 3 * (2 - t)) * (1 / 6)
    last = t * t * t * (1 / 6)
    return [first, second, 1 - first - second - last, last]


def read_spline(coefficients: Tensor, which: Tensor, points: Tensor) -> Tensor:
    """Return cubic B-spline values at single points (Unser 1999, equation 4).

    Args:
        coefficients: ``(N, C, S + 4, S + 4)`` of `spline_coefficients`.
        which: ``int64 (P,)``, the image of each point.
        points: ``(P, 2)``, x and y in pixels of the image; -2 to S + 1, others are moved there.

    Returns:
        ``float32 (C, P)``.
    """
    wide = coefficients.shape[-1]
    at = (points + _PAD).clamp(0, wide - 1)
    near = at.floor()
    across, down = (_weights(part) for part in (at - near).unbind(1))
    # Behind the border its coefficients are repeated.
    taps = torch.arange(-1, 3, device=points.device)
    places = (near.long()[..., None] + taps).clamp(0, wide - 1)
    xs, ys = places.unbind(1)
    starts = (which[:, None] * wide + ys) * wide
    planes = coefficients.movedim(1, 0).flatten(1)
    columns = []
    for x in range(4):
        total = down[0] * planes.index_select(1, starts[:, 0] + xs[:, x])
        for y in range(1, 4):
            total = total + down[y] * planes.index_select(1, starts[:, y] + xs[:, x])
        columns.append(total)
    value = across[0] * columns[0]
    for x in range(1, 4):
        value = value + across[x] * columns[x]
    return value


@cache
def resize_taps(count: int, size: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return how each of `size` pixels is interpolated between `count` nodes, at most as many.

    The kernel is that of Keys (1981) with a = -1/2; nodes outside are left out.

    Returns:
        ``int32 (size,)`` first of four nodes, ``float32 (size, 4)`` their weights, whose sum is 1.
    """
    centre = (np.arange(size) + 0.5) * (count / size) - 0.5
    first = np.floor(centre).astype(np.int64) - 1
    nodes = first[:, None] + np.arange(4)
    x = np.abs(nodes - centre[:, None])
    weights = np.where(x <= 1, (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2)
    weights[(nodes < 0) | (nodes >= count)] = 0
    weights /= weights.sum(1, keepdims=True)
    start = np.clip(first, 0, count - 4)
    placed = np.zeros((size, 4))
    inside = weights != 0
    pixel = np.nonzero(inside)[0]
    placed[pixel, (nodes - start[:, None])[inside]] = weights[inside]
    return start.astype(np.int32), placed.astype(np.float32)


def resize(planes: Tensor, size: int) -> Tensor:
    """Return planes ``(..., n, n)`` at a larger size, ``(..., size, size)``; see `resize_taps`."""
    starts, weights = (
        torch.from_numpy(a).to(planes.device) for a in resize_taps(planes.shape[-1], size)
    )
    starts = starts.long()
    wide = weights[:, 0] * planes[..., starts]
    for tap in range(1, 4):
        wide = wide + weights[:, tap] * planes[..., starts + tap]
    high = weights[:, :1] * wide[..., starts, :]
    for tap in range(1, 4):
        high = high + weights[:, tap, None] * wide[..., starts + tap, :]
    return high
