import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from miex.datasets.base import Face, FaceQuality
from miex.pipeline.synthesis.config import QualityConfig
from miex.pipeline.synthesis.quality import assess, cosine, motion_between


@pytest.fixture
def texture() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(size=(128, 128, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.asarray(np.clip(128 + 400 * smooth, 0, 255), dtype=np.uint8)


@pytest.fixture
def face(texture: NDArray[np.uint8]) -> Face:
    landmarks = np.zeros((68, 2), dtype=np.float32)
    landmarks[36:42], landmarks[42:48] = (30, 60), (80, 60)
    quality = FaceQuality(face_size=50, sharpness=100, yaw=0, pitch=0, roll=0)
    embedding = np.eye(128, dtype=np.float32)[0]
    return Face(texture, landmarks, "a", "test:a", "0" * 64, quality, embedding)


def moved(image: NDArray[np.uint8], pixels: float) -> NDArray[np.uint8]:
    """Move the centre of an image to the right, and its surroundings less with the distance."""
    y, x = np.mgrid[:128, :128].astype(np.float32)
    shift = pixels * np.exp(-((x - 64) ** 2 + (y - 64) ** 2) / (2 * 18**2))
    out = cv2.remap(image, x - shift, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(out, dtype=np.uint8)


@pytest.mark.parametrize("pixels", [0.5, 1.0, 2.5])
def test_motion_is_measured_in_pixels(texture: NDArray[np.uint8], pixels: float) -> None:
    # The fastest 5 % of the pixels of this bump move by 0.823 of its height on average.
    measured = motion_between(texture, moved(texture, pixels))
    assert measured == pytest.approx(0.823 * pixels, rel=0.2)


def test_equal_frames_do_not_move(texture: NDArray[np.uint8]) -> None:
    assert motion_between(texture, texture.copy()) == 0.0


def test_a_moving_sample_counts(face: Face) -> None:
    frames = np.stack([face.crop, moved(face.crop, 1)])
    verdict = assess(face, *frames, QualityConfig(), None)
    assert verdict.reason is None
    assert verdict.identity_similarity is None
    assert verdict.motion_iod == pytest.approx(verdict.motion / 50)


def test_a_motion_that_the_generator_states_is_taken(face: Face) -> None:
    frames = np.stack([face.crop, moved(face.crop, 1)])
    verdict = assess(face, *frames, QualityConfig(), None, known=0.9)
    assert (verdict.motion, verdict.reason) == (0.9, None)
    assert verdict.motion_iod == pytest.approx(0.9 / 50)


def test_near_the_threshold_the_flow_decides(face: Face) -> None:
    frames = np.stack([face.crop, moved(face.crop, 1)])
    flow = motion_between(*frames) / 50
    for threshold, reason in ((1.1 * flow, "too_little_motion"), (0.9 * flow, None)):
        config = QualityConfig(min_motion_iod=threshold)
        # Twice the threshold is stated: too near to be trusted.
        assert assess(face, *frames, config, None, known=2 * threshold * 50).reason == reason


def test_a_sample_without_motion_never_counts(face: Face) -> None:
    frames = np.stack([face.crop, face.crop])
    assert assess(face, *frames, QualityConfig(min_motion_iod=0), None).reason == "no_motion"


def test_too_little_motion_is_named(face: Face) -> None:
    frames = np.stack([face.crop, moved(face.crop, 1)])
    verdict = assess(face, *frames, QualityConfig(min_motion_iod=0.5), None)
    assert verdict.reason == "too_little_motion"


def test_a_lost_identity_is_named(face: Face) -> None:
    frames = np.stack([face.crop, moved(face.crop, 1)])
    stranger = np.eye(128, dtype=np.float32)[1]
    config = QualityConfig(min_identity_similarity=0.8)
    verdict = assess(face, *frames, config, lambda image, landmarks: stranger)
    assert verdict.reason == "identity_lost"
    assert verdict.identity_similarity == 0
    same = assess(face, *frames, config, lambda image, landmarks: face.embedding)
    assert same.reason is None
    assert same.identity_similarity == 1


def test_cosine_ignores_length() -> None:
    a = np.array([1, 2, 3], dtype=np.float32)
    assert cosine(a, 7 * a) == pytest.approx(1)
    assert cosine(a, -a) == pytest.approx(-1)
