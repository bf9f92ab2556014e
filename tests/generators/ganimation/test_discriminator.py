"""GANimation's discriminator: size, shapes, and a slow twin."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from miex.generators.ganimation.discriminator import Discriminator, random_discriminator

GIVEN_MILLIONS = 44.9


def test_has_the_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in Discriminator(128).parameters())
    assert count == 44_860_352
    assert round(count / 1e6, 1) == GIVEN_MILLIONS


SIZES = [(16, 3, 2), (32, 4, 2), (128, 6, 2), (192, 6, 3)]


@pytest.mark.parametrize(("size", "layers", "patches"), SIZES)
def test_judges_patches_and_aus_at_any_size(size: int, layers: int, patches: int) -> None:
    critic = random_discriminator(0, size, width=4)
    assert len(critic.main) == layers
    verdict = critic(torch.zeros(2, 3, size, size))
    assert verdict.realness.shape == (2, 1, patches, patches)
    assert verdict.aus.shape == (2, 17)


@pytest.mark.parametrize("size", [8, 100, 130])
def test_refuses_sizes_that_the_layers_do_not_divide(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} pixels; expected at least 16, and a multiple of"):
        Discriminator(size)


def test_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = (random_discriminator(seed, 16, 4) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [net.state_dict()["main.1.weight"] for net in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].std().item() == pytest.approx(0.02 * 4, rel=0.1)
    assert not one.state_dict()["main.1.bias"].any()


def test_equals_a_slow_twin() -> None:
    critic = random_discriminator(0, 16, width=4).double()
    state = critic.state_dict()
    image = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16)))
    x = image
    for layer in range(3):
        weight, bias = state[f"main.{layer}.weight"], state[f"main.{layer}.bias"]
        columns = F.unfold(x, 4, stride=2, padding=1)
        side = x.shape[-1] // 2
        x = (weight.flatten(1) @ columns + bias[:, None]).unflatten(2, (side, side))
        x = torch.maximum(x, 0.01 * x)
    aus = torch.einsum("nchw,achw->na", x, state["aus.weight"])
    patches = F.unfold(x, 3, padding=1)
    realness = (state["realness.weight"].flatten(1) @ patches).unflatten(2, (2, 2))
    verdict = critic(image)
    torch.testing.assert_close(verdict.aus, aus)
    torch.testing.assert_close(verdict.realness, realness)
