"""Define AU estimators: images of faces in, the 17 AUs and a validity out.

A new estimator is one new file here that registers a factory; the file has the estimator's name
with underscores for hyphens:

    @register_estimator("openface-models", Facts("what it looks at", written="openface-models:DIR"))
    def create_openface_models(options: EstimatorOptions) -> AUEstimator: ...

Another installed package names such a factory in its entry points `miex.estimators`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_COUNT, AUArray, require_aus
from miex.au_sources.face_motion import LANDMARK_COUNT
from miex.datasets.registry import Registry, modules_in

Frame: TypeAlias = NDArray[np.uint8]
"""``uint8 (H, W, 3)`` RGB."""

Landmarker: TypeAlias = Callable[[Frame], NDArray[np.float32] | None]
"""Finds the 68 landmarks ``(68, 2)`` (x, y, pixels, iBUG 300-W order) of the face in a frame, or
None where there is no face."""

Scale: TypeAlias = Literal["intensity", "probability", "uncalibrated"]
"""What the numbers mean. All run from 0 to 5, but only `intensity` is FACS intensity as OpenFace
measures it: `probability` is 5 times the probability that the AU is there, and `uncalibrated` any
score that grows with the AU. `miex.au_sources.calibration` maps the last two onto intensity."""

_Item = TypeVar("_Item")

BATCH_SIZE = 16
"""Frames that a stream holds at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """AUs of N images or frames, one row each, also for those without a face.

    Attributes:
        aus: ``float32 (N, 17)``, 0 to 5; NaN where the estimator does not measure the AU, and
            in every column of a row that is not valid.
        valid: ``bool (N,)``, whether a face was found and its AUs can be used.
        confidence: ``float32 (N,)``, 0 to 1, of the face or its landmarks, NaN without a face;
            None if the estimator gives none.

    Raises:
        ValueError: Shapes that do not agree, or numbers outside their range.
    """

    aus: AUArray
    valid: NDArray[np.bool_]
    confidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        aus = require_aus(self.aus, "estimated AUs", allow_missing=True)
        valid = np.asarray(self.valid, dtype=bool)
        count = len(valid) if valid.ndim == 1 else -1
        confidence = valid.shape if self.confidence is None else self.confidence.shape
        if aus.shape != (count, AU_COUNT) or confidence != valid.shape:
            raise ValueError(
                f"estimates: AUs of shape {aus.shape}, valid {valid.shape} and confidence "
                f"{confidence}, expected (N, {AU_COUNT}), (N,) and (N,)"
            )
        if not np.isnan(aus[~valid]).all():
            raise ValueError("estimates: a row is marked as not valid but has AUs; expected NaN")
        object.__setattr__(self, "aus", aus)
        object.__setattr__(self, "valid", valid)

    def __len__(self) -> int:
        return len(self.valid)

    @classmethod
    def concatenate(cls, parts: Iterable[Self]) -> "Estimates":
        """Join batches in order; keep the confidence if every batch has one."""
        batches = [part for part in parts if len(part)]
        if not batches:
            return no_faces(0)
        confidences = [part.confidence for part in batches if part.confidence is not None]
        return Estimates(
            np.concatenate([part.aus for part in batches]),
            np.concatenate([part.valid for part in batches]),
            np.concatenate(confidences) if len(confidences) == len(batches) else None,
        )


def no_faces(count: int) -> Estimates:
    """Return rows of images without a face: not valid, every AU NaN."""
    return Estimates(np.full((count, AU_COUNT), np.nan, np.float32), np.zeros(count, bool))


