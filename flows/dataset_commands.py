"""Define the commands on faces and datasets: `miex synthesize`, `demo`, `faces`, `verify`, ..."""

from pathlib import Path
from typing import Annotated

import typer

from miex.datasets.quantity import quantity
from miex.flows.command_line import (
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
from miex.flows.terminal import Terminal
from miex.pipeline.workers import start_server

_PANEL = "Datasets"

_WORTH_WORKERS = 500
"""Samples from which the workers are started before it is known that they are needed."""

_Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Dataset that `miex synthesize` made.")
]


@app.command(
    cls=options_of("pipeline.synthesis.config:SynthesisConfig"),
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex synthesize --faces faces.parquet --samples 45000 -o data/miex",
        "miex synthesize --cluster tcp://host:8786 --faces s3://data/faces.parquet -o s3://data/miex",
        "miex synthesize --source pool:real.parquet --frames 8 --set quality.max_attempts=9",
        "miex synthesize --show-config > miex.yaml",
    ),
)
@when_interrupted("finished shards are kept in {out}, and the same command renders the rest")
def synthesize(
    ctx: typer.Context,
    out: Annotated[Path, out_option("Folder of the dataset, or its address.")] = Path("out/miex"),
    config: ConfigFile = None,
    setting: Settings = None,
    workers: Workers = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Running cluster that renders the shards: tcp://HOST:8786 of a Dask scheduler"
            " (tested with two workers), or ray://HOST:10001 of Ray (never run on a real Ray"
            " cluster); this machine's processes by default.",
        ),
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the whole config as YAML and exit.")
    ] = False,
) -> None:
    """Make a dataset, or resume one that was interrupted."""
    whole = config_of(ctx, config, setting)
    if show_config:
        import yaml

        typer.echo(yaml.safe_dump(whole.model_dump(mode="json"), sort_keys=False), nl=False)
        return
    if cluster is None and (whole.samples or 9 * (whole.identities or 0)) >= _WORTH_WORKERS:
        start_server("pipeline.synthesis.run", "flows.cli", workers=workers)
    from miex.flows.synthesis import run_synthesis, show_dataset

    terminal = Terminal()
    show_dataset(terminal, out, run_synthesis(terminal, whole, out, workers, cluster))


@app.command(rich_help_panel=_PANEL, epilog=examples("miex demo", "miex demo -o out/first -j 2"))
@when_interrupted("finished shards are kept in {out}, and the same command renders the rest")
def demo(
    out: Annotated[Path, out_option("Folder of the dataset.")] = Path("out/demo"),
    workers: Workers = None,
) -> None:
    """Make a small dataset from what is installed: needs no data, weights or network.

    The AUs come from the expert tables and from early frames of a sample video.
    """
    from miex.datasets.config import build
    from miex.flows.extraction import demo_pool
    from miex.flows.synthesis import run_synthesis, show_dataset
    from miex.pipeline.synthesis.config import SynthesisConfig

    terminal = Terminal()
    sources = (*SynthesisConfig().sources, f"pool:{demo_pool(terminal, out)}")
    values = {"name": "demo", "quality.identity_share": 1.0, "sources": sources}
    config = build(SynthesisConfig, values)
    show_dataset(terminal, out, run_synthesis(terminal, config, out, workers))


@app.command(
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex faces ~/photographs -o faces.parquet",
        "miex faces celeba:/data/celeba --set size=256 --set max_yaw=20",
    ),
)
@when_interrupted(
    "prepared photographs are kept in {out}.parts, and the same command prepares the rest"
)
def faces(
    photographs: Annotated[
        str,
        typer.Argument(
            metavar="PHOTOGRAPHS",
            help="A folder, samples, folder:PATH, celeba:PATH or emotionnet:PATH.",
        ),
    ],
    out: Annotated[Path, out_option("Face table to write.")] = Path("faces.parquet"),
    setting: Settings = None,
    workers: Workers = None,
) -> None:
    """Detect, align, crop and filter faces once, into a table that later commands read.

    --set takes fields of the face preparation, as size=256 or max_yaw=20.
    """
    from miex.datasets.config import build, parse_assignments
    from miex.flows.synthesis import run_faces
    from miex.pipeline.faces.config import FaceConfig

    config = build(FaceConfig, parse_assignments(setting or []))
    run_faces(Terminal(), photographs, config, out, workers)


@app.command(
    "faces-like",
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex faces-like faces.parquet -o frontal.parquet",
        "miex faces-like faces.parquet --query 0017 --query 0042 --each 250 -o like.parquet",
    ),
)
def faces_like(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Face table (.parquet).")],
    out: Annotated[Path, out_option("Face table to write.")] = Path("faces-like.parquet"),
    query: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IDENTITY",
            help="Identity of a chosen face. Repeatable; the ten least turned heads if omitted.",
        ),
    ] = None,
    each: Annotated[
        int, typer.Option(min=1, help="Faces for each query, the query among them.")
    ] = 500,
) -> None:
    """Select the faces whose landmarks are most like chosen ones, as table 3 of MiE-X does."""
    from rich.markup import escape

    from miex.pipeline.faces.similar import SimilarConfig, select_similar
    from miex.pipeline.faces.table import FaceTable

    config = SimilarConfig(queries=tuple(query or ()), each=each)
    found = select_similar(FaceTable.open(table), config, out)
    said = (
        f"{quantity(len(found), 'face')} like {len(config.queries) or config.count} queries: {out}"
    )
    Terminal().say(escape(said))


