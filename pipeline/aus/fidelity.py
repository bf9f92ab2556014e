"""Did the face do what was asked? AUs are estimated again in what a generator rendered.

The change asked for (apex less onset) is held against the change that an estimator sees between
the two rendered frames. Whoever labelled the generator's training data must not be that estimator:
a generator learns its labeller's errors, and would be praised for them.
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

LANDMARK_SIDE = 512
"""Pixels to which frames are enlarged for dlib's landmarks: it rounds them to whole pixels, and a
micro-expression moves one or two of a crop of 128."""

FEWEST_AUS = 3
"""Of one sample for a correlation across AUs: two points always lie on a line."""


class AUReader:
    """Estimates the AUs of frames that were rendered from one face.

    All frames of a face are looked at in the same way: the face is searched in the photograph
    only, so that no jitter of a detector passes for a change.

    Args:
        estimator: Measures.
        detector: Finds the face and its landmarks; used where the estimator needs landmarks.
    """

    def __init__(self, estimator: AUEstimator, detector: FaceDetector) -> None:
        self.estimator = estimator
        self._detector = detector

    @classmethod
    def create(cls, spec: str, calibration: str = "shipped") -> "AUReader":
        """Opens an estimator by its spec.

        Args:
            spec: `NAME` or `NAME:MODEL`.
            calibration: `shipped`, on the 0-5 scale where miex brings a map; or `none`.

        Raises:
            ValueError: No such estimator.
            FileNotFoundError: Its model is absent.
            ModuleNotFoundError: It needs a package that is not installed.
        """
        estimator = create_calibrated_estimator(spec, calibration)
        return cls(estimator, DlibDetector(FaceConfig()))

    @property
    def description(self) -> dict[str, object]:
        """Name, version, scale and AUs of the estimator, for manifests."""
        one = self.estimator
        return {
            "estimator": one.name,
            "version": one.version,
            "scale": one.scale,
            "aus": list(one.aus),
        }

    def read(self, face: Face, frames: Sequence[NDArray[np.uint8]]) -> Estimates:
        """Estimates the AUs of frames.

        Args:
            face: The template.
            frames: N frames ``uint8 (S, S, 3)`` RGB, rendered from it.

        Returns:
            N rows, 0 to 5; NaN where not measured.
        """
        if not self.estimator.needs_landmarks:
            return self.estimator.estimate(frames, np.stack([face.landmarks] * len(frames)))
        box = self._box(face)
        found = np.stack([self._landmarks(frame, box) for frame in frames])
        return self.estimator.estimate(frames, found)

    def change(
        self, face: Face, onset: NDArray[np.uint8], apex: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """``(17,)`` estimated AUs of the apex less those of the onset; NaN where not measured."""
        aus = self.read(face, [onset, apex]).aus
        return np.asarray(aus[1] - aus[0], np.float32)

    def _box(self, face: Face) -> Box:
        found = self._detector.find(face.crop)
        if found:
            return max(found, key=lambda box: box[2] - box[0])
        # The brows to the chin, about what the detector frames.
        (left, top), (right, bottom) = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def _landmarks(self, frame: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        factor = max(1, round(LANDMARK_SIDE / frame.shape[0]))
        side = factor * frame.shape[0]
        large = cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC)
        left, top, right, bottom = (factor * edge for edge in box)
        points = self._detector.landmarks(np.asarray(large, np.uint8), (left, top, right, bottom))
        # Centres of pixels have whole coordinates: pixel 0 of the frame spans 0 to factor - 1.
        return np.asarray((points - (factor - 1) / 2) / factor, np.float32)


def sample_fidelity(asked: ArrayLike, found: ArrayLike) -> float | None:
    """How far one sample does what was asked: Pearson's correlation across its AUs.

    Args:
        asked: ``(17,)`` change of the AUs from onset to apex that was asked for.
        found: ``(17,)`` change that was estimated; NaN where not measured.

    Returns:
        -1 to 1; None where fewer than three AUs were measured, or where either change is the same
        for all of them (nothing was asked of what is measured, or nothing moved).
    """
    wanted, seen = np.asarray(asked, np.float64), np.asarray(found, np.float64)
    known = np.isfinite(wanted) & np.isfinite(seen)
    if known.sum() < FEWEST_AUS:
        return None
    return correlation(wanted[known], seen[known])


def correlation(a: ArrayLike, b: ArrayLike) -> float | None:
    """Pearson's correlation of two equally long lists; None where one of them does not vary."""
    x, y = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if len(x) < 2:
        return None
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / spread, -1, 1)) if spread > 1e-12 else None
