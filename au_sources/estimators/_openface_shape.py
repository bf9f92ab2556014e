"""Fit OpenFace's point distribution model, 68 landmarks in 3-D, to landmarks in an image.

A face is ``scale * R[:2] @ (mean + modes @ q) + t`` (Baltrušaitis, Robinson and Morency:
Constrained Local Neural Fields, ICCV workshops 2013, equation 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.face_motion import LANDMARK_COUNT

Array = NDArray[np.float64]

_DAMPING = 0.75
"""Share of each Gauss-Newton step that is taken, as OpenFace does, so as not to overshoot."""

_STEPS = 40
_TOLERANCE = 1e-3
"""A fit ends when no landmark moves further than this many millimetres of the model."""


@dataclass(frozen=True, slots=True)
class ShapeFit:
    """The model fitted to N faces.

    Attributes:
        scale: ``(N,)`` pixels for a millimetre.
        rotation: ``(N, 3, 3)``.
        translation: ``(N, 2)`` pixels, where the model's origin lies in the image.
        modes: ``(N, M)`` amplitudes q of the M modes.
    """

    scale: Array
    rotation: Array
    translation: Array
    modes: Array

    def of(self, rows: NDArray[np.intp]) -> "ShapeFit":
        """Return the fit of some of the faces."""
        parts = (self.scale, self.rotation, self.translation, self.modes)
        return ShapeFit(*(part[rows] for part in parts))


@dataclass(frozen=True, slots=True)
class ShapeModel:
    """Mean face and its modes of variation.

    Attributes:
        mean: ``(3, 68)`` millimetres, x right, y down.
        modes: ``(3, 68, M)`` displacement for an amplitude of one.
        variances: ``(M,)`` of the amplitudes.
    """

    mean: Array
    modes: Array
    variances: Array

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a model from OpenFace's text file.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file holds something else.
        """
        mean, modes, variances = read_matrices(path, 3)
        count = modes.shape[1]
        shapes = (mean.shape, modes.shape, variances.shape)
        if shapes != ((3 * LANDMARK_COUNT, 1), (3 * LANDMARK_COUNT, count), (1, count)):
            raise ValueError(
                f"{path}: matrices of shape {shapes}, expected the mean (204, 1), the modes "
                "(204, M) and their variances (1, M) of a model of 68 landmarks"
            )
        return cls(
            mean.reshape(3, LANDMARK_COUNT), modes.reshape(3, LANDMARK_COUNT, count), variances[0]
        )

    def geometry(self, fit: ShapeFit) -> Array:
        """Return OpenFace's geometry features ``(N, 204 + M)``.

        Displacement of the 68 landmarks from the mean (all x, all y, all z), free of head pose,
        then the amplitudes.
        """
        displacement = fit.modes @ self.modes.reshape(-1, self.modes.shape[2]).T
        return np.hstack([displacement, fit.modes])

    def misfit(self, fit: ShapeFit, landmarks: Array) -> Array:
        """Return the root mean square distance ``(N,)`` of landmarks from the model, mm.

        Infinite for a fit that turned the face inside out.
        """
        scale = fit.scale[:, None, None]
        shape = self.mean + np.einsum("apm,nm->nap", self.modes, fit.modes)
        error = landmarks.transpose(0, 2, 1) - fit.translation[..., None]
        error = error - scale * (fit.rotation[:, :2] @ shape)
        squared = np.square(error).sum(axis=1).mean(axis=1)
        lengths = np.sqrt(squared) / np.maximum(np.abs(fit.scale), 1e-12)
        found: Array = np.where(fit.scale > 0, lengths, np.inf)
        return found

    def fit(self, landmarks: Array) -> ShapeFit:
        """Fit the model to landmarks.

        Minimises the squared distances in pixels plus ``sum(q**2 / variance)`` by damped
        Gauss-Newton steps, as OpenFace's `PDM::CalcParams`, all faces at once; each ends by itself.

        Args:
            landmarks: ``(N, 68, 2)`` x and y in pixels, finite, iBUG 300-W order.
        """
        state = self._start(landmarks)
        active = np.arange(len(landmarks))
        for _ in range(_STEPS):
            if not len(active):
                break
            part = state.of(active)
            step = self._step(part, landmarks[active])
            _assign(state, active, _apply(part, step))
            shift = np.abs(step[:, [1, 2, 3]]).max(axis=1) * np.abs(self.mean).max()
            shift += np.abs(np.einsum("apm,nm->nap", self.modes, step[:, 6:])).max(axis=(1, 2))
            shift += np.abs(step[:, [4, 5]]).max(axis=1) / part.scale
            active = active[shift > _TOLERANCE]
        return state

    def _start(self, landmarks: Array) -> ShapeFit:
        """Return a frontal mean face with the size and position of the landmarks."""
        count = len(landmarks)
        size = np.ptp(landmarks, axis=1)
        scale = (size / np.ptp(self.mean[:2], axis=1)).mean(axis=1)
        centre = (landmarks.max(axis=1) + landmarks.min(axis=1)) / 2
        rotation = np.tile(np.eye(3), (count, 1, 1))
        return ShapeFit(scale, rotation, centre, np.zeros((count, len(self.variances))))

    def _step(self, fit: ShapeFit, landmarks: Array) -> Array:
        """Return the Gauss-Newton step ``(N, 6 + M)``: scale, rotation, x, y, amplitudes."""
        count = len(landmarks)
        shape = self.mean + np.einsum("apm,nm->nap", self.modes, fit.modes)
        scale = fit.scale[:, None, None]
        view = fit.rotation[:, :2]
        seen = view @ shape
        residual = landmarks.transpose(0, 2, 1) - scale * seen - fit.translation[..., None]
        jacobian = np.zeros((count, 2, LANDMARK_COUNT, 6 + len(self.variances)))
        jacobian[..., 0] = seen
        # A small turn w in the head's axes moves a point X by w x X.
        x, y, z = (shape[:, None, axis] for axis in range(3))
        right, down, ahead = (view[..., axis, None] for axis in range(3))
        jacobian[..., 1] = scale * (y * ahead - z * down)
        jacobian[..., 2] = scale * (z * right - x * ahead)
        jacobian[..., 3] = scale * (x * down - y * right)
        jacobian[:, 0, :, 4] = 1
        jacobian[:, 1, :, 5] = 1
        modes = (view @ self.modes.reshape(3, -1)).reshape(count, 2, *self.modes.shape[1:])
        jacobian[..., 6:] = scale[..., None] * modes
        flat = jacobian.reshape(count, 2 * LANDMARK_COUNT, -1)
        gradient = np.einsum("npk,np->nk", flat, residual.reshape(count, -1))
        gradient[:, 6:] -= fit.modes / self.variances
        hessian = flat.transpose(0, 2, 1) @ flat
        prior = np.arange(6, hessian.shape[1])
        hessian[:, prior, prior] += 1 / self.variances
        return _DAMPING * np.linalg.solve(hessian, gradient[..., None])[..., 0]


