"""Motion over time: optical flow from the onset to every frame up to the apex."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from miex.pipeline.recognition.representations.base import RepresentationConfig, resize
from miex.pipeline.recognition.representations.frames import interpolate, shown_frames
from miex.pipeline.recognition.representations.optical_flow import (
    FlowMethod,
    optical_flow,
    to_grey,
)
from miex.pipeline.recognition.sample import MIN_SIDE, Sample


class FlowSequenceConfig(RepresentationConfig):
    """Number and size of the frames, and method of the flow."""

    frames: int = Field(
        10, ge=2, description="onset and apex among them; one flow less (MiE-X sec. 5.2: 10)"
    )
    flow_side: int = Field(128, ge=MIN_SIDE, description="at which flow is computed, pixels")
    side: int = Field(64, ge=MIN_SIDE, description="at which it is stored, pixels")
    method: FlowMethod = "tvl1"


@dataclass(frozen=True, slots=True)
class FlowSequence:
    """Flow from the onset to each later frame, at equal time steps.

    ``flow``, ``float16 (B, frames - 1, 2, side, side)``, x to the right and y down, pixels of
    ``side``; the last one is the flow from the onset to the apex.

    - The flow starts from the onset, since a ninth of the motion of a micro-expression is less than
      the error of an estimate. In six synthesized pairs, cross-faded to ten frames, the flow
      between neighbours correlates with that of the pair by .19 at 64 pixels and by .57 at 128, the
      flow from the onset by .49 and .84. Both contain the timing.
    - If a sample has too few frames, the flow is interpolated in time, not the pixels: a
      synthesized pair gives a linearly increasing flow, without the ghosts of a cross-fade. If it
      has too many, its frames are resampled (`frames.interpolate`).
    - Flow is computed at 128 pixels and stored at 64, 144 KiB per sample, since it is smoother than
      the frames.
    """

    config: FlowSequenceConfig = field(default_factory=FlowSequenceConfig)
    name: ClassVar[str] = "flow_sequence"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = False

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        config = self.config
        clips = []
        for sample in samples:
            grey = to_grey(shown_frames(sample, config.flow_side, device))
            # Grey is linear in the colours, so that grey frames can be resampled.
            clips.append(interpolate(grey, min(len(grey), config.frames)))
        onsets = torch.cat([clip[:1].expand(len(clip) - 1, -1, -1) for clip in clips])
        later = torch.cat([clip[1:] for clip in clips])
        flow = optical_flow(onsets, later, config.method)
        stored = resize(flow, config.side) * (config.side / config.flow_side)
        flows = stored.split_with_sizes([len(clip) - 1 for clip in clips])
        grown = torch.stack([over_time(flow, config.frames - 1) for flow in flows])
        return {"flow": grown.to(torch.float16)}


def over_time(flow: Tensor, count: int) -> Tensor:
    """Resample a flow sequence linearly in time, from zero motion at the onset.

    Args:
        flow: ``(T, ...)``, from the onset to T frames at equal steps, the apex the last.
        count: Number of frames of the result, the apex the last.

    Returns:
        ``float32 (count, ...)``, in the unit of `flow`.
    """
    if len(flow) == count:
        return flow.float()
    still = torch.zeros_like(flow[:1])
    return interpolate(torch.cat((still, flow)), count + 1)[1:]
