"""Image operations of TV-L1: pyramids, warping, median filtering.

On the CPU, OpenCV warps and filters, since PyTorch has no fast equivalent (sorting the 25 values
around each pixel takes seventy times as long); on other devices PyTorch does both. The results
differ by rounding; before version 5, OpenCV also rounded coordinates to 1/32 pixel.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_SIDE = 16
"""Smallest side of a scale of the pyramid, as in OpenCV."""


def pyramid(images: Tensor, scales: int, step: float) -> list[Tensor]:
    """Return images ``(B, H, W)`` at all scales, the largest first; fewer if they are too small."""
    levels = [images]
    while len(levels) < scales:
        height, width = (round(side * step) for side in levels[-1].shape[-2:])
        if min(height, width) < SMALLEST_SIDE:
            break
        levels.append(_resize(levels[-1], height, width, 1 / step))
    return levels


def enlarge(flow: Tensor, height: int, width: int, step: float) -> Tensor:
    """Return the flow ``(B, 2, H, W)`` at the next finer scale, interpolated and scaled."""
    return _resize(flow, height, width, None) * (1 / step)


def _resize(images: Tensor, height: int, width: int, ratio: float | None) -> Tensor:
    """Resize bilinearly without antialiasing; `ratio` is input to output pixels.

    The ratio of a pyramid is its exact step, also if sides are rounded, as in OpenCV; by default
    it is the ratio of the sides.
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
    """Return images with central differences: ``(B, H, W)`` to ``(B, 3, H, W)``, channels last.

    At the border the missing neighbour is replaced by the pixel itself, which gives half of a
    one-sided difference (as in Sanchez et al. 2013).
    """
    padded = functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]).mul_(0.5)
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]).mul_(0.5)
    return torch.stack([images, right, down], -1).permute(0, 3, 1, 2)


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Warp images by the flow with bicubic interpolation, 0 outside.

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
    """Warp images as `warp`, with PyTorch, for devices."""
    at = torch.stack(_coordinates(flow), -1)
    height, width = images.shape[-2:]
    at = at / at.new_tensor([width - 1, height - 1]) * 2 - 1
    return functional.grid_sample(images, at, "bicubic", padding_mode="zeros", align_corners=True)


def _coordinates(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the target of each pixel: x and y, each ``(B, H, W)``."""
    height, width = flow.shape[-2:]
    xs = torch.arange(width, dtype=torch.float32, device=flow.device)
    ys = torch.arange(height, dtype=torch.float32, device=flow.device)
    return flow[:, 0] + xs, flow[:, 1] + ys[:, None]


def median(planes: Tensor, window: int) -> Tensor:
    """Return the median of each pixel's window, with the border repeated.

    Args:
        planes: ``float32 (N, H, W)``.
        window: Side of the window, 3 or 5.
    """
    if planes.device.type == "cpu":
        filtered = [cv2.medianBlur(plane, window) for plane in planes.contiguous().numpy()]
        return torch.from_numpy(np.stack(filtered))
    return median_by_sorting(planes, window)


def median_by_sorting(planes: Tensor, window: int) -> Tensor:
    """Return the same as `median`, with PyTorch, for devices."""
    margin = window // 2
    padded = functional.pad(planes[:, None], (margin,) * 4, mode="replicate")[:, 0]
    windows = padded.unfold(1, window, 1).unfold(2, window, 1)
    return windows.flatten(3).median(-1).values
