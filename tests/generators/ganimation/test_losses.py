"""The losses against values computed by hand, and the penalties against finite differences."""

import pytest
import torch
from torch import Tensor

from miex.generators.ganimation import losses


def test_critics_and_deceit_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0, 1.5])
    assert losses.wasserstein_critic(real, fake).item() == pytest.approx(-0.5 - 1.25)
    # (0 + .5) / 2 + (0 + 1 + 2.5) / 3
    assert losses.hinge_critic(real, fake).item() == pytest.approx(0.25 + 3.5 / 3)
    assert losses.deceive(fake).item() == pytest.approx(0.5)


def test_au_error_counts_only_what_counts() -> None:
    found = torch.tensor([[0.2, 0.9, 0.4]], requires_grad=True)
    wanted = torch.tensor([[0.0, float("nan"), 0.1]])
    counted = torch.tensor([[True, False, True]])
    error = losses.au_error(found, wanted, counted)
    assert error.item() == pytest.approx((0.04 + 0.09) / 2)
    error.backward()
    torch.testing.assert_close(found.grad, torch.tensor([[0.2, 0.0, 0.3]]))
    nothing = losses.au_error(found, wanted, torch.zeros(1, 3, dtype=torch.bool))
    assert nothing.item() == 0


def test_absolute_error_and_attention_by_hand() -> None:
    assert losses.absolute_error(torch.tensor([1.0, -1.0]), torch.tensor([0.0, 0.5])) == 1.25
    attention = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]], [[[1.0, 1.0], [1.0, 1.0]]]])
    assert losses.attention_mean(attention).item() == 0.75
    # across: 1 + 0, down: .5 + .5, in the first of two maps
    assert losses.total_variation(attention).item() == 1.0
    face = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]], [[[0.0, 0.0], [1.0, 1.0]]]])
    # outside: 0 in the first, 1 and 1 in the second
    assert losses.attention_leak(attention, face).item() == pytest.approx(1 / 3)
    # inside: 2/3 and 1
    expected = (max(0, 2 / 3 - 0.8) + 0.2) / 2
    assert losses.attention_saturation(attention, face, 0.8).item() == pytest.approx(expected)
    assert losses.attention_leak(attention, torch.ones_like(face)).item() == 0


def test_gradient_penalty_against_finite_differences() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 4, 4, dtype=torch.float64)

    def score(x: Tensor) -> Tensor:
        return torch.stack([(x * weight).sum((1, 2, 3)).sin(), (x**2).sum((1, 2, 3))], 1)

    real, fake = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    share = torch.tensor([0.25, 0.9], dtype=torch.float64).view(2, 1, 1, 1)
    between = share * real + (1 - share) * fake
    penalties, squares = [], []
    for image, photograph in zip(between, real, strict=True):
        for place, kept in ((image, penalties), (photograph, squares)):
            slopes = []
            for i in range(place.numel()):
                step = torch.zeros_like(place).flatten()
                step[i] = 1e-6
                step = step.view_as(place)
                ends = score(torch.stack([place + step, place - step]))
                slopes.append((ends[0] - ends[1]) / 2e-6)
            kept.append(torch.stack(slopes))
    lengths = torch.stack([slopes.sum(1).norm() for slopes in penalties])
    found = losses.gradient_penalty(score, real, fake, share)
    assert found.item() == pytest.approx((lengths - 1).square().mean().item(), rel=1e-4)
    r1 = torch.stack([slopes.mean(1).square().sum() for slopes in squares]).mean() / 2
    assert losses.r1_penalty(score, real).item() == pytest.approx(r1.item(), rel=1e-4)


def test_penalties_reach_the_weights() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    images = torch.ones(2, 3, 4, 4)

    def score(x: Tensor) -> Tensor:
        return weight * x.mean((1, 2, 3))

    # The gradient is weight / 48 in 48 places: its square sums to weight^2 / 48.
    penalty = losses.r1_penalty(score, images)
    assert penalty.item() == pytest.approx(9 / 96)
    penalty.backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(3 / 48)


def test_teaching_minds_edges_more_than_shading() -> None:
    taught = torch.zeros(1, 3, 32, 32)
    shade = losses.teaching(taught + 0.1, taught)
    assert shade.item() == pytest.approx(losses.SHADING * 0.1, rel=1e-5)
    chequers = 0.1 * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).mul(2).sub(1)
    edges = losses.teaching(taught + chequers, taught)
    assert edges.item() == pytest.approx(0.1, rel=0.05)
    assert losses.teaching(taught, taught).item() == 0
