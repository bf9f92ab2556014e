"""Fit of the face model to the 68 landmarks of a photograph."""

from dataclasses import dataclass

import numpy as np
from face_model import FaceModel
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

INNER_SIGMA, JAW_SIGMA = 0.02, 0.08
"""Expected error of inner landmarks and of jaw landmarks, in eye distances.

On a turned head, jaw landmarks follow the visible outline, while the vertices of the model do not;
their error is therefore larger.
"""

EXPRESSION_SIGMA = 0.15
"""Expected strength of each expression shape in a photograph that is labelled neutral."""

FITTED_SHAPES = (
    *("browDown", "browInnerUp", "browOuterUp", "eyeSquint", "eyeWide", "eyeBlink", "mouthSmile"),
    *("mouthFrown", "mouthPress", "mouthStretch", "mouthUpperUp", "mouthLowerDown", "jawOpen"),
    *("mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugUpper", "mouthShrugLower"),
)
"""Expression shapes (both sides) that are fitted to the neutral face of the photograph."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pose:
    """Scaled orthographic projection of the model.

    Attributes:
        scale: Pixels per centimetre.
        turn: Rotation vector in radians, in the axes of the model.
        shift: Position of the origin of the model, ``(2,)`` pixels.
    """

    scale: float
    turn: Floats
    shift: Floats

    @property
    def matrix(self) -> Floats:
        """Rotation matrix, ``(3, 3)``."""
        return np.asarray(Rotation.from_rotvec(self.turn).as_matrix())

    def project(self, points: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Return pixels ``(N, 2)`` with y down, and the depth ``(N,)`` towards the viewer."""
        turned = points @ self.matrix.T
        return self.scale * turned[:, :2] * [1, -1] + self.shift, self.scale * turned[:, 2]


@dataclass(frozen=True, slots=True)
class Fit:
    """Fit of the face model to a photograph.

    Attributes:
        pose: Pose of the head in the photograph.
        identity: Weights of the identity modes in standard deviations, ``(100,)``.
        resting: Strengths of the expression shapes in the photograph, ``(57,)``, 0 to 1.
        error: Root mean square error of the inner landmarks, in eye distances.
    """

    pose: Pose
    identity: Floats
    resting: Floats
    error: float


def fit_face(model: FaceModel, landmarks: NDArray[np.floating]) -> Fit:
    """Fit pose, identity and neutral expression to landmarks by regularized least squares.

    Args:
        model: The face model.
        landmarks: ``(68, 2)`` pixels of the photograph.
    """
    mean = model.neutral[model.landmarks].astype(np.float64)
    used = [
        i
        for i, name in enumerate(model.names)
        if name.removesuffix("_L").removesuffix("_R") in FITTED_SHAPES
    ]
    basis = np.concatenate([model.identity, model.shapes[used]])[:, model.landmarks]
    basis = basis.astype(np.float64)
    prior = np.r_[np.ones(len(model.identity)), np.full(len(used), EXPRESSION_SIGMA)]
    eyes = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    distance = float(np.hypot(*(eyes[1] - eyes[0])))
    sigma = np.r_[np.full(17, JAW_SIGMA), np.full(51, INNER_SIGMA)][:, None] * distance
    model_eyes = mean[36:42].mean(axis=0), mean[42:48].mean(axis=0)
    scale = distance / np.linalg.norm(model_eyes[1] - model_eyes[0])
    middle = (model_eyes[0] + model_eyes[1])[:2] / 2 * [1, -1]
    start = np.r_[np.log(scale), 0, 0, 0, (eyes[0] + eyes[1]) / 2 - scale * middle]

    def unpack(values: Floats) -> tuple[Pose, Floats]:
        pose = Pose(float(np.exp(values[0])), values[1:4], values[4:6])
        return pose, mean + np.tensordot(values[6:] * prior, basis, axes=1)

    def residuals(values: Floats) -> Floats:
        pose, points = unpack(values)
        apart = (pose.project(points)[0] - landmarks) / sigma
        return np.r_[apart.ravel(), values[6:]]

    def derivatives(values: Floats) -> Floats:
        # Those of the pose by differences; shapes enter linearly.
        steps = 1e-4 * np.eye(6, len(values)) * scales
        ahead = [(residuals(values + d) - residuals(values - d)) / (2 * d.max()) for d in steps]
        pose, _ = unpack(values)
        seen = pose.scale * (basis @ pose.matrix.T)[..., :2] * [1, -1] / sigma
        shares = np.concatenate(
            [(seen * prior[:, None, None]).reshape(len(prior), -1).T, np.eye(len(prior))]
        )
        return np.column_stack([*ahead, shares])

    lowest = np.r_[np.full(6 + len(model.identity), -np.inf), np.zeros(len(used))]
    begin = np.r_[start, np.zeros(len(model.identity)), np.full(len(used), 1e-3)]
    scales = np.r_[0.05, [0.1] * 3, [distance / 10] * 2, np.ones(len(prior))]
    found = least_squares(
        residuals,
        begin,
        jac=derivatives,
        bounds=(lowest, np.full(len(begin), np.inf)),
        x_scale=scales,
        max_nfev=30,
    )
    pose, points = unpack(found.x)
    apart = pose.project(points)[0] - landmarks
    weights = found.x[6:] * prior
    resting = np.zeros(len(model.names))
    resting[used] = np.clip(weights[len(model.identity) :], 0, 1)
    error = float(np.sqrt(np.square(apart[17:]).sum(axis=1).mean())) / distance
    return Fit(pose, weights[: len(model.identity)], resting, error)
