import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.dtscnn import DTSCNN, DTSCNNConfig, resample
from miex.pipeline.recognition.representations.base import resize
from miex.pipeline.recognition.representations.flow_sequence import (
    FlowSequence,
    FlowSequenceConfig,
    over_time,
)
from miex.pipeline.recognition.representations.optical_flow import optical_flow, to_grey
from miex.pipeline.recognition.sample import Sample

CPU = torch.device("cpu")


def network(**changes: Any) -> DTSCNN:
    torch.manual_seed(0)
    found = create_recognizer("dtscnn", 3, changes)
    assert isinstance(found, DTSCNN)
    return found.eval()


def test_streams_see_sixteen_steps_at_two_scales() -> None:
    streams = network().streams
    kernels = [stream.maps[0] for stream in streams]
    assert [kernel.kernel_size for kernel in kernels] == [(8, 3, 3), (16, 3, 3)]
    assert [kernel.stride for kernel in kernels] == [(4, 2, 2), (8, 2, 2)]
    for stream, scale in zip(streams, (64, 128), strict=True):
        flow = torch.rand(1, 2, scale, 64, 64)
        assert stream.maps[0](flow).shape == (1, 16, 16, 32, 32)
        assert stream.maps(flow).shape == (1, 128, 1, 2, 2)
    convolutions = 2 * 16 * (8 + 16) * 9 + 2 * (16 * 32 * 27 + 32 * 64 * 27 + 64 * 128 * 36)
    norms = 2 * 2 * (16 + 32 + 64 + 128)
    layers = 2 * (512 * 512 + 512) + 1024 * 3 + 3
    count = sum(parameter.numel() for parameter in network().parameters())
    assert count == convolutions + norms + layers


@pytest.mark.parametrize("steps", [1, 9, 64, 128])
def test_any_number_of_flows(steps: int) -> None:
    flow = torch.rand(2, steps, 2, 32, 32, dtype=torch.float16)
    small = network(flow={"side": 32}, time_scales=(32, 64), features=8)
    assert small({"flow": flow}).shape == (2, 3)


def test_half_the_flows_are_every_second() -> None:
    flow = torch.rand(1, 2, 128, 3, 3)
    assert torch.allclose(resample(flow, 64), flow[:, :, 1::2], atol=1e-5)
    assert resample(flow, 128) is flow


def slow_resample(flow: np.ndarray, count: int) -> np.ndarray:
    """Flow at the times 1 / count, 2 / count, ..., 1, none at 0; ``(T, ...)``."""
    result = []
    known = [np.zeros_like(flow[0]), *flow]
    for step in range(1, count + 1):
        place = step * len(flow) / count
        before = min(int(place), len(flow) - 1)
        part = place - before
        result.append((1 - part) * known[before] + part * known[before + 1])
    return np.stack(result)


@pytest.mark.parametrize(("steps", "count"), [(9, 64), (9, 128), (100, 64), (1, 32), (3, 3)])
def test_resampling(steps: int, count: int) -> None:
    flow = np.random.default_rng(0).normal(size=(steps, 4)).astype(np.float32)
    expected = slow_resample(flow, count)
    given = torch.from_numpy(flow.T.reshape(1, 4, steps, 1, 1))
    found = resample(given, count)[0, :, :, 0, 0].T.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    found = over_time(torch.from_numpy(flow), count).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def sequences(samples: list[Sample], frames: int) -> Tensor:
    config = FlowSequenceConfig(frames=frames, flow_side=64, side=32, method="farneback")
    flow = FlowSequence(config).compute(samples, CPU)["flow"]
    assert flow.shape == (len(samples), frames - 1, 2, 32, 32)
    assert flow.dtype == torch.float16
    return flow.float()


def test_flow_is_from_the_onset_in_stored_pixels(toy_samples) -> None:
    samples = toy_samples(2, side=64, frames=4)
    flow = sequences(samples, 4)
    for sample, found in zip(samples, flow, strict=True):
        grey = to_grey(torch.from_numpy(sample.frames).permute(0, 3, 1, 2))
        for step in range(3):
            alone = optical_flow(grey[:1], grey[step + 1 :][:1], "farneback")
            assert torch.allclose(found[step], resize(alone, 32)[0] / 2, atol=2e-3)


def test_a_pair_grows_evenly(toy_samples) -> None:
    flow = sequences(toy_samples(1, side=64), 5)[0]
    for step in range(4):
        assert torch.allclose(flow[step], flow[3] * (step + 1) / 4, atol=2e-3)


def test_samples_of_any_length_stand_side_by_side(toy_samples) -> None:
    samples = [*toy_samples(1, frames=2), *toy_samples(1, frames=9), *toy_samples(1, side=96)]
    together = sequences(samples, 4)
    for index, sample in enumerate(samples):
        assert torch.equal(sequences([sample], 4)[0], together[index])


def test_the_last_flow_is_the_motion_to_the_apex(toy_samples) -> None:
    sample = toy_samples(2, side=64, frames=5)[1]  # lip corners rise by 2.5 px
    assert sample.landmarks is not None
    apex = sequences([sample], 3)[0, -1]
    x, y = (sample.landmarks[0, 48] / 2).round().astype(int)
    moved = sample.landmarks[-1, 48] - sample.landmarks[0, 48]
    assert apex[1, y, x].item() == pytest.approx(float(moved[1]) / 2, abs=0.5)


def test_a_clip_of_one_frame(toy_samples) -> None:
    (sample,) = toy_samples(1)
    short = dataclasses.replace(sample, frames=sample.frames[:1])
    with pytest.raises(ValueError, match="toy:toy000/clip: a clip of 1 frame has no motion"):
        FlowSequence().compute([short], CPU)


def test_config() -> None:
    with pytest.raises(ValueError, match="side is 48, expected a multiple of 32"):
        DTSCNNConfig(flow=FlowSequenceConfig(side=48))
    with pytest.raises(ValueError, match="time scale 16, expected a multiple of 32"):
        DTSCNNConfig(time_scales=(16,))
    one = network(time_scales=(64,), flow={"side": 32})
    assert len(one.streams) == 1
