"""Optical flow and strain of the whole face at low resolution, for the flow baselines."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from miex.pipeline.recognition.representations.base import (
    RepresentationConfig,
    resize,
    scaled_landmarks,
    to_tensor,
)
from miex.pipeline.recognition.representations.optical_flow import (
    FlowMethod,
    optical_flow,
    to_grey,
)
from miex.pipeline.recognition.representations.rigid_motion import remove_rigid_motion
from miex.pipeline.recognition.representations.strain import strain_magnitude
from miex.pipeline.recognition.sample import MIN_SIDE, Sample, require_usable


class FlowStrainConfig(RepresentationConfig):
    """Parameters of `FlowStrain`."""

    side: int = Field(28, ge=4, description="side of the result, pixels")
    flow_side: int = Field(
        128, ge=MIN_SIDE, description="side to which faces are scaled for the flow, pixels"
    )
    method: FlowMethod = "tvl1"
    target: Literal["apex", "middle"] = Field(
        "apex",
        description="where the flow from the onset leads: the apex, or the middle frame (the apex"
        " where a clip ends with it, whose middle is half of the way)",
    )
    strain: bool = Field(True, description="whether the strain is the third channel")
    rigid_motion: Literal["keep", "remove"] = Field(
        "keep", description="remove: without shift, turn and growth of the head; needs landmarks"
    )


@dataclass(frozen=True, slots=True)
class FlowStrain:
    """``flow``, ``float16 (B, 3, side, side)``: u, v and strain; or only u and v.

    u to the right and v down, in pixels of a face that is `flow_side` wide; the strain per pixel.
    All are computed at `flow_side`; a value of the result is the mean over its pixels.
    """

    config: FlowStrainConfig = field(default_factory=FlowStrainConfig)
    name: ClassVar[str] = "flow_strain"
    version: ClassVar[int] = 2

    @property
    def needs_landmarks(self) -> bool:
        """Whether head motion is removed, which needs landmarks."""
        return self.config.rigid_motion == "remove"

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        pairs = torch.stack([self._pair(sample, device) for sample in samples])
        flow = optical_flow(pairs[:, 0], pairs[:, 1], self.config.method)
        if self.config.rigid_motion == "remove":
            side = self.config.flow_side
            flow = remove_rigid_motion(
                flow, [scaled_landmarks(each, side, "onset")[0] for each in samples]
            )
        if self.config.strain:
            flow = torch.cat([flow, strain_magnitude(flow)[:, None]], dim=1)
        return {"flow": resize(flow, self.config.side).half()}

    def _pair(self, sample: Sample, device: torch.device) -> Tensor:
        """Return onset and target in grey, ``float32 (2, flow_side, flow_side)``."""
        require_usable(sample, landmarks="onset" if self.needs_landmarks else "none")
        target = sample.apex_index
        if self.config.target == "middle" and target < len(sample.frames) - 1:
            target = middle_frame(len(sample.frames))
        frames = resize(to_tensor(sample.frames[[0, target]], device), self.config.flow_side)
        return to_grey(frames)


def middle_frame(count: int) -> int:
    """Return the index of the middle frame; never the onset.

    For two frames it is the second one.
    """
    return count // 2
