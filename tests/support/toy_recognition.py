"""A toy problem: drawn faces on which one part moves, a different one for each class."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from miex.au_sources import face_motion
from miex.pipeline.recognition.cache import CachedInputs, open_inputs
from miex.pipeline.recognition.recognizers.base import AnyRecognizer, create_recognizer
from miex.pipeline.recognition.sample import Sample, SampleInfo

ToySamples = Callable[..., list[Sample]]
ToyInputs = Callable[[AnyRecognizer, list[Sample]], CachedInputs]
ToyRole = Callable[..., list[Sample]]

_MOTIONS = (
    ((21, 22), (0.0, -1.0)),  # both inner brows rise
    ((48, 54), (0.0, -1.0)),  # both lip corners rise
    ((48, 54), (0.0, 1.0)),  # both lip corners fall
    ((8, 57), (0.0, 1.0)),  # the chin drops
    ((30, 33), (0.0, -1.0)),  # the nose rises
    ((17, 26), (0.0, 1.0)),  # both outer brows fall
    ((37, 44), (0.0, 1.0)),  # the upper lids fall
)
"""Where a class moves (landmarks) and in which direction."""


@pytest.fixture(scope="session")
def toy_samples() -> ToySamples:
    """Makes samples: ``toy_samples(count, classes=3, side=64, frames=2, seed=0, pixels=2.5)``.

    Labels go round (0, 1, 2, 0, ...); every sample has a texture and a subject of its own,
    landmarks in every frame, and grows linearly to the apex, its last frame.
    """
    return make_toy_samples


def make_toy_samples(
    count: int,
    classes: int = 3,
    side: int = 64,
    frames: int = 2,
    seed: int = 0,
    pixels: float = 2.5,
) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [
        _sample(number, number % classes, side, frames, pixels * side / 64, rng)
        for number in range(count)
    ]


def _sample(
    number: int, label: int, side: int, frames: int, pixels: float, rng: np.random.Generator
) -> Sample:
    points = _neutral(side) + rng.normal(0, 0.003 * side, (68, 2))
    points = points.astype(np.float32)
    base = _draw(points, side, rng)
    where, direction = _MOTIONS[label]
    images, landmarks = [], []
    for step in range(frames):
        length = pixels * step / (frames - 1)
        field = _field(points[list(where)], np.multiply(direction, length), side)
        grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(np.float32)
        source = (grid - field).astype(np.float32)
        images.append(cv2.remap(base, source, None, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT))
        at = np.clip(points.round().astype(int), 0, side - 1)
        landmarks.append(points + field[at[:, 1], at[:, 0]])
    subject = f"toy{number:03d}"
    info = SampleInfo(
        key=f"toy:{subject}/clip",
        label=label,
        emotion=str(label),
        database="toy",
        subject=subject,
        lineage=frozenset({("toy", subject)}),
        apex_rule="annotated",
    )
    return Sample(info, np.stack(images), frames - 1, np.stack(landmarks).astype(np.float32))


def _neutral(side: int) -> NDArray[np.float64]:
    """The 68 landmarks of a neutral front view, in pixels of a crop of this side."""
    shape = np.asarray(face_motion.motion_table().neutral, np.float64)[:, :2]
    return shape * (0.33 * side) + (0.5 * side, 0.42 * side)


def _draw(points: NDArray[np.float32], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    noise = rng.uniform(90, 200, (side // 4, side // 4, 3)).astype(np.float32)
    image = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 12, image.shape).astype(np.float32)
    image = np.clip(image, 0, 255).astype(np.uint8)
    for begin, end, closed in ((17, 22, 0), (22, 27, 0), (36, 42, 1), (42, 48, 1), (48, 60, 1)):
        line = (points[begin:end] * 8).round().astype(np.int32)
        cv2.polylines(image, [line], bool(closed), (30, 20, 20), 2, cv2.LINE_AA, 3)
    return image


def _field(
    centres: NDArray[np.float32], vector: NDArray[np.float64], side: int
) -> NDArray[np.float32]:
    """Displacement ``(S, S, 2)`` of every pixel, falling off around the centres."""
    ys, xs = np.mgrid[:side, :side]
    weight = np.zeros((side, side))
    for x, y in centres:
        distance = (xs - x) ** 2 + (ys - y) ** 2
        weight = np.maximum(weight, np.exp(-distance / (2 * (side / 9) ** 2)))
    return (weight[..., None] * vector).astype(np.float32)


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory, sample_table: Path) -> Path:
    """A synthesized dataset of 54 samples in several shards, made once."""
    from miex.pipeline.make_dataset import synthesize
    from miex.pipeline.synthesis.config import SynthesisConfig

    out = tmp_path_factory.mktemp("dataset") / "small"
    config = SynthesisConfig(name="small", faces=str(sample_table), identities=6, rows_per_shard=20)
    synthesize(config, out, workers=1)
    return out


@dataclass(frozen=True)
class ToyBlock:
    """Samples as a block."""

    samples: list[Sample]
    content: str

    @property
    def infos(self) -> list[SampleInfo]:
        return [sample.info for sample in self.samples]

    def load(self, landmarks: bool) -> Iterator[Sample]:
        del landmarks
        yield from self.samples


@pytest.fixture(scope="session")
def toy_inputs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., CachedInputs]:
    """``toy_inputs(recognizer, samples)`` computes what the recognizer looks at."""
    folder = tmp_path_factory.mktemp("cache")

    def make(recognizer: AnyRecognizer, samples: list[Sample]) -> CachedInputs:
        pixels = hashlib.sha256(b"".join(sample.frames.tobytes() for sample in samples))
        block = ToyBlock(samples, pixels.hexdigest())
        return open_inputs([block], recognizer.representation, folder)

    return make


def _as_clips(samples: list[Sample], subjects: int = 4) -> list[Sample]:
    """Samples as clips of a few subjects of a database."""
    result = []
    for number, sample in enumerate(samples):
        subject = f"s{number % subjects}"
        info = replace(
            sample.info,
            key=f"toy:{subject}/clip{number}",
            subject=subject,
            lineage=frozenset({("toy", subject)}),
        )
        result.append(replace(sample, info=info))
    return result


def _as_synthetic(samples: list[Sample], lineage: dict[int, str]) -> list[Sample]:
    """Samples as synthesized ones; some with the Action Units of a subject."""
    result = []
    for number, sample in enumerate(samples):
        people = {("folder", f"face{number}")}
        if number in lineage:
            people.add(("toy", lineage[number]))
        info = replace(
            sample.info,
            key=f"miex/{number}",
            database="miex",
            subject=f"face{number}",
            lineage=frozenset(people),
            au_source="real_mie" if number in lineage else "expert",
        )
        result.append(replace(sample, info=info))
    return result


@pytest.fixture(scope="session")
def as_clips() -> Callable[..., list[Sample]]:
    """``as_clips(samples, subjects=4)``: as clips of a few subjects of a database."""
    return _as_clips


@pytest.fixture(scope="session")
def as_synthetic() -> Callable[..., list[Sample]]:
    """``as_synthetic(samples, {0: "s0"})``: as synthesized ones, some with a subject's AUs."""
    return _as_synthetic


@pytest.fixture(scope="session")
def clips(toy_samples: ToySamples, toy_inputs: Callable[..., CachedInputs]) -> CachedInputs:
    return toy_inputs(create_recognizer("dere_grl", 3), _as_clips(toy_samples(24)))


@pytest.fixture(scope="session")
def synthetic(toy_samples: ToySamples, toy_inputs: Callable[..., CachedInputs]) -> CachedInputs:
    samples = _as_synthetic(toy_samples(18, seed=7), {0: "s0", 5: "s0", 7: "s1"})
    return toy_inputs(create_recognizer("dere_grl", 3), samples)
