"""Generator without weights: each AU moves the landmarks, and the photograph is warped accordingly.

A motion field per AU is computed once per face; for a frame, their weighted sum is inverted, and
the photograph is resampled once. Skin above and below the eyes and the mouth moves in two layers
over eyeballs and teeth, which are fixed. Intended for micro-expressions: motion of a few pixels,
with the texture unchanged.
"""

import warnings
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, MAX_INTENSITY, AUArray
from miex.au_sources.face_motion import as_landmarks, fit_pose
from miex.datasets.base import Face
from miex.datasets.device import choose_device
from miex.datasets.registry import Facts
from miex.generators._warp_field import basis_fields, face_outline, place_skin
from miex.generators._warp_geometry import pixel_centres
from miex.generators._warp_interior import cavity_colour, eyeball_shift, find_geometry
from miex.generators._warp_render import measure_frames
from miex.generators._warp_sampling import spline_coefficients
from miex.generators._warp_state import WarpState
from miex.generators.base import Condition, GeneratorConfig, register_generator

MIN_SIZE, MAX_SIZE = 64, 512

_CPU_PIXELS = 2**15
"""Number of pixels rendered together on a CPU; more exceed the cache of a core."""

_EDGE_SOFTNESS = 0.022
"""Width of the soft edge of lids and lips, in inter-ocular distances; at least one pixel."""


def _check_crop(crop: NDArray[np.uint8]) -> None:
    side = crop.shape[0] if crop.ndim == 3 else 0
    if crop.dtype != np.uint8 or crop.shape != (side, side, 3):
        raise ValueError(
            f"the crop is {crop.dtype} {crop.shape}, expected uint8 (S, S, 3): a square RGB image"
        )
    if side % 4 or not MIN_SIZE <= side <= MAX_SIZE:
        raise ValueError(
            f"the crop has {side} pixels a side, expected a multiple of 4 from {MIN_SIZE} to "
            f"{MAX_SIZE}; prepare the faces with such a size"
        )


def check_intensities(aus: AUArray, count: int) -> NDArray[np.float32]:
    """Check changes of AUs for `count` states.

    Raises:
        ValueError: The shape is not ``(count, 17)``, or values are not finite or outside -5 to 5.
    """
    values = np.asarray(aus, np.float32)
    if values.shape != (count, AU_COUNT):
        raise ValueError(
            f"aus have shape {values.shape}, expected ({count}, {AU_COUNT}): one vector for each "
            "prepared face"
        )
    wrong = np.argwhere(~(np.abs(values) <= MAX_INTENSITY))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"row {row} of aus has {AU_NAMES[column]} = {values[row, column]}, expected a "
            f"change of -{MAX_INTENSITY:g} to {MAX_INTENSITY:g}; NaN means not measured, "
            "decide what to render instead"
        )
    return values


def check_sizes(sides: Iterable[int]) -> None:
    """Check that all faces of a batch have one size.

    Args:
        sides: Side of each face, pixels.

    Raises:
        ValueError: There are no faces, or their sizes differ.
    """
    sizes = sorted(set(sides))
    if len(sizes) != 1:
        raise ValueError(f"states have sizes {sizes}, expected one; render in groups")


