"""Preparation of a single photograph: detection, measurement, filtering and cropping."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.face_motion import HeadPose, fit_pose, motion_table
from miex.datasets.base import Face, FaceQuality, Photograph, Rejection
from miex.datasets.images import UnusablePhotograph, open_photograph
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.crop import (
    Points,
    crop_transform,
    cut,
    eye_centre_distance,
    mouth_opening,
    outside_share,
    transform_points,
)
from miex.pipeline.faces.detection import Box, FaceDetector
from miex.pipeline.faces.filters import REFERENCE_SIZE, judge, sharpness
from miex.pipeline.faces.rest import expressions_of, strongest

_RIGID = slice(17, 48)
"""Rows of the landmarks of brows, nose and eyes, which expressions and head turns move least."""


def prepare_face(
    photograph: Photograph, config: FaceConfig, detector: FaceDetector
) -> Face | Rejection:
    """Turn a photograph into a face, or reject it; see `prepare_photographs`."""
    return prepare_photographs([photograph], config, detector)[0]


def prepare_photographs(
    photographs: Sequence[Photograph], config: FaceConfig, detector: FaceDetector
) -> list[Face | Rejection]:
    """Turn photographs into faces, or reject them. No result depends on the other photographs.

    Args:
        photographs: Files, regions to search, identities and origins.
        config: Crop geometry and thresholds.
        detector: Face detector.

    Returns:
        For each photograph the face if it meets every threshold, otherwise a rejection with its
        reason.
    """
    found = [_candidate(photograph, config, detector) for photograph in photographs]
    candidates = [each for each in found if not isinstance(each, Rejection)]
    # Computed after the filters and together, since the embedding takes most of the time.
    embeddings = iter(detector.embed_all([chip for _, chip in candidates]))
    return [
        each if isinstance(each, Rejection) else replace(each[0], embedding=next(embeddings))
        for each in found
    ]


def _candidate(
    photograph: Photograph, config: FaceConfig, detector: FaceDetector
) -> tuple[Face, NDArray[np.uint8]] | Rejection:
    """Return a face without its embedding and the input of the embedding, or a rejection."""
    try:
        opened = open_photograph(photograph.path, config.max_megapixels, config.max_side)
    except UnusablePhotograph as error:
        return Rejection(photograph.origin, error.reason, error.detail)
    image, left, top = _region(opened.pixels, photograph.region, opened.scale)
    boxes = detector.find(image)
    if not boxes:
        return Rejection(photograph.origin, "no_face", "no detector found a face")
    widths = sorted((box[2] - box[0] for box in boxes), reverse=True)
    if len(widths) > 1 and widths[0] < config.dominance * widths[1]:
        return Rejection(
            photograph.origin,
            "several_faces",
            f"{len(widths)} faces, the widest {widths[0] / max(widths[1], 1e-9):.2f} times the "
            f"next, at least {config.dominance:g}",
        )
    box = _shift(max(boxes, key=lambda box: box[2] - box[0]), left, top)
    landmarks = detector.landmarks(opened.pixels, box)
    try:
        matrix = crop_transform(landmarks, config.size, config.eye_distance, config.eye_height)
        pose = fit_pose(landmarks)
    except ValueError as error:
        return Rejection(photograph.origin, "bad_landmarks", str(error))
    height, width = opened.pixels.shape[:2]
    crop = cut(opened.pixels, matrix, config.size)
    quality = FaceQuality(
        face_size=eye_centre_distance(landmarks) / opened.scale,
        sharpness=_sharpness(opened.pixels, landmarks, config, crop),
        yaw=pose.yaw,
        pitch=pose.pitch,
        roll=pose.roll,
        outside=outside_share(matrix, config.size, width, height),
        mouth_opening=mouth_opening(landmarks),
        misfit=_misfit(landmarks, pose),
    )
    others = [_shift(each, left, top) for each in boxes]
    others.remove(box)
    rejection = (
        judge(photograph.origin, quality, config)
        or _bystander(photograph.origin, others, matrix, config)
        or _expression(photograph.origin, landmarks, config)
    )
    if rejection is not None:
        return rejection
    face = Face(
        crop=crop,
        landmarks=transform_points(matrix, landmarks),
        identity=photograph.identity,
        origin=photograph.origin,
        sha256=opened.sha256,
        quality=quality,
        embedding=np.zeros(128, np.float32),
        transform=_from_full_size(matrix, opened.scale),
    )
    return face, detector.align(opened.pixels, landmarks)


def _from_full_size(matrix: Points, scale: float) -> Points:
    """Return the transform from the photograph at its own size, from that of the shrunk one.

    A shrunk pixel is the mean of a square of pixels, so that centres shift by half a pixel.
    """
    shift = (scale - 1) / 2
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ np.array([shift, shift])
    moved[:, :2] *= scale
    return moved


def _bystander(
    origin: str, others: list[Box], matrix: NDArray[np.float64], config: FaceConfig
) -> Rejection | None:
    """Return a rejection if the face of another person reaches into the crop.

    Args:
        origin: Origin of the photograph.
        others: Boxes of the other detected faces, pixels of the photograph.
        matrix: ``(2, 3)``, maps the photograph to the crop.
        config: Size of the crop and threshold.
    """
    for box in others:
        corners = np.array([(x, y) for x in box[::2] for y in box[1::2]], np.float32)
        inside = np.clip(transform_points(matrix, corners), 0, config.size)
        width, height = np.ptp(inside, axis=0) / config.size
        if width * height > config.max_bystander:
            return Rejection(
                origin,
                "bystander",
                f"another face covers {width * height:.1%} of the crop, at most "
                f"{config.max_bystander:.1%}",
            )
    return None


def _expression(
    origin: str, landmarks: NDArray[np.float32], config: FaceConfig
) -> Rejection | None:
    """Return a rejection if the photograph shows an expression above the limit."""
    if config.max_expression is None:
        return None
    intensities, names = strongest(expressions_of(landmarks[None]))
    if intensities[0] <= config.max_expression:
        return None
    detail = f"{names[0]} {intensities[0]:.1f} by landmarks, at most {config.max_expression:g}"
    return Rejection(origin, "not_at_rest", detail)


def _region(
    image: NDArray[np.uint8], region: tuple[int, int, int, int] | None, scale: float
) -> tuple[NDArray[np.uint8], int, int]:
    """Return the part of the downscaled image to search, and its left and upper edge in pixels."""
    if region is None:
        return image, 0, 0
    left, top, right, bottom = (max(0, round(edge * scale)) for edge in region)
    return image[top:bottom, left:right], left, top


def _shift(box: Box, x: int, y: int) -> Box:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def _sharpness(
    image: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    config: FaceConfig,
    crop: NDArray[np.uint8],
) -> float:
    """Measure `FaceQuality.sharpness` on a crop of `REFERENCE_SIZE`, if it is not that of a face.

    Args:
        image: The photograph.
        landmarks: ``(68, 2)`` pixels of the photograph.
        config: Crop geometry.
        crop: The crop of the face, of any size.
    """
    matrix = crop_transform(landmarks, REFERENCE_SIZE, config.eye_distance, config.eye_height)
    if config.size != REFERENCE_SIZE:
        crop = cut(image, matrix, REFERENCE_SIZE)
    return sharpness(crop, transform_points(matrix, landmarks))


def _misfit(landmarks: NDArray[np.float32], pose: HeadPose) -> float:
    """Measure `FaceQuality.misfit` on the landmarks of brows, nose and eyes."""
    expected = pose.project(motion_table().neutral)
    errors = np.linalg.norm((landmarks - expected)[_RIGID], axis=1)
    return float(np.sqrt((errors**2).mean())) / eye_centre_distance(landmarks)
