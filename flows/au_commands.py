"""Define the commands on AUs: `miex extract-aus`, `clips`, `calibrate` and `pool`."""

from pathlib import Path
from typing import Annotated

import typer

from miex.flows.command_line import (
    ConfigFile,
    Settings,
    app,
    config_of,
    examples,
    options_of,
    out_option,
    when_interrupted,
)
from miex.flows.terminal import Terminal

_PANEL = "Action Units"

_Subjects = list[str] | None
_Out = Annotated[Path, out_option("Pool to write (.parquet).")]

pool = typer.Typer(no_args_is_help=True, help="Describe, merge and filter pools of AU pairs.")
app.add_typer(pool, name="pool", rich_help_panel=_PANEL)


@pool.command(epilog=examples("miex pool describe real.parquet expert:miex"))
def describe(
    pools: Annotated[
        list[str],
        typer.Argument(metavar="POOL...", help="POOL.parquet, or expert:TABLE for its draws."),
    ],
    threshold: Annotated[
        float, typer.Option(min=0, max=5, help="Rise from which an AU counts as active, 0-5.")
    ] = 0.25,
) -> None:
    """Count pairs and AUs, and compare them with CASME II, SAMM and CAS(ME)3."""
    from miex.flows.extraction import show_pools

    show_pools(Terminal(), pools, threshold)


@pool.command(epilog=examples("miex pool merge real.parquet codes.parquet -o all.parquet"))
def merge(
    pools: Annotated[list[Path], typer.Argument(metavar="POOL...", help="Pools (.parquet).")],
    out: _Out,
) -> None:
    """Write the pairs of several pools into one, with their citations and licences."""
    from miex.flows.extraction import merge_pools

    merge_pools(Terminal(), pools, out)


@pool.command(
    "filter",
    epilog=examples("miex pool filter real.parquet --exclude casme2:sub01 -o train.parquet"),
)
def filter_pairs(
    path: Annotated[Path, typer.Argument(metavar="POOL", help="Pool (.parquet).")],
    out: _Out,
    subject: Annotated[
        _Subjects,
        typer.Option(metavar="DATABASE:SUBJECT", help="Keep only this subject. Repeatable."),
    ] = None,
    exclude: Annotated[
        _Subjects,
        typer.Option(metavar="DATABASE:SUBJECT", help="Leave this subject out. Repeatable."),
    ] = None,
    emotion: Annotated[
        list[str] | None, typer.Option(help="Keep only this emotion. Repeatable.")
    ] = None,
) -> None:
    """Keep the pairs of some subjects or emotions, for instance of a training fold."""
    from miex.flows.extraction import filter_pool

    filter_pool(Terminal(), path, out, subject or [], exclude or [], emotion or [])


@app.command(
    "extract-aus",
    cls=options_of("pipeline.aus.extraction:AUExtractionConfig"),
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex extract-aus casme2:/data/CASME2 -e facs -o real.parquet",
        "miex extract-aus oulu_casia:/data/oulu --source early_mae --draws 3 -o early.parquet",
    ),
)
@when_interrupted("no pool was written to {out}, and the same command begins with the first clip")
def extract_aus(
    ctx: typer.Context,
    out: _Out = Path("aus.parquet"),
    config: ConfigFile = None,
    setting: Settings = None,
) -> None:
    """Make a pool of AU pairs from annotated clips, and an account of every clip beside it.

    --set takes any other field, those of the chosen source without its name: letters=micro (facs).
    """
    job = config_of(ctx, config, setting)
    from miex.flows.extraction import run_extraction

    run_extraction(Terminal(), job, out)


@app.command(rich_help_panel=_PANEL, epilog=examples("miex clips casme2:/data/CASME2 -o casme2.md"))
@when_interrupted("nothing was changed in {database}, and the same command reads all of it again")
def clips(
    database: Annotated[
        str,
        typer.Argument(metavar="CLIPS", help="NAME:PATH, as samm:/data/SAMM; or samples."),
    ],
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Read the annotation only, no images.")
    ] = False,
    out: Annotated[Path | None, out_option("Markdown file for the whole report.")] = None,
) -> None:
    """Show the clips of a database, what was repaired, and what was left out and why."""
    from miex.flows.extraction import run_clips

    run_clips(Terminal(), database, not annotations, out)


@app.command(
    "calibrate",
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex calibrate ~/photographs -e mediapipe:FILE --reference openface-models:FOLDER"
    ),
)
@when_interrupted("no calibration was written to {out}, and the same command begins anew")
def calibrate_estimator(
    photographs: Annotated[
        str, typer.Argument(metavar="PHOTOGRAPHS", help="Photographs of faces, as `miex faces`.")
    ],
    estimator: Annotated[
        str, typer.Option("--estimator", "-e", help="Estimator to calibrate, NAME or NAME:MODEL.")
    ],
    reference: Annotated[
        str, typer.Option(help="Estimator that measures intensity: openface-models:FOLDER.")
    ],
    out: Annotated[Path, out_option("Calibration to write.")] = Path("calibration.json"),
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, ...")] = "auto",
    download: Annotated[
        bool, typer.Option("--download", help="Allow the estimators to download their weights.")
    ] = False,
) -> None:
    """Map an estimator's scale onto FACS intensity, from photographs of some hundred people."""
    from miex.flows.extraction import run_calibration

    run_calibration(Terminal(), estimator, reference, photographs, out, device, download)
