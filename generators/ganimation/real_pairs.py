"""Real pairs of neutral and expressive faces: targets for the appearance that a warp cannot render.

Frames of a video show one person neutral and expressive. The input of the guided network is the
neutral frame, moved by `warp` by the difference of their AUs; the target is the expressive frame,
aligned to that warp by dense optical flow, so that only appearance remains to be learnt.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.au_sources.action_units import MAX_INTENSITY
from miex.au_sources.face_motion import fit_pose
from miex.generators.ganimation.network import to_network_range, to_pixels
from miex.generators.ganimation.teacher import Teacher
from miex.generators.ganimation.training_set import TrainingFaces

QUIET = 12
"""Largest number of neutral frames per person, with the smallest sums of AUs; at most 25 %."""

_SAME_POSE = 8.0
"""Largest difference of yaw and pitch between two frames of a pair, in degrees."""

_LEAST_CHANGE = 0.8
"""Smallest value of the largest AU change of a pair; less is noise of the estimator."""

_CHUNK = 16


@dataclass(frozen=True, slots=True, eq=False)
class RealPairs:
    """P pairs of frames.

    Attributes:
        quiet: int64 ``(P,)``, rows of the quiet frames.
        change: ``float32 (P, 17)``, AUs of the expressive minus the quiet frame, intensity / 5.
        answers: ``uint8 (P, 3, S, S)``, the expressive frames aligned to the warps.
    """

    quiet: NDArray[np.int64]
    change: NDArray[np.float32]
    answers: Tensor

    def __len__(self) -> int:
        return len(self.quiet)

    def answer(self, pairs: NDArray[np.int64]) -> Tensor:
        """Return the targets of some pairs, ``(N, 3, S, S)``, -1 to 1."""
        return to_network_range(self.answers[torch.from_numpy(pairs)])


def find_pairs(
    faces: TrainingFaces, trusted: NDArray[np.bool_]
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield quiet row, expressive row and change of the AUs for every frame that has a pair.

    Args:
        faces: Frames, several per person.
        trusted: bool ``(17,)``; the change of another AU counts as 0.
    """
    aus = np.where(faces.valid & trusted, faces.aus, 0).astype(np.float32)
    poses = np.array([(pose.yaw, pose.pitch) for pose in map(fit_pose, faces.landmarks)])
    names = np.array(faces.identities)
    for name in dict.fromkeys(faces.identities):
        own = np.flatnonzero(names == name)
        calm = own[np.argsort(aus[own].sum(axis=1), kind="stable")]
        quiet = calm[: max(1, min(QUIET, len(own) // 4))]
        for row in np.setdiff1d(own, quiet):
            apart = np.abs(poses[quiet] - poses[row]).max(axis=1)
            partner = int(quiet[np.argmin(apart)])
            change = aus[row] - aus[partner]
            if apart.min() <= _SAME_POSE and change.max() >= _LEAST_CHANGE:
                yield partner, int(row), change / np.float32(MAX_INTENSITY)


def make_pairs(faces: TrainingFaces, trusted: NDArray[np.bool_], teacher: Teacher) -> RealPairs:
    """Align every expressive frame to its warp.

    Args:
        faces: Frames, several per person.
        trusted: bool ``(17,)``, AUs whose labels count.
        teacher: `warp` for these faces.

    Raises:
        ValueError: There is no pair among them.
    """
    found = list(find_pairs(faces, trusted))
    if not found:
        raise ValueError(
            "no real pair among the frames: expected frames of a person at rest and expressive, "
            f"with an AU that differs by {_LEAST_CHANGE:g} or more and the head within "
            f"{_SAME_POSE:g} degrees; leave --pairs out, or take a video with an expression"
        )
    quiet = np.array([one[0] for one in found], np.int64)
    apex = np.array([one[1] for one in found], np.int64)
    change = np.stack([one[2] for one in found])
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    answers = []
    for start in range(0, len(found), _CHUNK):
        part = slice(start, start + _CHUNK)
        warped = teacher.render(torch.from_numpy(quiet[part]), torch.from_numpy(change[part]))
        frames = to_pixels(warped).permute(0, 2, 3, 1).cpu().numpy()
        for frame, row in zip(frames, apex[part], strict=True):
            answers.append(_aligned(flow, frame, faces.images[row]))
    stacked = torch.from_numpy(np.stack(answers)).permute(0, 3, 1, 2).contiguous()
    return RealPairs(quiet, change, stacked)


def _aligned(
    flow: cv2.DISOpticalFlow, warped: NDArray[np.uint8], real: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return a frame aligned to a warped one, with its mean colour."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (warped, real)]
    side = len(warped)
    motion = flow.calc(grey[0], grey[1], np.zeros((side, side, 2), np.float32))
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    moved = cv2.remap(
        real, x + motion[..., 0], y + motion[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)  # fmt: skip
    gain = (warped.mean((0, 1)) + 1) / (moved.mean((0, 1)) + 1)
    return np.asarray(np.clip(np.round(moved * gain), 0, 255), np.uint8)
