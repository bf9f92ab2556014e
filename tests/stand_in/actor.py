"""A subject of the stand-in: a face mesh with the texture of a photograph."""

from dataclasses import dataclass

import cv2
import numpy as np
from face_fit import Fit, Pose
from face_model import FaceModel
from numpy.typing import NDArray
from rasterizer import Raster, rasterize
from scipy.interpolate import RBFInterpolator
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

SUPERSAMPLING = 2
"""Factor by which frames are rendered larger before they are averaged, against aliased edges."""

SHADING_REMOVED = 0.6
"""Exponent with which the shading of the photograph is divided out.

With an exponent of 1, hair, beards and noise would be amplified like shading.
"""

GRAZING = (0.1, 0.45)
"""Range of the cosine of the viewing angle in which the light of the mesh is blended out.

At its outline the mesh does not match the head in the photograph exactly, so that the light of the
surroundings is used there.
"""

STILL, FREE = 2.6, 1.5
"""Distances from the centre of the face, in eye distances.

Beyond the first, the background does not move. Within the second, it moves with the head (hair,
ears).
"""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Light:
    """A distant lamp and ambient light.

    Attributes:
        direction: Unit vector to the lamp; x to the right of the image, y up, z to the viewer.
        ambient: Share of the ambient light, 0 to 1.
    """

    direction: NDArray[np.float64]
    ambient: float

    def shading(self, normals: Floats) -> Floats:
        """Return the brightness ``(V,)`` by Lambert's law for unit normals ``(V, 3)``."""
        lamp = np.maximum(normals @ self.direction.astype(np.float32), 0)
        return np.asarray(self.ambient + (1 - self.ambient) * lamp, np.float32)


