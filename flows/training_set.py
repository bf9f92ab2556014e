"""Define the command `miex training-set`: the photographs with AUs that a generator learns from."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from miex.flows.command_line import (
    ConfigFile,
    Settings,
    Workers,
    app,
    config_of,
    examples,
    options_of,
)
from miex.flows.terminal import Terminal, reasons

if TYPE_CHECKING:
    from miex.generators.ganimation.training_set import TrainingSet
    from miex.pipeline.generator_training.config import TrainingSetConfig


@app.command(
    "training-set",
    cls=options_of("pipeline.generator_training.config:TrainingSetConfig"),
    rich_help_panel="Generators",
    epilog=examples(
        "miex training-set ~/photographs -e openface-models:FOLDER --check landmarks",
        "miex training-set celeba:/data/celeba --set held_out=100 --set min_agreement=0.4",
    ),
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
    out: Annotated[Path, typer.Option("--out", "-o", help="Training set to write.")] = Path(
        "training.parquet"
    ),
    config: ConfigFile = None,
    setting: Settings = None,
    workers: Workers = None,
) -> None:
    """Make a generator's training set: crops, landmarks and AUs, split by identity."""
    run_training_set(Terminal(), faces, out, config_of(ctx, config, setting), workers)


def run_training_set(
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
        config: What to measure, and how to split.
        workers: Number of processes of the face preparation.

    Raises:
        ValueError: See `make_training_set`.
    """
    from miex.pipeline.generator_training.training_set import make_training_set
    from miex.pipeline.reports.training_sheet import training_sheet

    with terminal.stages() as stages:

        def on_progress(stage: str, done: int, total: int) -> None:
            stages.of(stage, "photographs").to(done, total)

        made = make_training_set(faces, out, config, workers=workers, on_progress=on_progress)
    _show(terminal, made)
    sheet = training_sheet(made, out.with_suffix(".png"))
    terminal.say(f"  contact sheet {escape(str(sheet))}")
    command = f"miex train-generator {shlex.quote(str(out))} -o runs/generator"
    terminal.say(f"Next: look at the contact sheet, then  {escape(command)}")


def _show(terminal: Terminal, made: "TrainingSet") -> None:
    """Print what a training set contains, which AUs are trusted, and what was left out."""
    import numpy as np

    from miex.generators.ganimation.training_set import SPLITS

    notes = made.notes
    megabytes = made.path.stat().st_size / 2**20
    terminal.say(
        f"[bold green]{len(made)} photographs[/], {megabytes:.1f} MiB: {escape(str(made.path))}"
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
