"""HARS: motion of the whole face, and of a puzzle of its brows and its mouth.

Zhou, Huang, Li and Wang, Dual-ATME: Dual-Branch Attention Network for Micro-Expression
Recognition, Entropy 25(3):460, 2023, sections 3.2.1 to 3.2.3. Both frames are cropped by the
landmarks of the onset, so that crops differ only by motion. Landmarks are numbered from 0, as the
indices of the paper (those of the eyes, 36 and 45; it says that they start at 1), in the order of
iBUG 300-W; left and right are those of the image.

Where the paper is silent or damaged:

- It rotates the image and detects the landmarks again; here they are rotated, too, without new
  noise. Rotation, cropping and scaling are one bilinear interpolation.
- Minus signs are lost in the available copy. The top of the face is l19 - d, though a plus is
  printed: only so is there "an expansion area above the eyebrows". The lower border of the left
  brow is l37, printed 27 once, as on the right.
- Sizes of the puzzle's tiles: each brow half of the width, the lower region all of it, both rows
  equally high. The flow is computed on the puzzle (x_puzzled in section 3.2.3).
- Boxes of cheeks and nose, which table 4 compares with brows and mouth, are of this project.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from miex.pipeline.recognition.representations.base import (
    RepresentationConfig,
    resize,
    scaled_landmarks,
    stack_pairs,
)
from miex.pipeline.recognition.representations.optical_flow import (
    FlowMethod,
    optical_flow,
    to_grey,
)
from miex.pipeline.recognition.representations.strain import strain_magnitude
from miex.pipeline.recognition.sample import MIN_SIDE, Sample

Upper = Literal["brows", "cheeks"]
Lower = Literal["mouth", "nose"]


@dataclass(frozen=True, slots=True)
class Cuts:
    """Crops of B faces. Boxes are ``(B, 4)``: left, top, right, bottom, in upright pixels.

    Attributes:
        turn: ``(B, 2, 2)`` rotation R about the origin; ``upright = R @ (x, y)``.
        face: Box of the face.
        left: Box of the upper region on the left of the image.
        right: Box of the upper region on the right of the image.
        lower: Box of the lower region.
    """

    turn: Tensor
    face: Tensor
    left: Tensor
    right: Tensor
    lower: Tensor


def upright(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate faces so that their outer eye corners are level (equation 1).

    Args:
        landmarks: ``(B, 68, 2)``, x and y in pixels.

    Returns:
        The rotations R ``(B, 2, 2)`` about the origin, and the rotated landmarks
        ``(B, 68, 2)``.
    """
    line = landmarks[:, 45] - landmarks[:, 36]
    angle = torch.atan2(line[:, 1], line[:, 0])
    cosine, sine = angle.cos(), angle.sin()
    turn = torch.stack([cosine, sine, -sine, cosine], dim=-1).view(-1, 2, 2)
    return turn, _rotate(turn, landmarks)


def _rotate(turn: Tensor, points: Tensor) -> Tensor:
    # Without a matrix product, whose rounding depends on the size of the batch.
    x, y = points.unbind(-1)
    rows = turn.reshape(-1, 2, 2, *[1] * (x.ndim - 1))
    return torch.stack(
        [rows[:, 0, 0] * x + rows[:, 0, 1] * y, rows[:, 1, 0] * x + rows[:, 1, 1] * y], dim=-1
    )


def _face_box(points: Tensor) -> Tensor:
    """Return the box of the face: cheek to cheek, brows to chin (section 3.2.1, equation 2).

    Args:
        points: Upright landmarks ``(B, 68, 2)``.

    Returns:
        ``(B, 4)``: left, top, right, bottom.
    """
    x, y = points.unbind(-1)
    lid_to_brow = ((y[:, 38] - y[:, 20]) + (y[:, 43] - y[:, 23])) / 2
    return torch.stack([x[:, 1], y[:, 19] - lid_to_brow, x[:, 15], y[:, 8]], dim=-1)


