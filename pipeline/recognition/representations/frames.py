"""Frames as input: onset and apex, only the apex, or a sequence between the two."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from miex.pipeline.recognition.representations.base import (
    RepresentationConfig,
    resize,
    stack_pairs,
    to_tensor,
)
from miex.pipeline.recognition.sample import MIN_SIDE, Sample, require_usable

MAX_SIDE = 256
"""Largest stored side, in pixels, to which MiE-X's recognizers upscale before cropping."""


class FramesConfig(RepresentationConfig):
    """Size of the stored frames.

    Synthesized faces have 128 pixels, and recognizers upscale them themselves, since larger stored
    frames would contain no more information.
    """

    side: int = Field(128, ge=MIN_SIDE, le=MAX_SIDE, description="pixels")


class FrameSequenceConfig(FramesConfig):
    """Size and number of the stored frames."""

    frames: int = Field(10, ge=2, description="onset and apex among them (MiE-X sec. 5.2: 10)")


@dataclass(frozen=True, slots=True)
class FramePair:
    """Onset and apex: ``onset`` and ``apex``, each ``uint8 (B, 3, side, side)`` RGB."""

    config: FramesConfig = field(default_factory=FramesConfig)
    name: ClassVar[str] = "frame_pair"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = False

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        onset, apex = stack_pairs(samples, self.config.side, device)
        return {"onset": onset, "apex": apex}


@dataclass(frozen=True, slots=True)
class ApexFrame:
    """The apex: ``apex``, ``uint8 (B, 3, side, side)`` RGB."""

    config: FramesConfig = field(default_factory=FramesConfig)
    name: ClassVar[str] = "apex_frame"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = False

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        _, apex = stack_pairs(samples, self.config.side, device)
        return {"apex": apex}


@dataclass(frozen=True, slots=True)
class FrameSequence:
    """Frames from the onset to the apex, resampled in time, see `interpolate`.

    ``frames``, ``uint8 (B, frames, 3, side, side)`` RGB.
    """

    config: FrameSequenceConfig = field(default_factory=FrameSequenceConfig)
    name: ClassVar[str] = "frame_sequence"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = False

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        config = self.config
        sequences = [
            interpolate(shown_frames(sample, config.side, device), config.frames)
            for sample in samples
        ]
        return {"frames": torch.stack(sequences).round().to(torch.uint8)}


def shown_frames(sample: Sample, side: int, device: torch.device) -> Tensor:
    """Return the frames from the onset to the apex, of one size.

    Returns:
        ``uint8 (apex_index + 1, 3, side, side)`` RGB.

    Raises:
        ValueError: The sample is unusable; it is named.
    """
    require_usable(sample)
    return resize(to_tensor(sample.frames[: sample.apex_index + 1], device), side)


def interpolate(frames: Tensor, count: int) -> Tensor:
    """Resample a sequence linearly in time; both ends are kept.

    Peng et al. (Front. Psychol. 8:1745, 2017) resample clips to one length in this way. Two frames
    give a cross-fade instead of motion: a recognizer that needs motion over time needs clips or the
    video variant of a synthesized dataset.

    Args:
        frames: ``(T, ...)``, T at least 2.
        count: Number of frames of the result, at least 2.

    Returns:
        ``float32 (count, ...)``, in the unit of `frames`.

    Raises:
        ValueError: Fewer than two frames are given or requested.
    """
    length = len(frames)
    if length < 2 or count < 2:
        raise ValueError(f"{length} frames to {count}: a sequence has at least two frames")
    if length == count:
        return frames.float()
    # Pixels are the channels of a 1-D interpolation: (1, P, T) to (1, P, count).
    lines = frames.float().flatten(1).T[None]
    resampled = functional.interpolate(lines, count, mode="linear", align_corners=True)
    return resampled[0].T.reshape(count, *frames.shape[1:])
