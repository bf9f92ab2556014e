"""Basis fields of a face: the motion of every pixel from the motion of single points."""

import ctypes

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT
from miex.au_sources.face_motion import (
    HeadPose,
    Points,
    landmark_motion,
    motion_table,
    skin_table,
)
from miex.datasets.kernels import address, kernels
from miex.generators._warp_geometry import (
    OUTLINE_MARGIN,
    FaceGeometry,
    outline_distance,
    pixel_centres,
    smoothstep,
)

NODES = 48
"""Nodes per side of a stored field; their spacing is a third of the distance of lid and brow."""

_STIFFNESS = 1e-3
"""Ridge of the thin plates: smooths them where landmarks of a turned face coincide."""

_QUERIES = 256
"""Number of positions at which the plates are evaluated together."""

_RING = 1.4
"""Radius of the ring around the face on which the motion is 0, relative to its outline."""

_CROWDED = 0.1
"""Distance to a landmark below which a skin point counts as equal, inter-ocular distances."""

_LOWER_LIDS = (40, 41, 46, 47)
_UPPER_LIDS = (37, 38, 43, 44)
_UPPER_LIP = (49, 50, 51, 52, 53, 61, 62, 63)
_LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)


def _kernel(points: Points, centres: Points) -> Points:
    """Return the thin-plate kernel ``r² log r²`` (Duchon 1977), ``(points, centres)``."""
    kernel = np.empty((len(points), len(centres)))
    _fill_kernel(kernel, np.empty((2, *kernel.shape)), points, centres)
    return kernel


def _fill_kernel(kernel: Points, scratch: Points, points: Points, centres: Points) -> None:
    """Write the thin-plate kernel into an array; `scratch` has room for two of its shape."""
    squared, other = scratch
    np.subtract(points[:, 0, None], centres[:, 0], out=squared)
    squared *= squared
    np.subtract(points[:, 1, None], centres[:, 1], out=other)
    other *= other
    squared += other
    squared += 1e-12
    np.multiply(squared, np.log(squared, out=other), out=kernel)


def _affine_part(points: Points) -> Points:
    return np.column_stack([np.ones(len(points)), points])


def _solve(matrix: Points, right: Points) -> Points:
    """Solve a linear system by Gaussian elimination with partial pivoting, on one thread.

    The last bits of a solution by LAPACK depend on the number of threads. kernels/plates.c does the
    same, with equal results.
    """
    count = len(matrix)
    rows = np.hstack([matrix, right])
    library = kernels()
    if library is not None:
        library.plates_solve(*map(ctypes.c_int, rows.shape), address(rows))
        return rows[:, count:]
    for step in range(count):
        pivot = step + int(np.argmax(np.abs(rows[step:, step])))
        rows[[step, pivot]] = rows[[pivot, step]]
        rows[step, step:] /= rows[step, step]
        rows[step + 1 :, step + 1 :] -= rows[step + 1 :, step, None] * rows[step, step + 1 :]
    solution = rows[:, count:]
    for step in range(count - 1, 0, -1):
        solution[:step] -= rows[:step, step, None] * solution[step]
    return solution


def _product(a: Points, b: Points) -> Points:
    """Return ``a @ b`` without BLAS, whose last bits depend on the number of threads."""
    library = kernels()
    if library is None:
        product: Points = np.einsum("ij,jk->ik", a, b)
        return product
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    product = np.empty((len(a), b.shape[1]))
    sides = map(ctypes.c_int, (*a.shape, b.shape[1]))
    library.plates_product(*sides, address(a), address(b), address(product))
    return product


def _plate_system(kernel: Points, centres: Points) -> Points:
    """Return the matrix of a thin plate through the centres: kernels, ridge and affine part."""
    count = len(centres)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel + _STIFFNESS * np.eye(count)
    system[:count, count:] = _affine_part(centres)
    system[count:, :count] = system[:count, count:].T
    return system


