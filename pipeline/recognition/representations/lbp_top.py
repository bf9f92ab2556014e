"""LBP-TOP: local binary patterns of a clip on three orthogonal planes, as histograms of blocks.

Zhao and Pietikäinen, Dynamic Texture Recognition Using Local Binary Patterns with an Application
to Facial Expressions, IEEE TPAMI 29(6):915-928, 2007. Every pixel is compared with neighbours on
an ellipse in the plane of x and y, of x and time, and of y and time.

Clips are resampled to one number of frames by linear interpolation. Work on micro-expressions uses
the temporal interpolation model (Pfister et al., ICCV 2011; Li et al., FG 2013), which fits a
manifold to the frames of each clip; linear interpolation also works for two frames, onset and apex
of a synthesized sample, and is the same for every length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from miex.pipeline.recognition.representations.base import (
    RepresentationConfig,
    resize,
    to_tensor,
)
from miex.pipeline.recognition.representations.frames import interpolate
from miex.pipeline.recognition.representations.optical_flow import to_grey
from miex.pipeline.recognition.sample import MIN_SIDE, Sample, require_usable

PLANES = ((2, 1), (2, 0), (1, 0))
"""Planes XY, XT and YT: dimensions of a volume (T, H, W) for cosine and sine."""

_TIE = 1e-3
"""Difference in grey levels below which a neighbour counts as equal, so that rounding errors of the
interpolation do not give patterns where there is no motion."""


class LbpTopConfig(RepresentationConfig):
    """Parameters of `LbpTop`; those of the baseline of MEGC2019 (See et al., FG 2019)."""

    side: int = Field(128, ge=MIN_SIDE, description="of the face, pixels")
    frames: int = Field(10, ge=3, description="of the clip, after linear interpolation")
    blocks: int = Field(5, ge=1, description="along x and along y")
    radii: tuple[int, int, int] = Field((1, 1, 4), description="along x, y (pixels) and time")
    neighbours: int = Field(8, ge=2, le=16, description="on each plane")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        x, y, time = self.radii
        if min(self.radii) < 1 or 2 * time >= self.frames or 2 * max(x, y) >= self.side:
            raise ValueError(
                f"radii {self.radii} leave no pixel with all its neighbours in {self.frames} frames"
                f" of {self.side} x {self.side}; take radii from 1 to below half of each"
            )
        if self.blocks > self.side - 2 * max(x, y):
            raise ValueError(
                f"{self.blocks} blocks of each side are more than the {self.side - 2 * max(x, y)}"
                " pixels that have all their neighbours; take fewer"
            )
        return self


def uniform_labels(neighbours: int) -> Tensor:
    """Return the bin of every pattern: one for each uniform pattern, the last for all others.

    A pattern is uniform if its circle of bits changes at most twice (Ojala et al., IEEE TPAMI
    24(7), 2002): P (P - 1) + 2 of the 2^P patterns; 58 for P = 8.

    Args:
        neighbours: P, number of bits of a pattern.

    Returns:
        ``int64 (2^P,)``, in ascending order of the uniform patterns.
    """
    codes = torch.arange(2**neighbours)
    bits = (codes[:, None] >> torch.arange(neighbours)) & 1
    uniform = (bits != bits.roll(1, dims=1)).sum(dim=1) <= 2
    return torch.where(uniform, uniform.cumsum(0) - 1, uniform.sum())


def plane_codes(
    volumes: Tensor, plane: tuple[int, int], radii: tuple[int, int, int], neighbours: int
) -> Tensor:
    """Return local binary patterns of every pixel on one plane.

    Bit p is 1 where the neighbour at angle 2 pi p / P, counter-clockwise from the first
    dimension of the plane, is not darker than the pixel. Neighbours between pixels are
    interpolated bilinearly.

    Args:
        volumes: Grey values, ``float (B, T, H, W)``, 0 to 255.
        plane: Dimensions of ``(T, H, W)`` for cosine and minus sine (see `PLANES`).
        radii: Radii along x, y and time.
        neighbours: P.

    Returns:
        ``int64 (B, T - 2 rt, H - 2 ry, W - 2 rx)``: 0 to 2^P - 1. Pixels closer to a border than
        the radii have no pattern.
    """
    margins = radii[::-1]
    centre = _shifted(volumes, (0, 0, 0), margins) - _TIE
    codes = torch.zeros_like(centre, dtype=torch.int64)
    for bit in range(neighbours):
        angle = 2 * math.pi * bit / neighbours
        steps = (margins[plane[0]] * math.cos(angle), -margins[plane[1]] * math.sin(angle))
        codes |= (_read(volumes, plane, steps, margins) >= centre).long() << bit
    return codes


def _read(
    volumes: Tensor, plane: tuple[int, int], steps: tuple[float, float], margins: tuple[int, ...]
) -> Tensor:
    """Shift a volume by fractions of pixels: a bilinear mean of up to four shifts."""
    parts = []
    for step in steps:
        # Sine and cosine differ from integers by rounding errors.
        whole = math.floor(round(step, 5))
        share = round(step, 5) - whole
        parts.append([(whole, 1 - share)] + ([(whole + 1, share)] if share else []))
    total = torch.zeros((), dtype=volumes.dtype, device=volumes.device)
    for (first, first_share), (second, second_share) in product(*parts):
        offset = [0, 0, 0]
        offset[plane[0]], offset[plane[1]] = first, second
        total = total + first_share * second_share * _shifted(volumes, offset, margins)
    return total


def _shifted(volumes: Tensor, offset: Sequence[int], margins: Sequence[int]) -> Tensor:
    for dimension, (step, margin) in enumerate(zip(offset, margins, strict=True), start=1):
        length = volumes.shape[dimension] - 2 * margin
        volumes = volumes.narrow(dimension, margin + step, length)
    return volumes


def lbp_top(
    volumes: Tensor,
    *,
    blocks: int = 5,
    radii: tuple[int, int, int] = (1, 1, 4),
    neighbours: int = 8,
) -> Tensor:
    """Return histograms of the uniform patterns on three planes.

    Args:
        volumes: Grey values, ``float (B, T, H, W)``, 0 to 255.
        blocks: Number of blocks along x and along y, of equal size, over pixels with patterns.
        radii: Radii along x, y and time.
        neighbours: Number of neighbours on each plane.

    Returns:
        ``float32 (B, blocks * blocks * 3 * bins)``, blocks in row-major order, planes XY, XT, YT
        within; bins is neighbours (neighbours - 1) + 3. Each histogram sums to 1.
    """
    labels = uniform_labels(neighbours).to(volumes.device)
    bins = int(labels.max()) + 1
    histograms = []
    for plane in PLANES:
        binned = labels[plane_codes(volumes, plane, radii, neighbours)]
        batch, _, height, width = binned.shape
        rows = torch.arange(height, device=volumes.device) * blocks // height
        columns = torch.arange(width, device=volumes.device) * blocks // width
        cell = rows[:, None] * blocks + columns
        cell = cell + torch.arange(batch, device=volumes.device)[:, None, None, None] * blocks**2
        counts = torch.bincount(
            (cell * bins + binned).flatten(), minlength=batch * blocks**2 * bins
        )
        histograms.append(counts.view(batch, blocks**2, bins).float())
    stacked = torch.stack(histograms, dim=2)
    return (stacked / stacked.sum(dim=-1, keepdim=True)).flatten(1)


@dataclass(frozen=True, slots=True)
class LbpTop:
    """``histograms``, ``float16 (B, blocks * blocks * 3 * bins)``, see `lbp_top`.

    Uses all frames of a sample, from the onset to the last one, as the paper does; frames in
    between are interpolated.
    """

    config: LbpTopConfig = field(default_factory=LbpTopConfig)
    name: ClassVar[str] = "lbp_top"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = False

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        volumes = []
        for sample in samples:
            require_usable(sample)
            grey = to_grey(resize(to_tensor(sample.frames, device), self.config.side))
            volumes.append(interpolate(grey[:, None], self.config.frames)[:, 0])
        histograms = lbp_top(
            torch.stack(volumes),
            blocks=self.config.blocks,
            radii=self.config.radii,
            neighbours=self.config.neighbours,
        )
        return {"histograms": histograms.half()}
