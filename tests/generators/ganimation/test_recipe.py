"""Recipes: the public ones are what they are, and mistakes are named."""

import pytest
from pydantic import ValidationError

from miex.generators.ganimation.network import WIDTH
from miex.generators.ganimation.recipe import RECIPES, Recipe, choose_recipe


@pytest.mark.parametrize("name", ["pumarola", "donydchen"])
def test_public_recipes(name: str) -> None:
    recipe = RECIPES[name]
    weights = recipe.weights
    assert recipe.condition == "absolute"
    assert (recipe.batch, recipe.critic_steps) == (25, 5)
    assert (recipe.epochs, recipe.decay_epochs) == (20, 10)
    assert recipe.learning_rate == recipe.critic_learning_rate == 1e-4
    assert recipe.betas == (0.5, 0.999)
    assert (weights.adversary, weights.gradient_penalty, weights.cycle) == (1, 10, 10)
    assert weights.aus == 4000 / 25 == 160
    assert recipe.noise == 0.1
    # Its code adds two passes, the total variation as a sum over a batch of 25.
    assert weights.attention_mean == (2 * 0.1 if name == "pumarola" else 0)
    assert weights.attention_variation == (2 * 25 * 1e-5 if name == "pumarola" else 0)
    assert recipe.train_norms == (name == "pumarola")
    assert not recipe.augment
    assert not recipe.average


def test_names_agree() -> None:
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_schedule_is_flat_then_falls_to_zero() -> None:
    recipe = Recipe(weights={"gradient_penalty": 10}, epochs=2, decay_epochs=1, batch=10)
    total = recipe.total_steps(100)
    assert total == 30
    factors = [recipe.rate_factor(step, total) for step in range(total)]
    assert factors[:21] == [1.0] * 21
    assert factors[21:] == pytest.approx([0.1 * left for left in range(9, 0, -1)])
    flat = recipe.model_copy(update={"decay_epochs": 0.0})
    assert flat.rate_factor(29, 30) == 1


def test_public_schedules_fall_by_epoch() -> None:
    """In steps of 1 / 10 from epoch 22 on, and of 1 / 11 from epoch 20 on (counted from 1)."""
    total = 30 * 4
    for name, expected in {
        "pumarola": [1.0] * 21 + [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
        "donydchen": [1.0] * 19 + [left / 11 for left in range(10, -1, -1)],
    }.items():
        factors = [RECIPES[name].rate_factor(step, total) for step in range(total)]
        assert factors == pytest.approx([one for one in expected for _ in range(4)]), name


def test_the_generator_moves_with_the_first_or_the_last_of_five() -> None:
    moves = {name: [RECIPES[name].generator_moves(step) for step in range(5)] for name in RECIPES}
    assert moves["pumarola"] == [False, False, False, False, True]
    assert moves["donydchen"] == [True, False, False, False, False]
    assert all(moves["miex"])


def test_weights_of_pumarola_follow_the_batch() -> None:
    changed = choose_recipe("pumarola", {"batch": 50})
    assert changed.weights.aus == 4000 / 50
    assert changed.weights.attention_variation == pytest.approx(2 * 50 * 1e-5)
    assert choose_recipe("pumarola", {"batch": 50, "weights.aus": 7}).weights.aus == 7
    assert choose_recipe("donydchen", {"batch": 50}).weights.aus == 160
    assert RECIPES["pumarola"].replacement
    assert not RECIPES["donydchen"].replacement


def test_a_name_fills_in_the_fields_of_a_known_recipe() -> None:
    assert Recipe.model_validate("pumarola") == RECIPES["pumarola"]
    assert Recipe(name="miex", batch=8) == choose_recipe("miex", {"batch": 8})
    assert Recipe.model_validate(RECIPES["miex"].model_dump()) == RECIPES["miex"]
    changed = choose_recipe("miex", {"batch": 8})
    assert Recipe.model_validate(changed.model_dump()) == changed
    mine = Recipe(name="mine", critic="hinge")
    assert mine.epochs == 20
    assert mine.width == mine.critic_width == WIDTH
    with pytest.raises(ValueError, match="no recipe 'best'; there are pumarola"):
        Recipe.model_validate("best")


def test_rows_of_a_batch() -> None:
    recipe = RECIPES["miex"]
    assert [recipe.rows(kind) for kind in ("micro", "still", "cycle")] == [32, 3, 26]
    assert recipe.rows("micro", 32) == 16


def test_changes_are_named_and_checked() -> None:
    changed = choose_recipe("miex", {"weights.cycle": 5, "batch": 8})
    assert (changed.weights.cycle, changed.batch) == (5, 8)
    assert changed.name == "miex, changed"
    assert choose_recipe("miex") == RECIPES["miex"]
    with pytest.raises(
        ValueError, match="no recipe 'best'; there are pumarola, donydchen, miex, guided"
    ):
        choose_recipe("best")
    with pytest.raises(ValueError, match=r"weights\.identity: there is no such field"):
        choose_recipe("miex", {"weights.identity": 1})
    with pytest.raises(ValueError, match=r"batch: .* \(given: 0\)"):
        choose_recipe("miex", {"batch": 0})
    with pytest.raises(ValueError, match="there are none; raise micro_share"):
        choose_recipe("miex", {"micro_share": 0.0})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"micro_share": 0.5}, "need condition: change"),
        ({"condition": "change", "micro_share": 0.8, "still_share": 0.3}, "more than the batch"),
        ({"critic": "wasserstein", "weights": {}}, "needs weights.gradient_penalty"),
        ({"micro_intensity": (2.0, 1.0)}, "micro_intensity 2 to 1"),
        ({"typo": 1}, "Extra inputs"),
    ],
)
def test_recipes_that_make_no_sense(fields: dict[str, object], reason: str) -> None:
    base: dict[str, object] = {"weights": {"gradient_penalty": 10}}
    with pytest.raises(ValidationError, match=reason):
        Recipe.model_validate(base | fields)
