import dataclasses

import numpy as np
import pytest
import torch

from miex.pipeline.recognition.representations.base import fingerprint
from miex.pipeline.recognition.representations.frames import (
    ApexFrame,
    FramePair,
    FramesConfig,
    FrameSequence,
    FrameSequenceConfig,
    interpolate,
)

CPU = torch.device("cpu")


def test_pair_and_apex_are_the_pixels(toy_samples) -> None:
    samples = toy_samples(3, side=64, frames=4)
    pair = FramePair(FramesConfig(side=64)).compute(samples, CPU)
    apex = ApexFrame(FramesConfig(side=64)).compute(samples, CPU)
    for index, sample in enumerate(samples):
        assert np.array_equal(pair["onset"][index].permute(1, 2, 0).numpy(), sample.onset)
        assert np.array_equal(pair["apex"][index].permute(1, 2, 0).numpy(), sample.apex)
    assert set(apex) == {"apex"}
    assert torch.equal(apex["apex"], pair["apex"])
    assert pair["onset"].dtype == torch.uint8


def test_sizes_are_brought_to_one(toy_samples) -> None:
    samples = [*toy_samples(1, side=64), *toy_samples(1, side=96)]
    pair = FramePair(FramesConfig(side=128)).compute(samples, CPU)
    assert pair["apex"].shape == (2, 3, 128, 128)
    alone = FramePair(FramesConfig(side=128)).compute(samples[1:], CPU)
    assert torch.equal(alone["apex"][0], pair["apex"][1])


def slow_interpolation(frames: np.ndarray, count: int) -> np.ndarray:
    """Every frame on its own, by its place in time."""
    result = []
    for step in range(count):
        place = step * (len(frames) - 1) / (count - 1)
        before = min(int(place), len(frames) - 2)
        part = place - before
        result.append((1 - part) * frames[before] + part * frames[before + 1])
    return np.stack(result)


@pytest.mark.parametrize(("length", "count"), [(2, 10), (5, 3), (7, 16), (4, 4), (2, 2), (33, 129)])
def test_interpolation_in_time(length: int, count: int) -> None:
    frames = np.random.default_rng(0).uniform(0, 255, (length, 3, 5, 4)).astype(np.float32)
    found = interpolate(torch.from_numpy(frames), count).numpy()
    assert found.shape == (count, 3, 5, 4)
    np.testing.assert_allclose(found, slow_interpolation(frames, count), atol=1e-3)
    np.testing.assert_array_equal(found[0], frames[0])
    np.testing.assert_allclose(found[-1], frames[-1], atol=1e-4)


def test_sequences_end_at_the_apex(toy_samples) -> None:
    (sample,) = toy_samples(1, side=64, frames=6)
    sample = dataclasses.replace(sample, apex_index=3)
    config = FrameSequenceConfig(side=64, frames=4)
    frames = FrameSequence(config).compute([sample], CPU)["frames"]
    assert frames.shape == (1, 4, 3, 64, 64)
    assert frames.dtype == torch.uint8
    assert np.array_equal(frames[0].permute(0, 2, 3, 1).numpy(), sample.frames[:4])


def test_two_frames_make_a_cross_fade(toy_samples) -> None:
    (sample,) = toy_samples(1, side=64)
    config = FrameSequenceConfig(side=64, frames=3)
    frames = FrameSequence(config).compute([sample], CPU)["frames"][0].float()
    mean = (frames[0] + frames[2]) / 2
    assert (frames[1] - mean).abs().max() <= 0.5


def test_wrong_input(toy_samples) -> None:
    (sample,) = toy_samples(1)
    short = dataclasses.replace(sample, frames=sample.frames[:1])
    for representation in (FramePair(), ApexFrame(), FrameSequence()):
        with pytest.raises(ValueError, match=r"toy:toy000/clip: a clip of 1 frame has no motion"):
            representation.compute([short], CPU)
    with pytest.raises(ValueError, match="1 frames to 4"):
        interpolate(torch.zeros(1, 3, 8, 8), 4)
    with pytest.raises(ValueError, match="less than or equal to 256"):
        FramesConfig(side=512)


def test_fingerprints_differ() -> None:
    kinds = [FramePair(), ApexFrame(), FrameSequence(), FramePair(FramesConfig(side=64))]
    assert len({fingerprint(kind) for kind in kinds}) == 4
