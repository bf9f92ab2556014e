"""Run OpenFace's own AU regressors from its model files, without OpenFace.

This is the method of the AU columns of OpenFace 2.2: the face is aligned to 112 x 112 pixels,
described by a histogram of oriented gradients (4464 features) and by the fitted shape model (238),
and measured by one linear regressor per AU (Baltrušaitis, Mahmoud and Robinson: Cross-dataset
learning and person-specific normalisation for automatic Action Unit detection, FG 2015). OpenFace's
landmark detector is not included: intensities agree with OpenFace's as far as the landmarks do.

OpenFace's models may be used for non-commercial research only.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS, MAX_INTENSITY
from miex.au_sources.estimators._openface_crop import SIDE, crop, read_outline, similarity
from miex.au_sources.estimators._openface_fhog import CELL, CHANNELS, fhog
from miex.au_sources.estimators._openface_median import HistogramMedian
from miex.au_sources.estimators._openface_regressors import Regressors
from miex.au_sources.estimators._openface_shape import Array, ShapeFit, ShapeModel
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
from miex.datasets.registry import Facts

_FOLDER = "AU_predictors"

_HOG_FEATURES = (SIDE // CELL - 2) ** 2 * CHANNELS

_MAX_MISFIT = 5.0
"""Millimetres between landmarks and shape model, root mean square, above which they are no face.

dlib's landmarks of 2,000 faces of Labeled Faces in the Wild stay below 1.7, random points lie
beyond 20.
"""

_CHUNK = 32
"""Faces described at a time; one takes about 2 MB while that lasts."""

_HOG_HISTOGRAM = (-0.005, 1.0, 1000)
_GEOMETRY_HISTOGRAM = (-60.0, 60.0, 10_000)
"""Lower edge, upper edge and bins of OpenFace's median of the two kinds of features."""


