"""Use the generator `warp` as a teacher: it renders the motion of small AU changes."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import get_context

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY
from miex.datasets.base import Face, FaceQuality
from miex.generators._warp_chart import chart_of
from miex.generators._warp_render import move_frames
from miex.generators._warp_sampling import sample_linear
from miex.generators._warp_state import WarpState
from miex.generators.ganimation.guided_network import INVERSION_STEPS, Motion
from miex.generators.ganimation.network import to_network_range
from miex.generators.ganimation.training_set import TrainingFaces
from miex.generators.warp import MAX_SIZE, MIN_SIZE, WarpGenerator

_FEW = 256
"""Largest number of faces that are prepared in this process; others take seconds to start."""

_RAISE, _MARGIN = 0.9, 0.25
"""Height of the face above the brows, and range of motion beyond it, in distances of the eye
centres. (The jaw drops by .2 at intensity 3, see `face_motion`.)"""

_BROWS = slice(17, 27)
_EYES = (slice(36, 42), slice(42, 48))

Prepared = dict[str, Tensor]


class Teacher:
    """Render batches of warped faces.

    Args:
        faces: The faces; each takes about 0.6 MB on the device at 128 pixels (float16).
        device: The device.
        workers: Processes that prepare the faces, 25 ms each; one per processor by default.
        on_progress: Called with the number of prepared faces.
        gain: ``(17,)``, factors of the changes in `move`; 1 by default.

    Raises:
        ValueError: `warp` does not support the size of the faces, or landmarks are invalid.
    """

    def __init__(
        self,
        faces: TrainingFaces,
        device: torch.device,
        workers: int | None = None,
        on_progress: Callable[[int], None] | None = None,
        gain: Tensor | None = None,
    ) -> None:
        side = faces.images.shape[1]
        if not MIN_SIZE <= side <= MAX_SIZE:
            raise ValueError(
                f"a warp teaches faces of {MIN_SIZE} to {MAX_SIZE} pixels, not {side}; set"
                " weights.teacher and weights.au_pairs to 0"
            )
        self._gain = torch.ones(AU_COUNT) if gain is None else gain
        self._gain = self._gain.to(device)
        self._fields: Prepared = {}
        for index, prepared in enumerate(_prepare_all(faces, workers)):
            for name, value in prepared.items():
                if not index:
                    empty = torch.empty((len(faces), *value.shape), dtype=value.dtype)
                    self._fields[name] = empty.to(device)
                self._fields[name][index] = value.to(device)
            if on_progress is not None:
                on_progress(index + 1)

    def render(self, rows: Tensor, changes: Tensor) -> Tensor:
        """Render faces with AUs added.

        Args:
            rows: int64 ``(N,)``, indices of the faces.
            changes: ``(N, 17)``, changes of the AUs, intensity / 5, -1 to 1.

        Returns:
            ``(N, 3, S, S)`` RGB, -1 to 1.
        """
        return self.move(rows, changes).warped

    def move(self, rows: Tensor, changes: Tensor) -> Motion:
        """Render faces with AUs added, as input of the guided network.

        Args:
            rows: See `render`.
            changes: See `render`.
        """
        chosen = {name: value[rows] for name, value in self._fields.items()}
        whole = {n: v.float() if v.dtype == torch.float16 else v for n, v in chosen.items()}
        chart, window = whole.pop("chart"), whole.pop("window")
        # The fields are linear in the AUs, so that their sum is used like one AU.
        intensity = changes * self._gain * MAX_INTENSITY
        whole["basis"] = torch.einsum("nu,nulxhw->nlxhw", intensity, whole["basis"])[:, None]
        states = [WarpState(**{n: v[i] for n, v in whole.items()}) for i in range(len(rows))]
        ones = np.ones((len(rows), 1), np.float32)
        frames, source = move_frames(states, ones, INVERSION_STEPS)
        side = frames.shape[-1]
        places = sample_linear(chart, source, side).movedim(1, -1)
        face = F.interpolate(window, size=(side, side), mode="bilinear", align_corners=False)
        return Motion(to_network_range(frames), places, face * whole["movable"])


def _prepare_all(faces: TrainingFaces, workers: int | None) -> Iterable[Prepared]:
    """Return the state of `warp` for each face, in order, with float16 arrays."""
    columns = (faces.images, faces.landmarks, faces.origins)
    workers = workers or os.cpu_count() or 1
    if len(faces) <= _FEW or workers == 1:
        yield from map(_prepare, *columns)
        return
    # Forking a process with CUDA or threads is not safe.
    with ProcessPoolExecutor(workers, get_context("spawn"), _compute_alone) as pool:
        for arrays in pool.map(_prepare_arrays, *columns, chunksize=16):
            yield {name: torch.from_numpy(array) for name, array in arrays.items()}


def _compute_alone() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _prepare_arrays(
    image: NDArray[np.uint8], landmarks: NDArray[np.float32], origin: str
) -> dict[str, NDArray[np.generic]]:
    """Return `_prepare` as arrays, which are sent between processes faster than tensors."""
    return {name: value.numpy() for name, value in _prepare(image, landmarks, origin).items()}


def _prepare(image: NDArray[np.uint8], landmarks: NDArray[np.float32], origin: str) -> Prepared:
    quality = FaceQuality(0.0, 0.0, 0.0, 0.0, 0.0)
    face = Face(image, landmarks, origin, origin, "", quality, np.zeros(128, np.float32))
    state = WarpGenerator(torch.device("cpu")).prepare(face)
    values = {field.name: getattr(state, field.name) for field in fields(WarpState)}
    chart, window = chart_of(landmarks, len(image))
    values |= {"chart": torch.from_numpy(chart), "window": torch.from_numpy(window)}
    return {n: v.half() if v.is_floating_point() else v for n, v in values.items()}


def face_area(landmarks: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Return the mask of a face: the hull of its landmarks with the forehead, and a margin.

    Args:
        landmarks: ``(N, 68, 2)``, pixels.
        size: Side S of the images.

    Returns:
        ``(N, S, S)``, 1 in the face and 0 outside.
    """
    areas = np.zeros((len(landmarks), size, size), np.uint8)
    for points, area in zip(landmarks, areas, strict=True):
        left, right = (points[eye].mean(axis=0) for eye in _EYES)
        across = right - left
        unit = float(np.hypot(*across))
        up = np.array([across[1], -across[0]])
        outline = np.vstack([points, points[_BROWS] + _RAISE * up])
        hull = cv2.convexHull(np.round(outline).astype(np.int32))
        cv2.fillConvexPoly(area, hull, 1)
        margin = 2 * max(1, round(_MARGIN * unit)) + 1
        cv2.dilate(area, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin)), dst=area)
    return areas
