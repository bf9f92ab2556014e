"""What is asked for: other people's AUs, or changes as micro-expressions have them."""

import numpy as np
import pytest

from miex.au_sources.action_units import AU_COUNT
from miex.generators.ganimation.recipe import RECIPES, choose_recipe
from miex.generators.ganimation.targets import draw_targets, micro_changes

N = 64
TRUSTED = np.ones(AU_COUNT, bool)


def _aus(seed: int, count: int = N) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 5, (count, AU_COUNT)).astype(np.float32)


def test_absolute_targets_are_the_others_aus_with_noise() -> None:
    own, others = _aus(0), _aus(1)
    own[0, 2] = others[1, 3] = np.nan
    trusted = TRUSTED.copy()
    trusted[5] = False
    targets = draw_targets(RECIPES["pumarola"], own, others, trusted, np.random.default_rng(2))
    noise = targets.condition - np.nan_to_num(others) / 5
    assert np.abs(noise).max() <= 0.1 + 1e-6
    assert noise.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
    np.testing.assert_allclose(targets.back, np.nan_to_num(own) / 5)
    assert not targets.counted[1, 3]
    assert not targets.counted[:, 5].any()
    assert targets.counted.sum() == N * (AU_COUNT - 1) - 1


def test_changes_lead_to_the_others_and_back() -> None:
    recipe = choose_recipe("miex", {"noise": 0.0})
    own, others = _aus(0), _aus(1)
    own[-1, 2] = np.nan
    trusted = TRUSTED.copy()
    trusted[5] = False
    targets = draw_targets(recipe, own, others, trusted, np.random.default_rng(2))
    micro, still = recipe.rows("micro"), recipe.rows("still")
    wild = slice(micro + still, None)
    expected = (others - own)[wild] / 5
    expected[:, 5] = 0
    expected[-1, 2] = 0
    np.testing.assert_allclose(targets.condition[wild], expected, atol=1e-6)
    assert not targets.counted[wild, 5].any()
    assert not targets.counted[-1, 2]
    assert not targets.condition[micro : micro + still].any()
    assert not targets.counted[micro : micro + still].any()
    assert targets.condition[:micro].min() == 0
    assert targets.counted[:micro].all()
    np.testing.assert_array_equal(targets.back, -targets.condition)


def test_without_a_taught_critic_micro_rows_trust_labels_only() -> None:
    recipe = choose_recipe("miex", {"weights.au_pairs": 0})
    trusted = TRUSTED.copy()
    trusted[5] = False
    targets = draw_targets(recipe, _aus(0), _aus(1), trusted, np.random.default_rng(0))
    assert not targets.counted[: recipe.rows("micro"), 5].any()


def test_micro_changes_are_few_and_small() -> None:
    changes = micro_changes(4000, (0.5, 2.0), np.random.default_rng(0)) * 5
    active = changes > 0
    share = np.bincount(active.sum(axis=1), minlength=5) / len(changes)
    np.testing.assert_allclose(share, [0, 0.4, 0.3, 0.2, 0.1], atol=0.03)
    np.testing.assert_allclose(active.mean(axis=0), 2 / AU_COUNT, atol=0.02)
    assert changes[active].min() >= 0.5
    assert changes[active].max() <= 2.0


def test_the_same_seed_asks_for_the_same() -> None:
    one, same, other = (
        draw_targets(RECIPES["miex"], _aus(0), _aus(1), TRUSTED, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.condition, same.condition)
    assert (one.condition != other.condition).any()
