"""What TV-L1 does to images besides iterating: pyramids, warping, median filtering.

OpenCV does the warping and the median on the CPU, where torch has no fast equivalent (sorting the
25 values around each pixel takes torch seventy times as long); on other devices torch does both.
The results differ by what is lost in rounding; before version 5, OpenCV also rounded coordinates
to 1/32 pixel.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_SIDE = 16
"""No scale of the pyramid is smaller: OpenCV's limit."""


def pyramid(images: Tensor, scales: int, step: float) -> list[Tensor]:
    """Images ``(B, H, W)`` in all sizes, the largest first; fewer than `scales` if too small."""
    levels = [images]
    while len(levels) < scales:
        height, width = (round(side * step) for side in levels[-1].shape[-2:])
        if min(height, width) < SMALLEST_SIDE:
            break
        levels.append(_resize(levels[-1], height, width, 1 / step))
    return levels


def enlarge(flow: Tensor, height: int, width: int, step: float) -> Tensor:
    """Flow of the next finer scale: ``(B, 2, H, W)``, interpolated, and its vectors longer."""
    return _resize(flow, height, width, None) * (1 / step)


def _resize(images: Tensor, height: int, width: int, ratio: float | None) -> Tensor:
    """Bilinear without antialiasing; `ratio` is input to output pixels, that of the sides if None.

    The ratio of a pyramid is exactly its step also where the sides are rounded, as in OpenCV.
    """
    for dimension, side in ((-1, width), (-2, height)):
        last = images.shape[dimension] - 1
        scale = ratio if ratio is not None else (last + 1) / side
        at = torch.arange(side, dtype=torch.float64, device=images.device).add_(0.5)
        at = at.mul_(scale).sub_(0.5).clamp_(0, last)
        low = at.long()
        weight = (at - low).float()
        high = (low + 1).clamp_(max=last)
        images = torch.lerp(
            images.index_select(dimension, low),
            images.index_select(dimension, high),
            weight if dimension == -1 else weight[:, None],
        )
    return images


def with_gradient(images: Tensor) -> Tensor:
    """Images with their central differences: ``(B, H, W)`` to ``(B, 3, H, W)``, channels last.

    At the border the missing neighbour is the pixel itself, so that half of a one-sided
    difference remains (as in Sanchez et al. 2013).
    """
    padded = functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]).mul_(0.5)
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]).mul_(0.5)
    return torch.stack([images, right, down], -1).permute(0, 3, 1, 2)


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Looks images up where the flow points, bicubically, zero outside.

    Args:
        images: ``float32 (B, 3, H, W)``, channels last.
        flow: ``float32 (B, 2, H, W)``, pixels.

    Returns:
        ``float32 (B, 3, H, W)``.
    """
    if images.device.type != "cpu":
        return warp_by_sampling(images, flow)
    xs, ys = _coordinates(flow)
    planes = [
        cv2.remap(image, x, y, cv2.INTER_CUBIC)
        for image, x, y in zip(
            images.permute(0, 2, 3, 1).numpy(), xs.numpy(), ys.numpy(), strict=True
        )
    ]
    return torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2)


def warp_by_sampling(images: Tensor, flow: Tensor) -> Tensor:
    """The same as `warp` in torch, for devices."""
    at = torch.stack(_coordinates(flow), -1)
    height, width = images.shape[-2:]
    at = at / at.new_tensor([width - 1, height - 1]) * 2 - 1
    return functional.grid_sample(images, at, "bicubic", padding_mode="zeros", align_corners=True)


def _coordinates(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel went: x and y, each ``(B, H, W)``."""
    height, width = flow.shape[-2:]
    xs = torch.arange(width, dtype=torch.float32, device=flow.device)
    ys = torch.arange(height, dtype=torch.float32, device=flow.device)
    return flow[:, 0] + xs, flow[:, 1] + ys[:, None]


def median(planes: Tensor, window: int) -> Tensor:
    """Median of each pixel's window, the border repeated.

    Args:
        planes: ``float32 (N, H, W)``.
        window: Side of the window, 3 or 5.
    """
    if planes.device.type == "cpu":
        filtered = [cv2.medianBlur(plane, window) for plane in planes.contiguous().numpy()]
        return torch.from_numpy(np.stack(filtered))
    return median_by_sorting(planes, window)


def median_by_sorting(planes: Tensor, window: int) -> Tensor:
    """The same as `median` in torch, for devices."""
    margin = window // 2
    padded = functional.pad(planes[:, None], (margin,) * 4, mode="replicate")[:, 0]
    windows = padded.unfold(1, window, 1).unfold(2, window, 1)
    return windows.flatten(3).median(-1).values
