"""Render frames from prepared faces and AUs: two moving layers of skin over a fixed background.

A frame depends on its face and its AUs only, to the bit, and on a CPU not even on the processor:
compiled kernels (kernels/warp.c) and PyTorch do the same single operations in the same order.
"""

import ctypes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.datasets.kernels import kernels
from miex.datasets.motion import visible_motion
from miex.generators import _warp_compiled as compiled
from miex.generators._warp_field import NODES
from miex.generators._warp_sampling import pixel_grid, read_linear, read_spline, resize
from miex.generators._warp_state import MovedFrames, WarpState

_INVERSION_STEPS = 2
"""Fixed-point steps that invert the field. Its slope is below .3 at intensity 2, so that the
remaining error of a motion of 3 px is .3³ of it, below a tenth of a pixel."""

_UPPER_STRETCH, _LOWER_STRETCH = 0.5, 0.75
"""Shares of the height of an open mouth that follow the upper and the lower lip."""

_GAP_SHADE = 24.0
"""Strength of the shade below the upper teeth when an open mouth doubles its height: at most .63,
at three quarters of the height (`depth³ (1 - depth)` is 27/256 there, the other factor 1/4)."""


_CONSTANTS = (1 / _UPPER_STRETCH, 1 / _LOWER_STRETCH, _GAP_SHADE)
"""Those that the kernel needs."""


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
    library = _kernels_for(states)
    if library is None:
        return _move_by_torch(states, aus, inversion_steps)
    return compiled.move_frames(library, states, aus, inversion_steps, _CONSTANTS)


@torch.inference_mode()
def measure_frames(
    states: list[WarpState], aus: NDArray[np.float32]
) -> tuple[Tensor, NDArray[np.float32]]:
    """Render frames, and return their motion from the photograph.

    Args:
        states: N states of one size.
        aus: ``(N, 17)`` intensities, or changes of them.

    Returns:
        ``uint8 (N, 3, S, S)``, and the motion ``(N,)`` in pixels, see `visible_motion`.
    """
    library = _kernels_for(states)
    if library is not None:
        return compiled.measure_frames(library, states, aus, _INVERSION_STEPS, _CONSTANTS)
    frames, source = _move_by_torch(states, aus, _INVERSION_STEPS)
    motion = [
        visible_motion(at, frame, state.crop.cpu().numpy())
        for at, frame, state in zip(source.cpu().numpy(), frames.cpu().numpy(), states, strict=True)
    ]
    return frames, np.array(motion, np.float32)


def _kernels_for(states: list[WarpState]) -> ctypes.CDLL | None:
    return kernels() if states[0].crop.device.type == "cpu" else None


