"""Iterations of TV-L1 on one scale of the pyramid, for many pairs, without allocations.

Two measures make it fast. All planes of all pairs are contiguous in memory with zeros before and
after them, so that a difference of neighbours is one operation on two shifted views. A pair that
has converged does not wait for the others: its slot is used for the next pair.

The planes are padded to a multiple of 32 values, so that vectors of the processor do not contain
two pairs, and the result of a pair does not depend on the others, to the bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from miex.pipeline.recognition.representations import _tvl1_images as images

_LANES = 32

FLAT = torch.finfo(torch.float32).eps
"""Squared gradient below which there is no data term, as in OpenCV."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Parameters of the iterations; see `optical_flow.TVL1Config`."""

    tau: float
    lambda_: float
    theta: float
    epsilon: float
    warps: int
    inner_iterations: int
    outer_iterations: int
    median: int


def solve(first: Tensor, second: Tensor, flow: Tensor, terms: Terms, slots: int) -> Tensor:
    """Refine the flow of pairs on one scale.

    Args:
        first: ``float32 (B, H, W)``, 0-255.
        second: The same for the second image.
        flow: ``float32 (B, 2, H, W)`` initial flow, pixels.
        terms: Parameters.
        slots: Number of pairs that are processed at a time; results do not depend on it.

    Returns:
        ``float32 (B, 2, H, W)``, pixels.
    """
    return _Scale(first, second, flow, terms, min(slots, len(first))).run()


class _Scale:
    """Pairs of one scale, and the slots in which they are processed."""

    def __init__(
        self, first: Tensor, second: Tensor, flow: Tensor, terms: Terms, slots: int
    ) -> None:
        self.first = first
        self.second = images.with_gradient(second)
        self.flow = flow.clone()
        self.terms = terms
        height, width = first.shape[-2:]
        self.state = _State(slots, height, width, terms, first.device)
        self.pairs = list(range(slots))
        self.warps = [0] * slots
        self.iterations = [0] * slots

    def run(self) -> Tensor:
        """Iterate until all pairs have finished all warps."""
        waiting = iter(range(len(self.pairs), len(self.first)))
        working = set(range(len(self.pairs)))
        self._begin(list(working))
        self._linearise(list(working))
        while working:
            errors = self.state.iterate()
            smooth, linearise, finished = self._sort(errors, working)
            if finished:
                self._store(finished)
                started = [slot for slot in finished if self._take(slot, waiting)]
                working.difference_update(set(finished) - set(started))
                self._begin(started)
                linearise += started
            self._linearise(linearise)
            self._smooth(smooth)
        return self.flow

    def _sort(
        self, errors: list[float], working: set[int]
    ) -> tuple[list[int], list[int], list[int]]:
        """Return the slots to be median filtered, to be linearised, and those that are finished."""
        smooth: list[int] = []
        linearise: list[int] = []
        finished: list[int] = []
        terms = self.terms
        for slot in sorted(working):
            self.iterations[slot] += 1
            done = self.iterations[slot]
            if errors[slot] > self.state.limit and done < (
                terms.inner_iterations * terms.outer_iterations
            ):
                if done % terms.inner_iterations == 0:
                    smooth.append(slot)
                continue
            self.iterations[slot] = 0
            self.warps[slot] += 1
            (finished if self.warps[slot] == terms.warps else linearise).append(slot)
        return smooth, linearise, finished

    def _take(self, slot: int, waiting: Iterator[int]) -> bool:
        """Put the next pair into a slot, and return whether there was one."""
        pair = next(waiting, None)
        if pair is None:
            return False
        self.pairs[slot] = pair
        self.warps[slot] = 0
        return True

    def _pairs(self, slots: list[int]) -> list[int]:
        return [self.pairs[slot] for slot in slots]

    def _begin(self, slots: list[int]) -> None:
        if slots:
            self.state.begin(slots, self.flow[_rows(self._pairs(slots))])

    def _store(self, slots: list[int]) -> None:
        self.flow[_rows(self._pairs(slots))] = self.state.flow(slots)

    def _linearise(self, slots: list[int]) -> None:
        """Linearise the second image around the flow, and filter the flow."""
        if not slots:
            return
        pairs = _rows(self._pairs(slots))
        flow = self.state.flow(slots)
        second = self.second[pairs]
        self.state.linearise(slots, self.first[pairs], images.warp(second, flow))
        self._smooth(slots)

    def _smooth(self, slots: list[int]) -> None:
        if slots and self.terms.median > 1:
            self.state.smooth(slots)


