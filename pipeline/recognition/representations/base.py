"""What a representation is: a batch of samples in, the tensors a recognizer looks at out.

The arithmetic lives in pure functions on tensors (`optical_flow.tvl1`, `residual_sums.active`);
a representation is the small object that takes the right frames of each sample and calls them.
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
"""Named tensors, the samples along the first dimension of each."""


class RepresentationConfig(FrozenConfig):
    """Parameters of a representation: with its name and version they identify what is cached."""


class Representation(Protocol):
    """Turns samples into what a recognizer looks at, the same for the same pixels every time.

    Nothing in it is random and nothing is learnt: what it returns is computed once, cached on
    disk, and read at the speed of the disk from then on. So it is small: uint8 for images,
    float16 for motion where that is enough, at the resolution at which the recognizer works or
    below; scaling up and normalising is left to the recognizer.

    Attributes:
        name: Short name of it, for messages and folders.
        version: Raised whenever the same parameters give other values than before.
        config: Its parameters.
        needs_landmarks: Whether samples must come with landmarks.
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
        """Computes the inputs of some samples, on the device.

        The result for a sample does not depend on the samples beside it.

        Args:
            samples: B samples, of one size or of several.
            device: Where to compute.

        Returns:
            Tensors ``(B, ...)`` by name.

        Raises:
            ValueError: A sample is unusable; it is named.
        """
        ...


def fingerprint(representation: Representation) -> str:
    """Identifies what a representation computes: its name, version and parameters, hexadecimal."""
    text = (
        f"{representation.name}/{representation.version}/{representation.config.model_dump_json()}"
    )
    return hashlib.sha256(text.encode()).hexdigest()


def stack_pairs(
    samples: Sequence[Sample], side: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Onsets and apexes of one size.

    Args:
        samples: B samples.
        side: Side of the result, pixels; frames of another side are scaled (see `resize`).
        device: Of the result.

    Returns:
        Onset and apex, each ``uint8 (B, 3, side, side)`` RGB.

    Raises:
        ValueError: A sample is unusable; it is named.
    """
    for sample in samples:
        require_usable(sample)
    onsets, apexes = [each.onset for each in samples], [each.apex for each in samples]
    return _stack(onsets, side, device), _stack(apexes, side, device)


def _stack(frames: Sequence[NDArray[np.uint8]], side: int, device: torch.device) -> Tensor:
    if all(frame.shape == frames[0].shape for frame in frames):
        # One copy of all of them is several times faster than one of each.
        return resize(to_tensor(np.stack(frames), device), side).contiguous()
    return torch.cat([resize(to_tensor(frame[None], device), side) for frame in frames])


def to_tensor(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """``uint8 (T, H, W, 3)`` to ``uint8 (T, 3, H, W)`` on the device."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).to(device)


def resize(images: Tensor, side: int) -> Tensor:
    """Scales images, antialiased where they become smaller.

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
    """Landmarks in pixels of frames that `resize` scaled to another side.

    Pixel centres count: x becomes (x + 1/2) * side / S - 1/2.

    Args:
        sample: Whose landmarks.
        side: Side of the scaled frames, pixels.
        frames: Which frames must have landmarks: those that are read.

    Returns:
        ``float32 (T, 68, 2)``.

    Raises:
        ValueError: The sample has no landmarks; it is named.
    """
    require_usable(sample, landmarks=frames)
    assert sample.landmarks is not None
    ratio = np.float32(side / sample.frames.shape[1])
    return (sample.landmarks + np.float32(0.5)) * ratio - np.float32(0.5)
