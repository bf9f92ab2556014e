import math

import pytest
import torch
import torchvision.transforms.functional as reference
from torch import Generator, Tensor

from miex.pipeline.recognition.recognizers import _augment


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def faces(count: int = 4, frames: int = 1, side: int = 24) -> Tensor:
    """Smooth random colour images, ``(B, T, 3, S, S)``."""
    noise = torch.rand(count * frames, 3, 6, 6, generator=draws(7))
    images = torch.nn.functional.interpolate(noise, (side, side), mode="bilinear")
    return images.unflatten(0, (count, frames))


def pairs_of_one(count: int = 4) -> Tensor:
    """Pairs in which the apex equals the onset."""
    return faces(count).expand(-1, 2, -1, -1, -1)


@pytest.mark.parametrize("seed", range(3))
def test_onset_and_apex_get_the_identical_transform(seed: int) -> None:
    pair = pairs_of_one(6)
    changed = _augment.colour_jitter(
        pair, draws(seed), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.5
    )
    changed = _augment.random_grey(changed, draws(seed), 0.5)
    changed = _augment.random_view(changed, 20, draws(seed), resized=28, degrees=30, flip=0.5)
    onset, apex = changed.unbind(1)
    assert torch.equal(onset, apex)
    assert changed.shape == (6, 2, 3, 20, 20)
    # ... and no two samples get the same, or the test would show nothing.
    same = pairs_of_one(1).expand(6, -1, -1, -1, -1)
    views = _augment.random_view(same, 20, draws(seed), resized=28, degrees=30, flip=0.5)
    views = _augment.colour_jitter(views, draws(seed), brightness=0.5)
    assert all(not torch.equal(views[0], other) for other in views[1:])


def test_a_different_apex_does_not_change_how_the_onset_is_moved() -> None:
    pair = faces(3, frames=2)
    other = torch.stack((pair[:, 0], 1 - pair[:, 1]), 1)
    first, second = (
        _augment.random_view(frames, 20, draws(), resized=28, degrees=20, flip=0.5)
        for frames in (pair, other)
    )
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.equal(first[:, 1], second[:, 1])


