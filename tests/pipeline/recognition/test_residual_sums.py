import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch

from miex.pipeline.recognition.representations import cgpo
from miex.pipeline.recognition.representations.flow_image import (
    FlowImage,
    FlowImageConfig,
    in_colours,
)
from miex.pipeline.recognition.representations.residual_sums import (
    ResidualSum,
    ResidualSumConfig,
    absolute,
    key_frames,
    relative,
    residual_sum,
)

CPU = torch.device("cpu")


def paper_key_frames(apex: int, offset: int, count: int) -> list[int]:
    """Equations 1 to 4, letter by letter, with the onset at 0."""
    start = 0
    end = min(start + 10, offset) if apex - start < 10 else min(apex, offset)
    gap = math.ceil((end - start) / (count + 1))
    return [min(start + gap * k, end) for k in range(1, count)] + [end]


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_key_frames_are_the_papers(count: int) -> None:
    for offset in range(1, 40):
        for apex in range(1, offset + 1):
            found = key_frames(apex, offset, count)
            assert found == paper_key_frames(apex, offset, count)
            assert len(found) == count
            assert found == sorted(found)
            assert all(1 <= number <= offset for number in found)


def test_key_frames_of_known_clips() -> None:
    assert key_frames(30, 60, 5) == [5, 10, 15, 20, 30]
    assert key_frames(4, 40, 5) == [2, 4, 6, 8, 10]  # short: ten frames, beyond the apex
    assert key_frames(4, 6, 5) == [1, 2, 3, 4, 6]  # unless it is over before
    assert key_frames(1, 1, 5) == [1, 1, 1, 1, 1]  # onset and apex alone


def slow_sums(frames: np.ndarray, numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """ARS and RRS pixel by pixel, ``(H, W, 3)``."""
    height, width, _ = frames[0].shape
    sums = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            for z in range(3):
                for number in numbers:
                    sums[y, x, z] += abs(int(frames[number][y, x, z]) - int(frames[0][y, x, z]))
    low, high = sums.min(), sums.max()
    return sums % 256, np.round((sums - low) / (high - low) * 255)


def test_sums_are_the_papers(toy_samples) -> None:
    (sample,) = toy_samples(1, side=32, frames=14)
    frames = np.random.default_rng(0).integers(0, 256, (14, 32, 32, 3), np.uint8)
    sample = dataclasses.replace(sample, frames=frames, apex_index=12)
    ars, rrs = slow_sums(frames, paper_key_frames(12, 13, 5))
    assert (ars != ars.max()).any()
    for kind, expected in (("ars", ars), ("rrs", rrs)):
        representation = ResidualSum(ResidualSumConfig(kind=kind, side=32))
        image = representation.compute([sample], CPU)["image"]
        assert image.dtype == torch.uint8
        np.testing.assert_allclose(image[0].permute(1, 2, 0).numpy(), expected, atol=0)
    difference = ResidualSum(ResidualSumConfig(kind="difference", side=32))
    expected = np.abs(frames[12].astype(int) - frames[0])
    found = difference.compute([sample], CPU)["image"][0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, expected)


def test_the_modulo_wraps() -> None:
    total = residual_sum(
        torch.full((5, 3, 1, 2), 60, dtype=torch.uint8), torch.zeros(3, 1, 2, dtype=torch.uint8)
    )
    assert total.dtype == torch.int32
    assert total.unique().tolist() == [300]
    assert absolute(total).unique().tolist() == [44]
    # Differences are absolute, whichever frame is brighter.
    dark = torch.zeros(1, 3, 1, 2, dtype=torch.uint8)
    assert residual_sum(dark, torch.full((3, 1, 2), 200, dtype=torch.uint8)).max() == 200


def test_nothing_moves() -> None:
    still = torch.full((3, 4, 4), 7, dtype=torch.int32)
    assert relative(still).unique().tolist() == [0]


def test_a_pair_counts_its_apex_five_times(toy_samples) -> None:
    (sample,) = toy_samples(1, side=64)
    ars = ResidualSum(ResidualSumConfig(side=64)).compute([sample], CPU)["image"][0]
    difference = np.abs(sample.apex.astype(int) - sample.onset)
    np.testing.assert_array_equal(ars.permute(1, 2, 0).numpy(), 5 * difference % 256)


def test_samples_do_not_depend_on_their_neighbours(toy_samples) -> None:
    samples = [*toy_samples(2, side=64, frames=14), *toy_samples(1, side=96)]
    representation = ResidualSum(ResidualSumConfig(kind="rrs", side=64))
    together = representation.compute(samples, CPU)["image"]
    assert together.shape == (3, 3, 64, 64)
    for index, sample in enumerate(samples):
        alone = representation.compute([sample], CPU)["image"][0]
        assert torch.equal(alone, together[index])


def test_a_clip_of_one_frame(toy_samples) -> None:
    (sample,) = toy_samples(1)
    short = dataclasses.replace(sample, frames=sample.frames[:1])
    with pytest.raises(ValueError, match="toy:toy000/clip: a clip of 1 frame has no motion"):
        ResidualSum().compute([short], CPU)


def test_the_pyramid_is_that_of_opencv() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (64, 64)).astype(np.float32)
    found = cgpo.pyramid_down(torch.from_numpy(image)[None, None])
    assert found.shape == (1, 1, 32, 32)
    np.testing.assert_allclose(found[0, 0].numpy(), cv2.pyrDown(image), atol=1e-6)


