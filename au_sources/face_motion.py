"""Model how each Action Unit moves the face, and fit the head pose.

`tables/au_landmark_motion.csv` holds the neutral 3-D shape of the 68 landmarks and their
displacement under each AU at full intensity, `tables/au_skin_motion.csv` the same for points of
the skin between them. Under the head pose of a face they give its motion: `miex.generators.warp`
applies the model, the landmark estimator inverts it.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_NAMES

LANDMARK_COUNT = 68

_LANDMARK_TABLE = Path(__file__).parent / "tables" / "au_landmark_motion.csv"
_SKIN_TABLE = Path(__file__).parent / "tables" / "au_skin_motion.csv"

Points: TypeAlias = NDArray[np.float64]

MIXTURES: dict[str, dict[str, float]] = {
    # mouthDimple draws the corners back into the head, which a camera in front hardly sees; the
    # buccinator also draws them outwards and a little up (FACS manual, AU 14).
    "AU14": {"AU14": 1.0, "AU12": 0.2, "AU20": 0.4},
    # mouthShrugLower lifts the lower lip alone; pressed from below, the upper one gives way by
    # about .03, as in py-feat's mesh model (au_to_mesh_pls_v4, AU17: .09 less .06 of the head).
    "AU17": {"AU17": 1.0, "AU10": 0.25},
    # mouthPress and mouthRoll leave the corners where they are or draw them outwards; tightened
    # lips are narrower, by .03-.05 a side in py-feat's mesh model: the opposite of a stretch.
    "AU23": {"AU23": 0.8, "AU20": -0.5},
    # mouthLowerDown bares the lower teeth only; lips that part also part upwards.
    "AU25": {"AU25": 1.0, "AU10": 0.2},
    # jawOpen lowers the lip by .54, 34 mm, near the maximal opening of 40-50 mm, which is AU27.
    # AU26 is the jaw that drops by relaxing; py-feat's mesh model has .22 for the lip.
    "AU26": {"AU26": 0.4},
}
"""Corrections: an AU as a mixture of the tables' columns; the others stand as they are."""

LEFT_EYE = (36, 37, 38, 39, 40, 41)
RIGHT_EYE = (45, 44, 43, 42, 47, 46)
"""Landmarks of the eyes on the left and right of the image: outer corner, upper lid outside and
inside, inner corner, lower lid inside and outside."""

_WIDEST_EYE = 2.0
"""Lids further apart than this many times the neutral ones are landmarks gone wrong."""

_JAW = slice(0, 17)
_LIPS = slice(48, 68)

_POSE_STEPS = 12
_POSE_TOLERANCE = 1e-5
"""Radians, and relative scale."""

_HUBER_THRESHOLD = 1.345
"""Residuals beyond this many robust deviations count less (Huber 1981: 95 % efficiency)."""


