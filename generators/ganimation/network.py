"""Generator network of GANimation: from an image of a face and AUs to the face with these AUs.

Architecture: Pumarola et al., "GANimation: Anatomically-aware Facial Animation from a Single
Image", ECCV 2018, with the kernel sizes of its public checkpoints.
"""

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from miex.au_sources.action_units import AU_COUNT

SIZE_STEP = 4
"""Image sides are multiples of this: the network halves an image twice."""

WIDTH = 64
"""Channels of the first layer in the paper and in both public checkpoints."""

MIN_SIZE = 8
"""Smallest side at which each border of the 7x7 kernels is separate from the inside."""

_STEM = 7
_REACH = _STEM // 2


class Rendering(NamedTuple):
    """Output of the generator for N images of side S.

    Attributes:
        image: ``(N, 3, S, S)``, -1 to 1: ``attention * input + (1 - attention) * colour``. (Both
            public codes; one version of the paper prints the reverse.)
        colour: ``(N, 3, S, S)``, -1 to 1, colours of the changed face.
        attention: ``(N, 1, S, S)``, 0 to 1, weight of the input.
    """

    image: Tensor
    colour: Tensor
    attention: Tensor


def to_network_range(pixels: Tensor) -> Tensor:
    """Convert pixels 0 to 255 to float32 from -1 to 1."""
    return pixels.float() / 127.5 - 1


def to_pixels(image: Tensor) -> Tensor:
    """Convert -1 to 1 to the nearest uint8, 0 to 255; the inverse of `to_network_range`."""
    return ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def blend(image: Tensor, colour: Tensor, attention: Tensor) -> Tensor:
    """Return ``attention * image + (1 - attention) * colour``, exactly `image` for attention 1."""
    return torch.lerp(colour, image, attention)


class NormalizedConv(nn.Module):
    """Convolution without bias, and instance normalisation with weight and bias.

    Group normalisation with one channel per group is instance normalisation. `InstanceNorm2d` of
    PyTorch rearranges `channels_last` tensors, `GroupNorm` does not.

    Args:
        conv: The convolution; the normalisation would cancel a bias.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.GroupNorm(conv.out_channels, conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C', H', W')``."""
        return _instance_norm(self.conv(x), self.norm)


