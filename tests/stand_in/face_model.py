"""The 3-D face model from which the stand-in is rendered: ICT-FaceKit (Li et al. 2020; MIT).

The model consists of the narrow face (vertices 0 to 6705 in the README of ICT-VGL/ICT-FaceKit) and
the outer surface of both eyeballs. Its axes are x to the right of the image, y up and z towards the
viewer, in centimetres. The holes of the eye sockets and of the mouth are closed by a fan of
triangles each, so that an opened mouth shows its inside and not the background.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

NARROW_FACE = 6706
"""Number of vertices of the face without ears, throat and the top of the forehead."""

SCLERAS = (slice(9409, 10179), slice(10979, 11749))
"""Vertices of the outer surface of the left and of the right eyeball in the stored file.

The irises are below this surface; they are part of its texture.
"""

RIM = 1.6
"""Width in centimetres of the outer edge in which the face is blended into the photograph."""

MOUTH_DARKNESS = 0.25
"""Brightness of the inside of the mouth; it has neither teeth nor tongue."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FaceModel:
    """A mesh of V vertices with 100 identity modes and 57 expression shapes.

    Attributes:
        neutral: Mean face, ``(V, 3)``.
        identity: One standard deviation of each identity mode, ``(100, V, 3)``.
        shapes: Full motion of each expression shape, ``(57, V, 3)``.
        names: Names of the shapes; ``mouthSmile_L`` is on the left side of the person.
        triangles: Vertices of T triangles, ``(T, 3)``, counterclockwise as seen from outside.
        landmarks: Vertices of the landmarks in iBUG 300-W order, ``(68,)``.
        part: Part of each vertex, ``(V,)``: 0 skin, 1 and 2 the eyeballs.
        opacity: Opacity of each vertex, ``(V,)``, from 0 at the outer edge of the face to 1.
        brightness: Brightness of each vertex, ``(V,)``: 1, and less in the mouth.
    """

    neutral: Floats
    identity: Floats
    shapes: Floats
    names: tuple[str, ...]
    triangles: NDArray[np.int64]
    landmarks: NDArray[np.int64]
    part: NDArray[np.int8]
    opacity: Floats
    brightness: Floats

    @classmethod
    def load(cls, folder: Path) -> "FaceModel":
        """Read `ict_face_eyes_f16.npz` and `vertex_indices.json`.

        Args:
            folder: The folder ``shared/data/ict_facekit``.

        Raises:
            FileNotFoundError: The folder does not contain the model.
        """
        with np.load(folder / "ict_face_eyes_f16.npz", allow_pickle=False) as file:
            quads = file["quads"]
            stack = np.concatenate([file["neutral"][None], file["identity"], file["expression"]])
            names = tuple(str(name) for name in file["expr_names"])
            modes = len(file["identity"])
        marks = json.loads((folder / "vertex_indices.json").read_text(encoding="utf-8"))
        landmarks = np.array(marks["idx_to_landmark_verts"])
        # The fourth corner of a triangle is -1.
        triangles = np.concatenate([quads[:, :3], quads[quads[:, 3] >= 0][:, [0, 2, 3]]])
        part = np.full(stack.shape[1], -1, np.int8)
        part[:NARROW_FACE] = 0
        for number, vertices in enumerate(SCLERAS, start=1):
            part[vertices] = number
        triangles = triangles[(part[triangles] >= 0).all(axis=1)]
        kept = np.flatnonzero(part >= 0)
        place = np.full(len(part), -1)
        place[kept] = np.arange(len(kept))
        return _close(
            stack[:, kept].astype(np.float32), modes, names, place[triangles], landmarks, part[kept]
        )

    def shape(self, name: str) -> int:
        """Return the index of an expression shape.

        Raises:
            ValueError: No shape has this name.
        """
        return self.names.index(name)


def _close(
    stack: Floats,
    modes: int,
    names: tuple[str, ...],
    triangles: NDArray[np.int64],
    landmarks: NDArray[np.int64],
    part: NDArray[np.int8],
) -> FaceModel:
    """Close the inner holes of the skin, and compute the opacity at its outer edge."""
    edges = _boundary(triangles, part)
    loops = sorted(_loops(edges), key=len, reverse=True)
    outer, inner = loops[0], loops[1:]
    brightness = np.ones(len(part) + len(inner), np.float32)
    lips = stack[0][landmarks[60:68]].mean(axis=0)
    fans = [triangles]
    for number, loop in enumerate(inner):
        centre = len(part) + number
        rim = edges[np.isin(edges[:, 0], loop)]
        fans.append(np.column_stack([rim[:, ::-1], np.full(len(rim), centre)]))
        if np.abs(stack[0][loop].mean(axis=0) - lips)[:2].max() < 1:
            brightness[[*loop, centre]] = MOUTH_DARKNESS
    # The centre of a hole moves with the mean of its vertices in every mode and shape.
    centres = np.stack([stack[:, loop].mean(axis=1) for loop in inner], axis=1)
    closed = np.concatenate([stack, centres], axis=1)
    part = np.concatenate([part, np.zeros(len(inner), np.int8)])
    distance, _ = cKDTree(closed[0][outer]).query(closed[0])
    fade = np.clip(distance / RIM, 0, 1)
    opacity = np.where(part == 0, fade * fade * (3 - 2 * fade), 1).astype(np.float32)
    return FaceModel(
        neutral=closed[0],
        identity=closed[1 : 1 + modes],
        shapes=closed[1 + modes :],
        names=names,
        triangles=np.concatenate(fans),
        landmarks=landmarks,
        part=part,
        opacity=opacity,
        brightness=brightness,
    )


def _boundary(triangles: NDArray[np.int64], part: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the boundary edges of the skin, in the direction of their triangle."""
    skin = triangles[part[triangles[:, 0]] == 0]
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    _, first, count = np.unique(
        np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True
    )
    return edges[first[count == 1]]


def _loops(edges: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    vertices = np.unique(edges)
    place = np.searchsorted(vertices, edges)
    shape = (len(vertices), len(vertices))
    graph = coo_matrix((np.ones(len(edges)), (place[:, 0], place[:, 1])), shape=shape)
    count, label = connected_components(graph, directed=False)
    return [vertices[label == number] for number in range(count)]
