"""The command `miex train-generator`.

Whatever is slow to import is imported inside the command that needs it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from miex.flows.terminal import Terminal

if TYPE_CHECKING:
    from miex.generators.ganimation.training import TrainingConfig

_UNITS = {"faces": "faces", "warps": "faces", "steps": "steps"}


def train_generator(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="What `miex training-set` made (.parquet).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; one in it goes on.")],
    recipe: Annotated[str, typer.Option(help="guided, miex, pumarola or donydchen.")] = "guided",
    pairs: Annotated[
        Path | None,
        typer.Option(help="Frames of people in motion, a training set, too: real pairs."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights to begin with, in place of random ones.")
    ] = None,
    photographs: Annotated[
        int | None, typer.Option(min=1, help="Learn from so many of the photographs.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="In all, in place of the recipe's epochs.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so many; the next run goes on.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile", help="torch.compile; worth its minute on a GPU.")
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the recipe; repeatable."),
    ] = None,
) -> None:
    """Trains GANimation's generator on faces with AUs; a run that was stopped goes on.

    --set takes fields of the recipe, as batch=32 or weights.cycle=5.
    """
    from miex.datasets.config import parse_assignments
    from miex.generators.ganimation.recipe import choose_recipe
    from miex.generators.ganimation.training import TrainingConfig

    config = TrainingConfig(
        data=data, out=out, recipe=choose_recipe(recipe, parse_assignments(setting or [])),
        pairs=pairs, start=start, photographs=photographs, seed=seed, steps=steps,
        minutes=minutes, device=device, compile=compile,
    )  # fmt: skip
    run_training(Terminal(), config)


def run_training(terminal: Terminal, config: "TrainingConfig") -> None:
    """Trains and prints what came out.

    Raises:
        FileNotFoundError: No training set.
        ValueError: Data, recipe and machine do not fit, or the folder holds another training.
        TrainingFailedError: It diverged or does nothing.
    """
    from miex.generators.ganimation.training import train

    with terminal.stages() as stages:

        def show(stage: str, done: int, total: int, losses: Mapping[str, float]) -> None:
            meter = stages.of(stage, _UNITS[stage])
            meter.note = "  ".join(f"{name} {value:.3g}" for name, value in losses.items())
            # What an earlier run did says nothing about the pace of this one.
            meter.to(done, total, timed=meter.total is not None)

        result = train(config, show)
    weights = escape(str(result.weights))
    terminal.say(f"weights: {weights} (step {result.step} of {result.total})")
    terminal.say(
        f"AUs of strangers: squared error {result.au_error:.3f}, of their mean"
        f" {result.au_error_constant:.3f}"
    )
    if result.step < result.total:
        terminal.say("the time is over; the same command goes on from here")
