"""Estimate and remove the rigid motion of the head in the image.

Between onset and apex of a real clip the head moves, rotates and changes its distance slightly.
This is a similarity transform of the image, which is estimated from landmarks that hardly move in
expressions: the bridge of the nose and the corners of the eyes.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

STILL = (27, 28, 29, 30, 36, 39, 42, 45)
"""Landmarks (iBUG 300-W, from 0) that move with the head: bridge of the nose, eye corners."""


def rigid_motion(points: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit a small similarity transform to the motion of points (least squares).

    Args:
        points: ``(N, 2)``, x and y in pixels; at least two different ones.
        moved: ``(N, 2)``, their later positions.

    Returns:
        ``(2, 3)`` matrix M of the change: a point p moves by ``M @ (p, 1)``, pixels.
    """
    x, y = points.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    # u = t_x + g x - a y, v = t_y + a x + g y; growth g and angle a are small.
    terms = np.concatenate(
        [np.column_stack([one, zero, x, -y]), np.column_stack([zero, one, y, x])]
    )
    motion = (moved - points).T.reshape(-1)
    shift_x, shift_y, growth, turn = np.linalg.lstsq(terms, motion, rcond=None)[0]
    return np.array([[growth, -turn, shift_x], [turn, growth, shift_y]])


def remove_rigid_motion(flow: Tensor, landmarks: Sequence[NDArray[np.float32]]) -> Tensor:
    """Remove translation, rotation and scaling of the head from a flow field.

    Args:
        flow: ``float32 (B, 2, H, W)``, u to the right and v down, pixels.
        landmarks: ``(68, 2)`` of each onset, pixels of the flow.

    Returns:
        ``float32 (B, 2, H, W)``.
    """
    _, _, height, width = flow.shape
    x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    rest = []
    for field, points in zip(flow, landmarks, strict=True):
        still = points[list(STILL)].astype(np.float64)
        at = torch.from_numpy(still).to(flow) * 2 / flow.new_tensor([width - 1, height - 1]) - 1
        read = functional.grid_sample(
            field[None], at[None, None], align_corners=True, padding_mode="border"
        )
        moved = still + read[0, :, 0].T.double().cpu().numpy()
        change = rigid_motion(still, moved)
        (a, b, c), (d, e, f) = change.tolist()
        rest.append(field - torch.stack([a * x + b * y + c, d * x + e * y + f]))
    return torch.stack(rest)


def align_to_onset(frames: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Align the head of every frame to the onset.

    Args:
        frames: ``uint8 (T, S, S, 3)`` RGB, the first one the onset.
        landmarks: ``(T, 68, 2)``, pixels, from `landmarks.follow`.

    Returns:
        ``uint8 (T, S, S, 3)``; the onset is unchanged, the others are resampled once (bicubic).
    """
    still = list(STILL)
    onset = landmarks[0, still].astype(np.float64)
    aligned = [frames[0]]
    for frame, points in zip(frames[1:], landmarks[1:], strict=True):
        change = rigid_motion(onset, points[still].astype(np.float64))
        moved = cv2.warpAffine(
            frame,
            np.eye(2, 3) + change,
            frame.shape[1::-1],
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        aligned.append(np.asarray(moved, np.uint8))
    return np.stack(aligned)
