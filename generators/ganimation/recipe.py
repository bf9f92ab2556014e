"""Training recipes of a generator: hyperparameters, and known sets of them by name.

`pumarola` and `donydchen` are the two public implementations (albertpumarola/GANimation@40da9ae,
donydchen/ganimation_replicate@ac33ecc) of Pumarola et al., "GANimation", ECCV 2018. `miex` and
`guided` belong to this project. This module does not import PyTorch.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from miex.datasets.config import FrozenConfig, build


class Weights(FrozenConfig):
    """Weights of the losses of `miex.generators.ganimation.losses`; 0 switches a loss off.

    Attributes:
        adversary: `deceive`, of the generator.
        gradient_penalty: Gradient penalty of the critic, in every step.
        r1: R1 penalty of the critic, every `Recipe.r1_every` steps and multiplied by that number.
        aus: `au_error` of the critic on photographs, and of the generator on its output.
        au_pairs: `au_error` of the critic on the change from a photograph to its warp.
        cycle: `absolute_error` of the cycle, and of a face for which no change is requested.
        attention_mean: `attention_mean`, against saturation.
        attention_variation: `total_variation` of the attention.
        attention_leak: Attention outside the face.
        attention_saturation: Mean attention above `Recipe.attention_ceiling`.
        teacher: `teaching`, on the rows whose change a warp can render.
        reading: `au_error` of a `ReadingNetwork` on the change from the photograph to the output.
        answers: `answering`, on real pairs.
        painting: `painting`, the difference between the output of the guided network and the warp
            that is its input; it removes changes that no other loss asks for.
    """

    adversary: float = Field(1.0, ge=0)
    gradient_penalty: float = Field(0.0, ge=0)
    r1: float = Field(0.0, ge=0)
    aus: float = Field(160.0, ge=0)
    au_pairs: float = Field(0.0, ge=0)
    cycle: float = Field(10.0, ge=0)
    attention_mean: float = Field(0.0, ge=0)
    attention_variation: float = Field(0.0, ge=0)
    attention_leak: float = Field(0.0, ge=0)
    attention_saturation: float = Field(0.0, ge=0)
    teacher: float = Field(0.0, ge=0)
    reading: float = Field(0.0, ge=0)
    answers: float = Field(0.0, ge=0)
    painting: float = Field(0.0, ge=0)


class Recipe(FrozenConfig):
    """Hyperparameters of the training of a generator.

    The defaults are those that both public implementations share. The name of a known recipe
    replaces them by those of that recipe: ``Recipe(name="miex", batch=32)``.

    Attributes:
        name: Name of a known recipe or any other name. A known recipe with changed fields gets
            the name ``NAME, changed``.
        design: Network: `ganimation`, or `guided` by a warp
            (`miex.generators.ganimation.guided_network`), which needs `condition: change`.
        condition: Input of the generator. `absolute`: the intensities that the face shall have.
            `change`: the increase (or decrease) of each AU, so that 0 is the photograph itself,
            as for the generator `warp`.
        batch: Photographs per step, over all processes.
        epochs: Epochs at full learning rate.
        decay_epochs: Epochs after these in which the learning rate decreases linearly.
        decay: Schedule of the decrease. `step`: in every step, to 0. `after_epoch`: after each
            decay epoch by 1 / decay_epochs, so that the first one has the full rate.
            `with_epoch`: at the start of each decay epoch by 1 / (decay_epochs + 1), beginning
            with the last epoch at full rate.
        replacement: Whether photographs are drawn with replacement; otherwise each is used once
            per epoch.
        critic_steps: Steps of the discriminator per step of the generator.
        generator_first: Whether the generator is updated in the first of these steps instead of
            the last.
        learning_rate: Learning rate of the generator (Adam).
        critic_learning_rate: Learning rate of the discriminator (Adam).
        betas: Adam's beta 1 and beta 2, of both.
        critic: Adversarial loss: `wasserstein` or `hinge`.
        r1_every: Steps between two R1 penalties.
        weights: Weights of the losses.
        attention_ceiling: Mean attention over a face, 0-1, above which it counts as saturated.
        cycle_share: Share of a batch with a cycle loss; the last rows.
        micro_share: Share of a batch for which small changes (`micro_intensity`) of a few AUs are
            requested; only with `condition: change`. `warp` can teach these rows. The first rows.
        still_share: Share of a batch for which no change is requested; only with
            `condition: change`.
        paired_share: Share of a batch that are real pairs, if there are any; only with
            `design: guided`. The last rows.
        reading_steps: Steps of the training of the `ReadingNetwork`, before all others.
        micro_intensity: Smallest and largest change of an AU in a micro row, FACS intensity.
        noise: Half width of the uniform noise that is added to conditions taken from other
            photographs, in units of intensity / 5.
        augment: Strength of the augmentation of the discriminators' input, 0-1, see
            `miex.generators.ganimation.augmentation`; 0 for none.
        average: Decay of the exponential moving average of the generator's weights, which is
            exported; 0 exports the last weights.
        train_norms: Whether weights and biases of the instance norms are trained.
        width: Channels of the generator's first layer; checkpoints of the design `ganimation`
            can only be loaded with 64.
        critic_width: Channels of the discriminator's first layer.
    """

    name: str = "custom"
    design: Literal["ganimation", "guided"] = "ganimation"
    condition: Literal["absolute", "change"] = "absolute"
    batch: int = Field(25, ge=1)
    epochs: float = Field(20.0, gt=0)
    decay_epochs: float = Field(10.0, ge=0)
    decay: Literal["step", "after_epoch", "with_epoch"] = "step"
    replacement: bool = False
    critic_steps: int = Field(5, ge=1)
    generator_first: bool = False
    learning_rate: float = Field(1e-4, gt=0, lt=1)
    critic_learning_rate: float = Field(1e-4, gt=0, lt=1)
    betas: tuple[float, float] = (0.5, 0.999)
    critic: Literal["wasserstein", "hinge"] = "wasserstein"
    r1_every: int = Field(16, ge=1)
    weights: Weights = Weights()
    attention_ceiling: float = Field(0.9, ge=0, le=1)
    cycle_share: float = Field(1.0, ge=0, le=1)
    micro_share: float = Field(0.0, ge=0, le=1)
    still_share: float = Field(0.0, ge=0, le=1)
    paired_share: float = Field(0.0, ge=0, le=1)
    reading_steps: int = Field(500, ge=1)
    micro_intensity: tuple[float, float] = (0.2, 3.0)
    noise: float = Field(0.1, ge=0, le=1)
    augment: float = Field(0.0, ge=0, le=1)
    average: float = Field(0.0, ge=0, lt=1)
    train_norms: bool = True
    width: int = Field(64, ge=4, le=256)
    critic_width: int = Field(64, ge=4, le=256)

    @model_validator(mode="wrap")
    @classmethod
    def _known(cls, given: Any, handler: ModelWrapValidatorHandler["Recipe"]) -> "Recipe":
        """Fill in the fields of a known recipe, given by its name alone or among fields."""
        if isinstance(given, str):
            if given not in _KNOWN:
                raise ValueError(f"no recipe {given!r}; there are {', '.join(_KNOWN)}")
            given = {"name": given}
        if not isinstance(given, dict) or given.get("name") not in _KNOWN:
            return handler(given)
        recipe = handler(_filled(given))
        if set(given) == {"name"}:
            # Changes of a config keep what depends on others, as the weights of pumarola do.
            recipe.model_fields_set.intersection_update(given)
        return recipe

    @model_validator(mode="after")
    def _agrees(self) -> "Recipe":
        low, high = self.micro_intensity
        if not 0 < low <= high <= 5:
            raise ValueError(f"micro_intensity {low:g} to {high:g}, expected 0 < low <= high <= 5")
        if self.micro_share + self.still_share > 1:
            raise ValueError("micro_share and still_share together are more than the batch")
        if self.condition == "absolute" and self.micro_share + self.still_share > 0:
            raise ValueError("micro_share and still_share need condition: change")
        taught = self.weights.teacher > 0 or self.weights.au_pairs > 0
        if taught and self.rows("micro") == 0:
            raise ValueError(
                "weights.teacher and weights.au_pairs need micro rows, and there are none; raise"
                " micro_share, or set both to 0"
            )
        if self.design == "guided":
            self._agrees_with_guidance()
        if self.critic == "wasserstein" and self.weights.gradient_penalty == 0:
            raise ValueError("critic wasserstein needs weights.gradient_penalty above 0")
        return self

    def _agrees_with_guidance(self) -> None:
        """Raise an error for a setting that the guided design does not support."""
        if self.condition != "change":
            raise ValueError(
                "design guided needs condition: change, since a warp adds to a photograph"
            )
        for name in ("cycle", "teacher", "au_pairs"):
            if getattr(self.weights, name):
                raise ValueError(
                    f"weights.{name} is not for design guided, whose input is the warp; set it to 0"
                )

    def rows(
        self, kind: Literal["micro", "still", "cycle", "paired"], batch: int | None = None
    ) -> int:
        """Return the number of rows of a kind in a batch; it is the same in every batch.

        Args:
            kind: Kind of the rows.
            batch: Rows of the batch, if it is only a part of `self.batch`.
        """
        share = {
            "micro": self.micro_share,
            "still": self.still_share,
            "cycle": self.cycle_share if self.weights.cycle else 0.0,
            "paired": self.paired_share,
        }
        return round(share[kind] * (batch or self.batch))

    def total_steps(self, photographs: int) -> int:
        """Return the number of steps of the discriminator in the whole training, at least 1."""
        return max(1, round((self.epochs + self.decay_epochs) * photographs / self.batch))

    def rate_factor(self, step: int, total: int) -> float:
        """Return the factor of the learning rates, 0-1, in a step from 0 to total - 1."""
        passes = self.epochs + self.decay_epochs
        if not self.decay_epochs:
            return 1.0
        if self.decay == "step":
            return min(1.0, (total - step) / (self.decay_epochs / passes * total))
        epoch = step * passes // total
        if self.decay == "after_epoch":
            return min(1.0, 1 - (epoch - self.epochs) / self.decay_epochs)
        return min(1.0, 1 - (epoch + 2 - self.epochs) / (self.decay_epochs + 1))

    def generator_moves(self, step: int) -> bool:
        """Return whether the generator is updated in a step, counted from 0."""
        return step % self.critic_steps == (0 if self.generator_first else self.critic_steps - 1)


_AUS_PER_BATCH, _VARIATION_PER_IMAGE = 4000.0, 2e-5
"""Weights of albertpumarola for a loss that is divided by the batch a second time, and for one that
is summed over it, over both passes."""

_KNOWN: Mapping[str, Mapping[str, Any]] = {
    # albertpumarola penalises the attention of both passes separately, by .1 and, summed over a
    # batch of 25, by 1e-5, and adds them; here each is one mean over both. Remaining differences:
    # there the gradient penalty has an Adam step of its own, and the count of the generator's
    # fifth step restarts in each epoch.
    "pumarola": {
        "decay": "after_epoch",
        "replacement": True,
        "weights": {
            "gradient_penalty": 10.0,
            "aus": 160.0,
            "attention_mean": 0.2,
            "attention_variation": 5e-4,
        },
    },
    "donydchen": {
        "decay": "with_epoch",
        "generator_first": True,
        "weights": {"gradient_penalty": 10.0, "aus": 160.0},
        "train_norms": False,
    },
    # condition: templates are not neutral, and labels of single photographs have a bias of the
    #   person; changes cancel both (Wu et al., RelGAN, ICCV 2019).
    # micro_share, teacher: `warp` knows the displacement of the skin for small AUs, on any face
    #   and for AUs that photographs hardly show, without label noise. Its blurred part has less
    #   weight.
    # au_pairs: the critic learns from the same pairs how each AU changes a face, so that its
    #   reading of AU15 or AU20 does not depend on a few photographs.
    # other rows: AUs of another photograph keep macro-expressions and their appearance in training.
    # still_share: no change requested, no change rendered; micro-expressions are small.
    # cycle_share: taught rows have a target already; the others keep the person by a cycle.
    # critic, r1: hinge with a lazy R1 costs a tenth of a gradient penalty and one critic step
    #   (Mescheder et al. 2018; Karras et al. 2020, StyleGAN2, for the laziness).
    # augment: 9,000 photographs are few for 45 M parameters (Zhao et al. 2020, DiffAugment).
    # average: less noise in the weights (Karras et al. 2018, progressive growing).
    # attention_leak, attention_saturation: only the face may change, and it must be able to.
    #   Without the ceiling the maps of a narrow network rose to .99 within 200 steps and it stopped
    #   learning; with .9 they stay there.
    # Weights: at the values the losses take (adversary 1, AUs and pairs 1e-2, teacher 1e-2, cycle
    #   .05, leak .05) each contributes between 0.2 and 1. With 100 for the teacher a narrow network
    #   followed it after 300 steps as well as after 500 with 20.
    "miex": {
        "condition": "change",
        "batch": 64,
        "epochs": 120.0,
        "decay_epochs": 80.0,
        "critic_steps": 1,
        "learning_rate": 2e-4,
        "critic_learning_rate": 2e-4,
        "critic": "hinge",
        "weights": {
            "adversary": 0.5,
            "r1": 1.0,
            "aus": 100.0,
            "au_pairs": 100.0,
            "cycle": 10.0,
            "attention_leak": 5.0,
            "attention_saturation": 10.0,
            "teacher": 100.0,
        },
        "cycle_share": 0.4,
        "micro_share": 0.5,
        "still_share": 0.05,
        "augment": 1.0,
        "average": 0.999,
    },
    # The warp supplies the geometry, so the network is small and learns appearance only:
    # answers: videos of a few people at rest and expressive show which appearance belongs to an AU.
    # reading, aus: two AU readers, one trained before on photographs, one in the critic, measure on
    #   other people whether furrows and shades are read as the requested AU.
    # adversary: the output must look like a photograph.
    # painting: no change that none of these asks for. With 40 for the reader, 20 for the AUs, .1
    #   for the adversary and broad shades as cheap as furrows, 1,600 steps ended with a dark blotch
    #   on the forehead for AU01: both readers accepted it, no face has it. With 1 for painting and
    #   a weight of 6 for broad shades it painted nothing after 200 steps.
    "guided": {
        "design": "guided",
        "condition": "change",
        "batch": 16,
        "epochs": 15.0,
        "decay_epochs": 10.0,
        "critic_steps": 1,
        "learning_rate": 5e-4,
        "critic_learning_rate": 4e-4,
        "critic": "hinge",
        "weights": {
            "adversary": 0.3,
            "r1": 1.0,
            "aus": 10.0,
            "cycle": 0.0,
            "reading": 10.0,
            "answers": 10.0,
            "painting": 0.3,
        },
        "micro_share": 0.45,
        "still_share": 0.0,
        "paired_share": 0.25,
        "augment": 1.0,
        "average": 0.998,
        "width": 20,
        "critic_width": 16,
    },
}
"""Fields of the known recipes that differ from the defaults."""


def _filled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the recipe that is named, with the given ones in their place."""
    name, weights, batch = given["name"], given.get("weights", {}), given.get("batch")
    known = _KNOWN[name]
    if isinstance(weights, Weights):
        weights = weights.model_dump()
    if not isinstance(weights, dict):
        return dict(given)  # the validation of the field reports it
    followed: dict[str, float] = {}
    if name == "pumarola" and isinstance(batch, int) and batch > 0:
        followed["aus"] = _AUS_PER_BATCH / batch
        followed["attention_variation"] = _VARIATION_PER_IMAGE * batch
    fields = {**known, **given, "weights": {**known["weights"], **followed, **weights}}
    if set(given) != {"name"}:
        usual = RECIPES[name].model_dump()
        merged = {**usual, **fields, "weights": {**usual["weights"], **fields["weights"]}}
        fields["name"] = name if merged == usual else f"{name}, changed"
    return fields


RECIPES: Mapping[str, Recipe] = {name: Recipe(name=name) for name in _KNOWN}
"""The known recipes by name."""


def choose_recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Return a known recipe with changed fields.

    Args:
        name: pumarola, donydchen, miex or guided.
        changes: Values by field, those of `weights` with a dot: ``{"weights.cycle": 5}``.

    Raises:
        ValueError: No such recipe or field, or a value that does not fit; the message names it.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return build(Recipe, {"name": name, **(changes or {})})
