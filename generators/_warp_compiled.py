"""Frames of `warp` by a compiled kernel."""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.datasets.kernels import address
from miex.datasets.motion import mean_of_fastest
from miex.generators._warp_sampling import resize_taps
from miex.generators._warp_state import MovedFrames, WarpState


def move_frames(
    library: ctypes.CDLL,
    states: Sequence[WarpState],
    aus: NDArray[np.float32],
    inversion_steps: int,
    constants: tuple[float, float, float],
) -> MovedFrames:
    """Render frames on the CPU; see `_warp_render.move_frames`.

    Args:
        library: The kernels.
        states: N states of one size.
        aus: ``(N, K)`` intensities for the K basis fields.
        inversion_steps: Fixed-point steps that invert the field.
        constants: Inverse stretches of the upper and the lower lip, and the shade of the gap.

    Returns:
        Frames ``uint8 (N, 3, S, S)``, and where each pixel was read, ``(N, S, S, 2)`` in pixels.
    """
    size = states[0].crop.shape[-1]
    frames = torch.empty((len(states), 3, size, size), dtype=torch.uint8)
    source = torch.empty((len(states), size, size, 2))
    render = _renderer(library, states, aus, inversion_steps, constants)
    for number in range(len(states)):
        render(number, *_pointers(frames[number], source[number]), address(None))
    return MovedFrames(frames, source)


def measure_frames(
    library: ctypes.CDLL,
    states: Sequence[WarpState],
    aus: NDArray[np.float32],
    inversion_steps: int,
    constants: tuple[float, float, float],
) -> tuple[Tensor, NDArray[np.float32]]:
    """Render frames on the CPU and measure their motion; arguments as in `move_frames`.

    Returns:
        Frames ``uint8 (N, 3, S, S)``; motion ``(N,)``, the mean displacement of the fastest
        5 % of the pixels, of those that change, in pixels of the frame.
    """
    size = states[0].crop.shape[-1]
    frames = torch.empty((len(states), 3, size, size), dtype=torch.uint8)
    lengths = np.empty((size, size), np.float32)
    motion = np.empty(len(states), np.float32)
    render = _renderer(library, states, aus, inversion_steps, constants)
    for number in range(len(states)):
        render(number, *_pointers(frames[number]), address(None), address(lengths))
        motion[number] = mean_of_fastest(lengths)
    return frames, motion


def _renderer(
    library: ctypes.CDLL,
    states: Sequence[WarpState],
    aus: NDArray[np.float32],
    inversion_steps: int,
    constants: tuple[float, float, float],
) -> Callable[..., None]:
    """Return a function (number of a state, frame, source, lengths) that renders one frame."""
    size, nodes = states[0].crop.shape[-1], states[0].basis.shape[-1]
    starts, weights = resize_taps(nodes, size)
    values = np.ascontiguousarray(aus, np.float32)
    scratch = np.empty(12 * nodes * nodes + 4 * nodes * size + 4 * size, np.float32)
    sides = (ctypes.c_int(size), ctypes.c_int(nodes), ctypes.c_int(values.shape[1]))
    ratios = (ctypes.c_float(size / nodes), ctypes.c_float(nodes / size))

    def render(number: int, *results: ctypes.c_void_p) -> None:
        state = states[number]
        numbers = np.array([*constants, float(state.softness)], np.float32)
        library.warp_frame(
            *sides, address(values[number]), *_pointers(state.basis), *ratios, address(starts),
            address(weights), ctypes.c_int(inversion_steps), address(numbers),
            *_pointers(
                state.crop, state.coefficients, state.edges, state.eyeballs, state.mouth,
                state.cavity, state.movable,
            ),
            address(scratch), *results,
        )  # fmt: skip

    return render


def _pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    for tensor in tensors:
        if not tensor.is_contiguous():
            raise ValueError(f"a tensor {tuple(tensor.shape)} is not contiguous")
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
