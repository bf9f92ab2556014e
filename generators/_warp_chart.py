"""One map of all faces: which place of a frontal neutral face each pixel of a crop shows.

The map ("chart") is a square around the neutral head of `miex.au_sources.face_motion`, so that a
furrow, a cheek or the tip of the nose lies at one place of it in every face. Thin plates through
landmarks and skin points lead from a crop to the chart and back.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.face_motion import (
    HeadPose,
    Points,
    as_landmarks,
    fit_pose,
    motion_table,
    skin_table,
)
from miex.generators._warp_field import face_outline, face_window, place_skin, plates
from miex.generators._warp_geometry import pixel_centres

CHART_SIDE = 64
"""Cells a side of what is stored on the chart; one is 3 % of the distance of the eyes wide."""

PLACES = 24
"""Places on the chart are stored on this many nodes a side of a crop: they vary slowly."""

_CENTRE = (0.0, 0.42)
_HALF = 1.35
"""Middle and half side of the chart, inter-ocular distances from between the eyes: forehead to
chin and ear to ear, with a margin."""

_INNER_LIPS = slice(60, 68)
"""Left out: an open mouth has no place on a face whose mouth is closed."""


@cache
def _anchors() -> Points:
    """Landmarks and skin points on the chart, ``(P, 2)``, -1 to 1."""
    landmarks = np.delete(motion_table().neutral, _INNER_LIPS, axis=0)
    points = np.vstack([landmarks, skin_table()[1].neutral])[:, :2]
    anchors: Points = (points - np.array(_CENTRE)) / _HALF
    return anchors


def _own_points(landmarks: Points, skin: Points) -> Points:
    """The same points in a crop, ``(P, 2)`` pixels."""
    return np.vstack([np.delete(landmarks, _INNER_LIPS, axis=0), skin])


def chart_of(
    landmarks: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the place on the chart of every part of a crop, and where its face is.

    Args:
        landmarks: ``(68, 2)`` pixels.
        size: Side S of the crop, pixels.

    Returns:
        ``float32 (2, PLACES, PLACES)``: x and y, -1 to 1 from border to border of the chart.
        ``float32 (1, NODES, NODES)``: 1 in the face, falling to 0 within `OUTLINE_MARGIN`.

    Raises:
        ValueError: Not 68 finite points that span a plane.
    """
    points = as_landmarks(landmarks)
    pose = fit_pose(points)
    skin = place_skin(points, pose)
    own = _own_points(points, skin) / pose.scale
    nodes = pixel_centres(size, PLACES).reshape(-1, 2) / pose.scale
    found = plates(own, _anchors(), [np.arange(len(own))], nodes)[0]
    places = np.ascontiguousarray(found.T.reshape(2, PLACES, PLACES), dtype=np.float32)
    return places, face_window(face_outline(points, skin), pose.scale, size)[None]


@cache
def _unrolling() -> Points:
    """Matrix ``(CHART_SIDE², P)`` from the points of a crop to where each cell lies in it."""
    anchors = _anchors()
    line = (np.arange(CHART_SIDE) + 0.5) * (2 / CHART_SIDE) - 1
    cells = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    matrix: Points = plates(anchors, np.eye(len(anchors)), [np.arange(len(anchors))], cells)[0]
    return matrix


def crop_positions(landmarks: Points, pose: HeadPose) -> NDArray[np.float32]:
    """Return where each cell of the chart lies in a crop.

    Args:
        landmarks: ``(68, 2)`` pixels.
        pose: Head pose of the landmarks.

    Returns:
        ``float32 (CHART_SIDE, CHART_SIDE, 2)`` x and y, pixels.
    """
    own = _own_points(landmarks, place_skin(landmarks, pose))
    found = np.einsum("cp,pk->ck", _unrolling(), own)
    return np.asarray(found.reshape(CHART_SIDE, CHART_SIDE, 2), np.float32)


def aperture_outlines() -> tuple[Points, ...]:
    """Return eyes and lips on the chart, each ``(n, 2)`` x and y in cells."""
    neutral = (motion_table().neutral[:, :2] - np.array(_CENTRE)) / _HALF
    cells = (neutral + 1) * (CHART_SIDE / 2) - 0.5
    return cells[36:42], cells[42:48], cells[48:60]