def _brow_boxes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return boxes of the brows (section 3.2.2): 25 % wider on each side, shifted up by 25 %.

    Args:
        points: Upright landmarks ``(B, 68, 2)``.

    Returns:
        Left and right, each ``(B, 4)``: left, top, right, bottom.
    """
    return _brow(points, 17, 21, 19, 37), _brow(points, 22, 26, 24, 44)


def _brow(points: Tensor, first: int, last: int, arch: int, lid: int) -> Tensor:
    height = (points[:, lid] - points[:, arch]).norm(dim=-1) / 4
    length = (points[:, last] - points[:, first]).norm(dim=-1) / 4
    x, y = points.unbind(-1)
    return torch.stack(
        [x[:, first] - length, y[:, arch] - height, x[:, last] + length, y[:, lid] - height], dim=-1
    )


def _mouth_box(points: Tensor) -> Tensor:
    """Return the box of the mouth (section 3.2.2): 25 % wider, half the way to the nose higher.

    Args:
        points: Upright landmarks ``(B, 68, 2)``.

    Returns:
        ``(B, 4)``: left, top, right, bottom.
    """
    height = (points[:, 51] - points[:, 33]).norm(dim=-1) / 2
    length = (points[:, 54] - points[:, 48]).norm(dim=-1) / 4
    x, y = points.unbind(-1)
    return torch.stack(
        [x[:, 48] - length, y[:, 51] - height, x[:, 54] + length, y[:, 57] + height], dim=-1
    )


def _cheek_boxes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return boxes of the cheeks: side of the face to nostril, lower lid to lip.

    Args:
        points: Upright landmarks ``(B, 68, 2)``.

    Returns:
        Left and right, each ``(B, 4)``: left, top, right, bottom.
    """
    x, y = points.unbind(-1)
    return (
        torch.stack([x[:, 1], y[:, 41], x[:, 31], y[:, 48]], dim=-1),
        torch.stack([x[:, 35], y[:, 46], x[:, 15], y[:, 54]], dim=-1),
    )


def _nose_box(points: Tensor) -> Tensor:
    """Return the box of the nose between the inner eye corners, from its root to `_mouth_box`.

    Args:
        points: Upright landmarks ``(B, 68, 2)``.

    Returns:
        ``(B, 4)``: left, top, right, bottom.
    """
    x, y = points.unbind(-1)
    below = (points[:, 51] - points[:, 33]).norm(dim=-1) / 2
    return torch.stack([x[:, 39], y[:, 27], x[:, 42], y[:, 51] - below], dim=-1)


def cuts(landmarks: Tensor, upper: Upper = "brows", lower: Lower = "mouth") -> Cuts:
    """Return the crops of faces.

    Args:
        landmarks: Landmarks of the onset, ``(B, 68, 2)``, x and y in pixels.
        upper: Regions in the upper row of the puzzle.
        lower: Region in the lower row of the puzzle.
    """
    turn, points = upright(landmarks)
    left, right = _brow_boxes(points) if upper == "brows" else _cheek_boxes(points)
    below = _mouth_box(points) if lower == "mouth" else _nose_box(points)
    return Cuts(turn, _face_box(points), left, right, below)


def face_grid(where: Cuts, side: int) -> Tensor:
    """Return the sampling grid of the cropped face, ``(B, side, side, 2)``, x and y in pixels."""
    return _grid(where.face, where.turn, side, side)


def puzzle_grid(where: Cuts, side: int) -> Tensor:
    """Return the sampling grid of the puzzle.

    Args:
        where: The crops.
        side: Side of the puzzle, pixels; even.

    Returns:
        ``(B, side, side, 2)``, x and y in pixels: left and right region above, the lower below.
    """
    half = side // 2
    left, right = (_grid(box, where.turn, half, half) for box in (where.left, where.right))
    lower = _grid(where.lower, where.turn, side, half)
    return torch.cat([torch.cat([left, right], dim=2), lower], dim=1)


