"""Generators and an estimator with known errors, so that every measure is known.

AUs are written into the pixels: column block a of the top rows has grey ``20 + 40 * intensity``.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS
from miex.au_sources.estimators.base import Estimates
from miex.datasets.base import Face, FaceQuality
from miex.pipeline.assessment.cases import micro_cases, single_cases
from miex.pipeline.assessment.measure import Instruments, Measurements, measure_face
from miex.pipeline.assessment.realism import texture
from miex.pipeline.aus.fidelity import AUReader

SIZE, BLOCK, ROWS = 128, 7, 8
ZERO, STEP = 20, 40

RNG = np.random.default_rng


def draw_face(person: int) -> Face:
    """Return a face of smooth noise whose last row encodes the identity."""
    noise = RNG(person).normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    image = np.clip(128 + 400 * cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)
    image[:ROWS] = ZERO
    image[-1] = 10 * person
    landmarks = np.stack([np.linspace(20, 108, 68), np.linspace(30, 110, 68)], axis=1)
    landmarks[36:42], landmarks[42:48] = (44, 50), (84, 50)
    quality = FaceQuality(face_size=40, sharpness=100, yaw=0, pitch=0, roll=0)
    embedding = identity(image, landmarks)
    return Face(
        image, landmarks.astype(np.float32), f"p{person}", f"drawn:{person}", "", quality, embedding
    )


def identity(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Return the identity as a unit vector; different identities have a distance of 1.41."""
    return np.eye(128, dtype=np.float32)[int(image[-1, 0, 0]) // 10]


class FakeGenerator:
    """A generator that writes the requested AUs into the pixels and shifts the face.

    Args:
        change: Function that is applied to the AUs before they are written.
        stranger: Whether the rendered frames show another identity.
    """

    name, sha256, max_intensity, condition = "fake", None, 5.0, "absolute"

    def __init__(
        self, change: Callable[[np.ndarray], np.ndarray] = lambda aus: aus, stranger: bool = False
    ) -> None:
        self._change, self._stranger = change, stranger

    def prepare(self, face: Face) -> np.ndarray:
        return face.crop

    def render(self, states: Any, aus: np.ndarray) -> np.ndarray:
        frames = []
        for crop, vector in zip(states, aus, strict=True):
            shown = self._change(vector)
            frame = np.roll(crop, round(1.2 * float(shown.max())), axis=1)
            frame[:ROWS], frame[-1] = crop[:ROWS], crop[-1]
            for au in range(AU_COUNT):
                block = frame[:ROWS, au * BLOCK : (au + 1) * BLOCK]
                block[:] = np.clip(ZERO + STEP * shown[au], 0, 255)
            if self._stranger and vector.any():
                frame[-1] = 250
            frames.append(frame)
        return np.stack(frames)


class FakeEstimator:
    """An estimator that reads the AUs from the pixels; it does not measure AU14."""

    name, version, scale, needs_landmarks = "fake-reader", "1", "intensity", False
    aus = tuple(number for number in AU_NUMBERS if number != 14)

    def estimate(self, images: Any, landmarks: Any = None) -> Estimates:
        rows = []
        for image in images:
            blocks = image[0, : AU_COUNT * BLOCK, 0].reshape(AU_COUNT, BLOCK).mean(axis=1)
            rows.append((blocks - ZERO) / STEP)
        aus = np.clip(np.array(rows, np.float32), 0, 5)
        aus[:, AU_NUMBERS.index(14)] = np.nan
        return Estimates(aus, np.ones(len(rows), bool))


class FewMicro:
    """An AU source with one class, AU12 and AU06."""

    name = "expert"
    classes = frozenset({"positive"})

    class label_space:
        classes = ("negative", "positive")

    def draw(self, emotion_class: str, rng: np.random.Generator) -> Any:
        apex = np.zeros(AU_COUNT, np.float32)
        apex[[4, 8]] = rng.uniform(0.5, 1.5, 2)

        class Pair:
            onset, track = np.zeros(AU_COUNT, np.float32), None

        Pair.apex = apex
        return Pair


Measure = Callable[[FakeGenerator], tuple[Measurements, list]]


@pytest.fixture(scope="session")
def measure_with() -> Measure:
    """Measure ten faces with a generator; return the measurements and the cases."""

    def measure(generator: FakeGenerator) -> tuple[Measurements, list]:
        reader = AUReader(FakeEstimator(), detector=None)
        instruments = Instruments([reader], identity, {"id": identity, "texture": texture})
        parts = []
        for person in range(6):
            micro = micro_cases(["few"], [FewMicro()], 3, RNG(person))
            cases = [*single_cases(), *micro]
            looks = [2, 5, len(cases) - 1, len(cases) - 2]
            parts.append(measure_face(draw_face(person), generator, cases, looks, instruments))
        return Measurements.join(parts), cases

    return measure


@pytest.fixture(scope="session")
def perfect(measure_with: Measure) -> tuple[Measurements, list]:
    """Return the measurements of a generator without errors."""
    return measure_with(FakeGenerator())


@pytest.fixture(scope="session")
def fake_generator() -> type[FakeGenerator]:
    """Return the function `fake_generator(change, stranger)`."""
    return FakeGenerator


@pytest.fixture(scope="session")
def fake_estimator() -> FakeEstimator:
    return FakeEstimator()


@pytest.fixture(scope="session")
def drawn_face() -> Callable[[int], Face]:
    return draw_face
