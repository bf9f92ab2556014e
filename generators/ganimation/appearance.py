"""Effect of each AU on the brightness of a face, from labelled photographs by regression.

Every photograph is mapped onto the chart (`miex.generators._warp_chart`), on which a cheek has the
same place in all faces; the logarithm of its brightness, without low frequencies (light, skin), is
regressed on the AUs within people. The result is the mean expression ratio image of each AU (Liu,
Shan and Zhang, SIGGRAPH 2001), from which the guided network starts.
"""

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY
from miex.au_sources.face_motion import as_landmarks, fit_pose
from miex.generators._warp_chart import CHART_SIDE, aperture_outlines, crop_positions
from miex.generators.ganimation.training_set import TrainingFaces

Maps: TypeAlias = NDArray[np.float32]

_BLUR = 5.0
"""Standard deviation, in cells, of the Gaussian that separates light and skin from expressions."""

_RIDGE = 0.05
"""Ridge of the regression, as a share of the mean variance of an AU."""

_ATTENUATION = 1.5
"""Factor that compensates noise in the labels, which reduces regression coefficients by their
reliability; the correlation of two estimators is .3 to .9."""

_DARK = 16.0
"""Grey levels added before the logarithm, to reduce noise in dark regions."""


def _unrolled_brightness(
    image: NDArray[np.uint8], landmarks: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the logarithm of a face's brightness on the chart, without low frequencies.

    Args:
        image: ``uint8 (S, S, 3)`` RGB.
        landmarks: ``(68, 2)`` pixels.

    Returns:
        ``float32 (CHART_SIDE, CHART_SIDE)``.
    """
    points = as_landmarks(landmarks)
    positions = crop_positions(points, fit_pose(points))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    x, y = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
    unrolled = cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    brightness = np.log(unrolled + _DARK)
    return np.asarray(brightness - cv2.GaussianBlur(brightness, (0, 0), _BLUR), np.float32)


def shading_of_aus(faces: Sequence[TrainingFaces], trusted: NDArray[np.bool_]) -> Maps:
    """Return the change of brightness with each AU, by ridge regression within people.

    Only differences between photographs of one person are used: between people, the label of an AU
    is correlated with make-up, beards and low brows.

    Args:
        faces: Sets of photographs with AUs, several per person.
        trusted: bool ``(17,)``; the result is 0 for other AUs.

    Returns:
        ``float32 (17, CHART_SIDE, CHART_SIDE)``, natural logarithm at intensity 5; 0 in eyes and
        mouth, which the warp renders, and everywhere if no person has two photographs.
    """
    covariance = np.zeros((AU_COUNT, AU_COUNT))
    moments = np.zeros((AU_COUNT, CHART_SIDE * CHART_SIDE))
    for one in faces:
        known = np.where(one.valid & trusted, one.aus, 0.0) / MAX_INTENSITY
        names = np.array(one.identities)
        order = np.argsort(names, kind="stable")
        borders = np.flatnonzero(names[order][1:] != names[order][:-1]) + 1
        for rows in np.split(order, borders):
            if len(rows) < 2:
                continue
            aus = known[rows] - known[rows].mean(axis=0)
            brightness = np.stack(
                [_unrolled_brightness(one.images[row], one.landmarks[row]).ravel() for row in rows]
            )
            covariance += aus.T @ aus
            moments += aus.T @ (brightness - brightness.mean(axis=0))
    if not covariance.any():
        return np.zeros((AU_COUNT, CHART_SIDE, CHART_SIDE), np.float32)
    ridge = _RIDGE * np.trace(covariance) / AU_COUNT * np.eye(AU_COUNT)
    solved = _ATTENUATION * np.linalg.solve(covariance + ridge, moments)
    solved[~trusted] = 0
    # The 17 AUs do not distinguish left and right.
    maps = solved.reshape(AU_COUNT, CHART_SIDE, CHART_SIDE)
    return ((maps + maps[..., ::-1]) / 2 * _skin()).astype(np.float32)


def _skin() -> Maps:
    """Return a mask of the chart: 1 on the skin, 0 in eyes and mouth, with soft edges."""
    mask = np.ones((CHART_SIDE, CHART_SIDE), np.float32)
    for points in aperture_outlines():
        cv2.fillConvexPoly(mask, np.round(points).astype(np.int32), 0.0)
    eroded = cv2.erode(mask, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(eroded, (0, 0), 1.0), np.float32)
