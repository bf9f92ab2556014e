"""Interface of representations: from a batch of samples to the input tensors of a recognizer.

The computation is in pure functions on tensors (`optical_flow.tvl1`, `residual_sums.active`); a
representation selects the frames of each sample and calls them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.datasets.config import FrozenConfig
from miex.pipeline.recognition.sample import Sample, require_usable

Inputs = Mapping[str, Tensor]
"""Tensors by name, with samples along the first dimension."""


class RepresentationConfig(FrozenConfig):
    """Parameters of a representation; with its name and version they identify a cache."""


class Representation(Protocol):
    """Compute the input of a recognizer, deterministically from pixels.

    Representations are neither random nor learnt: they are computed once and cached on disk. They
    should therefore be small: uint8 for images, float16 for motion where that is sufficient, at
    most at the resolution of the recognizer, which upscales and normalises.

    Attributes:
        name: Short name for messages and folders.
        version: Increased when the same parameters give other values.
        config: Its parameters.
        needs_landmarks: Whether samples must have landmarks.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    @property
    def version(self) -> int:
        """See the class."""
        ...

    @property
    def config(self) -> RepresentationConfig:
        """See the class."""
        ...

    @property
    def needs_landmarks(self) -> bool:
        """See the class."""
        ...

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """Compute the inputs of samples on the device.

        The result for a sample does not depend on the other samples.

        Args:
            samples: B samples, also of different sizes.
            device: The device.

        Returns:
            Tensors ``(B, ...)`` by name.

        Raises:
            ValueError: A sample is unusable; the message names it.
        """
        ...


def fingerprint(representation: Representation) -> str:
    """Return a hash of the name, version and parameters of a representation, hexadecimal."""
    text = (
        f"{representation.name}/{representation.version}/{representation.config.model_dump_json()}"
    )
    return hashlib.sha256(text.encode()).hexdigest()


def stack_pairs(
    samples: Sequence[Sample], side: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return onsets and apexes of one size.

    Args:
        samples: B samples.
        side: Side of the result, pixels; frames of another side are scaled (see `resize`).
        device: Device of the result.

    Returns:
        Onset and apex, each ``uint8 (B, 3, side, side)`` RGB.

    Raises:
        ValueError: A sample is unusable; the message names it.
    """
    for sample in samples:
        require_usable(sample)
    onsets, apexes = [each.onset for each in samples], [each.apex for each in samples]
    return _stack(onsets, side, device), _stack(apexes, side, device)


def _stack(frames: Sequence[NDArray[np.uint8]], side: int, device: torch.device) -> Tensor:
    if all(frame.shape == frames[0].shape for frame in frames):
        # One copy of all frames is several times faster than separate copies.
        return resize(to_tensor(np.stack(frames), device), side).contiguous()
    return torch.cat([resize(to_tensor(frame[None], device), side) for frame in frames])


def to_tensor(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Convert ``uint8 (T, H, W, 3)`` to ``uint8 (T, 3, H, W)`` on the device."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).to(device)


def resize(images: Tensor, side: int) -> Tensor:
    """Resize images, with antialiasing if they become smaller.

    Args:
        images: ``(N, C, H, W)``, uint8 or float.
        side: New side, pixels.

    Returns:
        ``(N, C, side, side)`` of the same type.
    """
    if images.shape[-2:] == (side, side):
        return images
    scaled = torch.nn.functional.interpolate(
        images.float(), (side, side), mode="bilinear", align_corners=False, antialias=True
    )
    if images.dtype == torch.uint8:
        return scaled.round_().clamp_(0, 255).to(torch.uint8)
    return scaled.to(images.dtype)


def scaled_landmarks(
    sample: Sample, side: int, frames: Literal["onset", "pair"] = "pair"
) -> NDArray[np.float32]:
    """Return landmarks in pixels of frames that `resize` scaled to another side.

    With pixel centres, x becomes (x + 1/2) * side / S - 1/2.

    Args:
        sample: The sample.
        side: Side of the scaled frames, pixels.
        frames: Frames that must have landmarks.

    Returns:
        ``float32 (T, 68, 2)``.

    Raises:
        ValueError: The sample has no landmarks; the message names it.
    """
    require_usable(sample, landmarks=frames)
    assert sample.landmarks is not None
    ratio = np.float32(side / sample.frames.shape[1])
    return (sample.landmarks + np.float32(0.5)) * ratio - np.float32(0.5)
