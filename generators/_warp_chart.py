"""Common map of all faces: the place on a frontal neutral face that each pixel of a crop shows.

The map ("chart") is a square around the neutral head of `miex.au_sources.face_motion`, so that a
furrow, a cheek or the tip of the nose has the same place on it in every face. Thin plate splines
through landmarks and skin points map a crop to the chart and back.
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
"""Cells per side of the chart; the width of one is 3 % of the inter-ocular distance."""

PLACES = 24
"""Nodes per side of a crop at which places on the chart are stored; they vary slowly."""

_CENTRE = (0.0, 0.42)
_HALF = 1.35
"""Centre and half side of the chart, in inter-ocular distances from the point between the eyes:
forehead to chin and ear to ear, with a margin."""

_INNER_LIPS = slice(60, 68)
"""Inner lip landmarks, which are left out: a closed mouth has no place for an open one."""


@cache
def _anchors() -> Points:
    """Return landmarks and skin points on the chart, ``(P, 2)``, -1 to 1."""
    landmarks = np.delete(motion_table().neutral, _INNER_LIPS, axis=0)
    points = np.vstack([landmarks, skin_table()[1].neutral])[:, :2]
    anchors: Points = (points - np.array(_CENTRE)) / _HALF
    return anchors


def _own_points(landmarks: Points, skin: Points) -> Points:
    """Return the same points in a crop, ``(P, 2)`` pixels."""
    return np.vstack([np.delete(landmarks, _INNER_LIPS, axis=0), skin])


def chart_of(
    landmarks: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the place on the chart of every part of a crop, and a mask of its face.

    Args:
        landmarks: ``(68, 2)`` pixels.
        size: Side S of the crop, pixels.

    Returns:
        ``float32 (2, PLACES, PLACES)``: x and y, -1 to 1 from border to border of the chart.
        ``float32 (1, NODES, NODES)``: 1 in the face, falling to 0 within `OUTLINE_MARGIN`.

    Raises:
        ValueError: The landmarks are not 68 finite points that span a plane.
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
    """Return the matrix ``(CHART_SIDE², P)`` from points of a crop to positions of cells."""
    anchors = _anchors()
    line = (np.arange(CHART_SIDE) + 0.5) * (2 / CHART_SIDE) - 1
    cells = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    matrix: Points = plates(anchors, np.eye(len(anchors)), [np.arange(len(anchors))], cells)[0]
    return matrix


def crop_positions(landmarks: Points, pose: HeadPose) -> NDArray[np.float32]:
    """Return the position of each cell of the chart in a crop.

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
