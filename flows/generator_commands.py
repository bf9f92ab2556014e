"""Define the command `miex train-generator`; torch is imported inside it."""

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
        Path, typer.Argument(metavar="DATA", help="Training set of `miex training-set` (.parquet).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; a run in it resumes.")],
    recipe: Annotated[str, typer.Option(help="guided, miex, pumarola or donydchen.")] = "guided",
    pairs: Annotated[
        Path | None,
        typer.Option(help="Second training set, of frames of people in motion: real pairs."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights to start from instead of random ones.")
    ] = None,
    photographs: Annotated[
        int | None, typer.Option(min=1, help="Number of training photographs; all by default.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of steps, instead of the recipe's epochs.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; the next run resumes.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is random.")] = 0,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1, ...")] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile", help="Use torch.compile; takes a minute, pays on a GPU.")
    ] = False,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Field of the recipe. Repeatable."),
    ] = None,
) -> None:
    """Train GANimation's generator on faces with AUs; resumes when run again.

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
    """Train a generator with progress, and print the result.

    Raises:
        FileNotFoundError: There is no such training set.
        ValueError: Data, recipe and machine do not fit, or the folder holds another training.
        TrainingFailedError: The training diverged, or the generator changes nothing.
    """
    from miex.generators.ganimation.training import train

    with terminal.stages() as stages:

        def show(stage: str, done: int, total: int, losses: Mapping[str, float]) -> None:
            meter = stages.of(stage, _UNITS[stage])
            meter.note = "  ".join(f"{name} {value:.3g}" for name, value in losses.items())
            # Steps of an earlier run do not count for the pace.
            meter.to(done, total, timed=meter.total is not None)

        result = train(config, show)
    weights = escape(str(result.weights))
    terminal.say(f"weights: {weights} (step {result.step} of {result.total})")
    terminal.say(
        f"AUs of validation identities: squared error {result.au_error:.3f}, of their mean"
        f" {result.au_error_constant:.3f}"
    )
    if result.step < result.total:
        terminal.say("the time limit is reached; the same command resumes from here")