@dataclass(frozen=True, slots=True)
class MotionTable:
    """P points of a neutral head and what each AU does to them.

    Axes: x to the right of the image, y down, z towards the viewer; origin between the eyes;
    unit inter-ocular distance.

    Attributes:
        neutral: ``(P, 3)`` positions.
        motion: ``(17, P, 3)`` displacements at intensity 5, rigid head motion excluded.
    """

    neutral: Points
    motion: Points


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Scaled-orthographic view of the neutral head: ``image = scale * (rotation @ X)[:2] + t``.

    Attributes:
        scale: Pixels for one inter-ocular distance.
        rotation: ``(3, 3)``, in the axes of `MotionTable`.
        translation: ``(2,)`` pixels, where the point between the eyes lies.
    """

    scale: float
    rotation: Points
    translation: Points

    @property
    def yaw(self) -> float:
        """Return the head turn, degrees, positive towards the right of the image."""
        return float(np.degrees(np.arctan2(self.rotation[0, 2], self.rotation[2, 2])))

    @property
    def pitch(self) -> float:
        """Return the head nod, degrees, positive downwards."""
        return float(np.degrees(np.arcsin(np.clip(self.rotation[1, 2], -1.0, 1.0))))

    @property
    def roll(self) -> float:
        """Return the in-plane rotation, degrees, positive clockwise."""
        return float(np.degrees(np.arctan2(self.rotation[1, 0], self.rotation[1, 1])))

    def project(self, points: Points) -> Points:
        """Project ``(..., 3)`` head coordinates to ``(..., 2)`` pixels."""
        return self.scale * (points @ self.rotation[:2].T) + self.translation

    def project_motion(self, motion: Points) -> Points:
        """Project ``(..., 3)`` displacements to ``(..., 2)`` pixels."""
        return self.scale * (motion @ self.rotation[:2].T)


def _read_table(path: Path) -> tuple[list[dict[str, str]], MotionTable]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    neutral = np.array([[float(row[axis]) for axis in "xyz"] for row in rows])
    columns = {
        au: np.array([[float(row[f"{au}_d{axis}"]) for axis in "xyz"] for row in rows])
        for au in AU_NAMES
    }
    motion = np.stack(
        [
            sum(share * columns[part] for part, share in MIXTURES.get(au, {au: 1.0}).items())
            for au in AU_NAMES
        ]
    )
    neutral.setflags(write=False)
    motion.setflags(write=False)
    return rows, MotionTable(neutral, motion)


@cache
def motion_table() -> MotionTable:
    """Return the motion table of the 68 landmarks, corrected by `MIXTURES`; read once."""
    return _read_table(_LANDMARK_TABLE)[1]


@cache
def skin_table() -> tuple[tuple[str, ...], MotionTable]:
    """Return the skin points between the landmarks, their regions and motions; read once."""
    rows, table = _read_table(_SKIN_TABLE)
    return tuple(row["region"] for row in rows), table


def as_landmarks(landmarks: ArrayLike) -> Points:
    """Check landmarks.

    Args:
        landmarks: ``(68, 2)`` x and y, pixels, iBUG 300-W order.

    Returns:
        The same as float64.

    Raises:
        ValueError: Another shape, numbers that are not finite, or all points in one place.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (LANDMARK_COUNT, 2):
        raise ValueError(
            f"landmarks have shape {points.shape}, expected ({LANDMARK_COUNT}, 2): x and y in "
            "pixels of the 68 points of iBUG 300-W"
        )
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1)).tolist()
        raise ValueError(f"landmarks {bad} are not finite; leave this face out")
    if points.std(axis=0).min() < 1e-6:
        raise ValueError("landmarks lie in one point or on one line; leave this face out")
    return points


@cache
def _landmark_confidence() -> Points:
    """Return weights ``(68,)`` of the landmarks in the pose fit.

    The jaw contour slides along the cheek as the head turns, and the lips move with every
    expression, so both say less about the pose than eyes, brows and nose.
    """
    weights = np.ones(LANDMARK_COUNT)
    weights[_JAW] = 0.25
    weights[_LIPS] = 0.5
    return weights


@cache
def _affine_fit() -> Points:
    """Return the matrix ``(3, 68)`` that maps landmarks to the nearest affine map, transposed."""
    root = np.sqrt(_landmark_confidence())[:, None]
    design = np.column_stack([motion_table().neutral, np.ones(LANDMARK_COUNT)])
    fit: Points = np.linalg.pinv(design * root)[:3] * root[:, 0]
    return fit


def _affine_starts(points: Points) -> tuple[Points, Points]:
    """Return scales ``(N,)`` and rotations ``(N, 3, 3)`` (POS, DeMenthon & Davis 1995).

    They are those nearest to the affine maps of the neutral shape to ``(N, 68, 2)`` landmarks.
    """
    affine = (_affine_fit() @ points).transpose(0, 2, 1)
    left, singular, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    third = np.cross(rows[:, 0], rows[:, 1])[:, None]
    return singular.mean(axis=1), np.concatenate([rows, third], axis=1)


def _rotations(vectors: Points) -> Points:
    """Return the matrices ``(N, 3, 3)`` of rotation vectors ``(N, 3)`` (Rodrigues' formula)."""
    angles = np.maximum(np.sqrt((vectors**2).sum(axis=1)), 1e-12)
    x, y, z = (vectors / angles[:, None]).T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    turns: Points = np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)
    return turns


def _huber(residuals: Points) -> Points:
    """Return the Huber weights ``(N, 68)`` of residuals ``(N, 2, 68)``, scaled by their median."""
    lengths = np.sqrt((residuals**2).sum(axis=1))
    half = LANDMARK_COUNT // 2
    middle = np.partition(lengths, (half - 1, half), axis=1)[:, half - 1 : half + 1]
    limits = _HUBER_THRESHOLD * 1.4826 * np.maximum(middle.mean(axis=1), 1e-9)
    weights: Points = np.minimum(1.0, limits[:, None] / np.maximum(lengths, 1e-12))
    return weights


