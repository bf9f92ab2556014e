"""Rendered faces in the whole photograph, at its own resolution.

A generator renders a crop of 128 pixels, a photograph shows the same face in several hundred. So
the crop is not enlarged and pasted: the motion between the photograph's crop and the rendered
frame is measured as optical flow, enlarged, and applied to the photograph, which keeps its own
texture. What the flow does not explain (teeth, a shadow) is added as an enlarged difference. Both
fade out inside the crop, so that there is no seam, and pixels outside are not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import Photograph
from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.datasets.faces.base import open_face_source
from miex.datasets.files import sha256_file
from miex.datasets.images import read_frame
from miex.pipeline.faces.crop import cut
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.reports.motion_panel import measure_flow

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]

_FOREHEAD = 0.9
"""Height of the region above the brows, in distances from brows to nose tip."""

_GROWN = 0.06
"""Width by which the hull of the landmarks is grown, as a share of the crop's side."""

_FEATHER = 0.03
"""Deviation of the Gaussian that softens the edge, as a share of the crop's side."""

_RAMP = 0.08
"""Width at the border of the crop over which the mask rises from 0, as a share of its side."""


@dataclass(frozen=True, slots=True)
class FacePlace:
    """Where a face lies in its photograph.

    Attributes:
        photograph: ``uint8 (H, W, 3)`` RGB, upright, at its own size.
        transform: ``float64 (2, 3)``, from pixels of the photograph to pixels of the crop.
        landmarks: ``float32 (68, 2)`` pixels of the crop.
        size: Side of the crop, pixels.
    """

    photograph: Pixels
    transform: NDArray[np.float64]
    landmarks: NDArray[np.float32]
    size: int


def paste_back(frames: Pixels, place: FacePlace) -> Pixels:
    """Return the photograph with the expression of each rendered frame.

    Args:
        frames: ``uint8 (T, S, S, 3)`` RGB, rendered crops of this face.
        place: The photograph, and where the face lies in it.

    Returns:
        ``uint8 (T, H, W, 3)``. A frame that equals the photograph's crop gives the photograph
        itself; pixels outside the face always are those of the photograph.
    """
    base = cut(place.photograph, place.transform, place.size)
    mask = face_mask(place.landmarks, place.size)
    left, top, right, bottom = _bounds(place)
    window = place.photograph[top:bottom, left:right]
    matrix = place.transform.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top])
    shape = (right - left, bottom - top)
    weight = _enlarged(mask, matrix, shape)[..., None]
    pages = []
    for frame in frames:
        page = place.photograph.copy()
        if not np.array_equal(frame, base):
            changed = _changed(window, base, frame, mask, matrix)
            page[top:bottom, left:right] = np.where(weight > 0, changed, window)
        pages.append(page)
    return np.stack(pages)


def face_mask(landmarks: NDArray[np.float32], size: int) -> Plane:
    """Return the weight of the rendered face, 1 in its middle and 0 outside.

    Args:
        landmarks: ``(68, 2)`` pixels of the crop, iBUG 300-W order.
        size: Side of the crop, pixels.

    Returns:
        ``float32 (size, size)``, 0 to 1; 0 at the border of the crop.
    """
    brows, tip = landmarks[17:27], landmarks[30]
    up = (brows.mean(axis=0) - tip) * _FOREHEAD
    outline = np.concatenate([landmarks, brows + up])
    hull = cv2.convexHull(outline.astype(np.float32)).round().astype(np.int32)
    region = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(region, hull, 1.0)
    grown = round(_GROWN * size)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grown + 1, 2 * grown + 1))
    region = np.asarray(cv2.dilate(region, kernel), np.float32)
    soft = cv2.GaussianBlur(region, (0, 0), _FEATHER * size)
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) - 1
    ramp = np.clip(distance / (_RAMP * size), 0, 1)
    # A Gaussian has no end; the mask has to have one.
    mask = np.clip((soft - 0.02) / 0.96, 0, 1) * np.minimum.outer(ramp, ramp)
    return np.asarray(mask, np.float32)


