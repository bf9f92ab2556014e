"""Random augmentation of training images in batches, the same for all frames of a sample.

A micro-expression is the difference between frames. Different augmentation of the frames would add
a difference that is many times larger (the released code of MiE-X does that). Every function here
therefore takes all frames of a sample, ``(B, T, 3, H, W)``, draws once per sample, and applies the
draw to all T frames. Draws are made on the CPU, so that they do not depend on the device.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value, ITU-R BT.601."""


def as_float(images: Tensor) -> Tensor:
    """Convert ``uint8`` 0 to 255 to ``float32`` 0 to 1; float images are returned unchanged."""
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
    """Scale, rotate about the centre, crop at a random place and mirror, in one resampling.

    The result is that of scaling to `resized`, rotating and cropping, but with one interpolation
    instead of three, since micro-expressions are hardly larger than interpolation noise. Pixels
    from outside the image are black, as in torchvision.

    Args:
        images: ``(B, T, 3, S, S)``, float, 0 to 1.
        side: Side of the result, pixels.
        generator: Random generator on the CPU.
        resized: Side to which the image is scaled before cropping; at least `side`, the default,
            with which nothing is cropped.
        degrees: Rotation, uniform between minus and plus this angle, of all samples or ``(B,)``.
        flip: Probability of mirroring left and right.

    Returns:
        ``(B, T, 3, side, side)``.
    """
    count = len(images)
    angle = _uniform(count, -degrees, degrees, generator) * (math.pi / 180)
    # Offsets are whole pixels of the scaled image, as in RandomCrop of torchvision.
    slack = (resized or side) - side
    offset = torch.randint(0, slack + 1, (count, 2), generator=generator).float()
    mirror = torch.rand(count, generator=generator) < flip
    return _view(images, side, resized or side, offset, angle, mirror)


def centre_view(images: Tensor, side: int, *, resized: int | None = None) -> Tensor:
    """Scale and crop the centre, as `random_view` without randomness.

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
    """Sample the images at the positions of a view.

    Args:
        images: ``(B, T, 3, S, S)``.
        side: Side of the view, pixels.
        resized: Side of the whole image, in pixels of the view.
        offset: ``(B, 2)`` x and y of the view's corner in the scaled and rotated image.
        angle: ``(B,)`` rotation counter-clockwise, radians.
        mirror: ``bool (B,)``.
    """
    batch, frames = images.shape[:2]
    source = images.shape[-1]
    if resized < source:
        # Sampling with large steps would alias, so that the image is downscaled before.
        small = functional.interpolate(
            images.flatten(0, 1), (resized, resized), mode="bilinear", antialias=True
        )
        images = small.reshape(batch, frames, *small.shape[1:])
    offset, angle, mirror = (each.to(images.device) for each in (offset, angle, mirror))
    # Pixel size of the view, where the whole image ranges from -1 to 1.
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
    # One grid per sample: its frames are channels of one image. The outermost pixels extend to the
    # border of the image; pixels beyond it are black.
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
    """Change brightness, contrast, saturation and hue, in this order.

    As ColorJitter of torchvision, which draws the order for each image; here it is fixed, for
    batches. Contrast is scaled around the mean grey level of all frames of a sample, so that onset
    and apex are changed alike.

    Args:
        images: ``(B, T, 3, H, W)`` RGB, float, 0 to 1.
        generator: Random generator on the CPU.
        brightness: Range of the factor of the image, 1 -+ this value.
        contrast: Range of the factor of the difference to the mean grey level, 1 -+ this value.
        saturation: Range of the factor of the difference to the grey image, 1 -+ this value.
        hue: Range of the rotation of the hue, as a share of the circle, at most 0.5.

    Returns:
        ``(B, T, 3, H, W)``, 0 to 1.
    """
    count = len(images)
    # All are drawn before any is skipped, so that the draws do not depend on each other.
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
    """Convert some samples to grey.

    Args:
        images: ``(B, T, 3, H, W)`` RGB, float, 0 to 1.
        generator: Random generator on the CPU.
        probability: Probability of a grey sample.

    Returns:
        ``(B, T, 3, H, W)``.
    """
    chosen = torch.rand(len(images), generator=generator) < probability
    return torch.where(_spread(chosen, images), grey(images), images)


def grey(images: Tensor) -> Tensor:
    """Return the grey image ``(..., 1, H, W)`` of ``(..., 3, H, W)`` RGB."""
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(-3, keepdim=True)


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Rotate the hue in the HSV model (Smith, SIGGRAPH 1978) with saturation and value unchanged.

    Args:
        images: ``(..., 3, H, W)`` RGB, float, 0 to 1.
        turn: Rotation as a share of the colour circle, broadcast over the images.

    Returns:
        Images of the same shape.
    """
    value, low = images.amax(-3, keepdim=True), images.amin(-3, keepdim=True)
    chroma = value - low
    red, green, blue = (images[..., channel : channel + 1, :, :] for channel in range(3))
    # Hue in sixths of the circle; without chroma the hue is arbitrary.
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * turn
    # A channel decreases from the value to the minimum with the distance of the hue.
    shift = torch.tensor((5.0, 3.0, 1.0), dtype=images.dtype, device=images.device)
    sixth = (hue + shift[:, None, None]) % 6
    return value - chroma * torch.minimum(sixth, 4 - sixth).clamp(0, 1)


def _uniform(count: int, low: float | Tensor, high: float | Tensor, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _spread(per_sample: Tensor, images: Tensor) -> Tensor:
    """Return ``(B,)`` from the CPU as ``(B, 1, 1, 1, 1)`` on the device of the images."""
    return per_sample.to(images.device)[:, None, None, None, None]