def _instance_norm(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Normalise each channel of each image.

    With gradients in bfloat16 on a CPU, images and channels are normalised as the channels of one
    image, because the batch normalisation of PyTorch is 5 to 12 times as fast as its group
    normalisation, whose backward pass took half of a training step, with the same error relative to
    float32 (measured at 24 channels of 128 pixels and 96 of 32: .0030 and .0034 of the norm).

    Args:
        x: ``(N, C, H, W)``.
        norm: Weight, bias and epsilon.
    """
    slow = x.dtype == torch.bfloat16 and x.device.type == "cpu" and torch.is_grad_enabled()
    if not slow:
        return norm(x)  # type: ignore[no-any-return]
    images = len(x)
    flat = x.contiguous().reshape(1, -1, *x.shape[2:])
    weight, bias = norm.weight.repeat(images), norm.bias.repeat(images)
    normalised = F.batch_norm(flat, None, None, weight, bias, True, 0.0, norm.eps)
    return normalised.reshape(x.shape).contiguous(memory_format=torch.channels_last)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut.

    Args:
        channels: C, 256 in the paper.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = NormalizedConv(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        self.second = NormalizedConv(nn.Conv2d(channels, channels, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape."""
        return x + self.second(F.relu(self.first(x), inplace=True))  # type: ignore[no-any-return]


class GANimation(nn.Module):
    """Generator network: 8,471,296 parameters, 10.6 G multiply-adds at 128 x 128 pixels.

    Image sides are multiples of 4, at least 8; the public checkpoints were trained on 128.

    Args:
        width: Channels C of the first layer; the others have 2 C and 4 C. Checkpoints have
            `WIDTH`; narrow networks are for experiments.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        c = width
        self.stem = NormalizedConv(nn.Conv2d(3 + AU_COUNT, c, _STEM, padding=_REACH, bias=False))
        self.encoder = nn.ModuleList(
            NormalizedConv(nn.Conv2d(i, o, 4, stride=2, padding=1, bias=False))
            for i, o in ((c, 2 * c), (2 * c, 4 * c))
        )
        self.residual = nn.ModuleList(ResidualBlock(4 * c) for _ in range(6))
        self.decoder = nn.ModuleList(
            NormalizedConv(nn.ConvTranspose2d(i, o, 4, stride=2, padding=1, bias=False))
            for i, o in ((4 * c, 2 * c), (2 * c, c))
        )
        self.colour = nn.Conv2d(c, 3, _STEM, padding=_REACH, bias=False)
        self.attention = nn.Conv2d(c, 1, _STEM, padding=_REACH, bias=False)

    def forward(self, image: Tensor, condition: Tensor) -> Rendering:
        """Render faces with other AUs.

        Args:
            image: ``(N, 3, S, S)`` RGB, -1 to 1.
            condition: ``(N, 17)``, AU intensity / 5, 0 to 1.
        """
        plane = condition[:, :, None, None].expand(-1, -1, *image.shape[2:])
        x = F.relu(self.stem(torch.cat([image, plane], dim=1)), inplace=True)
        x = self.transform(x)
        # Under autocast the heads are bfloat16; the image that they are blended with is not.
        colour = torch.tanh(self.colour(x).to(image.dtype))
        attention = torch.sigmoid(self.attention(x).to(image.dtype))
        return Rendering(blend(image, colour, attention), colour, attention)

    def transform(self, x: Tensor) -> Tensor:
        """Apply all layers between the first layer and the two heads.

        Args:
            x: ``(N, C, S, S)``, after the first layer's ReLU.

        Returns:
            ``(N, C, S, S)``.
        """
        for layer in self.encoder:
            x = F.relu(layer(x), inplace=True)
        for block in self.residual:
            x = block(x)
        for layer in self.decoder:
            x = F.relu(layer(x), inplace=True)
        return x


def new_network(width: int = WIDTH) -> GANimation:
    """Return a network with arbitrary weights, without changing the global random state."""
    with torch.random.fork_rng(devices=[]):
        return GANimation(width)


def random_network(seed: int, width: int = WIDTH) -> GANimation:
    """Return an untrained network.

    Convolution weights are drawn from N(0, 0.02), as in both public codes; the instance norms
    are 1 and 0.

    Args:
        seed: Any integer of 64 bits; equal seeds give equal weights.
        width: Channels of the first layer.
    """
    generator = torch.Generator().manual_seed(seed)
    network = new_network(width)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 4:
                weight.normal_(0, 0.02, generator=generator)
            else:
                weight.fill_(1 if name.endswith("weight") else 0)
    return network


class FastGANimation(nn.Module):
    """The same function without gradients, optimized for speed.

    - Tensors are `channels_last`;
    - the first convolution is split: its image part is the same for every frame of a face
      (`features`), its condition part is linear in 17 numbers and takes only 7 x 7 different
      values over the image, one for each overlap of the kernel with the border;
    - a constant of each channel is subtracted from both parts, which the instance norm would do:
      this nearly halves the error of bfloat16;
    - both heads are one convolution of stride 2 that yields four pixels at once: 16 output
      channels use the vector units better than 3 + 1 channels.

    The input image enters the first convolution and the blend in float32 at any precision. Beside
    `GANimation` in float32, on faces and with random weights, float32 differs by 0.0002 grey
    levels (of 255) on average and 0.002 at most, bfloat16 by 0.5 (0.65) and 7; between two frames
    of one face bfloat16 errs by 0.6 on average. Where that matters, choose float32.

    Args:
        network: The weights; they are copied.
        dtype: Precision of all layers in between.
        device: The device.
    """

    rim: Tensor
    image_kernel: Tensor
    head_kernel: Tensor

    def __init__(self, network: GANimation, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        stem = network.stem.conv.weight.detach()
        ones = torch.eye(AU_COUNT)[:, :, None, None].expand(-1, -1, _STEM, _STEM)
        rim = F.conv2d(ones, stem[:, 3:], padding=_REACH)
        rim -= rim[:, :, _REACH, _REACH, None, None].clone()
        copied = new_network(network.stem.conv.out_channels)
        copied.load_state_dict(network.state_dict())
        self.network = copied.requires_grad_(False).to(dtype)
        self.register_buffer("image_kernel", stem[:, :3].clone())
        self.register_buffer("rim", rim.permute(0, 2, 3, 1).reshape(AU_COUNT, -1))
        self.register_buffer("head_kernel", _four_pixels_at_once(network).to(dtype))
        self.to(device).to(memory_format=torch.channels_last)

    def features(self, image: Tensor) -> Tensor:
        """Return the image part of the first convolution without its mean in each channel.

        Args:
            image: ``(N, 3, S, S)`` RGB, -1 to 1, float32.

        Returns:
            ``(N, 64, S, S)``, `channels_last`, in the network's precision.
        """
        sums = F.conv2d(image, self.image_kernel, padding=_REACH)
        sums -= sums.mean((2, 3), keepdim=True)
        return sums.to(self.head_kernel.dtype, memory_format=torch.channels_last)

    def forward(self, image: Tensor, features: Tensor, condition: Tensor) -> Tensor:
        """Render faces with other AUs.

        Args:
            image: ``(N, 3, S, S)`` RGB, -1 to 1, float32.
            features: Result of `features` for these images.
            condition: ``(N, 17)``, AU intensity / 5, 0 to 1, float32.

        Returns:
            ``(N, 3, S, S)``, -1 to 1, float32.
        """
        x = self._condition_part(condition, image.shape[-1]).add_(features)
        x = F.relu(self.network.stem.norm(x), inplace=True)
        x = self.network.transform(x)
        heads = F.conv2d(x, self.head_kernel, stride=2, padding=_REACH)
        heads = F.pixel_shuffle(heads.float(), 2)
        return blend(image, heads[:, :3].tanh(), heads[:, 3:].sigmoid())

    def _condition_part(self, condition: Tensor, side: int) -> Tensor:
        """Return the first convolution of 17 constant planes, ``(N, 64, side, side)``, 0 inside."""
        values = (condition @ self.rim).view(len(condition), _STEM**2, -1)
        at = torch.arange(side, device=condition.device)
        overlap = at.clamp(max=_REACH) + (at - (side - 1 - _REACH)).clamp(min=0)
        which = (overlap[:, None] * _STEM + overlap).flatten()
        planes = values.to(self.head_kernel.dtype).index_select(1, which)
        return planes.view(len(condition), side, side, -1).permute(0, 3, 1, 2)


def _four_pixels_at_once(network: GANimation) -> Tensor:
    """Return both heads as one kernel ``(16, 64, 8, 8)``, for stride 2 and `pixel_shuffle`.

    Output channel 4c + 2y + x is channel c (colour, then attention) of the pixel at row y and
    column x of each square of 2 x 2, and holds the 7x7 kernel shifted by (y, x).
    """
    kernel = torch.cat([network.colour.weight, network.attention.weight]).detach()
    moved = kernel.new_zeros(4, 2, 2, kernel.shape[1], _STEM + 1, _STEM + 1)
    for y, x in product(range(2), repeat=2):
        moved[:, y, x, :, y : y + _STEM, x : x + _STEM] = kernel
    return moved.flatten(0, 2)
