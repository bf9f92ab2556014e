"""Random changes of training images, batched, the same ones for every frame of a sample.

What a micro-expression shows is the difference between its frames. A change that is drawn anew
for each frame makes a difference of its own, many times larger (the released code of MiE-X does
that). So every function here takes the frames of a sample together, ``(B, T, 3, H, W)``, draws
once for a sample, and applies the draw to all T. Draws come from a generator on the CPU, whatever
the device, so that every device sees the same training.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value, ITU-R BT.601."""


def as_float(images: Tensor) -> Tensor:
    """``uint8`` 0 to 255 as ``float32`` 0 to 1; float images as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def random_view(
    images: Tensor,
    side: int,
    generator: Generator,
    *,
    resized: int | None = None,
    degrees: float | Tensor = 0.0,
    flip: float = 0.0,
) -> Tensor:
    """Scales, rotates about the centre, crops at a random place and mirrors, in one resampling.

    Equals scaling to `resized`, rotating and cropping in turn, but interpolates once instead of
    thrice: micro-expressions are close to the noise that interpolation makes. What rotation brings
    in from outside of the image is black, as in torchvision.

    Args:
        images: ``(B, T, 3, S, S)``, float, 0 to 1.
        side: Side of the result, pixels.
        generator: Of the draws, on the CPU.
        resized: Side to which the image is scaled before `side` pixels of it are cut out, at least
            `side`, which is the default: nothing is cut off.
        degrees: Rotation, uniform between minus and plus this angle, of all samples or ``(B,)``.
        flip: Probability of mirroring left and right.

    Returns:
        ``(B, T, 3, side, side)``.
    """
    count = len(images)
    angle = _uniform(count, -degrees, degrees, generator) * (math.pi / 180)
    # Offsets are whole pixels of the scaled image, as in torchvision's RandomCrop.
    slack = (resized or side) - side
    offset = torch.randint(0, slack + 1, (count, 2), generator=generator).float()
    mirror = torch.rand(count, generator=generator) < flip
    return _view(images, side, resized or side, offset, angle, mirror)


def centre_view(images: Tensor, side: int, *, resized: int | None = None) -> Tensor:
    """What `random_view` does, without randomness: scales and cuts out the middle.

    Args:
        images: ``(B, T, 3, S, S)``, float, 0 to 1.
        side: Side of the result, pixels.
        resized: See `random_view`.

    Returns:
        ``(B, T, 3, side, side)``.
    """
    count = len(images)
    offset = torch.full((count, 2), float(((resized or side) - side) // 2))
    still = torch.zeros(count)
    return _view(images, side, resized or side, offset, still, still.bool())


def _view(
    images: Tensor, side: int, resized: int, offset: Tensor, angle: Tensor, mirror: Tensor
) -> Tensor:
    """Samples the images at the places of a view.

    Args:
        images: ``(B, T, 3, S, S)``.
        side: Of the view.
        resized: Side of the whole image in pixels of the view.
        offset: ``(B, 2)`` x and y of the view's corner in the scaled and rotated image.
        angle: ``(B,)`` rotation counter-clockwise, radians.
        mirror: ``bool (B,)``.
    """
    batch, frames = images.shape[:2]
    source = images.shape[-1]
    if resized < source:
        # Sampling apart pixels would alias, so that the image is made small beforehand.
        small = functional.interpolate(
            images.flatten(0, 1), (resized, resized), mode="bilinear", antialias=True
        )
        images = small.reshape(batch, frames, *small.shape[1:])
    offset, angle, mirror = (each.to(images.device) for each in (offset, angle, mirror))
    # A pixel of the view, in units in which the whole image reaches from -1 to 1.
    pixel = torch.arange(side, device=images.device) + 0.5
    x = (offset[:, :1] + pixel) * (2 / resized) - 1
    y = (offset[:, 1:] + pixel) * (2 / resized) - 1
    x = torch.where(mirror[:, None], x.flip(1), x)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    grid = torch.stack(
        (
            cos * x[:, None, :] - sin * y[:, :, None],
            sin * x[:, None, :] + cos * y[:, :, None],
        ),
        dim=-1,
    ).to(images)
    # One grid for a sample: its frames are channels of one image. The outermost pixels reach to the
    # border of the image; what a rotation brings in from beyond it is black.
    view = functional.grid_sample(
        images.flatten(1, 2), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    inside = (grid.abs() <= 1).all(-1)[:, None]
    return (view * inside).reshape(batch, frames, -1, side, side)


def colour_jitter(
    images: Tensor,
    generator: Generator,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Tensor:
    """Changes brightness, contrast, saturation and hue, in this order.

    The four are those of torchvision's ColorJitter, which shuffles their order for each image;
    here it is fixed, so that a batch is changed at once. The grey level that contrast scales
    around is the mean of all frames of a sample, hence the same for its onset and its apex.

    Args:
        images: ``(B, T, 3, H, W)`` RGB, float, 0 to 1.
        generator: Of the draws, on the CPU.
        brightness: The image is multiplied by a factor within 1 -+ this.
        contrast: Its difference to the mean grey level is multiplied by one within 1 -+ this.
        saturation: Its difference to its grey image is multiplied by one within 1 -+ this.
        hue: The hue is turned by a part of the circle within -+ this, at most 0.5.

    Returns:
        ``(B, T, 3, H, W)``, 0 to 1.
    """
    count = len(images)
    # Drawn in full before anything is left out, so that the draws of one do not hang on another.
    factors = [
        _uniform(count, max(0.0, 1 - most), 1 + most, generator)
        for most in (brightness, contrast, saturation)
    ]
    turn = _uniform(count, -hue, hue, generator)
    bright, contrasted, saturated = (_spread(factor, images) for factor in factors)
    if brightness:
        images = (images * bright).clamp(0, 1)
    if contrast:
        level = grey(images).mean((1, 2, 3, 4), keepdim=True)
        images = (level + (images - level) * contrasted).clamp(0, 1)
    if saturation:
        pale = grey(images)
        images = (pale + (images - pale) * saturated).clamp(0, 1)
    if hue:
        images = turn_hue(images, _spread(turn, images))
    return images


def random_grey(images: Tensor, generator: Generator, probability: float) -> Tensor:
    """Takes the colour out of some samples.

    Args:
        images: ``(B, T, 3, H, W)`` RGB, float, 0 to 1.
        generator: Of the draws, on the CPU.
        probability: With which a sample becomes grey.

    Returns:
        ``(B, T, 3, H, W)``.
    """
    chosen = torch.rand(len(images), generator=generator) < probability
    return torch.where(_spread(chosen, images), grey(images), images)


def grey(images: Tensor) -> Tensor:
    """Grey image of ``(..., 3, H, W)`` RGB, ``(..., 1, H, W)``."""
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(-3, keepdim=True)


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turns the hue in the HSV model (Smith, SIGGRAPH 1978), saturation and value kept.

    Args:
        images: ``(..., 3, H, W)`` RGB, float, 0 to 1.
        turn: Part of the colour circle, 1 once around; of a shape that spreads over the images.

    Returns:
        Images of the same shape.
    """
    value, low = images.amax(-3, keepdim=True), images.amin(-3, keepdim=True)
    chroma = value - low
    red, green, blue = (images[..., channel : channel + 1, :, :] for channel in range(3))
    # Hue in sixths of the circle; without chroma every hue looks alike.
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * turn
    # A channel falls from the value to the low where the hue leaves it behind.
    shift = torch.tensor((5.0, 3.0, 1.0), dtype=images.dtype, device=images.device)
    sixth = (hue + shift[:, None, None]) % 6
    return value - chroma * torch.minimum(sixth, 4 - sixth).clamp(0, 1)


def _uniform(count: int, low: float | Tensor, high: float | Tensor, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _spread(per_sample: Tensor, images: Tensor) -> Tensor:
    """``(B,)`` on the CPU to ``(B, 1, 1, 1, 1)`` beside the images."""
    return per_sample.to(images.device)[:, None, None, None, None]
