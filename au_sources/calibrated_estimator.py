"""Map the AUs of estimators onto FACS intensity, and fit such maps to images."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_COUNT
from miex.au_sources.calibration import FOLDS, Calibration, shipped_calibration
from miex.au_sources.estimators.base import (
    BATCH_SIZE,
    AUEstimator,
    Estimates,
    Frame,
    Landmarker,
    Scale,
    batches,
    create_estimator,
    estimate_video,
)


class CalibratedEstimator:
    """Measure with another estimator and map its AUs onto FACS intensity.

    AUs without a map are not measured. How many estimates lay outside their map's valid range, and
    were mapped like its end, is counted in `outside`.

    Args:
        estimator: Measures.
        calibration: Fitted to this estimator and model.

    Raises:
        ValueError: The calibration was fitted to another estimator or model.
    """

    def __init__(self, estimator: AUEstimator, calibration: Calibration) -> None:
        if not _fits(calibration, estimator):
            raise ValueError(
                f"the calibration was fitted to {calibration.estimator} "
                f"({calibration.estimator_version}), not to {estimator.name} "
                f"({estimator.version}), whose scale may differ; fit one to this model with "
                "`fit_calibration`, or use the estimator without"
            )
        self.estimator = estimator
        self.calibration = calibration
        self.outside: NDArray[np.int64] = np.zeros(AU_COUNT, np.int64)

    @property
    def name(self) -> str:
        """See `AUEstimator.name`."""
        return self.estimator.name

    @property
    def version(self) -> str:
        """See `AUEstimator.version`."""
        return f"{self.estimator.version}, {self.calibration.identity}"

    @property
    def aus(self) -> tuple[int, ...]:
        """See `AUEstimator.aus`."""
        return tuple(number for number in self.estimator.aus if number in self.calibration.aus)

    @property
    def scale(self) -> Scale:
        """See `AUEstimator.scale`."""
        return "intensity"

    @property
    def needs_landmarks(self) -> bool:
        """See `AUEstimator.needs_landmarks`."""
        return self.estimator.needs_landmarks

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        """See `AUEstimator.estimate`."""
        return self._map(self.estimator.estimate(images, landmarks))

    def estimate_video(
        self,
        frames: Iterable[Frame],
        landmarker: Landmarker | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Estimates:
        """See `miex.au_sources.estimators.base.estimate_video`."""
        return self._map(estimate_video(self.estimator, frames, landmarker, batch_size))

    def _map(self, found: Estimates) -> Estimates:
        self.outside += self.calibration.outside(found.aus)
        return Estimates(self.calibration.apply(found.aus), found.valid, found.confidence)


def _fits(calibration: Calibration, estimator: AUEstimator) -> bool:
    """Return whether a calibration was fitted to an estimator with the same model.

    Versions end in the hash of the model; a newer library with the same model keeps its scale.
    """
    models = [
        version.rsplit(maxsplit=1)[-1:]
        for version in (calibration.estimator_version, estimator.version)
    ]
    return calibration.estimator == estimator.name and models[0] == models[1]


def create_calibrated_estimator(
    spec: str,
    calibration: str | Path = "shipped",
    *,
    drop_weak: bool = False,
    device: str = "auto",
    download: bool = False,
    person_calibration: bool = False,
) -> AUEstimator:
    """Create the estimator that a spec names, on the scale of FACS intensity where possible.

    Args:
        spec: As for `create_estimator`.
        calibration: A file that `Calibration.write` wrote; or `shipped`, the map that comes with
            miex if there is one for this model (the estimator's `scale` says what it came to); or
            `none`. Estimators that measure intensity already need none.
        drop_weak: Leave out AUs whose map is weak: they are not measured then.
        device: As for `create_estimator`.
        download: As for `create_estimator`.
        person_calibration: As for `create_estimator`; another kind of measurement, to which the
            shipped maps do not apply.

    Raises:
        ValueError: As `create_estimator`; or the calibration belongs to another estimator or
            model, or to one that measures intensity already.
        FileNotFoundError: As `create_estimator`; or the calibration is absent.
    """
    estimator = create_estimator(
        spec, device=device, download=download, person_calibration=person_calibration
    )
    if calibration == "none":
        return estimator
    if calibration == "shipped":
        shipped = None if estimator.scale == "intensity" else shipped_calibration(estimator.name)
        if shipped is None or not _fits(shipped, estimator):
            return estimator
        found = shipped
    elif estimator.scale == "intensity":
        raise ValueError(
            f"{spec} measures intensity already; leave out the calibration {calibration}"
        )
    else:
        found = Calibration.read(Path(calibration))
    return CalibratedEstimator(estimator, found.without_weak() if drop_weak else found)


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationFace:
    """A face for calibration.

    Attributes:
        image: ``uint8 (H, W, 3)`` RGB.
        landmarks: ``(68, 2)`` x and y in pixels of the image, NaN where none were found.
        identity: Whose face it is.
    """

    image: Frame
    landmarks: NDArray[np.float32]
    identity: Hashable


def fit_calibration(
    estimator: AUEstimator,
    reference: AUEstimator,
    faces: Iterable[CalibrationFace],
    data: str,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    on_progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Measure faces with two estimators and fit maps from one to the other.

    Args:
        estimator: Whose scale is to be mapped.
        reference: Measures intensity.
        faces: Read as they are needed; those in which one of the two finds no face are not used.
        data: What the faces are, for people.
        folds: Of the cross-validation, which never splits an identity.
        seed: Of the folds.
        batch_size: Images held at a time.
        on_progress: Called with the number of faces measured so far, after each batch.

    Raises:
        ValueError: The reference does not measure intensity, or there is too little to fit.
    """
    if reference.scale != "intensity":
        raise ValueError(
            f"{reference.name} measures {reference.scale}; the reference of a calibration has to "
            "measure intensity, as openface-models does"
        )
    pairs: list[tuple[Estimates, Estimates]] = []
    identities: list[str] = []
    for batch in batches(faces, batch_size):
        images = [face.image for face in batch]
        landmarks = np.stack([face.landmarks for face in batch])
        pairs.append((estimator.estimate(images, landmarks), reference.estimate(images, landmarks)))
        identities += [str(face.identity) for face in batch]
        if on_progress:
            on_progress(len(identities))
    measured = Estimates.concatenate(pair[0] for pair in pairs)
    wanted = Estimates.concatenate(pair[1] for pair in pairs)
    both = measured.valid & wanted.valid
    return Calibration.fit(
        measured.aus[both],
        wanted.aus[both],
        np.array(identities, dtype=object)[both],
        estimator=(estimator.name, estimator.version),
        reference_name=(reference.name, reference.version),
        data=data,
        folds=folds,
        seed=seed,
    )
