"""Calibration of the scale of one AU estimator to that of another on photographs."""

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
"""Larger photographs are rejected before they are decoded."""

_MAX_SIDE = 1024
"""Long side in pixels to which photographs are downscaled; no estimator needs more."""


def calibrate(
    spec: str,
    reference: str,
    photographs: str,
    out: Path,
    *,
    device: str = "auto",
    download: bool = False,
    on_faces: Callable[[int, int], None] | None = None,
) -> tuple[Calibration, list[Rejection]]:
    """Fit and write a monotone map per AU from the scale of one estimator to that of another.

    Both estimators measure the same photographs.

    Args:
        spec: The estimator whose scale is mapped, ``NAME`` or ``NAME:MODEL``.
        reference: An estimator that measures intensity, ``openface-models:FOLDER``.
        photographs: A source of faces, as for `miex faces`, with at least several hundred people.
        out: The calibration file to write, ending in .json.
        device: Device of both estimators.
        download: Whether the estimators may download their weights.
        on_faces: Progress callback: (photographs done, photographs in total).

    Returns:
        The calibration, and the photographs that were not used with their reasons.

    Raises:
        ValueError: `out` does not end in .json, an estimator or source does not exist, the
            reference does not measure intensity, or there are too few faces.
        FileNotFoundError: A model or the photographs are missing.
    """
    if out.suffix != ".json":
        raise ValueError(f"{out}: the name of a calibration file must end in .json")
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
    """Yield the photographs with their landmarks, and append unusable ones to the rejections."""
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