class AUEstimator(Protocol):
    """Measure AUs in images.

    A row depends on its image (and landmarks) alone, not on the others of the batch.
    """

    @property
    def name(self) -> str:
        """Return the registered name."""
        ...

    @property
    def version(self) -> str:
        """Return library, model and hash: the provenance of a measurement."""
        ...

    @property
    def aus(self) -> tuple[int, ...]:
        """Return the FACS numbers of the AUs (of the 17) that it measures; the others are NaN."""
        ...

    @property
    def scale(self) -> Scale:
        """Return what the numbers mean."""
        ...

    @property
    def needs_landmarks(self) -> bool:
        """Return whether `estimate` needs landmarks; others find the face themselves."""
        ...

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        """Measure the AUs of one face per image.

        Args:
            images: N images, ``uint8 (H, W, 3)`` RGB, of any sizes.
            landmarks: ``(N, 68, 2)`` x and y in pixels of each image, iBUG 300-W order; rows of
                NaN for images without a face. Estimators that find the face themselves take
                from them at most which face is meant.

        Raises:
            ValueError: Images or landmarks of another kind, or landmarks are needed and absent.
        """
        ...


@runtime_checkable
class VideoEstimator(Protocol):
    """An estimator that measures a video better as a whole than frame by frame."""

    def estimate_video(
        self,
        frames: Iterable[Frame],
        landmarker: Landmarker | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Estimates:
        """Measure every frame of a video of one person; see `estimate_video`."""
        ...


def stream(
    estimator: AUEstimator,
    frames: Iterable[Frame],
    landmarker: Landmarker | None = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Estimates]:
    """Measure frames batch by batch; only one batch is in memory.

    Args:
        estimator: Measures.
        frames: RGB frames, read as they are needed.
        landmarker: Finds the landmarks of each frame for estimators that need them.
        batch_size: Frames a batch.

    Yields:
        The estimates of each batch, a row for every frame in its order.

    Raises:
        ValueError: The estimator needs landmarks and there is no landmarker.
    """
    if estimator.needs_landmarks and landmarker is None:
        raise ValueError(landmarks_are_needed(estimator.name))
    for batch in batches(frames, batch_size):
        given = find_landmarks(batch, landmarker) if landmarker else None
        yield estimator.estimate(batch, given)


def estimate_video(
    estimator: AUEstimator,
    frames: Iterable[Frame],
    landmarker: Landmarker | None = None,
    batch_size: int = BATCH_SIZE,
) -> Estimates:
    """Measure a video of one person with the estimator's best method.

    A `VideoEstimator` does it its own way, the others frame by frame. Memory holds one batch of
    frames and the AUs of all.

    Args:
        estimator: Measures.
        frames: RGB frames, read as they are needed.
        landmarker: Finds the landmarks of each frame for estimators that need them.
        batch_size: Frames a batch.

    Returns:
        A row for every frame in its order.
    """
    if isinstance(estimator, VideoEstimator):
        return estimator.estimate_video(frames, landmarker, batch_size)
    return Estimates.concatenate(stream(estimator, frames, landmarker, batch_size))


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield lists of `size` items, the last one shorter; only one is in memory."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def find_landmarks(images: Sequence[Frame], landmarker: Landmarker) -> NDArray[np.float32]:
    """Return ``float32 (N, 68, 2)`` landmarks of each image, NaN where there is no face."""
    found = np.full((len(images), LANDMARK_COUNT, 2), np.nan, np.float32)
    for row, image in enumerate(images):
        points = landmarker(image)
        if points is not None:
            found[row] = points
    return found


def landmarks_are_needed(name: str) -> str:
    """Return the message for landmarks that are absent."""
    return (
        f"{name} needs the {LANDMARK_COUNT} landmarks of each face; give `landmarks` with the "
        "images, or a `landmarker` with the frames of a video"
    )


def require_images(images: Sequence[Frame]) -> list[Frame]:
    """Check that images are ``uint8 (H, W, 3)``.

    Raises:
        ValueError: Another type or shape, with the number of the image.
    """
    for row, image in enumerate(images):
        shape, kind = np.shape(image), getattr(image, "dtype", type(image).__name__)
        if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(
                f"image {row} has shape {shape} and type {kind}, expected uint8 (H, W, 3) RGB"
            )
    return list(images)


def require_landmarks(landmarks: ArrayLike | None, count: int, name: str) -> NDArray[np.float64]:
    """Check the landmarks of a batch.

    Args:
        landmarks: ``(N, 68, 2)``; a row that is not finite is an image without a face.
        count: N.
        name: Of the estimator that needs them.

    Raises:
        ValueError: Absent, or of another shape.
    """
    if landmarks is None:
        raise ValueError(landmarks_are_needed(name))
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (count, LANDMARK_COUNT, 2):
        raise ValueError(
            f"landmarks have shape {points.shape}, expected {(count, LANDMARK_COUNT, 2)}: x and y "
            f"of the {LANDMARK_COUNT} points for each of {count} images"
        )
    return points


def face_sized(landmarks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which landmarks may be those of a face, ``(N,)`` of ``(N, 68, 2)``.

    No shape can be fitted to points that are not finite, that lie on one line along an axis, or
    that spread beyond any image: over 1 to 100,000 pixels in x and in y are taken.
    """
    finite = np.isfinite(landmarks).all(axis=(1, 2), keepdims=True)
    size = np.ptp(np.where(finite, landmarks, 0), axis=1)
    fitting: NDArray[np.bool_] = (size.min(axis=1) > 1) & (size.max(axis=1) < 1e5)
    return fitting


@dataclass(frozen=True, slots=True)
class EstimatorOptions:
    """What a factory is given.

    Attributes:
        model: What follows the colon of the spec: a file or folder, or None.
        device: auto, cpu, cuda, cuda:1, ...; of no concern to estimators without torch.
        download: Whether a library may download its weights.
        person_calibration: Measure videos relative to the person's face at rest, where the
            estimator can.
    """

    model: str | None = None
    device: str = "auto"
    download: bool = False
    person_calibration: bool = False


Factory = Callable[[EstimatorOptions], AUEstimator]

_READERS = ("openface",)
"""Files of this folder that read AUs which somebody else measured."""


def _modules() -> dict[str, str]:
    found = modules_in("miex.au_sources.estimators", Path(__file__).parent)
    return {
        file.replace("_", "-"): module for file, module in found.items() if file not in _READERS
    }


_ESTIMATORS = Registry[Factory]("AU estimator", _modules, "miex.estimators")

register_estimator = _ESTIMATORS.register
"""Registers a factory under the name of its file, with hyphens for underscores."""

estimator_names = _ESTIMATORS.names
"""Return the names of all estimators, whether or not their packages and models are there."""

estimator_places = _ESTIMATORS.places
"""Return the module or package of each estimator, see `Registry.places`."""

estimator_facts = _ESTIMATORS.facts
"""Return what is known about an estimator before it is created, see `Registry.facts`."""


def create_estimator(
    spec: str,
    *,
    device: str = "auto",
    download: bool = False,
    person_calibration: bool = False,
) -> AUEstimator:
    """Create the estimator that a spec names.

    Args:
        spec: `NAME` or `NAME:MODEL`, for instance ``openface-models:FOLDER``.
        device: auto, cpu, cuda, cuda:1, ...
        download: Whether a library may download its weights. Nothing is fetched otherwise.
        person_calibration: Measure videos relative to the person's face at rest, where the
            estimator can; not for clips that show no rest.

    Raises:
        ValueError: No such estimator.
        FileNotFoundError: It needs a model that is not there; the message says where such a file
            comes from.
        ModuleNotFoundError: It needs a package that is not installed; the message says which.
    """
    name, _, model = spec.partition(":")
    if name in _READERS:
        raise ValueError(
            f"{name!r} names a reader of what others measured, which sees no images; "
            "`miex extract-aus DATABASE -e openface:FOLDER` makes a pool of OpenFace's CSVs"
        )
    options = EstimatorOptions(model or None, device, download, person_calibration)
    return _ESTIMATORS.find(name)(options)