class WarpGenerator:
    """Render AU motion by warping the photograph.

    Args:
        device: The device.
        batch_size: Number of frames that are rendered together.
    """

    name = "warp"
    sha256: str | None = None
    max_intensity = 2.0
    condition: Condition = "change"
    revision = 2

    def __init__(self, device: torch.device, batch_size: int = 32) -> None:
        self._device = device
        self._batch_size = batch_size
        self._warned = False

    def prepare(self, face: Face) -> WarpState:
        """Compute everything that depends only on the face.

        Raises:
            ValueError: The crop is not a square RGB image with a side that is a multiple of 4
                from 64 to 512, or the landmarks are not 68 finite points.
        """
        try:
            _check_crop(face.crop)
            landmarks = as_landmarks(face.landmarks)
        except ValueError as error:
            raise ValueError(f"{face.origin}: {error}") from error
        size = face.crop.shape[0]
        pose = fit_pose(landmarks)
        skin = place_skin(landmarks, pose)
        outline = face_outline(landmarks, skin)
        geometry = find_geometry(face.crop, landmarks, outline, pose.scale)
        softness = max(1.0, _EDGE_SOFTNESS * pose.scale)
        basis, movable = basis_fields(landmarks, skin, pose, geometry, size)
        centres = pixel_centres(size, size)
        above, below = geometry.edges(centres)
        at_mouth = geometry.descent(centres) > 0.5
        eyeballs = eyeball_shift(geometry, above, below, softness)
        eyeballs[at_mouth] = 0.0
        return WarpState(
            crop=self._tensor(face.crop.transpose(2, 0, 1)),
            coefficients=self._tensor(spline_coefficients(face.crop)),
            basis=self._tensor(basis),
            edges=self._tensor(np.stack([above, below]).astype(np.float32)),
            eyeballs=self._tensor(eyeballs.astype(np.float32)),
            mouth=self._tensor(
                np.stack([at_mouth * (1 - geometry.closed), at_mouth * geometry.closed]).astype(
                    np.float32
                )
            ),
            cavity=self._tensor(cavity_colour(face.crop, landmarks, geometry)[:, None, None]),
            movable=self._tensor(movable[None]),
            softness=torch.full((1, 1, 1), softness, device=self._device),
        )

    def render(self, states: Sequence[WarpState], aus: AUArray) -> NDArray[np.uint8]:
        """Render one frame for each pair of a prepared face and an AU vector.

        Args:
            states: N prepared faces, all of one size S.
            aus: ``(N, 17)``, change of each AU, FACS intensity, -5 to 5.

        Returns:
            ``uint8 (N, S, S, 3)`` RGB.

        Raises:
            ValueError: There are no states, faces differ in size, or the AUs are not ``(N, 17)``
                finite changes.
        """
        return self.render_with_motion(states, aus)[0]

    def render_with_motion(
        self, states: Sequence[WarpState], aus: AUArray
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Render as `render`, and return the motion of each frame from the photograph.

        Returns:
            The frames, and the motion ``(N,)`` in pixels: mean length of the displacement over the
            fastest 5 % of the pixels; pixels that keep their colour count as 0.
        """
        values = check_intensities(aus, len(states))
        check_sizes(state.crop.shape[-1] for state in states)
        if not self._warned and values.max() > self.max_intensity:
            self._warned = True
            warnings.warn(
                f"intensity {values.max():g} is above {self.max_intensity:g}: `warp` moves the "
                "pixels of one photograph and is realistic only for micro-expressions",
                stacklevel=2,
            )
        frames = torch.stack([state.crop for state in states])
        motion = np.zeros(len(states), np.float32)
        moving = np.flatnonzero(values.any(axis=1))
        step = self._batch_size
        if self._device.type == "cpu":
            step = min(step, max(1, _CPU_PIXELS // frames.shape[-1] ** 2))
        for start in range(0, len(moving), step):
            chunk = moving[start : start + step]
            frames[chunk], motion[chunk] = measure_frames([states[i] for i in chunk], values[chunk])
        return _interleaved(frames.cpu().numpy()), motion

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def _interleaved(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames ``(N, 3, S, S)`` as ``(N, S, S, 3)``; OpenCV does it ten times as fast."""
    count, colours, *sides = frames.shape
    found = np.empty((count, *sides, colours), np.uint8)
    for planes, frame in zip(frames, found, strict=True):
        cv2.merge(list(planes), frame)
    return found


FACTS = Facts(
    about="each AU moves the landmarks by a measured displacement, "
    "spread over the face and resampled once; no weights; for micro intensities, "
    "it warns above its range",
    title="warp",
    written="warp",
)


@register_generator("warp", FACTS)
def create_warp(config: GeneratorConfig) -> WarpGenerator:
    """Create the generator.

    Raises:
        ValueError: The config requests weights, bf16 or compilation, which `warp` does not have,
            or there is no such device.
    """
    if config.checkpoint is not None:
        raise ValueError(
            f"generator 'warp' has no weights, but the config names the checkpoint "
            f"{config.checkpoint}; leave it out, or choose the generator it belongs to"
        )
    if config.precision == "bf16" or config.compile:
        raise ValueError(
            "generator 'warp' has no network: precision must be 'auto' or 'fp32' and compile false"
        )
    return WarpGenerator(choose_device(config.device), config.batch_size)
