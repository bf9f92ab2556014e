"""Acceptance of a rendered sample by its motion and by its identity similarity."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import Face
from miex.datasets.motion import mean_of_fastest
from miex.pipeline.aus.fidelity import AUReader
from miex.pipeline.faces.crop import eye_centre_distance
from miex.pipeline.synthesis.config import QualityConfig

Embed = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""Function (image ``uint8 (S, S, 3)`` RGB, landmarks ``(68, 2)``) -> embedding ``(128,)``."""

_CERTAIN = 2.5
"""A motion that the generator states is trusted from this multiple of the threshold on. Below, the
optical flow decides: it can be smaller, where little texture shows the motion. Of 700 samples of
`warp` in which a quarter moved too little, the flow rejected none that moved twice as far."""


@dataclass(frozen=True, slots=True)
class SampleQuality:
    """Quality measures of one rendered sample.

    Attributes:
        motion: Motion from onset to apex in pixels: that which the generator states, or, without
            it, that of `motion_between`.
        motion_iod: The same in inter-ocular distances, measured between the eye centres.
        identity_similarity: Cosine between the identity embeddings of apex and template, -1 to 1;
            None where it was not measured.
        reason: Reason code of the rejection, or None for an accepted sample.
    """

    motion: float
    motion_iod: float
    identity_similarity: float | None
    reason: str | None


def open_reader(config: QualityConfig) -> AUReader | None:
    """Open the estimator that measures AU fidelity.

    Returns:
        The reader, or None if the config requests no measurement.

    Raises:
        ValueError: The estimator does not exist.
        FileNotFoundError: Its model is missing.
        ModuleNotFoundError: A package that it needs is not installed.
    """
    if not config.fidelity_share or config.fidelity_estimator is None:
        return None
    return AUReader.create(config.fidelity_estimator)


def motion_between(onset: NDArray[np.uint8], apex: NDArray[np.uint8]) -> float:
    """Return the mean length of the optical flow over the fastest 5 % of the pixels.

    An AU moves only a small part of the face, so that a mean over all pixels would not detect it.
    The flow is dense inverse search (Kroeger et al., ECCV 2016) on grey frames. OpenCV's preset
    `medium` is used: for known motions of 0.25 to 3 pixels its error was at most 15 %, while
    `fast` underestimated them by up to 45 %.

    Args:
        onset: ``uint8 (S, S, 3)`` RGB.
        apex: ``uint8 (S, S, 3)`` RGB.

    Returns:
        Motion in pixels, at least 0.
    """
    if np.array_equal(onset, apex):
        return 0.0
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex)]
    flow = method.calc(grey[0], grey[1], np.zeros((*onset.shape[:2], 2), np.float32))
    return mean_of_fastest(np.hypot(flow[..., 0], flow[..., 1]))


def assess(
    face: Face,
    onset: NDArray[np.uint8],
    apex: NDArray[np.uint8],
    config: QualityConfig,
    embed: Embed | None,
    known: float | None = None,
) -> SampleQuality:
    """Measure a rendered sample and compare it with the thresholds.

    Args:
        face: The template.
        onset: ``uint8 (S, S, 3)`` RGB.
        apex: ``uint8 (S, S, 3)`` RGB.
        config: Thresholds.
        embed: Computes identity embeddings; with None the similarity is not measured.
        known: Motion from onset to apex in pixels, as the generator states it. Near the threshold
            the optical flow decides nevertheless.

    Returns:
        The measures. The reason is `no_motion`, `too_little_motion` or `identity_lost` if the
        sample misses a threshold, otherwise None.
    """
    unit = eye_centre_distance(face.landmarks)
    motion = motion_between(onset, apex) if known is None else known
    similarity = None
    reason = None
    if np.array_equal(onset, apex):
        reason = "no_motion"
    elif _moves_too_little(motion / unit, known is not None, onset, apex, unit, config):
        reason = "too_little_motion"
    elif embed is not None:
        similarity = cosine(embed(apex, face.landmarks), face.embedding)
        if similarity < config.min_identity_similarity:
            reason = "identity_lost"
    return SampleQuality(motion, motion / unit, similarity, reason)


def _moves_too_little(
    motion_iod: float,
    stated: bool,
    onset: NDArray[np.uint8],
    apex: NDArray[np.uint8],
    unit: float,
    config: QualityConfig,
) -> bool:
    if not stated or motion_iod >= _CERTAIN * config.min_motion_iod:
        return motion_iod < config.min_motion_iod
    return motion_between(onset, apex) / unit < config.min_motion_iod


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the cosine of the angle between two vectors ``(N,)``, -1 to 1."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    return float(a64 @ b64 / (np.linalg.norm(a64) * np.linalg.norm(b64)))