def plates(
    points: Points, values: Points, bands: list[NDArray[np.intp]], queries: Points
) -> list[Points]:
    """Evaluate thin plates through subsets of points that have most points in common.

    The system of the common points is solved once, and bordered by the few others.

    Args:
        points: ``(n, 2)``.
        values: ``(n, k)``.
        bands: Indices of the points of each subset.
        queries: ``(q, 2)`` positions at which the plates are evaluated.

    Returns:
        ``(q, k)`` for each subset.
    """
    taken = np.zeros((len(bands), len(points)), bool)
    for mask, band in zip(taken, bands, strict=True):
        mask[band] = True
    in_all = taken.all(axis=0)
    count = int(in_all.sum())
    order = np.argsort(~in_all, kind="stable")
    points, values, taken = points[order], values[order], taken[:, order]
    within = _kernel(points, points)
    border = np.vstack([within[:count, count:], _affine_part(points[count:]).T])
    right = np.vstack([values[:count], np.zeros((3, values.shape[1]))])
    weights = _solve(
        _plate_system(within[:count, :count], points[:count]), np.hstack([border, right])
    )
    extras = []
    for mask in taken:
        own = np.flatnonzero(mask[count:])
        index = count + own
        corner = within[np.ix_(index, index)] + _STIFFNESS * np.eye(len(index))
        across = _product(border[:, own].T, weights)
        extra = _solve(corner - across[:, own], values[index] - across[:, len(points) - count :])
        extras.append((own, extra))
    return _evaluate(points, count, weights, extras, queries)


def _evaluate(
    points: Points,
    count: int,
    weights: Points,
    extras: list[tuple[NDArray[np.intp], Points]],
    queries: Points,
) -> list[Points]:
    """Evaluate the plates of `plates`.

    Args:
        points: ``(n, 2)``, those that all plates have in common first.
        count: Number of common points.
        weights: ``(count + 3, n - count + k)``: solutions of the common system for the n - count
            other points, and for the values.
        extras: For each plate, which of the other points it has, and their weights.
        queries: ``(q, 2)``.
    """
    rest = len(points) - count
    wide = weights.shape[1]
    # The kernels of the other points stand between the kernels and the affine part: weight 0.
    padded = np.vstack([weights[:count], np.zeros((rest, wide)), weights[count:]])
    fields = [np.empty((len(queries), wide - rest)) for _ in extras]
    rows = np.empty((min(_QUERIES, len(queries)), len(padded)))
    scratch = np.empty((2, len(rows), len(points)))
    # In parts that stay in the cache of a core.
    for start in range(0, len(queries), _QUERIES):
        part = queries[start : start + _QUERIES]
        design = rows[: len(part)]
        _fill_kernel(design[:, : len(points)], scratch[:, : len(part)], part, points)
        design[:, len(points)] = 1.0
        design[:, len(points) + 1 :] = part
        common = _product(design, padded)
        reach = design[:, count : len(points)] - common[:, :rest]
        for field, (own, extra) in zip(fields, extras, strict=True):
            change = _product(reach[:, own], extra)
            np.add(common[:, rest:], change, out=field[start : start + len(part)])
    return fields


def place_skin(landmarks: Points, pose: HeadPose) -> Points:
    """Return the positions of the skin table's points in a face, ``(P, 2)`` pixels.

    They follow from the head pose; a thin plate through the 68 landmarks adds the shape of the
    face.
    """
    neutral = pose.project(motion_table().neutral) / pose.scale
    skin = pose.project(skin_table()[1].neutral) / pose.scale
    own = landmarks / pose.scale - neutral
    everywhere = np.arange(len(neutral))
    moved: Points = skin + plates(neutral, own, [everywhere], skin)[0]
    return moved * pose.scale


def face_outline(landmarks: Points, skin: Points) -> Points:
    """Return the polygon along the jaw and through the upper outline points of the skin table."""
    regions = np.array(skin_table()[0])
    arc = skin[regions == "outline"]
    middle = (landmarks[0] + landmarks[16]) / 2
    angle = np.arctan2(*(arc - middle).T[::-1]) - np.arctan2(*(landmarks[16] - middle)[::-1])
    # From ear to ear over the forehead the angle decreases from 0 to -180 degrees.
    return np.vstack([landmarks[:17], arc[np.argsort(np.mod(-angle, 2 * np.pi))]])


