"""A face drawn from the neutral landmarks: textured skin, brows, eyes and a closed mouth."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from miex.au_sources.face_motion import motion_table
from miex.datasets.base import Face, FaceQuality
from miex.generators.base import FaceGenerator, GeneratorConfig, create_generator

SKIN, LIPS, LINE, BROW = (205, 150, 125), (170, 75, 80), (95, 40, 45), (70, 45, 35)


def _turn(yaw: float) -> np.ndarray:
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def draw_face(size: int = 128, seed: int = 0, yaw: float = 0.0) -> Face:
    rng = np.random.default_rng(seed)
    points = (motion_table().neutral @ _turn(yaw).T)[:, :2]
    landmarks = 0.3 * size * points + np.array([0.5, 0.42]) * size
    noise = rng.normal(0, 1, (size, size, 1)).astype(np.float32)
    texture = 22 * cv2.GaussianBlur(noise, (0, 0), 1.2 * size / 128)
    image = np.clip(np.array(SKIN) + 3 * texture[..., None], 0, 255).astype(np.uint8)

    def polygon(indices: list[int], colour: tuple[int, int, int]) -> None:
        corners = np.round(landmarks[indices] * 16).astype(np.int32)
        cv2.fillPoly(image, [corners], colour, cv2.LINE_AA, shift=4)

    def line(indices: list[int], colour: tuple[int, int, int], width: float) -> None:
        corners = np.round(landmarks[indices] * 16).astype(np.int32)
        thick = max(1, round(width * size / 128))
        cv2.polylines(image, [corners], False, colour, thick, cv2.LINE_AA, shift=4)

    polygon([*range(48, 60)], LIPS)
    line([48, 60, 61, 62, 63, 64, 54], LINE, 1)
    for eye in ([*range(36, 42)], [*range(42, 48)]):
        polygon(eye, (235, 232, 228))
        centre = np.round(landmarks[eye].mean(axis=0) * 16).astype(int)
        cv2.circle(image, tuple(centre.tolist()), size // 4, (60, 80, 90), -1, cv2.LINE_AA, 4)
        line([*eye, eye[0]], (60, 40, 35), 1)
    line([*range(17, 22)], BROW, 3)
    line([*range(22, 27)], BROW, 3)
    return Face(
        crop=image,
        landmarks=landmarks.astype(np.float32),
        identity=f"drawn-{seed}",
        origin=f"drawn:{seed}",
        sha256="0" * 64,
        quality=FaceQuality(0.3 * size, 100.0, yaw, 0.0, 0.0),
        embedding=np.zeros(128, np.float32),
    )


@pytest.fixture(scope="session")
def face_of() -> Callable[..., Face]:
    """`draw_face(size, seed, yaw)`."""
    return draw_face


@pytest.fixture(scope="module")
def warp() -> FaceGenerator:
    return create_generator(GeneratorConfig(name="warp", device="cpu"))
