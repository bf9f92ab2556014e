"""Fits the scale of an estimator to that of another one on photographs of many people."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from miex.au_sources.calibrated_estimator import CalibrationFace, fit_calibration
from miex.au_sources.calibration import Calibration
from miex.au_sources.estimators.base import create_estimator
from miex.au_sources.face_motion import LANDMARK_COUNT
from miex.datasets.base import FaceSource, Rejection
from miex.datasets.faces.base import open_face_source
from miex.datasets.images import UnusablePhotograph, open_photograph
from miex.pipeline.aus.extraction import dlib_landmarker

_MAX_MEGAPIXELS = 100.0
"""Larger photographs are refused before they are decoded."""

_MAX_SIDE = 1024
"""Pixels that the long side is shrunk to: no estimator looks at a face more closely."""

OnFaces = Callable[[int, int], None]
"""Progress: (photographs done, photographs in all)."""


def calibrate(
    spec: str,
    reference: str,
    photographs: str,
    out: Path,
    *,
    device: str = "auto",
    download: bool = False,
    on_faces: OnFaces | None = None,
) -> tuple[Calibration, list[Rejection]]:
    """Measures photographs with two estimators, fits a monotone map for each AU and writes them.

    Args:
        spec: The estimator whose scale is to be mapped.
        reference: An estimator that measures intensity, ``openface-models:FOLDER``.
        photographs: A source of faces, as for `miex faces`; at least some hundred people.
        out: The calibration, ending in .json.
        device: Of both estimators.
        download: Whether they may download their weights.
        on_faces: Progress.

    Returns:
        The calibration, and the photographs that were not used with the reason.

    Raises:
        ValueError: Another ending, an estimator or source that does not exist, a reference that
            measures no intensity, or too few faces.
        FileNotFoundError: A model or the photographs are not there.
    """
    if out.suffix != ".json":
        raise ValueError(f"{out}: a calibration ends in .json")
    estimator, measure = (
        create_estimator(one, device=device, download=download) for one in (spec, reference)
    )
    source = open_face_source(photographs)
    total = len(source.photographs())
    rejections = list(source.skipped())
    calibration = fit_calibration(
        estimator,
        measure,
        _faces(source, rejections),
        f"{total} photographs of {source.name}",
        on_progress=lambda done: on_faces(done, total) if on_faces else None,
    )
    calibration.write(out)
    return calibration, rejections


def _faces(source: FaceSource, rejections: list[Rejection]) -> Iterator[CalibrationFace]:
    """The photographs with their landmarks; what cannot be used is appended to the rejections."""
    landmarker = dlib_landmarker()
    for photograph in source.photographs():
        try:
            image = open_photograph(photograph.path, _MAX_MEGAPIXELS, _MAX_SIDE).pixels
        except UnusablePhotograph as error:
            rejections.append(Rejection(photograph.origin, error.reason, error.detail))
            continue
        found = landmarker(image)
        if found is None:
            rejections.append(Rejection(photograph.origin, "no_face", "dlib found none"))
            found = np.full((LANDMARK_COUNT, 2), np.nan, dtype=np.float32)
        yield CalibrationFace(image, found, photograph.identity)
