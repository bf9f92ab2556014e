"""Estimate AUs from 68 landmarks alone: invert the motion of `miex.au_sources.face_motion`.

The landmarks are explained as a neutral shape under a head pose, moved by AUs: ridge regression
with intensities limited to 0-5, from which pose errors are projected out. The estimator needs no
weights and does not use texture; it is weak except for AUs with large landmark motion. With
OpenFace's regressors on 2,000 photographs of Labeled Faces in the Wild AU12 and AU25 correlate
about .9, AU02 and AU45 about .7, the others .3 to .6 (`tests/benchmarks/bench_calibration.py`);
note that the geometry features of OpenFace's regressors come from the same landmarks.
"""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS, MAX_INTENSITY, AUArray
from miex.au_sources.estimators.base import (
    BATCH_SIZE,
    AUEstimator,
    Estimates,
    EstimatorOptions,
    Frame,
    Landmarker,
    Scale,
    batches,
    face_sized,
    find_landmarks,
    landmarks_are_needed,
    register_estimator,
    require_images,
    require_landmarks,
)
from miex.au_sources.face_motion import (
    LANDMARK_COUNT,
    as_landmarks,
    fit_poses,
    motion_table,
)
from miex.datasets.registry import Facts

_Array: TypeAlias = NDArray[np.float64]

NEUTRAL_TABLE = Path(__file__).parents[1] / "tables" / "neutral_landmark_offset.csv"

UNSEEN_AUS = (5, 14, 20)
"""AUs that are not measured: their motion disappears among the differences between people.

AU05 and AU20 correlate below .25 with OpenFace's regressors on 2,000 photographs: AU05 lifts the
upper lid by .1 inter-ocular distances at most, less than eyes differ in width; AU20 reads as a wide
mouth. AU14 correlates .6, for it comes with smiles (.3 at equal AU12), but where `warp` moves it
alone no more of it is found than of any other AU: .2 of 2.
"""

_MAX_MISFIT = 0.3
"""Inter-ocular distances between landmarks and fitted face, root mean square, above which they are
no face. Those of 2,000 faces of Labeled Faces in the Wild stay below .23."""

_REST_SHARE = 0.1
"""Share of a video's frames, those with the least expression, that show the face at rest."""

_JAW = slice(0, 17)
_JAW_FACTOR = 2.0
"""The jaw contour is found this much less exactly: it slides along the cheek."""

_SWEEPS = 60
"""Rounds of coordinate descent; 17 unknowns settle to .001 within 40."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How much the landmarks are trusted.

    Attributes:
        noise: Standard deviation of a landmark that no AU explains, inter-ocular distances.
        prior: Standard deviation of an AU about 0, shares of its full range.
    """

    noise: float
    prior: float


_ANYBODY = Trust(noise=0.05, prior=0.2)
"""Against the mean face: how people differ, .05, counts as noise, so estimates shrink by half or
more and need a calibration. Chosen among noise .03-.1 and prior .1-.3 by the mean correlation with
OpenFace on 2,000 photographs, which hardly changes within a factor of two (.475 to .492)."""

_OWN_REST = Trust(noise=0.02, prior=0.4)
"""Against the person's own face at rest: only the landmark finder errs. Of a planted intensity of
2.5 four fifths come back for most AUs (2.0 to 2.4; AU06 1.4, AU07 1.1, AU25 1.3)."""


@dataclass(frozen=True, slots=True)
class UprightFaces:
    """Landmarks with position, size and in-plane rotation of the head removed.

    Attributes:
        residuals: ``(N, 68, 2)`` landmarks less the neutral shape in their head pose,
            inter-ocular distances.
        rotations: ``(N, 2, 3)`` remaining head turn and nod.
    """

    residuals: _Array
    rotations: _Array


@cache
def neutral_offset() -> _Array:
    """Return ``(68, 2)``: the difference of detected landmarks of neutral faces from the table's.

    Inter-ocular distances, x right and y down of the upright head.
    """
    with NEUTRAL_TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return np.array([[float(row["dx"]), float(row["dy"])] for row in rows])


