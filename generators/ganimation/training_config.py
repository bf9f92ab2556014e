"""Configuration of the training of a generator; needs no PyTorch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.datasets.trackers import TrackerName, tracker_names
from miex.generators.ganimation.recipe import RECIPES, Recipe


class TrainingConfig(FrozenConfig):
    """Data, recipe and duration of one training; fields of the recipe need no ``recipe.``."""

    inlined = ("recipe",)

    data: Annotated[Path, Flag(argument=True, metavar="DATA")] = Field(
        description="training set of `miex training-set` (.parquet)"
    )
    recipe: Annotated[
        Recipe,
        Flag(
            kind=str,
            metavar="NAME",
            choices=lambda: tuple(RECIPES),
            description="recipe, guided by default; --set changes fields of it",
        ),
    ] = Field(RECIPES["guided"], description="hyperparameters")
    pairs: Annotated[Path | None, Flag()] = Field(
        None,
        description="second training set, of frames of people in motion, several of each person: "
        "real pairs, for recipes with paired_share",
    )
    photographs: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        description="number of training photographs, drawn at random; all by default. `warp` "
        "keeps 0.7 MB of each in memory",
    )
    start: Annotated[Path | None, Flag()] = Field(
        None,
        description="weights to start from instead of random ones; design and width must be the "
        "recipe's",
    )
    seed: Annotated[int, Flag()] = Field(
        0, ge=0, lt=2**63, description="seed of everything that is drawn at random"
    )
    steps: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        description="total number of steps, instead of the recipe's epochs; the learning rate "
        "decreases accordingly",
    )
    minutes: Annotated[float | None, Flag()] = Field(
        None,
        gt=0,
        description="stop after this time, with a state and weights; the next run resumes",
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="device: auto, cpu, cuda, cuda:1, ..."
    )
    compile: Annotated[bool, Flag()] = Field(
        False, description="use torch.compile for the generator; takes a minute, pays on a GPU"
    )
    log: Annotated[tuple[TrackerName, ...], Flag(choices=tracker_names)] = Field(
        (), description="trackers that get the losses, besides metrics.jsonl (extra: loggers)"
    )
    log_every: int = Field(20, ge=1, description="steps per line of mean losses")
    validate_every: int = Field(
        500,
        ge=1,
        description="steps between two validations; checked where losses are logged",
    )
    save_every: int = Field(
        2000, ge=1, description="steps between two states; checked where losses are logged"
    )