def test_the_same_seed_draws_the_same() -> None:
    images = faces()
    one, two, three = (
        _augment.random_view(images, 20, draws(seed), resized=24, degrees=9) for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_a_crop_is_a_part_of_the_image() -> None:
    images = faces(8)
    crops = _augment.random_view(images, 20, draws(), resized=24)
    places = set()
    for image, crop in zip(images[:, 0], crops[:, 0], strict=True):
        found = [
            (x, y)
            for y in range(5)
            for x in range(5)
            if torch.allclose(image[:, y : y + 20, x : x + 20], crop, atol=1e-5)
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 3


def test_the_centre_is_the_middle() -> None:
    images = faces()
    crops = _augment.centre_view(images, 20, resized=24)
    assert torch.allclose(crops, images[..., 2:22, 2:22], atol=1e-5)
    assert torch.equal(_augment.centre_view(images, 24).round(decimals=4), images.round(decimals=4))


def test_scaling_up_is_that_of_interpolate() -> None:
    images = faces()
    expected = torch.nn.functional.interpolate(images[:, 0], (48, 48), mode="bilinear")
    assert torch.allclose(_augment.centre_view(images, 48)[:, 0], expected, atol=1e-4)


def test_scaling_down_does_not_alias() -> None:
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    images = checks.float().expand(1, 1, 3, 64, 64)
    small = _augment.centre_view(images, 16)
    assert (small - 0.5).abs().max() < 0.05


def test_mirroring() -> None:
    images = faces()
    mirrored = _augment.random_view(images, 24, draws(), flip=1.0)
    assert torch.allclose(mirrored, images.flip(-1), atol=1e-5)
    both = _augment.random_view(faces(40), 24, draws(), flip=0.5)
    flipped = [
        torch.allclose(one, two, atol=1e-4) for one, two in zip(both, faces(40), strict=True)
    ]
    assert 10 < sum(flipped) < 30


def test_rotation_is_that_of_torchvision() -> None:
    images = faces(2, side=64)
    generator = draws(3)
    angles = 30 * (2 * torch.rand(2, generator=draws(3)) - 1)
    found = _augment.random_view(images, 64, generator, degrees=30)
    for image, angle, rotated in zip(images[:, 0], angles, found[:, 0], strict=True):
        expected = reference.rotate(image, float(angle), reference.InterpolationMode.BILINEAR)
        inner = slice(12, -12)
        assert torch.allclose(rotated[:, inner, inner], expected[:, inner, inner], atol=1e-3), (
            math.degrees(float(angle))
        )


@pytest.mark.parametrize("turn", [-0.5, -0.13, 0.0, 0.2, 0.5])
def test_hue_is_that_of_torchvision(turn: float) -> None:
    images = faces()[:, 0]
    images[0, :, :4] = 0.5  # grey has no hue
    expected = reference.adjust_hue(images, turn)
    found = _augment.turn_hue(images, torch.tensor(turn))
    assert torch.allclose(found, expected, atol=1e-4)


def test_brightness_contrast_and_saturation_are_those_of_torchvision() -> None:
    images = faces(3)
    for name, adjust, index in (
        ("brightness", reference.adjust_brightness, 0),
        ("contrast", reference.adjust_contrast, 1),
        ("saturation", reference.adjust_saturation, 2),
    ):
        drawn = torch.stack([torch.rand(3, generator=g) for g in [draws(5)] for _ in range(4)])
        factors = 0.4 + 1.2 * drawn[index]
        found = _augment.colour_jitter(images, draws(5), **{name: 0.6})
        for image, factor, changed in zip(images[:, 0], factors, found[:, 0], strict=True):
            # torchvision rounds its weights of the grey value to four digits.
            assert torch.allclose(changed, adjust(image, float(factor)), atol=2e-3), name
    assert torch.equal(_augment.colour_jitter(images, draws()), images)


def test_contrast_keeps_the_difference_between_frames_in_proportion() -> None:
    pair = faces(1, frames=2) * 0.2 + 0.4
    changed = _augment.colour_jitter(pair, draws(1), contrast=0.5)
    before, after = (frames[:, 1] - frames[:, 0] for frames in (pair, changed))
    factor = 0.5 + torch.stack([torch.rand(1, generator=g) for g in [draws(1)] for _ in (0, 1)])[1]
    assert torch.allclose(after, before * factor, atol=1e-6)


def test_grey() -> None:
    images = faces(40)
    changed = _augment.random_grey(images, draws(), 0.25)
    colourless = [bool((image[0, 0] == image[0, 1]).all()) for image in changed]
    assert 3 <= sum(colourless) <= 18
    for image, before, is_grey in zip(changed, images, colourless, strict=True):
        if not is_grey:
            assert torch.equal(image, before)
        else:
            luma = 0.299 * before[0, 0] + 0.587 * before[0, 1] + 0.114 * before[0, 2]
            assert torch.allclose(image[0], luma.expand(3, -1, -1), atol=1e-6)


def test_as_float() -> None:
    stored = torch.tensor([0, 255], dtype=torch.uint8)
    assert _augment.as_float(stored).tolist() == [0.0, 1.0]
    assert _augment.as_float(torch.tensor([0.25])).tolist() == [0.25]


def test_only_a_rotation_brings_in_black() -> None:
    white = torch.ones(2, 1, 3, 24, 24)
    generator = torch.Generator().manual_seed(0)
    still = _augment.random_view(white, 48, generator, resized=48, degrees=0.0)
    assert torch.allclose(still, torch.ones_like(still), atol=1e-6)
    turned = _augment.random_view(white, 48, generator, resized=48, degrees=30.0)
    assert set(turned.unique().round(decimals=4).tolist()) == {0.0, 1.0}
    assert (turned[..., 0, 0] == 0).all()
