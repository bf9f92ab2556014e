"""How a generator is trained: every choice as a number, the known recipes by name.

`pumarola` and `donydchen` are the two public implementations (albertpumarola/GANimation@40da9ae,
donydchen/ganimation_replicate@ac33ecc) of Pumarola et al., "GANimation", ECCV 2018. `miex` is
this project's own.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from miex.datasets.config import FrozenConfig, explain
from miex.generators.ganimation.network import WIDTH


class Weights(FrozenConfig):
    """What each loss of `miex.generators.ganimation.losses` counts; 0 leaves it out.

    Attributes:
        adversary: `deceive`, for the generator.
        gradient_penalty: For the critic, at every step.
        r1: For the critic, every `Recipe.r1_every` steps, then that many times as much.
        aus: `au_error`, of the critic on photographs and of the generator on what it renders.
        au_pairs: `au_error` of the critic on the change from a photograph to its warp.
        cycle: `absolute_error` of the way there and back, and of a face asked for no change.
        attention_mean: `attention_mean`, against saturation.
        attention_variation: `total_variation`.
        attention_leak: Against changes outside the face.
        attention_saturation: Above `Recipe.attention_ceiling` only.
        teacher: `teaching`, on the rows whose change a warp can render.
        reading: `au_error` of a `ReadingNetwork` on the change from the photograph to what is
            rendered.
        answers: `answering`, on real pairs.
        painting: `painting`, between what the guided network renders and the warp it was given:
            nothing is painted that no other loss asks for.
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
    """How a generator is trained.

    The defaults are what both public implementations share.

    Attributes:
        name: What it is called; free for one's own.
        design: Which network: `ganimation`, or `guided` by a warp
            (`miex.generators.ganimation.guided_network`), which needs `condition: change`.
        condition: What the generator is told. `absolute`: the intensities that the face shall
            have. `change`: by how much each shall rise (or fall), so that 0 is the photograph as
            it is, as for the generator `warp`.
        batch: Photographs a step, over all processes.
        epochs: Passes over the training photographs at full learning rate.
        decay_epochs: Passes in which it falls linearly, after these.
        decay: How it falls. `step`: with every step, to 0. `after_epoch`: after each of these
            passes by 1 / decay_epochs, so that the first one still has the full rate.
            `with_epoch`: with each pass by 1 / (decay_epochs + 1), from the last one at full rate
            on.
        replacement: Whether photographs are drawn with replacement; otherwise each comes once an
            epoch.
        critic_steps: Steps of the discriminator for one of the generator.
        generator_first: Whether the generator moves with the first of these, rather than the last.
        learning_rate: Adam's, of the generator.
        critic_learning_rate: Adam's, of the discriminator.
        betas: Adam's, of both.
        critic: `wasserstein` or `hinge`.
        r1_every: Steps between two penalties R1.
        weights: What each loss counts.
        attention_ceiling: Mean of the attention over a face from which on it counts as saturated.
        cycle_share: Share of a batch that goes there and back; the last rows.
        micro_share: Share of a batch that asks for a few AUs of `micro_intensity` more; with
            `condition: change` only. Such rows can be taught by `warp`. The first rows.
        still_share: Share of a batch that asks for no change; with `condition: change` only.
        paired_share: Share of a batch that are real pairs, where there are any; guided only. The
            last rows.
        reading_steps: Steps in which the `ReadingNetwork` is taught before the training.
        micro_intensity: Least and greatest change that a micro row asks of an AU.
        noise: Half width of the uniform noise on conditions taken from other photographs
            (intensity / 5).
        augment: Strength of what both judges' images undergo, see
            `miex.generators.ganimation.augmentation`; 0 for nothing.
        average: Decay of the moving average of the generator's weights, which is what is
            exported; 0 exports the last weights.
        train_norms: Whether the instance norms' weights and biases are trained.
        width: Channels of the generator's first layer; checkpoints of other widths than 64 are
            for trials and cannot be loaded.
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
    width: int = Field(WIDTH, ge=4, le=256)
    critic_width: int = Field(WIDTH, ge=4, le=256)

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
                "weights.teacher and weights.au_pairs teach micro rows, and there are none; raise"
                " micro_share, or set both to 0"
            )
        if self.design == "guided":
            self._agrees_with_guidance()
        if self.critic == "wasserstein" and self.weights.gradient_penalty == 0:
            raise ValueError("critic wasserstein needs weights.gradient_penalty above 0")
        return self

    def _agrees_with_guidance(self) -> None:
        """Refuse what the guided design cannot do."""
        if self.condition != "change":
            raise ValueError("design guided needs condition: change: a warp adds to a photograph")
        for name in ("cycle", "teacher", "au_pairs"):
            if getattr(self.weights, name):
                raise ValueError(
                    f"weights.{name} is not for design guided, which is given the warp; set it to 0"
                )

    def rows(
        self, kind: Literal["micro", "still", "cycle", "paired"], batch: int | None = None
    ) -> int:
        """How many rows of a batch are of a kind; the same in every batch.

        Args:
            kind: Which.
            batch: Rows of the batch, if it is but a part of `batch`.
        """
        share = {
            "micro": self.micro_share,
            "still": self.still_share,
            "cycle": self.cycle_share if self.weights.cycle else 0.0,
            "paired": self.paired_share,
        }
        return round(share[kind] * (batch or self.batch))

    def total_steps(self, photographs: int) -> int:
        """Steps of the discriminator in the whole training, at least 1."""
        return max(1, round((self.epochs + self.decay_epochs) * photographs / self.batch))

    def rate_factor(self, step: int, total: int) -> float:
        """What the learning rates are multiplied with at step 0 to total - 1."""
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
        """Whether the generator takes part in a step, counted from 0."""
        return step % self.critic_steps == (0 if self.generator_first else self.critic_steps - 1)


_AUS_PER_BATCH, _VARIATION_PER_IMAGE = 4000.0, 2e-5
"""albertpumarola's weights of a loss that is divided by the batch once more, and of one that is
summed over it, both passes together."""

RECIPES: Mapping[str, Recipe] = {
    # There the attention of both passes is penalised apart, by .1 and, summed over a batch of 25,
    # 1e-5, and added; here each is one mean over both. Still differs: the gradient penalty has a
    # step of Adam of its own there, and the generator's fifth step is counted anew in each epoch.
    "pumarola": Recipe(
        name="pumarola",
        decay="after_epoch",
        replacement=True,
        weights=Weights(
            gradient_penalty=10.0, aus=160.0, attention_mean=0.2, attention_variation=5e-4
        ),
    ),
    "donydchen": Recipe(
        name="donydchen",
        decay="with_epoch",
        generator_first=True,
        weights=Weights(gradient_penalty=10.0, aus=160.0),
        train_norms=False,
    ),
    # condition: templates are not neutral, and labels of single photographs are biased by the
    #   person; changes cancel both (Wu et al., RelGAN, ICCV 2019).
    # micro_share, teacher: `warp` knows exactly where skin goes for small AUs, on any face and
    #   for AUs that photographs hardly show; no label noise. Its blurry part counts less.
    # au_pairs: the critic learns from the same pairs how each AU changes a face, so that its
    #   reading of AU15 or AU20 does not rest on a handful of photographs.
    # wild rows: AUs of another photograph keep macro expressions and their appearance in play.
    # still_share: nothing asked, nothing changed; micro-expressions are small against that.
    # cycle_share: taught rows have their answer already; the others keep the person by a cycle.
    # critic, r1: hinge with a lazy R1 costs a tenth of a gradient penalty and one critic step
    #   (Mescheder et al. 2018; Karras et al. 2020, StyleGAN2, for the laziness).
    # augment: 9,000 photographs are few for 45 M parameters (Zhao et al. 2020, DiffAugment).
    # average: less noise in the weights (Karras et al. 2018, progressive growing).
    # attention_leak, attention_saturation: the face alone may change, and it must be able to.
    #   Without the ceiling the maps of a narrow network went to .99 within 200 steps and it learnt
    #   nothing more; with .9 they stay there.
    # Weights: at the values the losses take (adversary 1, AUs and pairs 1e-2, teacher 1e-2, cycle
    #   .05, leak .05) each contributes between 0.2 and 1. With 100 for the teacher a narrow network
    #   followed it after 300 steps as well as after 500 with 20.
    "miex": Recipe(
        name="miex",
        condition="change",
        batch=64,
        epochs=120.0,
        decay_epochs=80.0,
        critic_steps=1,
        learning_rate=2e-4,
        critic_learning_rate=2e-4,
        critic="hinge",
        weights=Weights(
            adversary=0.5,
            r1=1.0,
            aus=100.0,
            au_pairs=100.0,
            cycle=10.0,
            attention_leak=5.0,
            attention_saturation=10.0,
            teacher=100.0,
        ),
        cycle_share=0.4,
        micro_share=0.5,
        still_share=0.05,
        augment=1.0,
        average=0.999,
    ),
    # The geometry is the warp's, so the network is small and learns appearance alone:
    # answers: videos of a few people at rest and expressive say exactly what appears.
    # reading, aus: two readers of AUs, one taught before on photographs alone, one in the critic,
    #   say of strangers whether furrows and shades are read as the AU that was asked for.
    # adversary: what is painted must look like a photograph.
    # painting: nothing that none of these asks for. With 40 for the reader, 20 for the AUs, .1 for
    #   the adversary and broad shades as cheap as furrows, 1,600 steps ended with a dark blotch on
    #   the forehead for AU01: both readers liked it, no face has it. With 1 for painting and a
    #   weight of 6 for broad shades it painted nothing at all after 200 steps.
    "guided": Recipe(
        name="guided",
        design="guided",
        condition="change",
        batch=16,
        epochs=15.0,
        decay_epochs=10.0,
        critic_steps=1,
        learning_rate=5e-4,
        critic_learning_rate=4e-4,
        critic="hinge",
        weights=Weights(
            adversary=0.3,
            r1=1.0,
            aus=10.0,
            cycle=0.0,
            reading=10.0,
            answers=10.0,
            painting=0.3,
        ),
        micro_share=0.45,
        still_share=0.0,
        paired_share=0.25,
        augment=1.0,
        average=0.998,
        width=20,
        critic_width=16,
    ),
}
"""The known recipes by name."""


def _follow_batch(fields: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Give albertpumarola's weights for another batch, where they were not set."""
    batch = fields["batch"]
    if not isinstance(batch, int) or batch < 1:
        return  # the recipe itself refuses it, and says so
    followed = {
        "aus": _AUS_PER_BATCH / batch,
        "attention_variation": _VARIATION_PER_IMAGE * batch,
    }
    for key, value in followed.items():
        if f"weights.{key}" not in changes:
            fields["weights"][key] = value


def choose_recipe(name: str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A known recipe, with some fields changed.

    Args:
        name: pumarola, donydchen or miex.
        changes: Values by field, those of `weights` with a dot: ``{"weights.cycle": 5}``.

    Raises:
        ValueError: No such recipe or field, or a value that does not fit; each is named.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    fields = RECIPES[name].model_dump()
    for field, value in (changes or {}).items():
        group, dot, leaf = field.partition(".")
        inner = fields.get(group) if dot else fields
        key = leaf if dot else group
        if not isinstance(inner, dict) or key not in inner:
            weights = ", ".join(f"weights.{weight}" for weight in Weights.model_fields)
            known = ", ".join([*(f for f in Recipe.model_fields if f != "weights"), weights])
            raise ValueError(f"a recipe has no field {field!r}; it has {known}")
        inner[key] = value
    if name == "pumarola" and changes and "batch" in changes:
        _follow_batch(fields, changes)
    if changes and "name" not in changes:
        fields["name"] = f"{name}, changed"
    try:
        return Recipe(**fields)
    except ValidationError as error:
        raise ValueError(f"recipe {name}: {explain(error)}") from None
