"""Expressions that photographs show already, measured by their landmarks."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, AU_NUMBERS, AUArray
from miex.au_sources.calibrated_estimator import create_calibrated_estimator
from miex.au_sources.estimators.base import AUEstimator

_BLINK = AU_NUMBERS.index(45)

_NO_IMAGE = np.zeros((1, 1, 3), np.uint8)
"""The landmark estimator looks at no image."""


def expressions_of(landmarks: ArrayLike) -> AUArray:
    """Estimate the AUs of photographs from their landmarks, on the scale of FACS intensity.

    The estimator `landmarks` compares each face with the mean of neutral faces, with its shipped
    calibration. AU12 and AU25 correlate about .9 with OpenFace's regressors, the other AUs less.

    Args:
        landmarks: ``(N, 68, 2)`` pixels, iBUG 300-W order.

    Returns:
        ``float32 (N, 17)``, 0 to 5; NaN where not measured.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    return _estimator().estimate([_NO_IMAGE] * len(points), points).aus


def strongest(aus: AUArray) -> tuple[NDArray[np.float32], list[str]]:
    """Return the largest intensity ``(N,)`` of each face, and the AU that has it.

    AU45 does not count: closed eyes are no expression. A face that could not be measured has 0.
    """
    known = np.nan_to_num(aus).copy()
    known[:, _BLINK] = 0
    places = known.argmax(axis=1) if len(known) else np.zeros(0, np.int64)
    assert known.shape[1:] == (AU_COUNT,)
    return known.max(axis=1, initial=0.0), [AU_NAMES[place] for place in places.tolist()]


@cache
def _estimator() -> AUEstimator:
    return create_calibrated_estimator("landmarks")