def _pose_steps(points: Points, scale: Points, rotation: Points, translation: Points) -> Points:
    """Return a Gauss-Newton step ``(N, 6)`` of each pose: turn, relative scale and shift."""
    turned = rotation @ motion_table().neutral.T
    seen = scale[:, None, None] * turned[:, :2] + translation[:, :, None]
    residuals = points.transpose(0, 2, 1) - seen
    x, y, z = np.moveaxis(scale[:, None, None] * turned, 1, 0)
    # A turn by the small vector w moves X by w x X.
    design = np.zeros((len(points), 6, 2, LANDMARK_COUNT))
    design[:, 0, 1], design[:, 1, 0] = -z, z
    design[:, 2, 0], design[:, 2, 1] = -y, x
    design[:, 3, 0], design[:, 3, 1] = x, y
    design[:, 4, 0] = design[:, 5, 1] = 1.0
    weights = (_landmark_confidence() * _huber(residuals))[:, None, None]
    weighted = (design * weights).reshape(len(points), 6, -1)
    normal = weighted @ design.reshape(len(points), 6, -1).transpose(0, 2, 1)
    return np.asarray(
        np.linalg.solve(normal, weighted @ residuals.reshape(len(points), -1, 1))[..., 0]
    )


def fit_poses(landmarks: Points | Sequence[ArrayLike]) -> list[HeadPose]:
    """Fit the head poses under which the neutral shape explains 68 landmarks of each face.

    Iteratively re-weighted Gauss-Newton on scale, rotation and translation, Huber weights. The pose
    of a face does not depend on the other faces.

    Args:
        landmarks: N times ``(68, 2)`` x and y, pixels, iBUG 300-W order.

    Raises:
        ValueError: Not 68 finite points that span a plane.
    """
    if not len(landmarks):
        return []
    points = np.stack([as_landmarks(each) for each in landmarks])
    neutral, confidence = motion_table().neutral, _landmark_confidence()
    scale, rotation = _affine_starts(points)
    offsets = points - scale[:, None, None] * (neutral @ rotation[:, :2].transpose(0, 2, 1))
    translation = np.average(offsets, axis=1, weights=confidence)
    left = np.arange(len(points))
    for _ in range(_POSE_STEPS):
        step = _pose_steps(points[left], scale[left], rotation[left], translation[left])
        rotation[left] = _rotations(step[:, :3]) @ rotation[left]
        scale[left] *= np.exp(step[:, 3])
        translation[left] += step[:, 4:]
        left = left[np.abs(step[:, :4]).max(axis=1) >= _POSE_TOLERANCE]
        if not len(left):
            break
    return [HeadPose(*each) for each in zip(scale.tolist(), rotation, translation, strict=True)]


def fit_pose(landmarks: ArrayLike) -> HeadPose:
    """Fit the head pose of one face; see `fit_poses`.

    Args:
        landmarks: ``(68, 2)`` x and y, pixels, iBUG 300-W order.

    Raises:
        ValueError: Not 68 finite points that span a plane.
    """
    return fit_poses([landmarks])[0]


def _aperture(points: Points, eye: tuple[int, ...]) -> float:
    """Return the mean distance between the lids of `eye` (landmarks in iBUG order)."""
    _, upper_a, upper_b, _, lower_b, lower_a = points[list(eye)]
    return float(np.linalg.norm(upper_a - lower_a) + np.linalg.norm(upper_b - lower_b)) / 2


def landmark_motion(landmarks: ArrayLike, pose: HeadPose | None = None) -> NDArray[np.float32]:
    """Return where each AU at full intensity moves the landmarks of a face.

    Linear: AU intensities ``a`` (0 to 5) displace the landmarks by ``(a / 5) @ motion``.

    Args:
        landmarks: ``(68, 2)`` x and y, pixels, iBUG 300-W order.
        pose: The head pose, if it is known already; otherwise `fit_pose` of the landmarks.

    Returns:
        ``float32 (17, 68, 2)`` displacement at intensity 5, pixels, rigid motion excluded.

    Raises:
        ValueError: Not 68 finite points that span a plane.
    """
    points = as_landmarks(landmarks)
    pose = pose or fit_pose(points)
    table = motion_table()
    motion = pose.project_motion(table.motion)
    neutral = pose.project(table.neutral)
    for eye in (LEFT_EYE, RIGHT_EYE):
        # A blink closes the eye completely, whether it is narrow or wide.
        own = _aperture(points, eye) / max(_aperture(neutral, eye), 1e-6)
        motion[AU_NAMES.index("AU45"), list(eye)] *= min(own, _WIDEST_EYE)
    return motion.astype(np.float32)
