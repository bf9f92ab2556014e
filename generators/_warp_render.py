"""Render frames from prepared faces and AUs: two moving layers of skin over a fixed background.

Only sums, products, comparisons and bilinear reads of pixels of the same frame are used, so that a
frame does not depend on the batch or the number of threads, to the bit.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from miex.generators._warp_field import NODES
from miex.generators._warp_sampling import pixel_grid, sample_linear, sample_spline

_INVERSION_STEPS = 2
"""Fixed-point steps that invert the field. Its slope is below .3 at intensity 2, so that the
remaining error of a motion of 3 px is .3³ of it, below a tenth of a pixel."""

_UPPER_STRETCH, _LOWER_STRETCH = 0.5, 0.75
"""Shares of the height of an open mouth that follow the upper and the lower lip."""

_GAP_SHADE = 24.0
"""Strength of the shade below the upper teeth when an open mouth doubles its height: at most .63,
at three quarters of the height (`depth³ (1 - depth)` is 27/256 there, the other factor 1/4)."""


@dataclass(frozen=True, slots=True)
class WarpState:
    """Face prepared for rendering, on the device of the generator.

    Attributes:
        crop: ``uint8 (3, S, S)``.
        coefficients: ``(3, S + 4, S + 4)`` B-spline coefficients of the crop.
        basis: ``(17, 2, 2, NODES, NODES)`` motion at intensity 1: AU, layer, x and y; pixels.
        edges: ``(2, S, S)`` pixels above the upper and below the lower edge of eye or mouth.
        eyeballs: ``(S, S, 2)`` where to read an uncovered eyeball, pixels to add.
        mouth: ``(2, S, S)`` weights of an open mouth, whose inside is stretched, and of a closed
            mouth that opens; fractions for slightly parted lips.
        cavity: ``(3, 1, 1)`` colour of the inside of a closed mouth.
        movable: ``bool (1, S, S)`` pixels that may change.
        softness: ``(1, 1, 1)`` width of an edge, pixels.
    """

    crop: Tensor
    coefficients: Tensor
    basis: Tensor
    edges: Tensor
    eyeballs: Tensor
    mouth: Tensor
    cavity: Tensor
    movable: Tensor
    softness: Tensor


class MovedFrames(NamedTuple):
    """N frames and the origin of their pixels.

    Attributes:
        frames: ``uint8 (N, 3, S, S)``.
        source: ``(N, S, S, 2)``, x and y of the position in the photograph that each pixel shows.
    """

    frames: Tensor
    source: Tensor


def render_frames(states: list[WarpState], aus: NDArray[np.float32]) -> Tensor:
    """Render frames ``uint8 (N, 3, S, S)`` of N states of one size, ``(N, 17)`` intensities."""
    return move_frames(states, aus).frames


@torch.inference_mode()
def move_frames(
    states: list[WarpState], aus: NDArray[np.float32], inversion_steps: int = _INVERSION_STEPS
) -> MovedFrames:
    """Render frames, and return the origin of their pixels.

    Args:
        states: N states of one size.
        aus: ``(N, 17)`` intensities, or changes of them.
        inversion_steps: Fixed-point steps that invert the field; more for larger motion.
    """
    crop = _stack(states, "crop")
    size = crop.shape[-1]
    pixels = pixel_grid(size, size, crop.device)
    back = _backward_motion(states, aus, size, inversion_steps)
    upper, lower = (pixels + back).unbind(1)

    edges = _stack(states, "edges")
    above = sample_linear(edges[:, :1], upper)
    below = sample_linear(edges[:, 1:], lower)
    softness = _stack(states, "softness")
    in_upper, in_lower = _cover(above / softness, below / softness)

    before = -edges.sum(1, keepdim=True)
    gap = -(above + below).clamp(max=-1e-3)
    widened = (gap - before).clamp(min=0)
    depth = (-above / gap).clamp(0, 1)
    mouth = _stack(states, "mouth")
    stretching, opening = mouth[:, :1], mouth[:, 1:]
    inside = pixels + _stack(states, "eyeballs")
    inside = inside + _stretch(stretching, depth, back)
    doubled = (before * widened / (gap * gap)).clamp(0, 0.25)
    dark = opening * (widened / softness).clamp(max=1)
    dark = dark + stretching * (_GAP_SHADE * doubled * depth * depth * depth * (1 - depth))

    # The layer that covers half a pixel or more is read by splines; the other one, at a soft
    # edge, is read linearly, which is invisible there and takes a quarter of the time.
    hard_upper, hard_lower = in_upper >= 0.5, in_lower >= 0.5
    source = torch.where(
        hard_upper.movedim(1, -1), upper, torch.where(hard_lower.movedim(1, -1), lower, inside)
    )
    sharp = sample_spline(_stack(states, "coefficients"), source)
    photo = crop.float()
    skin_above = torch.where(hard_upper, sharp, sample_linear(photo, upper))
    skin_below = torch.where(hard_lower, sharp, sample_linear(photo, lower))
    behind = torch.where(hard_upper | hard_lower, sample_linear(photo, inside), sharp)
    behind = behind + dark * (_stack(states, "cavity") - behind)
    colour = in_upper * skin_above + in_lower * skin_below + (1 - in_upper - in_lower) * behind
    frames = colour.round().clamp(0, 255).to(torch.uint8)
    return MovedFrames(torch.where(_stack(states, "movable"), frames, crop), source)


def _stack(states: list[WarpState], name: str) -> Tensor:
    return torch.stack([getattr(state, name) for state in states])


def _backward_motion(
    states: list[WarpState], aus: NDArray[np.float32], size: int, steps: int
) -> Tensor:
    """Return the origin of each pixel of both layers, relative to it, ``(N, 2, S, S, 2)`` pixels.

    The weighted sum of the basis fields is the forward motion; the backward motion b is the fixed
    point of ``b(p) = -motion(p + b(p))``.
    """
    motion = torch.stack([_forward_motion(s, v) for s, v in zip(states, aus, strict=True)]).flatten(
        0, 1
    )
    nodes = pixel_grid(size, NODES, motion.device)
    back = -motion
    for _ in range(steps):
        back = -sample_linear(motion, nodes + back.movedim(1, -1), size)
    full = F.interpolate(back, size=(size, size), mode="bicubic", antialias=True)
    return full.movedim(1, -1).reshape(len(states), 2, size, size, 2)


def _forward_motion(state: WarpState, values: NDArray[np.float32]) -> Tensor:
    total = torch.zeros_like(state.basis[0])
    for unit in np.flatnonzero(values):
        total = total + float(values[unit]) * state.basis[unit]
    return total


def _cover(above: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares of a pixel that the layers above and below an aperture cover.

    Where they overlap, as pressed lips, they meet in the middle.

    Args:
        above: Distance above the upper edge, in widths of a soft edge.
        below: Distance below the lower edge.
    """
    lead = (above - below) / 2
    upper = (0.5 + torch.minimum(above, lead)).clamp(0, 1)
    lower = (0.5 + torch.minimum(below, -lead)).clamp(0, 1)
    return upper, lower


def _stretch(stretching: Tensor, depth: Tensor, back: Tensor) -> Tensor:
    """Return the displacement ``(N, S, S, 2)`` inside an open mouth, continuous at both lips.

    The upper teeth do not move; the gap under them widens. Unlike a cut, a stretch tolerates
    landmarks beside the edge of a lip.

    Args:
        stretching: ``(N, 1, S, S)`` 1 in an open mouth.
        depth: ``(N, 1, S, S)`` 0 at the upper lip, 1 at the lower one.
        back: ``(N, 2, S, S, 2)`` displacement of the layers.
    """
    upper = stretching * (1 - depth / _UPPER_STRETCH).clamp(min=0)
    lower = stretching * (1 - (1 - depth) / _LOWER_STRETCH).clamp(min=0)
    return upper.movedim(1, -1) * back[:, 0] + lower.movedim(1, -1) * back[:, 1]
