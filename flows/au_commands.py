"""The commands on AUs: `miex extract-aus`, `clips`, `calibrate`, and `pool`.

Whatever is slow to import is imported inside the command that needs it.
"""

from pathlib import Path
from typing import Annotated

import typer

from miex.flows.terminal import Terminal

_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of the source; repeatable."),
]

pool = typer.Typer(no_args_is_help=True, help="Describes, merges and filters pools of AU pairs.")

_Out = Annotated[Path, typer.Option("--out", "-o", help="The new pool, POOL.parquet.")]


@pool.command()
def describe(
    pools: Annotated[
        list[str],
        typer.Argument(metavar="POOL...", help="POOL.parquet, or expert:TABLE for what it draws."),
    ],
    threshold: Annotated[
        float, typer.Option(min=0, max=5, help="Rise from which on an AU counts as active.")
    ] = 0.25,
) -> None:
    """Counts pairs and AUs, beside CASME II, SAMM and CAS(ME)3, and names what is too much."""
    from miex.flows.extraction import show_pools

    show_pools(Terminal(), pools, threshold)


@pool.command()
def merge(pools: Annotated[list[Path], typer.Argument(metavar="POOL...")], out: _Out) -> None:
    """Writes the pairs of several pools into one; their citations and licences too."""
    from miex.flows.extraction import merge_pools

    merge_pools(Terminal(), pools, out)


@pool.command("filter")
def filter_pairs(
    path: Annotated[Path, typer.Argument(metavar="POOL")],
    out: _Out,
    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="DATABASE:SUBJECT", help="Keep only these; repeatable."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="DATABASE:SUBJECT", help="Leave these out; repeatable."),
    ] = None,
    emotion: Annotated[list[str] | None, typer.Option(help="Keep only these; repeatable.")] = None,
) -> None:
    """Keeps the pairs of some subjects or emotions, for instance of a training fold."""
    from miex.flows.extraction import filter_pool

    filter_pool(Terminal(), path, out, subject or [], exclude or [], emotion or [])


def extract_aus(
    clips: Annotated[
        str, typer.Argument(metavar="CLIPS", help="NAME:PATH, as casme2:/data/CASME2; or samples.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The pool.")] = Path("aus.parquet"),
    source: Annotated[str, typer.Option("--source", help="real_mie or early_mae.")] = "real_mie",
    estimator: Annotated[
        str,
        typer.Option("--estimator", "-e", help="NAME or NAME:MODEL; or facs, the human codes."),
    ] = "landmarks",
    calibration: Annotated[
        str, typer.Option(help="Onto the 0-5 scale: shipped, none, or a file of miex calibrate.")
    ] = "shipped",
    drop_weak: Annotated[
        bool, typer.Option("--drop-weak", help="Leave AUs unmeasured whose map is weak.")
    ] = False,
    window: Annotated[
        int | None, typer.Option(help="Median of so many neighbouring frames, odd.")
    ] = None,
    relative: Annotated[
        bool | None, typer.Option("--relative", help="Change from the onset, not absolute values.")
    ] = None,
    min_change: Annotated[
        float | None, typer.Option(help="Leave out clips whose AUs change less, 0-5 scale.")
    ] = None,
    track: Annotated[
        bool | None, typer.Option("--track", help="Keep every frame from onset to apex.")
    ] = None,
    alpha: Annotated[
        tuple[float, float] | None, typer.Option(help="early_mae: window of the apex.")
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="early_mae: different apex frames a clip.")
    ] = None,
    intensity: Annotated[
        tuple[float, float] | None, typer.Option(help="facs: range of codes without a letter.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="early_mae, facs: of what is drawn.")] = None,
    setting: _Settings = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    download: Annotated[
        bool, typer.Option("--download", help="Let the estimator download its weights.")
    ] = False,
    person_calibration: Annotated[
        bool, typer.Option("--person-calibration", help="Relative to the face at rest.")
    ] = False,
) -> None:
    """Makes a pool of AU pairs from annotated clips, and an account of every clip beside it.

    --set takes fields of the source, as letters=micro (facs).
    """
    from miex.datasets.config import build, parse_assignments
    from miex.flows.extraction import run_extraction
    from miex.pipeline.aus.extraction import AUExtractionConfig

    given = locals()
    flags = ("window", "relative", "min_change", "track", "alpha", "draws", "intensity", "seed")
    reading = {name: given[name] for name in flags if given[name] is not None}
    values = {name: given[name] for name in AUExtractionConfig.model_fields if name in given}
    config = build(AUExtractionConfig, values | reading | parse_assignments(setting or []))
    run_extraction(Terminal(), config, out)


def clips(
    database: Annotated[
        str, typer.Argument(metavar="CLIPS", help="NAME:PATH, as samm:/data/SAMM; or samples.")
    ],
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Read the sheet alone, without images.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The whole report, REPORT.md.")
    ] = None,
) -> None:
    """Says what a database of clips holds, what was repaired, what was left out and why."""
    from miex.flows.extraction import run_clips

    run_clips(Terminal(), database, not annotations, out)


def calibrate_estimator(
    photographs: Annotated[
        str, typer.Argument(metavar="FACES", help="A folder or source of faces, as miex faces.")
    ],
    estimator: Annotated[str, typer.Option("--estimator", "-e", help="NAME or NAME:MODEL.")],
    reference: Annotated[
        str, typer.Option(help="What measures intensity: openface-models:FOLDER.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o")] = Path("calibration.json"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    download: Annotated[
        bool, typer.Option("--download", help="Let the estimators download their weights.")
    ] = False,
) -> None:
    """Fits an estimator's scale to FACS intensity on photographs of some hundred people."""
    from miex.flows.extraction import run_calibration

    run_calibration(Terminal(), estimator, reference, photographs, out, device, download)


def register(app: typer.Typer) -> None:
    """Adds the commands to an app."""
    app.command("extract-aus")(extract_aus)
    app.command("clips")(clips)
    app.command("calibrate")(calibrate_estimator)
    app.add_typer(pool, name="pool")