def _control_points(
    landmarks: Points, skin: Points, pose: HeadPose, outline: Points
) -> tuple[Points, Points]:
    """Return the control points of the field and their motion ``(n, 17, 2)``; the ring is fixed.

    Skin points at a landmark are left out: on the far side of a turned face the two have different
    depths, and their motions contradict each other.
    """
    regions = np.array(skin_table()[0])
    skin_motion = pose.project_motion(skin_table()[1].motion)
    skin_motion[:, regions == "outline"] = 0.0
    gaps = np.linalg.norm(skin[:, None] - landmarks[None], axis=-1).min(axis=1)
    apart = gaps > _CROWDED * pose.scale
    centre = outline.mean(axis=0)
    ring = centre + _RING * (outline[::2] - centre)
    points = np.vstack([landmarks, skin[apart], ring])
    motion = np.concatenate(
        [
            landmark_motion(landmarks, pose).astype(np.float64),
            skin_motion[:, apart],
            np.zeros((AU_COUNT, len(ring), 2)),
        ],
        axis=1,
    )
    return points, motion.transpose(1, 0, 2)


def _bands(count: int) -> list[NDArray[np.intp]]:
    """Return the control points of the bands: above the eyes, eyes to mouth, and jaw."""
    excluded = (
        _LOWER_LIDS + _LOWER_LIP,
        _UPPER_LIDS + _LOWER_LIP,
        _UPPER_LIDS + _UPPER_LIP,
    )
    return [np.setdiff1d(np.arange(count), leave) for leave in excluded]


def _band_weights(geometry: FaceGeometry, nodes: Points) -> Points:
    """Return the share of the three bands in the upper and lower layer, ``(2, 3, nodes)``."""
    descent = geometry.descent(nodes)
    below_eyes = smoothstep((descent - 0.2) / 0.25)
    above_mouth = smoothstep((descent - 0.55) / 0.25)
    layers = []
    for eyes, mouth in zip(
        geometry.split_eyes(nodes), geometry.mouth.split(nodes, geometry.unit), strict=True
    ):
        brow = (1.0 - below_eyes) * (1.0 - eyes)
        jaw = above_mouth * mouth
        layers.append([brow, 1.0 - brow - jaw, jaw])
    return np.array(layers)


def _coarse_window(distance: NDArray[np.float32]) -> Points:
    window = smoothstep(1.0 - distance.astype(np.float64) / OUTLINE_MARGIN)
    return np.asarray(cv2.resize(window, (NODES, NODES), interpolation=cv2.INTER_LINEAR))


def face_window(outline: Points, unit: float, size: int) -> NDArray[np.float32]:
    """Return a mask ``(NODES, NODES)``: 1 in the face, decreasing to 0 in `OUTLINE_MARGIN`.

    Args:
        outline: ``(n, 2)`` polygon, pixels.
        unit: Inter-ocular distance, in pixels.
        size: Side of the crop, pixels.
    """
    return _coarse_window(outline_distance(outline, size) / np.float32(unit)).astype(np.float32)


def basis_fields(
    landmarks: Points, skin: Points, pose: HeadPose, geometry: FaceGeometry, size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the motion of every node for each AU, in the layers above and below the apertures.

    Args:
        landmarks: ``(68, 2)`` pixels.
        skin: ``(P, 2)`` pixels, from `place_skin`.
        pose: Head pose of the landmarks.
        geometry: Outline and apertures.
        size: Side S of the crop, pixels.

    Returns:
        ``float32 (17, 2, 2, NODES, NODES)``: AU, layer, x and y, node; pixels at intensity 1.
        ``bool (S, S)``: mask of the pixels that may change.
    """
    distance = outline_distance(geometry.outline, size) / geometry.unit
    coarse = _coarse_window(distance)
    active = coarse > 0
    nodes = pixel_centres(size, NODES)[active]

    points, motion = _control_points(landmarks, skin, pose, geometry.outline)
    layers = plates(
        points / geometry.unit,
        motion.reshape(len(points), -1),
        _bands(len(points)),
        nodes / geometry.unit,
    )
    weights = _band_weights(geometry, nodes) * coarse[active]
    fields = np.zeros((2, len(nodes), 2 * AU_COUNT))
    for band, plate in enumerate(layers):
        fields += weights[:, band, :, None] * plate
    basis = np.zeros((2, NODES, NODES, 2 * AU_COUNT), np.float32)
    basis[:, active] = fields / 5.0
    shaped = basis.reshape(2, NODES, NODES, AU_COUNT, 2).transpose(3, 0, 4, 1, 2)
    return np.ascontiguousarray(shaped), distance < OUTLINE_MARGIN
