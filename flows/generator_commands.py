"""Define the commands `miex training-set` and `miex train-generator`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from miex.datasets.quantity import quantity
from miex.flows.command_line import (
    TRAINING_KEPT,
    ConfigFile,
    Settings,
    Workers,
    app,
    config_of,
    examples,
    options_of,
    out_option,
    when_interrupted,
)
from miex.flows.terminal import Terminal, reasons

if TYPE_CHECKING:
    from miex.generators.ganimation.training import TrainingResult
    from miex.generators.ganimation.training_config import TrainingConfig
    from miex.generators.ganimation.training_set import TrainingSet
    from miex.pipeline.generator_training.config import TrainingSetConfig

_PANEL = "Generators"


@app.command(
    "training-set",
    cls=options_of("pipeline.generator_training.config:TrainingSetConfig"),
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex training-set ~/photographs -e openface-models:FOLDER --check landmarks",
        "miex training-set celeba:/data/celeba --set held_out=100 --set min_agreement=0.4",
    ),
)
@when_interrupted(
    "no training set was written to {out}; prepared faces are kept beside it for the same command"
)
def training_set(
    ctx: typer.Context,
    faces: Annotated[
        str,
        typer.Argument(
            metavar="FACES",
            help="Photographs: samples, a folder, celeba:PATH, emotionnet:PATH; or a face table.",
        ),
    ],
    out: Annotated[Path, out_option("Training set to write.")] = Path("training.parquet"),
    config: ConfigFile = None,
    setting: Settings = None,
    workers: Workers = None,
) -> None:
    """Make a generator's training set: crops, landmarks and AUs, split by identity."""
    _run_training_set(Terminal(), faces, out, config_of(ctx, config, setting), workers)


@app.command(
    "train-generator",
    cls=options_of("generators.ganimation.training_config:TrainingConfig"),
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex train-generator training.parquet -o runs/gan --pairs pairs.parquet",
        "miex train-generator training.parquet --recipe miex --set batch=32 --set weights.cycle=5",
    ),
)
@when_interrupted(TRAINING_KEPT)
def train_generator(
    ctx: typer.Context,
    out: Annotated[Path, out_option("Folder of the run; a run in it resumes.")] = Path(
        "runs/generator"
    ),
    config: ConfigFile = None,
    setting: Settings = None,
) -> None:
    """Train GANimation's generator on faces with AUs; resumes when run again."""
    run_generator_training(Terminal(), config_of(ctx, config, setting), out)


def run_generator_training(
    terminal: Terminal, config: "TrainingConfig", out: Path
) -> "TrainingResult":
    """Train a generator with progress, and print the result.

    Raises:
        FileNotFoundError: There is no such training set.
        ValueError: Data, recipe and machine do not fit, or the folder holds another training.
        TrainingFailedError: The training diverged, or the generator changes nothing.
    """
    from miex.generators.ganimation.training import train

    with terminal.stages() as stages:

        def show(stage: str, done: int, total: int, losses: Mapping[str, float]) -> None:
            meter = stages.of(stage, "faces" if stage in ("faces", "warps") else "steps")
            meter.note = "  ".join(f"{name} {value:.3g}" for name, value in losses.items())
            # Steps of an earlier run do not count for the pace.
            meter.to(done, total, timed=meter.total is not None)
            stages.announce(stage, "--minutes 30 (the next run resumes), fewer --steps, or a GPU")

        result = train(config, out, show)
    weights = escape(str(result.weights))
    terminal.say(f"weights: {weights} (step {result.step} of {result.total})")
    terminal.say(
        f"AUs of held-out identities: squared error {result.au_error:.3f}, of the mean AUs"
        f" {result.au_error_constant:.3f}"
    )
    if result.step < result.total:
        terminal.say("the time limit is reached; the same command resumes from here")
    return result


def _run_training_set(
    terminal: Terminal,
    faces: str,
    out: Path,
    config: "TrainingSetConfig",
    workers: int | None = None,
) -> None:
    """Make a training set with progress, print what it contains, and draw its contact sheet.

    Args:
        terminal: Where to print.
        faces: A face table, or photographs.
        out: The training set; the sheet is written beside it, with the suffix .png.
        config: Size, labels, split and encoding.
        workers: Number of processes of the face preparation.

    Raises:
        ValueError: See `make_training_set`.
    """
    from miex.pipeline.generator_training.training_set import make_training_set
    from miex.pipeline.reports.training_sheet import training_sheet

    with terminal.stages() as stages:

        def on_progress(stage: str, done: int, total: int) -> None:
            stages.of(stage, "photographs").to(done, total)
            stages.announce(stage, "fewer photographs; they are prepared only once")

        made = make_training_set(faces, out, config, workers=workers, on_progress=on_progress)
    _show(terminal, made)
    sheet = training_sheet(made, out.with_suffix(".png"))
    terminal.say(f"  contact sheet {escape(str(sheet))}")
    command = f"miex train-generator {shlex.quote(str(out))} -o runs/generator"
    terminal.say(f"Next: look at the contact sheet, then  {escape(command)}")


def _show(terminal: Terminal, made: "TrainingSet") -> None:
    """Print the contents of a training set, its trusted AUs, and what was left out."""
    import numpy as np

    from miex.generators.ganimation.training_set import SPLITS

    notes = made.notes
    megabytes = made.path.stat().st_size / 2**20
    terminal.say(
        f"[bold green]{quantity(len(made), 'photograph')}[/], {megabytes:.1f} MiB: "
        f"{escape(str(made.path))}"
    )
    loss = "" if notes.psnr is None else f", {notes.psnr:.1f} dB"
    terminal.say(escape(f"  {notes.image_size} pixels, {notes.encoding}{loss}"))
    terminal.say(escape(f"  AUs by {notes.estimator} ({notes.estimator_version})"))
    columns = ("split", "identities", "photographs")
    rows = [(split, *(str(notes.counts[split][what]) for what in columns[1:])) for split in SPLITS]
    terminal.table("splits", columns, rows)
    aus = np.concatenate([made.aus(split) for split in SPLITS])
    measured = np.maximum(np.isfinite(aus).sum(axis=0), 1)
    shares = 100 * (np.nan_to_num(aus) >= 1).sum(axis=0) / measured
    verdicts = [
        (one.au, f"{share:.1f}", "yes" if one.trusted else "no", one.reason)
        for one, share in zip(notes.agreement, shares, strict=True)
    ]
    terminal.table("AUs", ("AU", "% at 1 and more", "trusted", "why"), verdicts)
    if notes.same_person:
        names = sum(map(len, notes.same_person))
        terminal.say(f"  {names} names of look-alikes are kept together in one split each")
    if notes.rejections:
        terminal.table("photographs left out", ("count", "reason"), reasons(notes.rejections))
