"""Discriminator of GANimation, which estimates realness of patches and AUs of a face.

Architecture: Pumarola et al., "GANimation: Anatomically-aware Facial Animation from a Single
Image", ECCV 2018 (D_I, a PatchGAN after Isola et al., CVPR 2017, with a regression
head D_y), with the kernel sizes of both public codes.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from miex.au_sources.action_units import AU_COUNT
from miex.generators.ganimation.network import WIDTH

_LAYERS = 6
"""Number of convolutions at 128 pixels; smaller images have fewer, for 2 x 2 patches."""

MIN_SIZE = 16

_SLOPE = 0.01
"""Slope of the leaky ReLU, the default of PyTorch, as in both public codes."""


class Verdict(NamedTuple):
    """Output of the discriminator for N images.

    Attributes:
        realness: ``(N, 1, h, w)``, score of each patch without unit; higher is more real.
        aus: ``(N, 17)``, AU intensity / 5, not clipped.
    """

    realness: Tensor
    aus: Tensor


class Discriminator(nn.Module):
    """Discriminator: 44,860,352 parameters, 0.7 G multiply-adds at 128 pixels.

    Args:
        image_size: Side S of the images, pixels, at least 16; a multiple of 64 from 128 on.
        width: Channels of the first layer, 64 in the paper; each further layer has twice as many.

    Raises:
        ValueError: The layers do not divide the side.
    """

    def __init__(self, image_size: int, width: int = WIDTH) -> None:
        super().__init__()
        layers = min(_LAYERS, image_size.bit_length() - 2)
        left = image_size >> layers if layers > 0 else 0
        if image_size < MIN_SIZE or left << layers != image_size:
            raise ValueError(
                f"a discriminator for images of {image_size} pixels; expected at least {MIN_SIZE},"
                f" and a multiple of {1 << max(layers, 0)} there"
            )
        channels = [3, *(width << i for i in range(layers))]
        self.main = nn.ModuleList(
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairwise(channels)
        )
        self.realness = nn.Conv2d(channels[-1], 1, 3, padding=1, bias=False)
        self.aus = nn.Conv2d(channels[-1], AU_COUNT, left, bias=False)

    def forward(self, image: Tensor) -> Verdict:
        """Compute realness and AUs of images.

        Args:
            image: ``(N, 3, S, S)`` RGB, -1 to 1.
        """
        x = image
        for layer in self.main:
            x = F.leaky_relu(layer(x), _SLOPE)
        return Verdict(self.realness(x), self.aus(x).flatten(1))


def random_discriminator(seed: int, image_size: int, width: int = WIDTH) -> Discriminator:
    """Return an untrained discriminator.

    Weights are drawn from N(0, 0.02), as in both public codes, with a larger deviation in a
    narrower network, for sums of equal size; biases are 0. The global random state of PyTorch is
    not changed.

    Args:
        seed: Any integer of 64 bits; equal seeds give equal weights.
        image_size: Side of the images, pixels.
        width: Channels of the first layer.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        discriminator = Discriminator(image_size, width)
    deviation = 0.02 * (WIDTH / width) ** 0.5
    with torch.no_grad():
        for weight in discriminator.parameters():
            if weight.ndim == 4:
                weight.normal_(0, deviation, generator=generator)
            else:
                weight.zero_()
    return discriminator
