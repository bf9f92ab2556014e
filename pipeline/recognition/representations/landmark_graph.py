"""Spatio-temporal graph of 31 landmarks of DeRe-GRL.

Wei et al., Prior Information based Decomposition and Reconstruction Learning for Micro-Expression
Recognition, section 2.1: "31 key landmarks are selected from the original 68 landmarks to cover
the key information of eyebrows, nose and mouth (the landmarks in eye regions are not selected
because there are noises in eye regions, such as quick blink)", in onset, apex and offset; "facial
movements are magnified, and the amplification factor is set to 3" (section 3).

Decisions where the paper is silent:

- The 31 points: ten of the brows, nine of the nose, twelve of the mouth's outline.
- It magnifies the images with the network of Oh et al. and detects landmarks in the result. Here
  the landmarks themselves are magnified: the displacement of each from the onset is multiplied by
  1 + alpha, which is what that network is trained to do to the motion (Oh et al., Learning-based
  Video Motion Magnification, ECCV 2018). This needs no network and no second
  detection.
- Coordinates are relative to the bridge of the nose of their own frame, which removes the
  translation of the head before magnification, and in distances of the onset's eye centres.
- The edges are only in a figure. Here they follow the outlines; three connect brows and nose, one
  nose and mouth, so that the graph is connected.
- A sample that ends at its apex has no offset: it is the onset plus a share of the motion,
  `LandmarkGraphConfig.offset_remains`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from miex.pipeline.recognition.representations.base import RepresentationConfig
from miex.pipeline.recognition.sample import Sample, require_usable

BROWS, NOSE, MOUTH = range(17, 27), range(27, 36), range(48, 60)
"""Rows of the 68 landmarks (iBUG 300-W) that are nodes: 10, 9 and 12."""

NODES: tuple[int, ...] = (*BROWS, *NOSE, *MOUTH)
"""Landmark of each of the 31 nodes."""

COMPONENTS: dict[str, slice] = {
    "brows": slice(0, 10),
    "nose": slice(10, 19),
    "mouth": slice(19, 31),
}
"""Nodes of each facial component."""

KEY_FRAMES = ("onset", "apex", "offset")

_BRIDGE = slice(27, 31)
"""Landmarks with little motion in expressions, the origin of the coordinates."""

_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)

_JOINTS = ((21, 22), (21, 27), (22, 27), (30, 33), (33, 51), (59, 48))
"""Edges in addition to those along the outlines, by landmark: between the brows, from both to the
root of the nose, from its tip to its base, to the upper lip, and the one that closes the mouth."""

_OUTLINES = (range(17, 22), range(22, 27), range(27, 31), range(31, 36), range(48, 60))


def adjacency() -> Tensor:
    """Return the spatial graph, the same in every key frame.

    Returns:
        ``float32 (31, 31)``, symmetric, 1 for connected nodes, 0 on the diagonal.
    """
    edges = [pair for line in _OUTLINES for pair in pairwise(line)]
    joined = torch.zeros(len(NODES), len(NODES))
    for first, second in (*edges, *_JOINTS):
        a, b = NODES.index(first), NODES.index(second)
        joined[a, b] = joined[b, a] = 1
    return joined


def magnified_nodes(points: Tensor, amplification: float) -> Tensor:
    """Return node features of the graph (see the module).

    With c the mean of the bridge of the nose in a frame, s the distance of the eye centres in the
    onset, and p = (x - c) / s: node = p_onset + (1 + amplification) (p - p_onset).

    Args:
        points: ``float (B, T, 68, 2)`` x and y of the landmarks in pixels, the onset first.
        amplification: alpha; 0 for no magnification.

    Returns:
        ``(B, 2, T, 31)``, in distances of the eye centres.

    Raises:
        ValueError: The eye centres of an onset coincide, or landmarks are not finite.
    """
    eyes = points[:, 0, _RIGHT_EYE].mean(1) - points[:, 0, _LEFT_EYE].mean(1)
    distance = torch.linalg.vector_norm(eyes, dim=-1)
    if not bool((torch.isfinite(points).flatten(1).all(1) & (distance > 1e-6)).all()):
        raise ValueError(
            "landmarks are not finite, or the eye centres coincide: these describe no face"
        )
    centred = points[:, :, list(NODES)] - points[:, :, _BRIDGE].mean(2, keepdim=True)
    shape = centred / distance[:, None, None, None]
    onset = shape[:, :1]
    nodes: Tensor = onset + (1 + amplification) * (shape - onset)
    return nodes.permute(0, 3, 1, 2)


def key_landmarks(sample: Sample, offset_remains: float) -> NDArray[np.float32]:
    """Return landmarks of onset, apex and offset.

    The offset is the last frame after the apex in which a face was found; without one it is
    onset + offset_remains * (apex - onset).

    Args:
        sample: Sample with landmarks of onset and apex.
        offset_remains: Remaining share of the motion, 0 to 1.

    Returns:
        ``float32 (3, 68, 2)``, pixels.

    Raises:
        ValueError: Onset or apex have no landmarks; the message names the sample.
    """
    require_usable(sample, landmarks="pair")
    assert sample.landmarks is not None
    onset, apex = sample.landmarks[0], sample.landmarks[sample.apex_index]
    behind = [p for p in sample.landmarks[sample.apex_index + 1 :] if np.isfinite(p).all()]
    offset = behind[-1] if behind else onset + np.float32(offset_remains) * (apex - onset)
    return np.stack([onset, apex, offset]).astype(np.float32)


class LandmarkGraphConfig(RepresentationConfig):
    """Parameters of the graph."""

    amplification: float = Field(
        3.0, ge=0, le=50, description="alpha: motion is multiplied by 1 + alpha; 0 keeps it"
    )
    offset_remains: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the motion left in the offset of samples that end at their apex",
    )


@dataclass(frozen=True, slots=True)
class LandmarkGraph:
    """``nodes``: ``float32 (B, 2, 3, 31)``, x and y of each node in onset, apex and offset.

    Attributes:
        config: See `LandmarkGraphConfig`.
    """

    config: LandmarkGraphConfig = field(default_factory=LandmarkGraphConfig)

    @property
    def name(self) -> str:
        """See `Representation`."""
        return "landmark_graph"

    @property
    def version(self) -> int:
        """See `Representation`."""
        return 1

    @property
    def needs_landmarks(self) -> bool:
        """See `Representation`."""
        return True

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`."""
        rows = []
        for sample in samples:
            points = torch.from_numpy(key_landmarks(sample, self.config.offset_remains))
            try:
                rows.append(magnified_nodes(points[None], self.config.amplification))
            except ValueError as error:
                raise ValueError(f"{sample.info.key}: {error}") from None
        return {"nodes": torch.cat(rows).to(device)}
