"""Iterations of TV-L1 on one scale by compiled kernels, pair by pair.

The results are those of `_tvl1_solver.solve`, to the bit.
"""

import ctypes

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.datasets.kernels import address
from miex.pipeline.recognition.representations import _tvl1_images as images
from miex.pipeline.recognition.representations._tvl1_solver import FLAT, Terms

_MARGIN = 16
"""Values between two planes: the kernels read one value before and one after a plane."""


def solve(
    library: ctypes.CDLL, first: Tensor, second: Tensor, flow: Tensor, terms: Terms
) -> Tensor:
    """Refine the flow of pairs on one scale.

    Args:
        library: The kernels.
        first: ``float32 (B, H, W)``, 0-255, on the CPU.
        second: The same for the second image.
        flow: ``float32 (B, 2, H, W)`` initial flow, pixels.
        terms: Parameters.

    Returns:
        ``float32 (B, 2, H, W)``, pixels.
    """
    height, width = first.shape[-2:]
    with_gradient = images.with_gradient(second).permute(0, 2, 3, 1).numpy()
    pair = _Pair(library, height, width, terms)
    found = np.empty((len(first), 2, height, width), np.float32)
    for number, (one, start) in enumerate(zip(first.numpy(), flow.numpy(), strict=True)):
        found[number] = pair.solve(np.ascontiguousarray(one), with_gradient[number], start)
    return torch.from_numpy(found)


class _Pair:
    """Variables of one pair, as in `_tvl1_solver._State`; they are used for one after the other."""

    def __init__(self, library: ctypes.CDLL, height: int, width: int, terms: Terms) -> None:
        self._library = library
        self._terms = terms
        self._factor = terms.tau / terms.theta
        self._bound = self._factor * terms.lambda_ * terms.theta
        self._limit = self._factor * terms.epsilon * (height * width) ** 0.5
        self._shape = (ctypes.c_int(height), ctypes.c_int(width))
        plane = height * width + _MARGIN
        self._plane = ctypes.c_long(plane)
        planes = np.zeros(9 * plane + 2 * _MARGIN, np.float32)[_MARGIN:-_MARGIN].reshape(9, plane)
        self._primal, self._dual = planes[:2], planes[2:6]
        self._planes = np.lib.stride_tricks.as_strided(
            self._primal, (2, height, width), (4 * plane, 4 * width, 4)
        )
        self._gradient = np.zeros((2, plane), np.float32)
        self._scaled = np.zeros((2, plane), np.float32)
        self._constant = np.zeros((height, width), np.float32)
        self._targets = np.zeros((2, height, width), np.float32)
        self._scratch = np.zeros(4 * width, np.float32)

    def solve(
        self, first: NDArray[np.float32], second: NDArray[np.float32], start: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the flow ``(2, H, W)`` of a pair; `second` is ``(H, W, 3)``, with its gradient."""
        terms = self._terms
        np.multiply(start, np.float32(self._factor), out=self._planes)
        self._dual[:] = 0
        for _ in range(terms.warps):
            self._linearise(first, second)
            for _ in range(terms.outer_iterations):
                self._smooth()
                if self._converges(terms.inner_iterations):
                    break
        return self._planes / np.float32(self._factor)

    def _linearise(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        xs, ys = self._targets
        primal, factor = address(self._primal), ctypes.c_float(self._factor)
        self._library.tvl1_targets(
            *self._shape, self._plane, primal, factor, address(xs), address(ys)
        )
        warped = cv2.remap(second, xs, ys, cv2.INTER_CUBIC)
        self._library.tvl1_linearise(
            *self._shape, self._plane, address(first), address(warped), primal, factor,
            ctypes.c_float(FLAT), address(self._gradient), address(self._scaled),
            address(self._constant),
        )  # fmt: skip

    def _smooth(self) -> None:
        if self._terms.median > 1:
            for plane in self._planes:
                plane[:] = cv2.medianBlur(plane, self._terms.median)

    def _converges(self, most: int) -> bool:
        """Iterate at most this often; return whether the flow changes less than the limit."""
        converged = ctypes.c_int()
        self._library.tvl1_iterate(
            *self._shape, self._plane, address(self._primal), address(self._dual),
            address(self._gradient), address(self._scaled), address(self._constant),
            ctypes.c_float(self._terms.tau), ctypes.c_float(self._bound),
            ctypes.c_double(self._limit), ctypes.c_int(most), address(self._scratch),
            ctypes.byref(converged),
        )  # fmt: skip
        return bool(converged.value)