def find_place(
    dataset: DatasetFolder, row: dict[str, Any], photographs: str | None, faces: Path | None
) -> FacePlace:
    """Find the photograph that a sample was rendered from, and where its face lies in it.

    Args:
        dataset: The dataset.
        row: The sample.
        photographs: Source of the photographs, as for `miex faces`; by default the one that the
            dataset was made from.
        faces: Face table; by default the one that the dataset was made from.

    Raises:
        FileNotFoundError: The photograph or the face table does not exist.
        ValueError: The photograph has changed, or the face table lacks the transform.
    """
    named = str(dataset.manifest["config"]["faces"])
    table = faces or (Path(named).expanduser() if named.endswith(".parquet") else None)
    table = table or dataset.folder / "faces.parquet"
    if photographs is None and named.endswith(".parquet"):
        raise ValueError(
            f"{dataset.folder} was made from a face table, which holds crops only; name the"
            " photographs with --photographs, as for `miex faces`"
        )
    opened = FaceTable.open(table)
    face = next(
        (
            each
            for each in opened.load(_rows_of(opened, row["identity"]))
            if (each.origin, each.sha256) == (row["template"], row["template_sha256"])
        ),
        None,
    )
    if face is None:
        raise ValueError(
            f"{table} has no face of {row['template']}; give the face table that"
            f" {row['sample_id']} was rendered from with --faces"
        )
    if face.transform is None:
        raise ValueError(
            f"{table} was written by an earlier version and does not say where the faces lie in"
            " their photographs; prepare them again with `miex faces`"
        )
    photograph = _photograph(photographs or named, row)
    return FacePlace(
        read_frame(photograph.path), face.transform, face.landmarks, int(face.crop.shape[0])
    )


def full_frames(dataset: DatasetFolder, row: dict[str, Any], place: FacePlace) -> Pixels:
    """Return all frames of a sample in the whole photograph, ``uint8 (T, H, W, 3)``.

    Raises:
        ValueError: A frame cannot be decoded, or frames and crop differ in size.
    """
    frames = decode_frames(row)
    if frames.shape[1] != place.size:
        raise ValueError(
            f"{dataset.folder}: frames of {frames.shape[1]} pixels, faces of {place.size} in the"
            " face table; give the face table of this dataset with --faces"
        )
    return paste_back(frames, place)


def _rows_of(table: FaceTable, identity: str) -> list[int]:
    return [number for number, name in enumerate(table.identities) if name == identity]


def _photograph(source: str, row: dict[str, Any]) -> Photograph:
    found: Sequence[Photograph] = open_face_source(source).photographs()
    wanted = next((each for each in found if each.origin == row["template"]), None)
    if wanted is None:
        raise FileNotFoundError(
            f"{source} holds no photograph {row['template']}; name the source that the faces were"
            " prepared from with --photographs"
        )
    if sha256_file(wanted.path) != row["template_sha256"]:
        raise ValueError(
            f"{wanted.path} is not the photograph that {row['sample_id']} was rendered from"
            " (another sha256); it was changed since"
        )
    return wanted


def _bounds(place: FacePlace) -> tuple[int, int, int, int]:
    """Return the part of the photograph that the crop covers: left, top, right, bottom."""
    edge = place.size - 0.5
    corners = np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]])
    points = (corners - place.transform[:, 2]) @ np.linalg.inv(place.transform[:, :2]).T
    height, width = place.photograph.shape[:2]
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int), 0, [width, height])
    right, bottom = np.clip(np.ceil(points.max(axis=0)).astype(int) + 1, 0, [width, height])
    return int(left), int(top), int(right), int(bottom)


def _changed(
    window: Pixels, base: Pixels, frame: Pixels, mask: Plane, matrix: NDArray[np.float64]
) -> Pixels:
    """Return the part of the photograph around the face with the expression of a frame."""
    height, width = window.shape[:2]
    back = measure_flow(frame, base) * mask[..., None]
    rows, columns = np.mgrid[: base.shape[0], : base.shape[1]].astype(np.float32)
    moved = cv2.remap(
        base, columns + back[..., 0], rows + back[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    rest = (frame.astype(np.float32) - moved.astype(np.float32)) * mask[..., None]
    # Flow in pixels of the photograph: lengths are divided by the scale, directions turned back.
    flow = back @ np.linalg.inv(matrix[:, :2]).T.astype(np.float32)
    flow = _enlarged(flow.astype(np.float32), matrix, (width, height))
    added = _enlarged(rest, matrix, (width, height))
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(
        window, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    return np.asarray(np.clip(np.rint(moved + added), 0, 255), np.uint8)


def _enlarged(values: Plane, matrix: NDArray[np.float64], size: tuple[int, int]) -> Plane:
    """Return values of the crop at the pixels of the photograph; 0 outside the crop."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(values, matrix, size, flags=flags), np.float32)
