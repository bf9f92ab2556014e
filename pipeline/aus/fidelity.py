"""AU fidelity: agreement between the requested AUs and those estimated in rendered frames.

The requested change (apex minus onset) is compared with the change that an estimator measures
between the two rendered frames. The estimator must not be the one that labelled the training data
of the generator: the generator reproduces the errors of its labels and would get too high a score.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.calibrated_estimator import create_calibrated_estimator
from miex.au_sources.estimators.base import AUEstimator, Estimates
from miex.datasets.base import Face
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import Box, DlibDetector, FaceDetector

_LANDMARK_SIDE = 512
"""Side in pixels to which frames are enlarged before dlib finds the landmarks.

dlib rounds landmarks to whole pixels, and in a crop of 128 pixels a micro-expression moves them by
only one or two pixels.
"""

_FEWEST_AUS = 3
"""Smallest number of AUs for a correlation across AUs; with two it is always 1 or -1."""


class AUReader:
    """Estimates the AUs of frames that were rendered from one face.

    The face box is detected in the template only and used for all of its frames, so that jitter
    of the detector is not measured as motion.

    Args:
        estimator: The AU estimator.
        detector: Finds the face and its landmarks; used if the estimator needs landmarks.
    """

    def __init__(self, estimator: AUEstimator, detector: FaceDetector) -> None:
        self.estimator = estimator
        self._detector = detector

    @classmethod
    def create(cls, spec: str, calibration: str = "shipped") -> "AUReader":
        """Create a reader for an estimator.

        Args:
            spec: The estimator, `NAME` or `NAME:MODEL`.
            calibration: `shipped` maps onto the 0-5 scale where miex ships a calibration; `none`
                keeps the scale of the estimator.

        Raises:
            ValueError: The estimator does not exist.
            FileNotFoundError: Its model is missing.
            ModuleNotFoundError: A package that it needs is not installed.
        """
        estimator = create_calibrated_estimator(spec, calibration)
        return cls(estimator, DlibDetector(FaceConfig()))

    @property
    def description(self) -> dict[str, object]:
        """Name, version, scale and AUs of the estimator, as stored in manifests."""
        one = self.estimator
        return {
            "estimator": one.name,
            "version": one.version,
            "scale": one.scale,
            "aus": list(one.aus),
        }

    def read(self, face: Face, frames: Sequence[NDArray[np.uint8]]) -> Estimates:
        """Estimate the AUs of frames.

        Args:
            face: The template.
            frames: N frames ``uint8 (S, S, 3)`` RGB that were rendered from the template.

        Returns:
            Estimates with AUs ``float32 (N, 17)``, 0 to 5; NaN where not measured.
        """
        if not self.estimator.needs_landmarks:
            return self.estimator.estimate(frames, np.stack([face.landmarks] * len(frames)))
        box = self._box(face)
        found = np.stack([self._landmarks(frame, box) for frame in frames])
        return self.estimator.estimate(frames, found)

    def change(
        self, face: Face, onset: NDArray[np.uint8], apex: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Return the estimated AUs of the apex minus those of the onset.

        Args:
            face: The template.
            onset: Rendered onset, ``uint8 (S, S, 3)`` RGB.
            apex: Rendered apex, ``uint8 (S, S, 3)`` RGB.

        Returns:
            ``float32 (17,)``; NaN where not measured.
        """
        aus = self.read(face, [onset, apex]).aus
        return np.asarray(aus[1] - aus[0], np.float32)

    def _box(self, face: Face) -> Box:
        found = self._detector.find(face.crop)
        if found:
            return max(found, key=lambda box: box[2] - box[0])
        # From brows to chin, about the region that the detector's box covers.
        (left, top), (right, bottom) = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def _landmarks(self, frame: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        factor = max(1, round(_LANDMARK_SIDE / frame.shape[0]))
        side = factor * frame.shape[0]
        large = cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC)
        left, top, right, bottom = (factor * edge for edge in box)
        points = self._detector.landmarks(np.asarray(large, np.uint8), (left, top, right, bottom))
        # Pixel centres have integer coordinates: pixel 0 of the frame spans 0 to factor - 1.
        return np.asarray((points - (factor - 1) / 2) / factor, np.float32)


def sample_fidelity(requested: ArrayLike, estimated: ArrayLike) -> float | None:
    """Return the AU fidelity of one sample: Pearson's correlation across its AUs.

    Args:
        requested: ``(17,)`` requested change of the AUs from onset to apex.
        estimated: ``(17,)`` estimated change; NaN where not measured.

    Returns:
        A value from -1 to 1. None if fewer than three AUs were measured, or if one of the two
        changes is the same for all measured AUs: none of them was requested, or none moved.
    """
    wanted, seen = np.asarray(requested, np.float64), np.asarray(estimated, np.float64)
    known = np.isfinite(wanted) & np.isfinite(seen)
    if known.sum() < _FEWEST_AUS:
        return None
    return correlation(wanted[known], seen[known])


def correlation(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Pearson's correlation of two sequences of equal length.

    Returns:
        A value from -1 to 1, or None if a sequence is shorter than 2 or constant.
    """
    x, y = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if len(x) < 2:
        return None
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / spread, -1, 1)) if spread > 1e-12 else None
