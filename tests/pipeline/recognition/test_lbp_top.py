import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from skimage.feature import local_binary_pattern

from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.representations.frames import interpolate
from miex.pipeline.recognition.representations.lbp_top import (
    PLANES,
    LbpTop,
    LbpTopConfig,
    lbp_top,
    plane_codes,
    uniform_labels,
)

CPU = torch.device("cpu")


def slow_code(volume, t, y, x, plane, radii, neighbours):
    """One pattern, after Zhao and Pietikäinen 2007, with plain loops."""
    rx, ry, rt = radii
    code = 0
    for p in range(neighbours):
        cos = round(math.cos(2 * math.pi * p / neighbours), 9)
        sin = round(math.sin(2 * math.pi * p / neighbours), 9)
        at = {
            "XY": (t, y - ry * sin, x + rx * cos),
            "XT": (t - rt * sin, y, x + rx * cos),
            "YT": (t - rt * sin, y + ry * cos, x),
        }[plane]
        value = 0.0
        base = [math.floor(a) for a in at]
        for corner in np.ndindex(2, 2, 2):
            weight = 1.0
            for a, b, c in zip(at, base, corner, strict=True):
                weight *= (a - b) if c else 1 - (a - b)
            if weight:
                value += weight * volume[tuple(b + c for b, c in zip(base, corner, strict=True))]
        code |= int(value >= volume[t, y, x]) << p
    return code


@pytest.mark.parametrize(("radii", "neighbours"), [((1, 1, 2), 8), ((2, 1, 1), 6), ((3, 2, 2), 8)])
def test_patterns_against_a_slow_reference(radii, neighbours):
    volume = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (6, 9, 10)))
    rx, ry, rt = radii
    for name, plane in zip(("XY", "XT", "YT"), PLANES, strict=True):
        codes = plane_codes(volume[None], plane, radii, neighbours)[0]
        assert codes.shape == (6 - 2 * rt, 9 - 2 * ry, 10 - 2 * rx)
        for (t, y, x), code in np.ndenumerate(codes.numpy()):
            expected = slow_code(volume.numpy(), t + rt, y + ry, x + rx, name, radii, neighbours)
            assert code == expected, (name, t, y, x)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_the_xy_plane_agrees_with_scikit_image(radius):
    frames = np.random.default_rng(1).integers(0, 256, (3, 24, 20)).astype(np.uint8)
    codes = plane_codes(torch.from_numpy(frames)[None].double(), PLANES[0], (radius, radius, 1), 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = local_binary_pattern(frames[1].astype(np.float64), 8, radius)
    inner = expected[radius:-radius, radius:-radius]
    assert np.array_equal(codes[0, 0].numpy(), inner.astype(int))


def test_uniform_patterns():
    labels = uniform_labels(8)
    assert labels.max() == 58
    assert (labels == 58).sum() == 256 - 58
    uniform = []
    for code in range(256):
        bits = [(code >> p) & 1 for p in range(8)]
        if sum(bits[p] != bits[p - 1] for p in range(8)) <= 2:
            uniform.append(code)
    assert labels[uniform].tolist() == list(range(58))
    assert uniform_labels(4).max() == 14


def test_histograms_of_blocks_against_counting():
    volumes = torch.from_numpy(np.random.default_rng(2).uniform(0, 255, (2, 5, 13, 16)))
    found = lbp_top(volumes, blocks=3, radii=(1, 1, 1)).view(2, 9, 3, 59)
    labels = uniform_labels(8)
    for number, volume in enumerate(volumes):
        for plane_number, plane in enumerate(PLANES):
            codes = labels[plane_codes(volume[None], plane, (1, 1, 1), 8)[0]]
            counts = np.zeros((9, 59))
            for (_, y, x), label in np.ndenumerate(codes.numpy()):
                counts[3 * (y * 3 // 11) + x * 3 // 14, label] += 1
            expected = counts / counts.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(found[number, :, plane_number], expected, rtol=1e-6)


def test_a_still_clip_has_patterns_that_are_the_same_forwards_and_backwards():
    frame = torch.from_numpy(np.random.default_rng(3).uniform(0, 255, (1, 12, 12))).float()
    volume = interpolate(torch.stack([frame, frame]), 10)[None, :, 0]
    for plane in PLANES[1:]:
        codes = plane_codes(volume, plane, (1, 1, 4), 8)
        bits = [(codes >> p) & 1 for p in range(8)]
        assert bits[2].all()  # before
        assert bits[6].all()  # after
        assert torch.equal(bits[1], bits[7])
        assert torch.equal(bits[3], bits[5])
        assert not bits[0].all()  # beside


def test_sizes_and_batches(toy_samples):
    samples = toy_samples(3, frames=4, side=72)
    found = LbpTop().compute(samples, CPU)["histograms"]
    assert found.shape == (3, 25 * 3 * 59)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float().sum(1), torch.full((3,), 75.0), atol=0.05, rtol=0)
    alone = LbpTop().compute(samples[1:2], CPU)["histograms"]
    assert torch.equal(alone[0], found[1])
    assert not torch.equal(found[0], found[1])


def test_it_learns(toy_samples):
    torch.manual_seed(0)
    config = {"descriptor": {"side": 64, "radii": (1, 1, 4)}}
    model = create_recognizer("lbp_top", 3, config)
    train, test = toy_samples(60), toy_samples(30, seed=1)
    label = lambda samples: torch.tensor([s.info.label for s in samples])  # noqa: E731
    model.fit(model.representation.compute(train, CPU), label(train), seed=0)
    scores = model.scores(model.representation.compute(test, CPU))
    assert (scores.argmax(1) == label(test)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"radii": (1, 1, 5)}, "leave no pixel"),
        ({"radii": (0, 1, 1)}, "leave no pixel"),
        ({"side": 28, "radii": (14, 1, 1)}, "leave no pixel"),
        ({"neighbours": 17}, "less than or equal to 16"),
    ],
)
def test_wrong_parameters(config, message):
    with pytest.raises(ValidationError, match=message):
        LbpTopConfig(**config)


def test_unusable_samples_are_named(toy_samples):
    good, bad = toy_samples(2)
    bad = replace(bad, frames=bad.frames[:1])
    with pytest.raises(ValueError, match=bad.info.key):
        LbpTop().compute([good, bad], CPU)


def test_more_blocks_than_pixels() -> None:
    with pytest.raises(ValueError, match="30 blocks of each side are more than the 26 pixels"):
        LbpTopConfig(side=28, blocks=30, radii=(1, 1, 1))
