"""Whole-face flow in the form of published flow of real micro-expressions.

The authors of HTNet publish 28 x 28 images of u, v and strain of the clips of MEGC2019
(`miex.datasets.micro.megc2019_flow`). They were cropped by a face detector, and each channel of
each image was stretched by its smallest and largest value. The positions of eyes and mouth were
measured on 419 of these crops: CASME II and SMIC have tight crops, SAMM shows more of the forehead.
Rendered samples, and real clips with frames, are converted to the same form; published images are
used unchanged.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from miex.pipeline.faces.crop import eye_centres
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

Crop = Literal["casme2_smic", "samm"]

CROPS: dict[str, tuple[tuple[float, float], ...]] = {
    "casme2_smic": ((0.22, 0.28), (0.77, 0.28), (0.50, 0.74)),
    "samm": ((0.28, 0.38), (0.73, 0.38), (0.51, 0.77)),
}
"""Positions of left eye, right eye and mouth, as shares of width and height of a crop."""

_FINER = 3
"""Factor by which the sampling grid is finer than the result, which is a mean."""


class PublishedFlowConfig(RepresentationConfig):
    """Parameters of `PublishedFlow`."""

    side: int = Field(28, ge=8, description="side of the result, pixels")
    flow_side: int = Field(
        128, ge=MIN_SIDE, description="side to which faces are scaled for the flow, pixels"
    )
    method: FlowMethod = "tvl1"
    crops: tuple[Crop, ...] = Field(
        ("casme2_smic", "casme2_smic", "samm"),
        min_length=1,
        description="crops; each sample gets one, drawn by its key; two of the three databases"
        " have the first",
    )
    jitter: float = Field(
        0.03,
        ge=0,
        le=0.2,
        description="standard deviation of a crop's place and size as a share of the side, drawn"
        " by the sample's key: published crops differ by about as much",
    )
    rigid_motion: Literal["keep", "remove"] = Field(
        "keep",
        description="remove: without the shift, turn and growth of the head, of samples that have"
        " frames; the published images keep them",
    )
    strain: bool = Field(True, description="whether the strain is the third channel")


@dataclass(frozen=True, slots=True)
class PublishedFlow:
    """``flow``, ``float16 (B, 3 or 2, side, side)``, 0-1: u, v and strain, each stretched.

    Takes clips that are published as flow, and samples with frames and landmarks.
    """

    config: PublishedFlowConfig = field(default_factory=PublishedFlowConfig)
    name: ClassVar[str] = "published_flow"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = True

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        found = torch.empty(len(samples), 3, self.config.side, self.config.side, device=device)
        with_frames = [place for place, each in enumerate(samples) if each.flow is None]
        if with_frames:
            found[with_frames] = self._of_frames([samples[place] for place in with_frames], device)
        for place, sample in enumerate(samples):
            if sample.flow is not None:
                found[place] = resize(to_tensor(sample.flow[None], device), self.config.side)[0]
        channels = 3 if self.config.strain else 2
        return {"flow": stretched(found[:, :channels]).half()}

    def _of_frames(self, samples: Sequence[Sample], device: torch.device) -> Tensor:
        side = self.config.flow_side
        pairs = torch.stack([self._pair(sample, device) for sample in samples])
        flow = optical_flow(pairs[:, 0], pairs[:, 1], self.config.method)
        landmarks = [scaled_landmarks(sample, side, "onset")[0] for sample in samples]
        if self.config.rigid_motion == "remove":
            flow = remove_rigid_motion(flow, landmarks)
        motion = torch.cat([flow, strain_magnitude(flow)[:, None]], 1).cpu().numpy()
        cut = [
            self._cut(planes, points, sample.info.key)
            for planes, points, sample in zip(motion, landmarks, samples, strict=True)
        ]
        return torch.from_numpy(np.stack(cut)).to(device)

    def _pair(self, sample: Sample, device: torch.device) -> Tensor:
        require_usable(sample, landmarks="onset")
        frames = sample.frames[[0, sample.apex_index]]
        return to_grey(resize(to_tensor(frames, device), self.config.flow_side))

    def _cut(
        self, planes: NDArray[np.float32], landmarks: NDArray[np.float32], key: str
    ) -> NDArray[np.float32]:
        """Return planes ``(3, flow_side, flow_side)`` in the published crop."""
        side = self.config.side
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
        matrix = crop_matrix(landmarks, self.config, np.random.default_rng(seed)) * _FINER
        matrix[:, 2] += (_FINER - 1) / 2
        fine = cv2.warpAffine(
            np.ascontiguousarray(planes.transpose(1, 2, 0)),
            matrix,
            (_FINER * side, _FINER * side),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        small = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32).transpose(2, 0, 1)


def crop_matrix(
    landmarks: NDArray[np.float32], config: PublishedFlowConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the transform of a face to a published crop.

    Width and height have separate scales, as in the published images, which are square for any box
    of the detector; scales and shifts are fitted to eyes and mouth (least squares).

    Args:
        landmarks: ``(68, 2)``, pixels of the face.
        config: Crops, jitter, side.
        rng: Random generator of the crop and its jitter.

    Returns:
        ``(2, 3)`` matrix M with ``crop = M @ (x, y, 1)``, pixels; pixel centres are integers.
    """
    name = config.crops[rng.integers(len(config.crops))]
    shift, growth = rng.normal(0, config.jitter, (2, 2))
    target = (np.array(CROPS[name]) + shift) * config.side - 0.5
    mouth = landmarks[48:68].astype(np.float64).mean(0)
    points = np.stack([*eye_centres(landmarks), mouth])
    matrix = np.zeros((2, 3))
    for axis in range(2):
        terms = np.column_stack([points[:, axis], np.ones(3)])
        scale, offset = np.linalg.lstsq(terms, target[:, axis], rcond=None)[0]
        matrix[axis, axis] = scale * (1 + growth[axis])
        matrix[axis, 2] = offset - scale * growth[axis] * points[:, axis].mean()
    return matrix


def stretched(planes: Tensor) -> Tensor:
    """Stretch each plane to 0-1 by its smallest and largest value; a constant plane becomes 0.

    Args:
        planes: ``float (B, C, H, W)``.
    """
    low, high = planes.amin((-2, -1), keepdim=True), planes.amax((-2, -1), keepdim=True)
    return (planes - low) / (high - low).clamp(min=1e-6)