def _move_by_torch(
    states: list[WarpState], aus: NDArray[np.float32], inversion_steps: int
) -> MovedFrames:
    """Render frames with PyTorch, equal to those of the kernel on a CPU."""
    crop = _stack(states, "crop")
    size = crop.shape[-1]
    back = _backward_motion(states, aus, size, inversion_steps)
    which, row, column = _stack(states, "movable")[:, 0].nonzero().unbind(1)
    source = pixel_grid(size, size, crop.device).repeat(len(states), 1, 1, 1)
    # Only the pixels that may move are computed, P in all.
    here = source[which, row, column]

    def of(name: str) -> Tensor:
        """Return a field of the states at the pixels, ``(P, channels)`` or ``(channels, P)``."""
        return _stack(states, name)[which, ..., row, column]

    moved = back[which, :, :, row, column]
    upper, lower = here + moved[:, 0], here + moved[:, 1]
    edges = _stack(states, "edges")
    above = read_linear(edges[:, :1], which, upper)[0]
    below = read_linear(edges[:, 1:], which, lower)[0]
    softness = _stack(states, "softness")[which, 0, 0, 0]
    in_upper, in_lower = _cover(above / softness, below / softness)

    before = -(of("edges")[:, 0] + of("edges")[:, 1])
    gap = -(above + below).clamp(max=-1e-3)
    widened = (gap - before).clamp(min=0)
    depth = (-above / gap).clamp(0, 1)
    stretching, opening = of("mouth").unbind(1)
    inside = here + _stack(states, "eyeballs")[which, row, column]
    inside = inside + _stretch(stretching, depth, moved)
    doubled = (before * widened / (gap * gap)).clamp(0, 0.25)
    dark = opening * (widened / softness).clamp(max=1)
    dark = dark + stretching * (_GAP_SHADE * doubled * depth * depth * depth * (1 - depth))

    # The layer that covers half a pixel or more is read by splines; the other one, at a soft
    # edge, is read linearly, which is invisible there.
    hard_upper, hard_lower = in_upper >= 0.5, in_lower >= 0.5
    shown = torch.where(hard_upper[:, None], upper, torch.where(hard_lower[:, None], lower, inside))
    sharp = read_spline(_stack(states, "coefficients"), which, shown)
    skin_above = torch.where(hard_upper, sharp, read_linear(crop, which, upper))
    skin_below = torch.where(hard_lower, sharp, read_linear(crop, which, lower))
    behind = torch.where(hard_upper | hard_lower, read_linear(crop, which, inside), sharp)
    cavity = _stack(states, "cavity")[which, :, 0, 0].T
    behind = behind + dark * (cavity - behind)
    colour = in_upper * skin_above + in_lower * skin_below + (1 - in_upper - in_lower) * behind
    frames = crop.clone()
    frames[which, :, row, column] = colour.round().clamp(0, 255).to(torch.uint8).T
    source[which, row, column] = shown
    return MovedFrames(frames, source)


def _stack(states: list[WarpState], name: str) -> Tensor:
    return torch.stack([getattr(state, name) for state in states])


def _backward_motion(
    states: list[WarpState], aus: NDArray[np.float32], size: int, steps: int
) -> Tensor:
    """Return the origin of each pixel of both layers, relative to it, ``(N, 2, 2, S, S)`` pixels.

    The weighted sum of the basis fields is the forward motion; the backward motion b is the fixed
    point of ``b(p) = -motion(p + b(p))``.
    """
    motion = torch.stack([_forward_motion(s, v) for s, v in zip(states, aus, strict=True)]).flatten(
        0, 1
    )
    nodes = pixel_grid(size, NODES, motion.device)[0].flatten(0, 1)
    which = torch.arange(len(motion), device=motion.device).repeat_interleave(len(nodes))
    back = -motion
    for _ in range(steps):
        points = nodes + back.flatten(2).movedim(1, -1)
        points = ((points + 0.5) * (NODES / size) - 0.5).flatten(0, 1)
        read = read_linear(motion, which, points)
        back = -read.reshape(2, len(motion), NODES, NODES).movedim(0, 1)
    return resize(back, size).reshape(len(states), 2, 2, size, size)


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
    lead = (above - below) * 0.5
    upper = (0.5 + torch.minimum(above, lead)).clamp(0, 1)
    lower = (0.5 + torch.minimum(below, -lead)).clamp(0, 1)
    return upper, lower


def _stretch(stretching: Tensor, depth: Tensor, back: Tensor) -> Tensor:
    """Return the displacement ``(P, 2)`` inside an open mouth, continuous at both lips.

    The upper teeth do not move; the gap under them widens. Unlike a cut, a stretch tolerates
    landmarks beside the edge of a lip.

    Args:
        stretching: ``(P,)`` 1 in an open mouth.
        depth: ``(P,)`` 0 at the upper lip, 1 at the lower one.
        back: ``(P, 2, 2)`` displacement of the layers.
    """
    upper = stretching * (1 - depth * (1 / _UPPER_STRETCH)).clamp(min=0)
    lower = stretching * (1 - (1 - depth) * (1 / _LOWER_STRETCH)).clamp(min=0)
    return upper[:, None] * back[:, 0] + lower[:, None] * back[:, 1]