class OpenFaceModels:
    """Measure AU intensities with OpenFace's regressors for single images.

    A video is measured frame by frame, without looking at the person's other frames, which suits
    clips too short to show a face at rest (OpenFace's `-au_static`, what MiE-X uses).

    Args:
        folder: OpenFace's folder `AU_predictors`, or the one that holds it.

    Raises:
        FileNotFoundError: The folder or one of its files is absent.
        ValueError: A file holds something else.
    """

    name: ClassVar[str] = "openface-models"
    aus: ClassVar[tuple[int, ...]] = AU_NUMBERS
    scale: ClassVar[Scale] = "intensity"
    needs_landmarks: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        nested = folder / _FOLDER
        self._folder = nested if nested.is_dir() else folder
        self._regressors = Regressors.read(self._folder, "static")
        self._shape = ShapeModel.read(self._regressors.shape_model)
        self._outline = read_outline(self._regressors.triangulation)
        expected = _HOG_FEATURES + 3 * self._shape.mean.shape[1] + len(self._shape.variances)
        found = self._regressors.weights.shape[1]
        if found != expected:
            raise ValueError(
                f"{self._folder}: regressors of {found} features, expected {expected}, what the "
                f"shape model {self._regressors.shape_model.name} and the gradients give"
            )

    @property
    def version(self) -> str:
        """See `AUEstimator.version`."""
        return f"OpenFace static regressors {self._regressors.sha256[:12]}"

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        """See `AUEstimator.estimate`."""
        features, valid = self._features(images, landmarks)
        return _as_estimates(self._regressors.raw(features), valid)

    def _features(
        self, images: Sequence[Frame], landmarks: ArrayLike | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return features ``(V, 4702)`` of the V images with a face, and their mask ``(N,)``."""
        frames = require_images(images)
        points = require_landmarks(landmarks, len(frames), self.name)
        valid = face_sized(points)
        rows = np.flatnonzero(valid)
        features = [np.zeros((0, self._regressors.weights.shape[1]), np.float32)]
        for first in range(0, len(rows), _CHUNK):
            chunk = rows[first : first + _CHUNK]
            fit = self._shape.fit(points[chunk])
            fits = self._shape.misfit(fit, points[chunk]) <= _MAX_MISFIT
            valid[chunk] = fits
            if fits.any():
                chosen, fit = chunk[fits], fit.of(np.flatnonzero(fits))
                features.append(self._describe([frames[r] for r in chosen], points[chosen], fit))
        return np.concatenate(features), valid

    def _describe(
        self, frames: Sequence[Frame], points: Array, fit: ShapeFit
    ) -> NDArray[np.float32]:
        """Return gradient features, then geometry features, of images with a face."""
        crops = [
            crop(frame, face, similarity(face, self._shape.mean, centre), self._outline)
            for frame, face, centre in zip(frames, points, fit.translation, strict=True)
        ]
        hog = fhog(np.stack(crops)).reshape(len(crops), _HOG_FEATURES)
        return np.hstack([hog, self._shape.geometry(fit).astype(np.float32)])


class PersonCalibratedOpenFaceModels(OpenFaceModels):
    """Measure AU intensities in videos of one person, relative to the person's face at rest.

    OpenFace's way with videos (`FeatureExtraction`): the regressors of most AUs subtract the median
    features over the video; the level below which an AU stays as often as it was absent in the
    training videos becomes 0; three neighbouring frames are averaged. It needs a video that shows
    the face at rest for a good part. Single images are measured as by `OpenFaceModels`.

    Two deviations: the final median serves all frames (OpenFace judges those after the 3000th by
    the median up to them), and frames without a face are left out of the averages beside them
    (OpenFace counts them as 0).

    Args:
        folder: OpenFace's folder `AU_predictors`, or the one that holds it.

    Raises:
        FileNotFoundError: The folder or one of its files is absent.
        ValueError: A file holds something else.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._dynamic = Regressors.read(self._folder, "dynamic")

    @property
    def version(self) -> str:
        """See `AUEstimator.version`."""
        return f"OpenFace person-calibrated regressors {self._dynamic.sha256[:12]}"

    def estimate_video(
        self,
        frames: Iterable[Frame],
        landmarker: Landmarker | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Estimates:
        """See `miex.au_sources.estimators.base.estimate_video`.

        Memory holds one batch of frames and 17 numbers of every frame.
        """
        if landmarker is None:
            raise ValueError(landmarks_are_needed(self.name))
        features = self._dynamic.weights.shape[1]
        hog = HistogramMedian(_HOG_FEATURES, *_HOG_HISTOGRAM)
        geometry = HistogramMedian(features - _HOG_FEATURES, *_GEOMETRY_HISTOGRAM)
        raw, valid = [np.zeros((0, AU_COUNT))], [np.zeros(0, bool)]
        for batch in batches(frames, batch_size):
            described, found = self._features(batch, find_landmarks(batch, landmarker))
            hog.add(described[:, :_HOG_FEATURES])
            geometry.add(described[:, _HOG_FEATURES:])
            raw.append(self._dynamic.raw(described))
            valid.append(found)
        everywhere = np.concatenate(valid)
        if not everywhere.any():
            return _as_estimates(np.zeros((0, AU_COUNT)), everywhere)
        # OpenFace has no gradient energy below 0, though the first bin's middle lies there.
        median = np.concatenate([np.maximum(hog.median(), 0), geometry.median()])
        intensities = np.concatenate(raw) - self._dynamic.of_median(median)
        intensities -= self._dynamic.resting_level(intensities)
        estimates = _as_estimates(intensities, everywhere)
        return Estimates(_smooth(estimates.aus), everywhere)


def _as_estimates(intensities: Array, valid: NDArray[np.bool_]) -> Estimates:
    """Return rows of all images from rows ``(V, 17)`` of images with a face, limited to 0-5."""
    aus = np.full((len(valid), AU_COUNT), np.nan, np.float32)
    aus[valid] = np.clip(intensities, 0, MAX_INTENSITY)
    return Estimates(aus, valid)


def _smooth(aus: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of each frame and its two neighbours; ends and gaps are unchanged."""
    windows = np.stack([aus[:-2], aus[1:-1], aus[2:]]) if len(aus) > 2 else aus[None, :0]
    known = ~np.isnan(windows)
    means = np.where(known, windows, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    smooth = aus.copy()
    smooth[1 : len(means) + 1] = means
    smooth[np.isnan(aus)] = np.nan
    return smooth


_FACTS = Facts(
    about="gradients of the aligned face, and its shape; needs OpenFace 2.2's `AU_predictors` "
    "(non-commercial research); intensity, 17 AUs",
    title="OpenFace models",
    written="openface-models:FOLDER",
    found_by=("AU_predictors",),
)


@register_estimator(OpenFaceModels.name, _FACTS)
def create_openface_models(options: EstimatorOptions) -> AUEstimator:
    """Create the estimator; the model is the folder `AU_predictors`."""
    if options.model is None:
        raise ValueError(
            "openface-models needs OpenFace's model files: `openface-models:FOLDER`, where FOLDER "
            f"is `{_FOLDER}` of OpenFace 2.2 (lib/local/FaceAnalyser/{_FOLDER} in its repository, "
            "and part of its releases); they are for non-commercial research"
        )
    kind = PersonCalibratedOpenFaceModels if options.person_calibration else OpenFaceModels
    return kind(Path(options.model))
