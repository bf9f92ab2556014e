"""Interpolate images by cubic B-splines on CPU or GPU."""

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
    """Return the B-spline coefficients of an image, for `sample_spline`.

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


def _pair(position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return four B-spline taps as two linear reads: the second one's share, both positions."""
    start = position.floor()
    t = position - start
    rest = 1 - t
    first = rest * rest * rest / 6
    last = t * t * t / 6
    second = (4 - 3 * t * t * (2 - t)) / 6
    share = 1 - first - second
    return share, start - 1 + second / (1 - share), start + 1 + last / share


def sample_spline(coefficients: Tensor, points: Tensor) -> Tensor:
    """Return cubic B-spline values (Sigg and Hadwiger 2005, GPU Gems 2, chapter 20).

    Args:
        coefficients: ``(N, C, S + 4, S + 4)`` of `spline_coefficients`.
        points: ``(N, h, w, 2)``, x and y in pixels of the image.

    Returns:
        ``(N, C, h, w)``.
    """
    share, near, far = _pair(points + _PAD)
    is_x = torch.tensor([True, False], device=points.device)
    top_left, top_right, bottom_left, bottom_right = (
        sample_linear(coefficients, at)
        for at in (near, torch.where(is_x, far, near), torch.where(is_x, near, far), far)
    )
    right, lower = share[:, None, ..., 0], share[:, None, ..., 1]
    top = top_left + right * (top_right - top_left)
    bottom = bottom_left + right * (bottom_right - bottom_left)
    return top + lower * (bottom - top)