def _grid(box: Tensor, turn: Tensor, width: int, height: int) -> Tensor:
    left, top, right, bottom = box[:, :, None].unbind(1)
    x = left + (right - left) * (torch.arange(width, device=box.device) + 0.5) / width
    y = top + (bottom - top) * (torch.arange(height, device=box.device) + 0.5) / height
    shape = (len(box), height, width)
    cells = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], dim=-1)
    return _rotate(turn.mT, cells)  # the inverse of a rotation is its transpose


def read_at(images: Tensor, grid: Tensor) -> Tensor:
    """Return bilinear values; outside an image those of its border.

    Args:
        images: ``float (B, C, S, S)``.
        grid: ``(B, H, W, 2)``, x and y in pixels.

    Returns:
        ``(B, C, H, W)``.
    """
    side = images.shape[-1]
    return functional.grid_sample(
        images,
        (grid * 2 + 1) / side - 1,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )


class DualRegionConfig(RepresentationConfig):
    """Parameters of `DualRegion`."""

    side: int = Field(28, ge=4, description="side of the result, pixels")
    flow_side: int = Field(
        128,
        ge=MIN_SIDE,
        multiple_of=2,
        description="of the frames, and of face and puzzle when the flow is taken, pixels",
    )
    method: FlowMethod = "tvl1"
    upper: Upper = "brows"
    lower: Lower = "mouth"


@dataclass(frozen=True, slots=True)
class DualRegion:
    """Flow and strain of the face and of its puzzle."""

    config: DualRegionConfig = field(default_factory=DualRegionConfig)
    name: ClassVar[str] = "dual_region"
    version: ClassVar[int] = 1
    needs_landmarks: ClassVar[bool] = True

    def compute(self, samples: Sequence[Sample], device: torch.device) -> dict[str, Tensor]:
        """See `Representation.compute`.

        Returns:
            ``face`` and ``puzzle``, each ``float16 (B, 3, side, side)``: u to the right and v
            down, in pixels of the crop at `flow_side`, and the strain, per pixel; averaged over
            downscaled pixels.

        Raises:
            ValueError: A sample has no landmarks, or they describe no face in the frame.
        """
        side = self.config.flow_side
        landmarks = torch.stack(
            [torch.from_numpy(scaled_landmarks(sample, side, "onset")[0]) for sample in samples]
        )
        where = cuts(landmarks.to(device), self.config.upper, self.config.lower)
        _require_in_frame(samples, landmarks, where, side)
        pairs = torch.stack([to_grey(frames) for frames in stack_pairs(samples, side, device)], 1)
        grids = (face_grid(where, side), puzzle_grid(where, side))
        first, second = torch.cat([read_at(pairs, grid) for grid in grids]).unbind(1)
        flow = optical_flow(first, second, self.config.method)
        motion = torch.cat([flow, strain_magnitude(flow)[:, None]], dim=1)
        face, puzzle = resize(motion, self.config.side).half().chunk(2)
        return {"face": face, "puzzle": puzzle}


def _require_in_frame(samples: Sequence[Sample], landmarks: Tensor, where: Cuts, side: int) -> None:
    boxes = torch.stack([where.face, where.left, where.right, where.lower], dim=1).cpu()
    extent = (boxes[..., 2:] - boxes[..., :2]).amin(dim=(1, 2))
    middle = landmarks.mean(dim=1)
    outside = ((middle < 0) | (middle > side - 1)).any(dim=-1)
    for sample, smallest, out in zip(samples, extent.tolist(), outside.tolist(), strict=True):
        if smallest < 1 or out:
            raise ValueError(
                f"{sample.info.key}: the landmarks of the onset describe no upright face inside"
                f" the frame (smallest extent of a region {smallest:.1f} px of {side}); are they"
                " in pixels of these frames, in the iBUG 300-W order of 68?"
            )
