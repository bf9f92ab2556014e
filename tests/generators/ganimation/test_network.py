import copy

import numpy as np
import pytest
import torch

from miex.generators.ganimation.network import (
    FastGANimation,
    GANimation,
    blend,
    random_network,
    to_network_range,
    to_pixels,
)

CPU = torch.device("cpu")
LEVELS = 127.5
"""Grey levels (0 to 255) in one unit of the network's range (-1 to 1)."""


@pytest.fixture(scope="module")
def network() -> GANimation:
    """Random, with norms unlike 1 and 0."""
    network = random_network(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return network


def image_and_condition(drawn_face, random_aus, side):
    crops = np.stack([drawn_face(seed, side).crop for seed in range(2)])
    image = to_network_range(torch.from_numpy(crops).permute(0, 3, 1, 2))
    return image, torch.from_numpy(random_aus(side, 2)) / 5


def test_it_has_the_parameters_of_the_paper():
    network = random_network(0)
    assert len(network.state_dict()) == 53
    assert sum(weight.numel() for weight in network.parameters()) == 8_471_296


def test_random_weights_come_from_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = random_network(0), random_network(0), random_network(1)
    assert torch.equal(torch.get_rng_state(), before)
    key = "residual.3.second.conv.weight"
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])
    assert first.state_dict()[key].std() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize("side", [8, 12, 36, 64])
def test_the_fast_network_is_the_network(network, drawn_face, random_aus, side):
    """In float64 and at every border: what is left is rounding."""
    image, condition = image_and_condition(drawn_face, random_aus, side)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(image.double(), condition.double()).image
        plain = network(image, condition).image
        fast = FastGANimation(network, torch.float32, CPU)
        quick = fast(image, fast.features(image), condition)
    assert (plain - exact).abs().max() * LEVELS < 0.01
    assert (quick - exact).abs().max() * LEVELS < 0.01


def test_bfloat16_stays_within_its_bounds(network, drawn_face, random_aus):
    image, condition = image_and_condition(drawn_face, random_aus, 128)
    with torch.inference_mode():
        plain = network(image, condition).image
        fast = FastGANimation(network, torch.bfloat16, CPU)
        quick = fast(image, fast.features(image), condition)
    levels = (quick - plain).abs() * LEVELS
    assert quick.dtype == torch.float32
    assert levels.mean() < 1
    assert levels.max() < 12


def test_the_condition_moves_the_image(network, drawn_face, random_aus):
    image, condition = image_and_condition(drawn_face, random_aus, 32)
    fast = FastGANimation(network, torch.float32, CPU)
    with torch.inference_mode():
        features = fast.features(image)
        one = fast(image, features, condition)
        other = fast(image, features, condition * 0)
    assert (one - other).abs().mean() * LEVELS > 1


def test_the_fast_network_keeps_its_own_weights(drawn_face, random_aus):
    source = random_network(0)
    image, condition = image_and_condition(drawn_face, random_aus, 16)
    with torch.inference_mode():
        fast = FastGANimation(source, torch.float32, CPU)
        before = fast(image, fast.features(image), condition)
        for weight in source.parameters():
            weight.zero_()
        after = fast(image, fast.features(image), condition)
    assert torch.equal(before, after)


def test_attention_one_gives_the_input_back():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    image = to_network_range(every)
    colour = torch.linspace(-1, 1, image.numel()).reshape(image.shape)
    ones = torch.ones(1, 1, 16, 16)
    assert torch.equal(to_pixels(blend(image, colour, ones)), every)
    assert torch.equal(blend(image, colour, 0 * ones), colour)


def test_weights_that_saturate_the_attention_give_the_input_or_the_colour(drawn_face, random_aus):
    """The heads see a constant: the decoder's last norm is 0 times x plus 1."""
    network = random_network(0)
    image, condition = image_and_condition(drawn_face, random_aus, 16)
    with torch.inference_mode():
        network.decoder[1].norm.weight.zero_()
        network.decoder[1].norm.bias.fill_(1)
        network.colour.weight.fill_(0.0001)
        for sign, expected in ((1, "input"), (-1, "colour")):
            network.attention.weight.fill_(sign)
            fast = FastGANimation(network, torch.float32, CPU)
            rendered = network(image, condition)
            quick = fast(image, fast.features(image), condition)
            target = image if expected == "input" else rendered.colour
            assert torch.equal(rendered.image, target)
            assert torch.allclose(quick, target, atol=1e-5)


def test_gradients_reach_every_weight(drawn_face, random_aus):
    network = random_network(0)
    network(*image_and_condition(drawn_face, random_aus, 16)).image.sum().backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in network.parameters())


def test_pixels_are_rounded_and_clamped():
    values = torch.tensor([-1.2, -1.0, 0.0, 0.4999 / 127.5, 0.6 / 127.5, 1.0, 1.3])
    assert to_pixels(values).tolist() == [0, 0, 128, 128, 128, 255, 255]
