"""Residual sums: the change of each pixel over the frames of an expression, as one image.

Absolute and relative residual sum, ARS and RRS, of Zhao, Chen and Luo (Micro-Expression Recognition
Based on Pixel Residual Sum and Cropped Gaussian Pyramid, Front. Neurorobot. 15:746985, 2021); the
equation numbers are that paper's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from miex.pipeline.recognition.representations.base import (
    RepresentationConfig,
    resize,
    to_tensor,
)
from miex.pipeline.recognition.representations.rigid_motion import align_to_onset
from miex.pipeline.recognition.sample import MIN_SIDE, Sample, require_usable

_SHORT = 10
"""Smallest number of frames between onset and apex; shorter expressions use this one (eq. 2)."""


class ResidualSumConfig(RepresentationConfig):
    """Kind of residual sum, number of frames, and size."""

    kind: Literal["ars", "rrs", "difference"] = Field(
        "ars", description="absolute or relative sum, or the absolute difference of apex and onset"
    )
    key_frames: int = Field(5, ge=1, description="frames that are summed (paper sec. 3.1.1: 5)")
    side: int = Field(128, ge=MIN_SIDE, description="pixels")
    rigid_motion: Literal["keep", "remove"] = Field(
        "keep",
        description="remove: the head is brought back to where it is in the onset first, for which"
        " landmarks are needed",
    )


@dataclass(frozen=True, slots=True)
class ResidualSum:
    """Residual sum: ``image``, ``uint8 (B, 3, side, side)``, the channels those of RGB."""

    config: ResidualSumConfig = field(default_factory=ResidualSumConfig)
    name: ClassVar[str] = "residual_sum"
    version: ClassVar[int] = 1

    @property
    def needs_landmarks(self) -> bool:
        """Whether the head is aligned by landmarks."""
        return self.config.rigid_motion == "remove"

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        return {"image": torch.stack([self._image(sample, device) for sample in samples])}

    def _image(self, sample: Sample, device: torch.device) -> Tensor:
        require_usable(sample, landmarks="pair" if self.needs_landmarks else "none")
        if self.config.kind == "difference":
            chosen = [sample.apex_index]
        else:
            chosen = key_frames(sample.apex_index, len(sample.frames) - 1, self.config.key_frames)
        # Short clips have repeated key frames; each is scaled once.
        shown = sorted(set(chosen))
        used = sample.frames[[0, *shown]]
        if self.config.rigid_motion == "remove":
            assert sample.landmarks is not None
            used = align_to_onset(used, sample.landmarks[[0, *shown]])
        frames = resize(to_tensor(used, device), self.config.side)
        places = [1 + shown.index(number) for number in chosen]
        total = residual_sum(frames[places], frames[0])
        return relative(total) if self.config.kind == "rrs" else absolute(total)


def key_frames(apex: int, offset: int, count: int) -> list[int]:
    """Return the frames that are summed (eq. 1-4).

    They have equal steps from the onset to the apex, which is the last; if the apex is within ten
    frames, to the tenth frame, if it exists. In a clip with fewer frames than `count` some are
    repeated: the two frames of a synthesized sample give `count` times the apex.

    Args:
        apex: Index of the apex; that of the onset is 0.
        offset: Index of the last frame.
        count: Number of key frames.

    Returns:
        `count` indices, ascending.
    """
    end = min(_SHORT if apex < _SHORT else apex, offset)
    gap = -(-end // (count + 1))
    return [min(step * gap, end) for step in range(1, count)] + [end]


def residual_sum(frames: Tensor, onset: Tensor) -> Tensor:
    """Return the sum of the absolute differences to the onset (eq. 6).

    Args:
        frames: ``uint8 (N, 3, H, W)``, the key frames.
        onset: ``uint8 (3, H, W)``.

    Returns:
        ``int32 (3, H, W)``, 0 to 255 N.
    """
    return (frames.int() - onset.int()).abs().sum(0, dtype=torch.int32)


def absolute(total: Tensor) -> Tensor:
    """Return ARS: the sum modulo 256 (eq. 5).

    The overflow is part of the method: it gives a contour where the sum exceeds 255.

    Args:
        total: ``int32 (3, H, W)``, see `residual_sum`.

    Returns:
        ``uint8 (3, H, W)``.
    """
    return (total % 256).to(torch.uint8)


def relative(total: Tensor) -> Tensor:
    """Return RRS: the sum stretched to 0-255 (eq. 7) by its extremes over pixels and channels.

    Args:
        total: ``int32 (3, H, W)``, see `residual_sum`.

    Returns:
        ``uint8 (3, H, W)``; 0 if the sum is constant.
    """
    low, high = total.min(), total.max()
    stretched = (total - low) * 255 / (high - low).clamp(min=1)
    return stretched.round().to(torch.uint8)