def _assign(fit: ShapeFit, rows: NDArray[np.intp], part: ShapeFit) -> None:
    fit.scale[rows] = part.scale
    fit.rotation[rows] = part.rotation
    fit.translation[rows] = part.translation
    fit.modes[rows] = part.modes


def _apply(fit: ShapeFit, step: Array) -> ShapeFit:
    x, y, z = step[:, 1], step[:, 2], step[:, 3]
    one = np.ones_like(x)
    turn = np.stack([one, -z, y, z, one, -x, -y, x, one], axis=1).reshape(-1, 3, 3)
    # The nearest rotation, since 1 + [w] is one only in first order.
    left, _, right = np.linalg.svd(fit.rotation @ turn)
    return ShapeFit(
        fit.scale + step[:, 0],
        left @ right,
        fit.translation + step[:, 4:6],
        fit.modes + step[:, 6:],
    )


def read_matrices(path: Path, count: int) -> list[Array]:
    """Read matrices from OpenFace's text format: rows, columns, element type, then the numbers.

    Args:
        path: The file; lines that begin with ``#`` are comments.
        count: How many matrices it has to hold.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not that many matrices, or text that is no number.
    """
    words = _words(path)
    matrices = []
    try:
        for _ in range(count):
            rows, columns, _ = int(next(words)), int(next(words)), next(words)
            values = [float(next(words)) for _ in range(rows * columns)]
            matrices.append(np.array(values).reshape(rows, columns))
    except (StopIteration, ValueError) as error:
        raise ValueError(
            f"{path}: matrix {len(matrices) + 1} of {count} is cut off or no number ({error}); "
            "expected OpenFace's text format: rows, columns, type, then the numbers"
        ) from None
    return matrices


def _words(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.startswith("#"):
                yield from line.split()
