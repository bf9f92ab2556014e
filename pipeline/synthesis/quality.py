"""Whether a rendered sample counts: does it move, and is it still the same person?"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import Face
from miex.pipeline.aus.fidelity import AUReader
from miex.pipeline.faces.crop import eye_centre_distance
from miex.pipeline.synthesis.config import QualityConfig

Embed = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""(image ``uint8 (S, S, 3)`` RGB, landmarks ``(68, 2)``) -> identity embedding ``(128,)``."""

_FAST_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured of one rendered sample.

    Attributes:
        motion: Pixels of the frame, see `motion_between`.
        motion_iod: The same in inter-ocular distances (eye centres).
        identity_similarity: Cosine between the embeddings of apex frame and template, -1 to 1;
            None where it was not measured.
        reason: Why the sample does not count, or None.
    """

    motion: float
    motion_iod: float
    identity_similarity: float | None
    reason: str | None


def open_reader(config: QualityConfig) -> AUReader | None:
    """What measures AU fidelity; None where no sample is to be measured.

    Raises:
        ValueError, FileNotFoundError, ModuleNotFoundError: The estimator cannot be opened.
    """
    if not config.fidelity_share or config.fidelity_estimator is None:
        return None
    return AUReader.create(config.fidelity_estimator)


def motion_between(onset: NDArray[np.uint8], apex: NDArray[np.uint8]) -> float:
    """How far the fastest part of the face moves.

    Dense inverse search flow (Kroeger et al., ECCV 2016; OpenCV's `medium` preset, within 15 %
    of a known motion of 0.25 to 3 px where `fast` loses up to 45 %) on the grey frames; the mean
    length over the fastest 5 % of the pixels, since an Action Unit moves only a small part of
    the face and a mean over all of it would say nothing.

    Args:
        onset: ``uint8 (S, S, 3)`` RGB.
        apex: The same shape.

    Returns:
        Pixels.
    """
    if np.array_equal(onset, apex):
        return 0.0
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex)]
    flow = method.calc(grey[0], grey[1], np.zeros((*onset.shape[:2], 2), np.float32))
    length = np.hypot(flow[..., 0], flow[..., 1]).ravel()
    fastest = max(1, int(length.size * _FAST_SHARE))
    return float(np.partition(length, -fastest)[-fastest:].mean(dtype=np.float64))


def assess(
    face: Face,
    frames: NDArray[np.uint8],
    apex_index: int,
    config: QualityConfig,
    embed: Embed | None,
) -> Verdict:
    """Measures a rendered sample and decides whether it counts.

    Args:
        face: The template.
        frames: ``uint8 (T, S, S, 3)`` RGB, the first one the onset.
        apex_index: Index of the apex frame.
        config: Thresholds.
        embed: Measures identity; None leaves it unmeasured.

    Returns:
        The measurements, with reason `no_motion`, `too_little_motion` or `identity_lost` where
        a threshold is missed.
    """
    motion = motion_between(frames[0], frames[apex_index])
    motion_iod = motion / eye_centre_distance(face.landmarks)
    similarity = None
    reason = None
    if np.array_equal(frames[0], frames[apex_index]):
        reason = "no_motion"
    elif motion_iod < config.min_motion_iod:
        reason = "too_little_motion"
    elif embed is not None:
        similarity = cosine(embed(frames[apex_index], face.landmarks), face.embedding)
        if similarity < config.min_identity_similarity:
            reason = "identity_lost"
    return Verdict(motion, motion_iod, similarity, reason)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Cosine of the angle between two vectors of any length."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    return float(a64 @ b64 / (np.linalg.norm(a64) * np.linalg.norm(b64)))