@app.command(
    "faces-download",
    rich_help_panel=_PANEL,
    epilog=examples("miex faces-download urls.txt -o emotionnet --set threads=8"),
)
@when_interrupted("downloaded images are kept in {out}, and the same command downloads the rest")
def faces_download(
    lists: Annotated[
        list[Path], typer.Argument(metavar="LIST...", help="EmotionNet's lists of image URLs.")
    ],
    out: Annotated[Path, out_option("Folder; the images are written to OUT/images.")] = Path(
        "emotionnet"
    ),
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Request links that failed before again.")
    ] = False,
    setting: Settings = None,
) -> None:
    """Download EmotionNet's images with limited requests per host; resumes when run again.

    --set takes fields of the download, as threads=8 or per_host=2.
    """
    from miex.datasets.config import build, parse_assignments
    from miex.datasets.faces.emotionnet_download import DownloadConfig
    from miex.flows.synthesis import run_download

    config = build(DownloadConfig, parse_assignments(setting or []))
    run_download(Terminal(), lists, out, config, retry_failed)


@app.command(rich_help_panel=_PANEL, epilog=examples("miex verify data/miex"))
@when_interrupted("nothing was changed in {folder}, and the same command checks all of it again")
def verify(folder: _Folder, workers: Workers = None) -> None:
    """Check every checksum, row and frame of a dataset; exit code 1 if something is wrong."""
    from rich.markup import escape

    from miex.datasets.storage import shown
    from miex.pipeline.synthesis.verify import verify as find_problems

    terminal = Terminal()
    with terminal.stages() as stages:
        meter = stages.of("verify", "rows")
        problems = find_problems(folder, workers=workers, on_rows=meter.advance)
    for problem in problems:
        terminal.fail(f"{problem.where}: {problem.what}")
    if problems:
        terminal.fail(f"{len(problems)} problems in {shown(folder)}; see the lines above")
        raise typer.Exit(1)
    terminal.say(
        f"[green]ok[/] {escape(shown(folder))}: {quantity(meter.done, 'sample')}, no problems"
    )


@app.command(
    rich_help_panel=_PANEL,
    epilog=examples("miex sheet data/miex --samples 40", "miex sheet data/miex --animate"),
)
@when_interrupted("no contact sheet was written, and the same command draws it anew")
def sheet(
    folder: _Folder,
    out: Annotated[
        Path | None,
        out_option("Image; DIR/sheet.png or DIR/sheet.webp by default."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of samples, one per row.")] = 24,
    animate: Annotated[
        bool, typer.Option("--animate", help="Faces that move, as .webp or .gif.")
    ] = False,
) -> None:
    """Draw a contact sheet: onset, apex and their difference."""
    from rich.markup import escape

    terminal = Terminal()
    if animate:
        from miex.pipeline.reports.animation import animated_sheet

        path = animated_sheet(folder, out, samples=samples)
    else:
        from miex.pipeline.reports.sheet import contact_sheet

        with terminal.stages() as stages:
            path = contact_sheet(folder, out, samples=samples, on_stage=stages.samples)
    terminal.say(f"contact sheet: {escape(str(path))}")


@app.command(
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex report data/miex --against data/other", "miex report real.parquet early.parquet"
    ),
)
@when_interrupted("the report is not finished, and the same command writes it anew")
def report(
    targets: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|POOL...", help="Datasets, or pools of AU pairs (.parquet)."),
    ],
    against: Annotated[
        Path | None, typer.Option(help="Another dataset or pool to compare with.")
    ] = None,
    out: Annotated[
        Path | None,
        out_option("Folder of the report; DIR/report by default."),
    ] = None,
) -> None:
    """Write AU statistics, quality, findings and a gallery into one HTML file."""
    from miex.flows.report_command import run_report

    run_report(Terminal(), targets, against, out)


@app.command(rich_help_panel=_PANEL, epilog=examples("miex redraw data/miex miex-00000042"))
def redraw(
    folder: _Folder,
    sample_id: Annotated[
        str, typer.Argument(metavar="SAMPLE_ID", help="Id of the sample, as miex-00000042.")
    ],
) -> None:
    """Render one sample again from its seed and compare; exit code 1 if it differs."""
    from miex.flows.synthesis import run_redraw

    if not run_redraw(Terminal(), folder, sample_id):
        raise typer.Exit(1)


@app.command(epilog=examples("miex doctor", "miex doctor /data ~/weights"))
def doctor(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Folders to search for weights and databases."),
    ] = None,
) -> None:
    """Show what is installed and found on this machine, and what is optional and missing."""
    from miex.flows.doctor import examine

    terminal = Terminal()
    findings = examine(folders or [])
    for topic in dict.fromkeys(finding.topic for finding in findings):
        rows = [
            (f.what, f.found or ("MISSING" if f.needed else "not found"), f.note)
            for f in findings
            if f.topic == topic
        ]
        terminal.table(topic, ("what", "found", "note"), rows)
    missing = [finding.what for finding in findings if finding.needed and not finding.found]
    if missing:
        terminal.fail(f"required and missing: {', '.join(missing)}; install miex again")
        raise typer.Exit(1)
    terminal.say("Everything that is required is installed. To search folders: miex doctor FOLDER")
