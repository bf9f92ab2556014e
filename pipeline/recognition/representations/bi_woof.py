"""Bi-WOOF: histograms of flow directions, weighted by the flow's length and by its strain.

Liong, See, Wong and Phan, Less is more: Micro-expression recognition from video using apex frame,
Signal Processing: Image Communication 62:82-92, 2018. Settled after the authors' published code:
eight bins from -180 degrees on; each block's histogram is normalised to the sum 1, then weighted by
the sum of the optical strain in the block, and the whole vector to the length 1. There, blocks
overlap by one pixel; here they do not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from miex.pipeline.recognition.representations.base import RepresentationConfig, stack_pairs
from miex.pipeline.recognition.representations.optical_flow import (
    FlowMethod,
    optical_flow,
    to_grey,
)
from miex.pipeline.recognition.representations.strain import strain_magnitude
from miex.pipeline.recognition.sample import MIN_SIDE, Sample


class BiWoofConfig(RepresentationConfig):
    """Parameters of `BiWoof`; those of its paper."""

    side: int = Field(128, ge=MIN_SIDE, description="of the face, pixels")
    blocks: int = Field(5, ge=1, description="along x and along y")
    bins: int = Field(8, ge=2, description="of directions, each 360 / bins degrees wide")
    method: FlowMethod = "tvl1"


def bi_woof(flow: Tensor, strain: Tensor, *, blocks: int = 5, bins: int = 8) -> Tensor:
    """Return bi-weighted oriented optical flow.

    Args:
        flow: u and v, ``float (B, 2, H, W)``, pixels.
        strain: Magnitude of the optical strain, ``float (B, H, W)``.
        blocks: Number of blocks along x and along y, of equal size.
        bins: Number of directions; the first one begins at -180 degrees, 0 is along x, 90 along y.

    Returns:
        ``float32 (B, blocks * blocks * bins)``, blocks in row-major order, normalised to length 1;
        0 without motion.
    """
    batch, _, height, width = flow.shape
    u, v = flow.float().unbind(1)
    turns = torch.atan2(v, u) / (2 * math.pi) + 0.5
    direction = (turns * bins).long() % bins  # 180 degrees is -180 degrees
    rows, columns = (
        torch.arange(length, device=flow.device) * blocks // length for length in (height, width)
    )
    block = rows[:, None] * blocks + columns
    block = block + torch.arange(batch, device=flow.device)[:, None, None] * blocks**2
    histograms = _sums(block * bins + direction, torch.hypot(u, v), batch * blocks**2 * bins)
    weights = _sums(block, strain, batch * blocks**2)
    histograms = histograms.view(batch, blocks**2, bins)
    total = histograms.sum(dim=-1, keepdim=True)
    shares = histograms / torch.where(total > 0, total, 1)
    vectors = (shares * weights.view(batch, blocks**2, 1)).flatten(1)
    return functional.normalize(vectors, dim=1).float()


def _sums(groups: Tensor, values: Tensor, count: int) -> Tensor:
    # Sums in double precision in the order of the pixels, independent of other samples.
    return torch.bincount(groups.flatten(), values.flatten().double(), minlength=count)


@dataclass(frozen=True, slots=True)
class BiWoof:
    """``bi_woof``, ``float32 (B, blocks * blocks * bins)``, of the flow from onset to apex."""

    config: BiWoofConfig = field(default_factory=BiWoofConfig)
    name: ClassVar[str] = "bi_woof"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = False

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        onset, apex = stack_pairs(samples, self.config.side, device)
        flow = optical_flow(to_grey(onset), to_grey(apex), self.config.method)
        features = bi_woof(
            flow, strain_magnitude(flow), blocks=self.config.blocks, bins=self.config.bins
        )
        return {"bi_woof": features}
