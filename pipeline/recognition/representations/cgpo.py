"""CGPO, the cropped Gaussian pyramid with overlapping.

Zhao, Chen and Luo, Micro-Expression Recognition Based on Pixel Residual Sum and Cropped Gaussian
Pyramid, Front. Neurorobot. 15:746985, 2021, sec. 3.2.2.
"""

import torch
from torch import Tensor
from torch.nn import functional

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Filter between two levels of a Gaussian pyramid (Burt and Adelson, IEEE Trans. Comm. 1983)."""


def views(images: Tensor, overlap: float) -> Tensor:
    """Return the upper level of the pyramid, and the lower one as overlapping tiles of its size.

    Args:
        images: ``(B, C, S, S)``, float, S even.
        overlap: Share of a tile that the next one overlaps, 0 to below 1; .3 in the paper.

    Returns:
        ``(B, V, C, S / 2, S / 2)``: the whole face first, then the tiles row by row; with S = 320
        and the paper's overlap V is the 10 of the paper.
    """
    side = images.shape[-1] // 2
    starts = tile_starts(images.shape[-1], overlap)
    tiles = [images[..., y : y + side, x : x + side] for y in starts for x in starts]
    return torch.stack([pyramid_down(images), *tiles], 1)


def tile_starts(side: int, overlap: float) -> list[int]:
    """Return the starts of the tiles along one side.

    The stride is S / 2 (1 - overlap) pixels, and the last tile is moved back to the edge. Only this
    interpretation uses the overlap and gives the ten views of the paper: 0, 112 and 160 of 320.

    Args:
        side: S of the tiled image, even.
        overlap: See `views`.

    Raises:
        ValueError: S is odd, or the overlap leaves no stride.
    """
    tile = side // 2
    stride = round(tile * (1 - overlap))
    if side % 2 or not 0 <= overlap < 1 or stride < 1:
        raise ValueError(
            f"tiles of {side} px with an overlap of {overlap}: expected an even side, and an"
            " overlap from 0 to below 1 that leaves a stride of a pixel at least"
        )
    return [*range(0, side - tile, stride), side - tile]


def pyramid_down(images: Tensor) -> Tensor:
    """Return the next level of a Gaussian pyramid: blurred, every second row and column.

    Args:
        images: ``(B, C, S, S)``, float, S even.

    Returns:
        ``(B, C, S / 2, S / 2)``.
    """
    channels = images.shape[1]
    line = torch.tensor(_BINOMIAL, dtype=images.dtype, device=images.device)
    filters = torch.outer(line, line).expand(channels, 1, 5, 5)
    padded = functional.pad(images, (2, 2, 2, 2), mode="reflect")
    return functional.conv2d(padded, filters, stride=2, groups=channels)