def upright(landmarks: ArrayLike) -> UprightFaces:
    """Fit each face's head pose and remove it from the landmarks.

    Args:
        landmarks: ``(N, 68, 2)`` x and y, pixels, iBUG 300-W order, finite.

    Raises:
        ValueError: Landmarks that span no plane.
    """
    table = motion_table()
    residuals, rotations = [np.zeros((0, LANDMARK_COUNT, 2))], [np.zeros((0, 2, 3))]
    faces = np.asarray(landmarks, dtype=np.float64)
    for face, pose in zip(faces, fit_poses(faces), strict=True):
        roll = np.radians(pose.roll)
        turn_back = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        rotation = turn_back @ pose.rotation[:2]
        points = (face - pose.translation) / pose.scale @ turn_back.T
        residuals.append((points - table.neutral @ rotation.T)[None])
        rotations.append(rotation[None])
    return UprightFaces(np.concatenate(residuals), np.concatenate(rotations))


def _invert_motion(faces: UprightFaces, neutral: _Array, trust: Trust) -> AUArray:
    """Return the AUs that best explain the landmark positions.

    Maximum a posteriori under Gaussian noise and prior, 0 <= intensity <= 5. Errors of the fitted
    pose (small turns, scale, shift) are unknowns with a flat prior and are eliminated first.

    Args:
        faces: N faces.
        neutral: ``(68, 2)`` residuals of the face at rest.
        trust: How far the landmarks are believed.

    Returns:
        ``float32 (N, 17)``, 0 to 5.
    """
    count = len(faces.residuals)
    noise = np.full(LANDMARK_COUNT, trust.noise)
    noise[_JAW] *= _JAW_FACTOR
    weights = np.repeat(1 / noise, 2)
    table = motion_table()
    moved = np.einsum("apc,nrc->napr", table.motion, faces.rotations)
    motion = moved.reshape(count, AU_COUNT, 2 * LANDMARK_COUNT) * weights
    target = (faces.residuals - neutral).reshape(count, 2 * LANDMARK_COUNT) * weights
    pose = np.linalg.qr((_pose_motion(faces.rotations) * weights).transpose(0, 2, 1))[0]
    motion = motion - (motion @ pose) @ pose.transpose(0, 2, 1)
    hessian = motion @ motion.transpose(0, 2, 1) + np.eye(AU_COUNT) / trust.prior**2
    gradient = np.einsum("naf,nf->na", motion, target)
    shares = np.zeros((count, AU_COUNT))
    for _ in range(_SWEEPS):
        for au in range(AU_COUNT):
            rest = gradient[:, au] - np.einsum("na,na->n", hessian[:, au], shares)
            shares[:, au] = np.clip(shares[:, au] + rest / hessian[:, au, au], 0, 1)
    return (MAX_INTENSITY * shares).astype(np.float32)


def _pose_motion(rotations: _Array) -> _Array:
    """Return ``(N, 6, 136)``: the landmark motion of small rotations, scale and shifts."""
    third = np.cross(rotations[:, 0], rotations[:, 1])
    head = np.concatenate([rotations, third[:, None]], axis=1)
    x, y, z = np.einsum("pc,nrc->rnp", motion_table().neutral, head)
    zero, one = np.zeros_like(x), np.ones_like(x)
    columns = [(zero, -z), (z, zero), (-y, x), (x, y), (one, zero), (zero, one)]
    moved = np.stack([np.stack(column, axis=-1) for column in columns], axis=1)
    return moved.reshape(len(rotations), 6, 2 * LANDMARK_COUNT)