def test_views_are_the_papers_ten() -> None:
    assert cgpo.tile_starts(320, 0.3) == [0, 112, 160]
    images = torch.rand(2, 3, 320, 320)
    views = cgpo.views(images, 0.3)
    assert views.shape == (2, 10, 3, 160, 160)
    assert torch.equal(views[:, 0], cgpo.pyramid_down(images))
    for number, (y, x) in enumerate((y, x) for y in (0, 112, 160) for x in (0, 112, 160)):
        assert torch.equal(views[:, 1 + number], images[..., y : y + 160, x : x + 160])


@pytest.mark.parametrize(
    ("overlap", "starts"), [(0.0, [0, 160]), (0.5, [0, 80, 160]), (0.75, [0, 40, 80, 120, 160])]
)
def test_other_overlaps(overlap: float, starts: list[int]) -> None:
    assert cgpo.tile_starts(320, overlap) == starts


@pytest.mark.parametrize(("side", "overlap"), [(321, 0.3), (320, 1.0), (64, 0.999), (64, -0.1)])
def test_impossible_tiles(side: int, overlap: float) -> None:
    with pytest.raises(ValueError, match=f"tiles of {side} px with an overlap of {overlap}"):
        cgpo.tile_starts(side, overlap)


def test_flow_in_colours_is_hsv() -> None:
    vectors = [(2.0, 0.0), (0.0, 2.0), (-2.0, 0.0), (0.0, -1.0), (0.0, 0.0), (1.2, 0.7)]
    flow = torch.tensor(vectors).T.reshape(1, 2, 1, len(vectors))
    found = in_colours(flow)[0, :, 0].T.numpy()
    for (x, y), colour in zip(vectors, found, strict=True):
        hue, value = math.degrees(math.atan2(y, x)) % 360, math.hypot(x, y) / 2
        hsv = np.array([[[hue, 1.0, value]]], np.float32)
        expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255
        np.testing.assert_allclose(colour, expected, atol=1)
    assert in_colours(torch.zeros(1, 2, 4, 4)).max() == 0


def test_flow_image(toy_samples) -> None:
    image = FlowImage(FlowImageConfig(method="farneback", side=64)).compute(toy_samples(2), CPU)
    assert image["image"].shape == (2, 3, 64, 64)
    assert image["image"].amax((1, 2, 3)).tolist() == [255, 255]