class Actor:
    """Renders one subject.

    Args:
        model: The face model.
        fit: Fit of the model to the photograph.
        photograph: ``uint8 (H, W, 3)`` RGB.
        landmarks: ``(68, 2)`` pixels of the photograph, from which the fit was made.

    Attributes:
        rest: Mesh of the face as in the photograph, ``(V, 3)``, in the axes of the model.
        eyes: Midpoint between the eyes, ``(3,)``.
    """

    def __init__(
        self,
        model: FaceModel,
        fit: Fit,
        photograph: NDArray[np.uint8],
        landmarks: NDArray[np.floating],
    ) -> None:
        self._model = model
        self._photograph = photograph.astype(np.float32)
        changes = np.tensordot(fit.identity, model.identity, axes=1)
        changes += np.tensordot(fit.resting, model.shapes, axes=1)
        self.rest = (model.neutral + changes).astype(np.float32)
        self.eyes = self.rest[model.landmarks[36:48]].mean(axis=0)
        corner = np.arange(model.triangles.size) // 3
        self._around = csr_matrix(
            (np.ones(len(corner), np.float32), (model.triangles.ravel(), corner)),
            shape=(len(self.rest), len(model.triangles)),
        )
        points, depth = fit.pose.project(self.rest)
        visible = self._visible(points, depth)
        self._coordinates = self._texture_coordinates(points, visible, landmarks)
        self._own_shading = self._estimate_shading(fit.pose, visible)
        opacity = model.opacity
        self._rim = np.flatnonzero((opacity > 0.05) & (opacity < 0.95) & visible)
        self._skin = np.flatnonzero((opacity > 0.95) & visible & (model.part == 0))

    def mesh(self, activation: NDArray[np.floating]) -> Floats:
        """Return the mesh ``(V, 3)`` with the 57 expression shapes at strengths of 0 to 1."""
        used = np.flatnonzero(activation)
        if not len(used):
            return self.rest
        motion = np.tensordot(activation[used], self._model.shapes[used], axes=1)
        return np.asarray(self.rest + motion, np.float32)

    def landmarks(self, activation: NDArray[np.floating], pose: Pose) -> NDArray[np.float64]:
        """Return the true landmarks ``(68, 2)`` in pixels of the frame."""
        return pose.project(self.mesh(activation)[self._model.landmarks])[0]

    def render(
        self,
        activation: NDArray[np.floating],
        pose: Pose,
        start: Pose,
        light: Light,
        size: int,
    ) -> Floats:
        """Render one frame without noise.

        Args:
            activation: Strengths of the expression shapes, ``(57,)``, 0 to 1.
            pose: Pose of the head.
            start: Pose of the head at the onset, which defines the motion of its surroundings.
            light: Light of the scene.
            size: Side of the frame, pixels.

        Returns:
            ``float32 (size, size, 3)`` RGB, 0 to 255.
        """
        fine = SUPERSAMPLING * size
        mesh = self.mesh(activation)
        points, depth = pose.project(mesh)
        raster = rasterize(_finer(points), depth.astype(np.float32), self._model.triangles, fine)
        normals = self._normals(mesh, pose)
        relit = self._relit(normals, pose, light)
        facing = np.clip((normals[:, 2] - GRAZING[0]) / (GRAZING[1] - GRAZING[0]), 0, 1)
        values = [self._coordinates, relit, self._model.opacity, facing]
        drawn = raster.image(raster.interpolate(np.column_stack(values).astype(np.float32)))
        alpha = drawn[..., 3:4] * _soft_coverage(raster)
        where = alpha * drawn[..., :2] + (1 - alpha) * self._surroundings(pose, start, fine)
        where = where.astype(np.float32)
        seen = cv2.remap(
            self._photograph,
            where[..., 0],
            where[..., 1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        sure = alpha * drawn[..., 4:]
        gain = sure * drawn[..., 2:3] + (1 - sure) * _spread(drawn[..., 2:3], sure)
        return np.asarray(cv2.resize(seen * gain, (size, size), interpolation=cv2.INTER_AREA))

    def _normals(self, mesh: Floats, pose: Pose) -> Floats:
        """Return the unit normals ``(V, 3)`` in the axes of the image, y up."""
        one, two, three = (mesh[self._model.triangles[:, corner]] for corner in range(3))
        normals = self._around @ np.cross(two - one, three - one)
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        turned = normals / np.maximum(lengths, 1e-9) @ pose.matrix.T
        return np.asarray(turned, np.float32)

    def _relit(self, normals: Floats, pose: Pose, light: Light) -> Floats:
        """Return the factors ``(V,)`` on the brightness of the photograph, about 1 on average."""
        average = light.shading(self._normals(self.rest, pose)[self._skin]).mean()
        wanted = light.shading(normals) / average
        return np.asarray(wanted / self._own_shading * self._model.brightness, np.float32)

    def _visible(
        self, points: NDArray[np.float64], depth: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return whether each vertex is visible in the photograph, ``(V,)``."""
        side = SUPERSAMPLING * max(self._photograph.shape[:2])
        fine = _finer(points)
        raster = rasterize(fine, depth.astype(np.float32), self._model.triangles, side)
        front = raster.image(raster.depth[:, None], fill=np.inf)[..., 0]
        x, y = np.clip(np.rint(fine).astype(int), 0, side - 1).T
        # Depths are in pixels; the tolerance of one pixel covers the slope within a pixel.
        return np.asarray(depth >= front[y, x] - 1.0)

    def _texture_coordinates(
        self,
        points: NDArray[np.float64],
        visible: NDArray[np.bool_],
        landmarks: NDArray[np.floating],
    ) -> Floats:
        """Return the texture coordinates of each vertex in the photograph, ``(V, 2)``.

        A thin-plate spline distributes the remaining error of the fit, so that the lips of the
        mesh get the texture of the lips in the photograph. Vertices that the photograph does not
        show (below the lids, in the mouth) get the colour of the nearest visible vertex of their
        part.
        """
        model = self._model
        inner = model.landmarks[17:]
        apart = landmarks[17:] - points[inner]
        spline = RBFInterpolator(points[inner], apart, smoothing=1.0)
        coordinates = points + spline(points) * model.opacity[:, None]
        for part in np.unique(model.part):
            seen = np.flatnonzero(visible & (model.part == part))
            hidden = np.flatnonzero(~visible & (model.part == part))
            if len(seen) and len(hidden):
                _, nearest = cKDTree(self.rest[seen]).query(self.rest[hidden])
                coordinates[hidden] = coordinates[seen[nearest]]
        return coordinates.astype(np.float32)

    def _estimate_shading(self, pose: Pose, visible: NDArray[np.bool_]) -> Floats:
        """Return the shading of the photograph that is divided out, ``(V,)``.

        Nine spherical harmonics of the normal (Ramamoorthi and Hanrahan 2001) are fitted to the
        brightness of the visible skin by ridge regression.
        """
        model = self._model
        x, y = self._coordinates.T
        grey = cv2.remap(self._photograph.mean(axis=2), x[:, None], y[:, None], cv2.INTER_LINEAR)[
            :, 0
        ]
        normals = self._normals(self.rest, pose)
        used = visible & (model.part == 0) & (model.opacity > 0.5)
        harmonics = _harmonics(normals)
        a = harmonics[used]
        ridge = 0.02 * used.sum() * np.diag([0.0, *[1.0] * 8])
        weights = np.linalg.solve(a.T @ a + ridge, a.T @ grey[used])
        shading = harmonics @ weights
        shading = np.clip(shading / shading[used].mean(), 0.5, 1.6)
        return np.asarray(shading**SHADING_REMOVED, np.float32)

    def _surroundings(self, pose: Pose, start: Pose, fine: int) -> Floats:
        """Return the position of each pixel outside the face in the photograph, (fine, fine, 2)."""
        rim, photograph = self.rest[self._rim], self._coordinates[self._rim].astype(np.float64)
        first, now = (_finer(p.project(rim)[0]).astype(np.float64) for p in (start, pose))
        back, drift = _affine(first, photograph), _affine(now, first)
        # The map is smooth, so that every fourth pixel is sufficient.
        line = (np.arange(fine // 4) + 0.5) * 4 - 0.5
        pixels = np.stack(np.meshgrid(line, line), axis=-1)
        eyes = self._model.landmarks[[36, 45]]
        left, right = _finer(start.project(self.rest[eyes])[0])
        # The distance of the outer eye corners is 1.4 times the distance of the eye centres.
        unit = float(np.hypot(*(right - left))) / 1.4
        radius = np.linalg.norm(pixels - first.mean(axis=0), axis=-1) / unit
        share = np.clip((STILL - radius) / (STILL - FREE), 0, 1)[..., None]
        moved = pixels @ drift[:, :2].T + drift[:, 2]
        onset = pixels + share * (moved - pixels)
        coarse = (onset @ back[:, :2].T + back[:, 2]).astype(np.float32)
        return np.asarray(cv2.resize(coarse, (fine, fine), interpolation=cv2.INTER_LINEAR))


def _finer(points: NDArray[np.floating]) -> Floats:
    """Convert pixels of the frame to pixels of the larger image."""
    return np.asarray(points * SUPERSAMPLING + (SUPERSAMPLING - 1) / 2, np.float32)


def _affine(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine map ``(2, 3)`` of least squares."""
    design = np.column_stack([source, np.ones(len(source))])
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0].T)


def _soft_coverage(raster: Raster) -> Floats:
    """Return ``(S, S, 1)`` values from 0 at the outline of the mesh to 1 a few pixels inside."""
    covered = raster.image(np.ones((len(raster.pixels), 1), np.float32))[..., 0]
    blurred = cv2.blur(covered, (7, 7), borderType=cv2.BORDER_REPLICATE)
    return np.clip(2 * blurred - 1, 0, 1)[..., None] * covered[..., None]


def _spread(gain: Floats, alpha: Floats) -> Floats:
    """Return the gain around the face, which fades from that of the nearest skin to 1."""
    side = gain.shape[0]
    stack = np.concatenate([(gain - 1) * alpha, alpha], axis=2)
    small = cv2.resize(stack, (56, 56), interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), 4.0, borderType=cv2.BORDER_CONSTANT)
    near = 1 + wide[..., :1] / (wide[..., 1:] + 0.05)
    return np.asarray(cv2.resize(near, (side, side), interpolation=cv2.INTER_LINEAR))[..., None]


def _harmonics(normals: Floats) -> NDArray[np.float64]:
    """Return the real spherical harmonics up to degree 2 without their constants, ``(V, 9)``."""
    x, y, z = normals.astype(np.float64).T
    rows = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1]
    return np.stack(rows, axis=1)