class LandmarkEstimator:
    """Measure AUs by where 68 landmarks lie.

    Args:
        neutral: ``(68, 2)`` landmarks, pixels, of the person at rest, for instance at the onset of
            the clip. Without, every face is held against the mean of neutral faces, and what is
            peculiar to a person counts as expression.

    Raises:
        ValueError: `neutral` is not 68 finite points that span a plane.
    """

    name: ClassVar[str] = "landmarks"
    aus: ClassVar[tuple[int, ...]] = tuple(
        number for number in AU_NUMBERS if number not in UNSEEN_AUS
    )
    scale: ClassVar[Scale] = "uncalibrated"
    needs_landmarks: ClassVar[bool] = True

    def __init__(self, neutral: ArrayLike | None = None) -> None:
        self._rest = None
        if neutral is not None:
            self._rest = upright(as_landmarks(neutral)[None]).residuals[0]

    @property
    def version(self) -> str:
        """See `AUEstimator.version`."""
        table = motion_table()
        model = (table.neutral, table.motion, neutral_offset())
        numbers = b"".join((one * 1e5).round().astype("<i8").tobytes() for one in model)
        settings = f"{self._against} {_ANYBODY} {_OWN_REST}"
        digest = hashlib.sha256(numbers + settings.encode()).hexdigest()
        return f"landmark motion {self._against}, {digest[:12]}"

    @property
    def _against(self) -> str:
        return "against the mean face" if self._rest is None else "against the person's rest"

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        """See `AUEstimator.estimate`; the images are not looked at."""
        frames = require_images(images)
        points = require_landmarks(landmarks, len(frames), self.name)
        faces, valid = _faces(points)
        if self._rest is None:
            return _as_estimates(_invert_motion(faces, neutral_offset(), _ANYBODY), valid)
        return _as_estimates(_invert_motion(faces, self._rest, _OWN_REST), valid)


class PersonCalibratedLandmarkEstimator(LandmarkEstimator):
    """Measure AUs in videos of one person, relative to the person's face at rest.

    Rest is the median landmark of those frames, a tenth of the video, in which the single-frame
    estimate sees least. A video without rest is measured too low. The scale is that of the motion
    table: AU12 of three real smiles peaks at 1.2 to 1.9 times OpenFace's. Single images are
    measured as by `LandmarkEstimator`.
    """

    @property
    def _against(self) -> str:
        return "against the person's rest"

    def estimate_video(
        self,
        frames: Iterable[Frame],
        landmarker: Landmarker | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Estimates:
        """See `miex.au_sources.estimators.base.estimate_video`.

        Memory holds one batch of frames and the landmarks of all.
        """
        if landmarker is None:
            raise ValueError(landmarks_are_needed(self.name))
        found = [np.zeros((0, LANDMARK_COUNT, 2), np.float32)]
        for batch in batches(frames, batch_size):
            found.append(find_landmarks(require_images(batch), landmarker))
        faces, valid = _faces(np.concatenate(found).astype(np.float64))
        if not valid.any():
            return _as_estimates(np.zeros((0, AU_COUNT), np.float32), valid)
        expression = _invert_motion(faces, neutral_offset(), _ANYBODY).sum(axis=1)
        calmest = np.argsort(expression, kind="stable")[
            : max(1, round(_REST_SHARE * len(expression)))
        ]
        rest = np.median(faces.residuals[calmest], axis=0)
        return _as_estimates(_invert_motion(faces, rest, _OWN_REST), valid)


def _faces(points: _Array) -> tuple[UprightFaces, NDArray[np.bool_]]:
    """Return the faces among landmarks ``(N, 68, 2)``, and a mask ``(N,)``."""
    valid = face_sized(points)
    faces = upright(points[valid])
    misfit = np.sqrt((faces.residuals**2).sum(axis=2).mean(axis=1))
    fits = misfit <= _MAX_MISFIT
    valid[valid] = fits
    return UprightFaces(faces.residuals[fits], faces.rotations[fits]), valid


def _as_estimates(aus: AUArray, valid: NDArray[np.bool_]) -> Estimates:
    """Return rows for all images from those of the images with a face."""
    rows = np.full((len(valid), AU_COUNT), np.nan, np.float32)
    rows[valid] = aus
    rows[:, [AU_NUMBERS.index(number) for number in UNSEEN_AUS]] = np.nan
    return Estimates(rows, valid)


_FACTS = Facts(
    about="68 landmarks, nothing else; needs nothing, and is weak; calibrated, "
    "14 AUs, not 05 14 20",
    title="landmarks",
    written="landmarks",
)


@register_estimator(LandmarkEstimator.name, _FACTS)
def create_landmarks(options: EstimatorOptions) -> AUEstimator:
    """Create the estimator; it takes no model."""
    if options.model is not None:
        raise ValueError(
            f"landmarks:{options.model}: this estimator takes no model; write `landmarks` alone"
        )
    return (
        PersonCalibratedLandmarkEstimator() if options.person_calibration else LandmarkEstimator()
    )
