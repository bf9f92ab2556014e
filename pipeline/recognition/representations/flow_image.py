"""Optical flow from the onset to the apex as a colour image, against which CropNet is compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from miex.pipeline.recognition.representations.base import RepresentationConfig, stack_pairs
from miex.pipeline.recognition.representations.optical_flow import (
    FlowMethod,
    optical_flow,
    to_grey,
)
from miex.pipeline.recognition.sample import MIN_SIDE, Sample


class FlowImageConfig(RepresentationConfig):
    """Method and size."""

    method: FlowMethod = "tvl1"
    side: int = Field(128, ge=MIN_SIDE, description="pixels")


@dataclass(frozen=True, slots=True)
class FlowImage:
    """Flow from the onset to the apex in colours: ``image``, ``uint8 (B, 3, side, side)`` RGB."""

    config: FlowImageConfig = field(default_factory=FlowImageConfig)
    name: ClassVar[str] = "flow_image"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = False

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        onset, apex = stack_pairs(samples, self.config.side, device)
        return {
            "image": in_colours(optical_flow(to_grey(onset), to_grey(apex), self.config.method))
        }


def in_colours(flow: Tensor) -> Tensor:
    """Render the direction as hue and the length as brightness, maximal for the longest vector.

    As in the tutorial of OpenCV on dense flow, red is to the right and hues follow clockwise. Zhao
    et al. (see `residual_sums`), who compare with flow, do not state their rendering.

    Args:
        flow: ``(B, 2, H, W)``, x to the right and y down, pixels.

    Returns:
        ``uint8 (B, 3, H, W)`` RGB; black without motion.
    """
    x, y = flow[:, :1].float(), flow[:, 1:].float()
    length = torch.hypot(x, y)
    value = length / length.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)
    hue = torch.atan2(y, x) * (3 / torch.pi)
    shift = torch.tensor((5.0, 3.0, 1.0), device=flow.device)[:, None, None]
    sixth = (hue + shift) % 6
    colours = value * (1 - torch.minimum(sixth, 4 - sixth).clamp(0, 1))
    return (colours * 255).round().to(torch.uint8)