class _State:
    """Primal and dual variables of the slots, in units that need the least arithmetic.

    With t = tau / theta, Zach et al.'s iteration (their equations 13-17) reads, for U = t u, P =
    tau p, and g the gradient of the warped image with residual rho(u) = c + g u,

        d  = clamp(-(t c + g U) / |g|^2, -t lambda theta, t lambda theta)
        U <- U + d g + div P
        P <- (P + tau grad U) / (1 + |grad U|)

    kernels/tvl1.c computes the same for one pair, to the bit.
    """

    def __init__(
        self, slots: int, height: int, width: int, terms: Terms, device: torch.device
    ) -> None:
        self.shape = (slots, height, width)
        self.terms = terms
        self.factor = terms.tau / terms.theta
        self.bound = self.factor * terms.lambda_ * terms.theta
        self.limit = self.factor * terms.epsilon * (height * width) ** 0.5
        """Root of the bound of the squared change in OpenCV, in the units of U."""
        self.pixels = height * width
        self.plane = plane = _round_up(height * width)
        line = slots * 2 * plane
        margin = _round_up(width)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device)

        primal = zeros(line + 2 * margin)
        self.primal = primal[margin : margin + line]
        self._planes = self.primal.as_strided(
            (slots, 2, height, width), (2 * plane, plane, width, 1), margin
        )
        self.ahead = primal.as_strided((2, line), (width - 1, 1), margin + 1)
        """U at the right neighbour, and at the one below."""
        row = line + margin
        dual = zeros(2 * row + margin)
        self.dual = dual.as_strided((2, line), (row, 1), margin)
        self._duals = self.dual.as_strided((2, slots, 2 * plane), (row, 2 * plane, 1), margin)
        self.behind = dual.as_strided((2, line), (row - width + 1, 1), margin - 1)
        """P_x at the left neighbour, P_y at the one above."""
        self.differences = zeros(2, line)
        self.right, self.down = self.differences
        self.last_column = self.right.as_strided((slots * 2, height), (plane, width), width - 1)
        self.last_value = self.right.view(-1, plane)[:, -1]
        self.last_row = self.down.view(-1, plane)[:, (height - 1) * width :]
        self.norm = zeros(line)
        self.change = zeros(line)
        self.gradient = zeros(slots, 2, plane)
        self.scaled = zeros(slots, 2, plane)
        self.constant = zeros(slots, plane)
        self.step = zeros(slots, plane)
        self.spare = zeros(slots, plane)

    def iterate(self) -> list[float]:
        """Iterate every slot once, and return the root of the sum of squared changes of each."""
        slots = self.shape[0]
        primal = self.primal.view(slots, 2, self.plane)
        step, change, norm = self.step, self.change, self.norm
        # Single operations: fused ones round once less, on some processors only.
        torch.mul(self.scaled[:, 0], primal[:, 0], out=step).add_(self.constant)
        step.add_(torch.mul(self.scaled[:, 1], primal[:, 1], out=self.spare)).clamp_(
            -self.bound, self.bound
        )
        torch.sub(self.dual, self.behind, out=self.differences)
        torch.add(self.right, self.down, out=change)
        change.view(slots, 2, self.plane).add_(step[:, None] * self.gradient)
        self.primal.add_(change)
        errors = _norms(change.view(slots, -1))
        torch.sub(self.ahead, self.primal, out=self.differences)
        self.last_column.zero_()
        self.last_value.zero_()
        self.last_row.zero_()
        torch.mul(self.right, self.right, out=norm)
        _root(norm.add_(self.down * self.down)).add_(1.0).reciprocal_()
        self.dual.add_(self.differences.mul_(self.terms.tau)).mul_(norm)
        return errors

    def begin(self, slots: list[int], flow: Tensor) -> None:
        """Start from a flow ``(n, 2, H, W)`` in pixels, with dual variables 0."""
        rows = _rows(slots)
        self._planes[rows] = flow * self.factor
        self._duals[:, rows] = 0

    def flow(self, slots: list[int]) -> Tensor:
        """Return the flow of slots, ``(n, 2, H, W)``, pixels."""
        return self._planes[_rows(slots)] / self.factor

    def smooth(self, slots: list[int]) -> None:
        """Filter the flow of slots by the median."""
        rows = _rows(slots)
        planes = self._planes[rows]
        smooth = images.median(planes.flatten(0, 1), self.terms.median)
        self._planes[rows] = smooth.view_as(planes)

    def linearise(self, slots: list[int], first: Tensor, warped: Tensor) -> None:
        """Set the second image, linearised around the current flow.

        Args:
            slots: n slots.
            first: First image, ``(n, H, W)``.
            warped: Warped second image and its gradient, ``(n, 3, H, W)``.
        """
        rows = _rows(slots)
        padded = first.new_zeros(len(slots), 3, self.plane)
        padded[..., : self.pixels].view_as(warped).copy_(warped)
        padded[:, 0, : self.pixels] -= first.flatten(1)
        residual, gradient = padded[:, 0], padded[:, 1:]
        square = gradient[:, 0] * gradient[:, 0] + gradient[:, 1] * gradient[:, 1]
        inverse = torch.where(square > FLAT, -square.reciprocal(), 0.0)
        around = self.primal.view(self.gradient.shape)[rows]
        products = gradient * around
        expanded = products[:, 0] + products[:, 1]
        self.gradient[rows] = gradient
        self.scaled[rows] = gradient * inverse[:, None]
        self.constant[rows] = (residual * self.factor - expanded) * inverse


def _norms(rows: Tensor) -> list[float]:
    """Return the Euclidean norm of each row, summed in double precision."""
    if rows.device.type == "cpu":
        return [cv2.norm(row, cv2.NORM_L2) for row in rows.numpy()]
    norms: list[float] = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).tolist()
    return norms


def _root(values: Tensor) -> Tensor:
    """Replace values by their square roots; on the CPU correctly rounded, unlike `Tensor.sqrt`."""
    if values.device.type != "cpu":
        return values.sqrt_()
    np.sqrt(values.numpy(), out=values.numpy())
    return values


def _rows(slots: list[int]) -> slice | list[int]:
    """Return an index of slots; a slice if possible, which does not copy."""
    begin, end = slots[0], slots[0] + len(slots)
    return slice(begin, end) if slots == list(range(begin, end)) else slots


def _round_up(count: int) -> int:
    return -(-count // _LANES) * _LANES
