"""Estimate AUs from the 52 blendshape scores of MediaPipe's face landmarker.

MediaPipe Blendshapes V2 (Grishchenko, Yan, Bazavan, Zanfir et al.: Blendshapes GHUM: Real-time
Monocular Facial Blendshape Prediction, 2023, arXiv:2309.05782) takes 478 landmarks, no texture. Its
scores have no defined scale; `miex.au_sources.calibration` maps them onto FACS intensity. AU06,
AU09, AU23 and AU25 are not measured.
"""

import hashlib
import importlib
import importlib.metadata
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS, BLENDSHAPES, from_blendshapes
from miex.au_sources.estimators.base import (
    AUEstimator,
    Estimates,
    EstimatorOptions,
    Frame,
    Scale,
    register_estimator,
    require_images,
    require_landmarks,
)
from miex.datasets.extras import how_to_install
from miex.datasets.given_files import read_given
from miex.datasets.registry import Facts

_MODEL = "face_landmarker.task"

_DEAD_AUS = (6, 9)
"""AUs whose blendshapes, cheekSquint and noseSneer, MediaPipe has but never moves.

Over 2,000 photographs of Labeled Faces in the Wild, 800 of them smiling, neither score exceeded
0.0001. That is no measurement of an absent AU.
"""

_MARGIN = 0.5
"""Border around the given landmarks, in sides of their bounding square. MediaPipe's detector wants
to see the whole head."""


class MediaPipeEstimator:
    """Measure AUs with MediaPipe.

    It finds the face by itself: in images with landmarks the face that they belong to, in others
    the one that its detector is surest of. Every image stands alone, nothing is tracked or
    smoothed.

    Args:
        model: The file `face_landmarker.task`.

    Raises:
        ModuleNotFoundError: mediapipe is not installed.
        FileNotFoundError: The model is absent.
        ValueError: The file is no such model.
    """

    name: ClassVar[str] = "mediapipe"
    aus: ClassVar[tuple[int, ...]] = tuple(
        number for number in BLENDSHAPES if number not in _DEAD_AUS
    )
    scale: ClassVar[Scale] = "uncalibrated"
    needs_landmarks: ClassVar[bool] = False

    def __init__(self, model: Path) -> None:
        try:
            installed = importlib.metadata.version("mediapipe")
        except importlib.metadata.PackageNotFoundError:
            raise ModuleNotFoundError(
                "the estimator `mediapipe` needs the package mediapipe; "
                + how_to_install("mediapipe")
            ) from None
        remedy = (
            f"give the file `{_MODEL}` with blendshapes, which Google offers for download on the "
            "page of MediaPipe's face landmarker "
            "(ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker)"
        )
        content = read_given(model, "model of MediaPipe", remedy)
        self._version = f"mediapipe {installed}, {hashlib.sha256(content).hexdigest()[:12]}"
        # MediaPipe closes itself in `__del__`, which fails with a traceback while the interpreter
        # exits, and earlier too unless its own exit handler ran first. The last one
        # registered runs first, so this one has to precede the import.
        opened: list[Any] = []
        weakref.finalize(self, _close, opened)
        self._mediapipe, self._landmarker = _open(model, content)
        opened.append(self._landmarker)

    @property
    def version(self) -> str:
        """See `AUEstimator.version`."""
        return self._version

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        """See `AUEstimator.estimate`."""
        scores = self.blendshapes(images, landmarks)
        valid = np.array([row is not None for row in scores], dtype=bool)
        aus = np.full((len(scores), AU_COUNT), np.nan, np.float32)
        for row, found in enumerate(scores):
            if found is not None:
                aus[row] = from_blendshapes(found)
        aus[:, [AU_NUMBERS.index(number) for number in _DEAD_AUS]] = np.nan
        return Estimates(aus, valid)

    def blendshapes(
        self, images: Sequence[Frame], landmarks: ArrayLike | None = None
    ) -> list[Mapping[str, float] | None]:
        """Return scores of the 52 blendshapes, 0 to 1, by their names; None without a face.

        Args:
            images: As for `estimate`.
            landmarks: As for `estimate`.
        """
        frames = require_images(images)
        if landmarks is not None:
            points = require_landmarks(landmarks, len(frames), self.name)
            frames = [_around(*pair) for pair in zip(frames, points, strict=True)]
        return [self._scores(frame) for frame in frames]

    def _scores(self, frame: Frame) -> Mapping[str, float] | None:
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame)
        )
        found = self._landmarker.detect(image).face_blendshapes
        return {one.category_name: one.score for one in found[0]} if found else None


def _open(model: Path, content: bytes) -> tuple[Any, Any]:
    """Return the library and its landmarker."""
    # Imported by name: type checking, and machines without the package, do not need it.
    mediapipe = importlib.import_module("mediapipe")
    python = importlib.import_module("mediapipe.tasks.python")
    options = python.vision.FaceLandmarkerOptions(
        base_options=python.BaseOptions(model_asset_buffer=content),
        output_face_blendshapes=True,
        num_faces=1,
    )
    try:
        return mediapipe, python.vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{model}: MediaPipe cannot read it as {_MODEL}: {reason}") from None


def _close(landmarkers: list[Any]) -> None:
    for landmarker in landmarkers:
        landmarker.close()


def _around(frame: Frame, points: NDArray[np.float64]) -> Frame:
    """Return the part of a frame around a face; all of it where no landmarks are known."""
    if not np.isfinite(points).all():
        return frame
    low, high = points.min(axis=0), points.max(axis=0)
    half = (high - low).max() * (0.5 + _MARGIN)
    centre = (low + high) / 2
    edges = np.array([frame.shape[1], frame.shape[0]])
    left, top = np.clip(np.floor(centre - half), 0, edges - 1).astype(int)
    right, bottom = np.clip(np.ceil(centre + half), 1, edges).astype(int)
    if right <= left or bottom <= top:
        return frame
    return frame[top:bottom, left:right]


_FACTS = Facts(
    about="52 blendshapes; needs `miex[mediapipe]` and `face_landmarker.task` (Apache-2.0); "
    "calibrated, 13 AUs, not 06 09 23 25",
    title="MediaPipe model",
    written="mediapipe:FILE",
    found_by=("face_landmarker*.task",),
)


@register_estimator(MediaPipeEstimator.name, _FACTS)
def create_mediapipe(options: EstimatorOptions) -> AUEstimator:
    """Create the estimator; the model is the file `face_landmarker.task`."""
    return MediaPipeEstimator(Path(options.model or _MODEL))
