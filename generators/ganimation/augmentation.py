"""Augment the input of the discriminator, against overfitting.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020: real and
rendered images are augmented in the same way, differentiably. The transforms do not change AUs:
colours and small similarity transforms, no occlusion.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_PARAMETERS = 7
"""Number of parameters of an augmentation, each from -1 to 1."""

_BRIGHTNESS, _SATURATION, _CONTRAST = 0.3, 0.5, 0.3
_DEGREES, _SCALE, _SHIFT = 6.0, 0.06, 0.06
"""Extremes at strength 1: brightness (range -1 to 1), saturation, contrast; degrees, scale, share
of the side. DiffAugment's are 0.5, 1, 0.5 and a shift of 0.125; faces here are aligned."""


def draw_augmentations(
    count: int, strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return parameters ``(N, 7)`` for `augment`, uniform up to a strength of 0 to 1."""
    return rng.uniform(-strength, strength, (count, _PARAMETERS)).astype(np.float32)


def augment(image: Tensor, parameters: Tensor) -> Tensor:
    """Augment images.

    Args:
        image: ``(N, 3, S, S)``, -1 to 1.
        parameters: ``(N, 7)`` of `draw_augmentations`: brightness, saturation, contrast, turn,
            scale, shift to the right and down. 0 changes nothing.

    Returns:
        ``(N, 3, S, S)``, float32, reflected at the border; values may be outside -1 to 1.
    """
    p = parameters[:, :, None, None, None].unbind(1)
    x = image.float() + _BRIGHTNESS * p[0]
    grey = x.mean(1, keepdim=True)
    x = grey + (1 + _SATURATION * p[1]) * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (1 + _CONTRAST * p[2]) * (x - mean)

    angle = np.pi / 180 * _DEGREES * parameters[:, 3]
    scale = 1 + _SCALE * parameters[:, 4]
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    # A shift of one side is 2 in the coordinates of `affine_grid`.
    right, down = (2 * _SHIFT * parameters[:, 5:]).unbind(1)
    rows = [torch.stack([cosine, -sine, right], 1), torch.stack([sine, cosine, down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
