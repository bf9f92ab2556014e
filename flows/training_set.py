"""The command `miex training-set`: what a generator learns from, in one file.

Whatever is slow to import is imported inside the function that needs it.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from miex.flows.terminal import Terminal, reasons

if TYPE_CHECKING:
    from miex.generators.ganimation.training_set import TrainingSet


def training_set(
    faces: Annotated[
        str,
        typer.Argument(
            metavar="FACES",
            help="Photographs: samples, a folder, celeba:PATH, emotionnet:PATH; or a face table.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The training set.")] = Path(
        "training.parquet"
    ),
    estimator: Annotated[
        str,
        typer.Option("--estimator", "-e", help="Measures the AUs: NAME or NAME:MODEL."),
    ] = "landmarks",
    check: Annotated[
        list[str] | None,
        typer.Option(help="A second estimator that confirms them on these faces; repeatable."),
    ] = None,
    size: Annotated[int, typer.Option(help="Side of the crops, pixels.")] = 128,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Any other field of the config; repeatable."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Processes; one a core by default.")
    ] = None,
) -> None:
    """Makes a generator's training set: crops, landmarks and AUs, split by person.

    --set takes fields of the set, as held_out=100, min_agreement=0.4 or seed=1.
    """
    from miex.datasets.config import parse_assignments

    values = {"estimator": estimator, "checks": tuple(check or ()), "size": size}
    run_training_set(Terminal(), faces, out, values | parse_assignments(setting or []), workers)


def run_training_set(
    terminal: Terminal,
    faces: str,
    out: Path,
    values: Mapping[str, Any],
    workers: int | None = None,
) -> None:
    """Makes a training set with progress, shows what is in it and draws its contact sheet.

    Args:
        terminal: Shows all of it.
        faces: A face table, or a source of faces.
        out: The training set; the sheet gets its name with the ending .png.
        values: Fields of `TrainingSetConfig`.
        workers: Processes of the face preparation.

    Raises:
        ValueError: A field that does not exist or a value that does not fit; and as
            `make_training_set`.
    """
    from pydantic import ValidationError

    from miex.datasets.config import explain
    from miex.pipeline.generator_training.config import TrainingSetConfig
    from miex.pipeline.generator_training.training_set import make_training_set
    from miex.pipeline.reports.training_sheet import training_sheet

    try:
        config = TrainingSetConfig(**values)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
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
    """What a training set holds, which AUs may be trusted, and what was left out."""
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
        terminal.say(f"  {names} names that look like another one's owner stay in one split each")
    if notes.rejections:
        terminal.table("photographs left out", ("count", "reason"), reasons(notes.rejections))
