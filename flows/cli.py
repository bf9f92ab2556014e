"""The command `miex`.

Whatever is slow to import is imported inside the command that needs it.
"""

import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from miex.flows import au_commands, experiment_commands, recognition_commands
from miex.flows.assessment_commands import assess_generator
from miex.flows.generator_commands import train_generator
from miex.flows.terminal import EXPECTED_ERRORS, Terminal, describe
from miex.flows.training_set import training_set


class _Commands(TyperGroup):
    """Turns every expected error into one line, and finds `--debug` wherever it stands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = [word for word in args if word != "--debug"]
        return super().parse_args(ctx, ["--debug", *rest] if len(rest) < len(args) else rest)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            Terminal().fail(
                "interrupted; finished shards are kept, and the same command goes on from there"
            )
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Whoever read the output has seen enough; the interpreter's own flush must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(1) from None
        except (typer.Exit, typer.Abort):
            # They are RuntimeErrors, too.
            raise
        except EXPECTED_ERRORS as error:
            if ctx.params.get("debug"):
                raise
            Terminal().fail(describe(error))
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

au_commands.register(app)
recognition_commands.register(app)
experiment_commands.register(app)
app.command("training-set")(training_set)
app.command("train-generator")(train_generator)
app.command("assess-generator")(assess_generator)

Workers = Annotated[
    int | None, typer.Option("--workers", "-j", min=1, help="Processes; one a core by default.")
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="AUs: expert:TABLE or pool:FILE.parquet; repeatable."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of the config; repeatable."),
]
_FACES_HELP = "A face table (.parquet), or: samples, a folder, celeba:PATH, emotionnet:PATH."
DatasetFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A dataset that `miex synthesize` made.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"miex {version('miex')}")
        raise typer.Exit


@app.callback()
def miex(
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="MIEX_DEBUG", help="Show tracebacks and warnings."),
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Synthesizes micro-expression datasets in the style of MiE-X.

    Start with `miex demo`. `miex doctor` says what else this machine could do.
    """
    if not debug:
        warnings.simplefilter("ignore")
        # Worker processes read it, too.
        os.environ.setdefault("PYTHONWARNINGS", "ignore")


@app.command()
def synthesize(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder.")] = Path("out/miex"),
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML; the flags below win over it.")
    ] = None,
    faces: Annotated[str | None, typer.Option(help=_FACES_HELP)] = None,
    identities: Annotated[
        int | None, typer.Option("--identities", "-n", help="How many; all by default.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Samples in all.")] = None,
    au_triplets: Annotated[int | None, typer.Option(help="Distinct AU triplets in all.")] = None,
    sources: Sources = None,
    label_space: Annotated[str | None, typer.Option(help="As three_class.")] = None,
    intensity: Annotated[
        tuple[float, float] | None, typer.Option(help="Range of expert intensities, 0-5.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames from onset to apex.")] = None,
    easing: Annotated[str | None, typer.Option(help="linear, smooth, early or late.")] = None,
    back_to_offset: Annotated[
        bool | None, typer.Option("--back-to-offset", help="And the way back.")
    ] = None,
    drift: Annotated[
        bool | None, typer.Option("--drift", help="Heads move a little, as in real clips.")
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", help="warp, ganimation, or auto: the better.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of the generator.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")] = None,
    image_format: Annotated[str | None, typer.Option(help="png, webp or jpeg.")] = None,
    name: Annotated[str | None, typer.Option(help="Prefix of the sample ids.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    setting: Settings = None,
    workers: Workers = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the whole config as YAML and stop.")
    ] = False,
) -> None:
    """Makes a dataset, or goes on with one that was interrupted.

    Flags win over --config, --set wins over both: --set quality.max_attempts=9.
    """
    from miex.datasets.config import parse_assignments
    from miex.flows.overrides import chosen, configure

    whole = configure(config, chosen(ctx.params) | parse_assignments(setting or []))
    if show_config:
        import yaml

        typer.echo(yaml.safe_dump(whole.model_dump(mode="json"), sort_keys=False), nl=False)
        return
    from miex.flows.synthesis import run_synthesis, show_dataset

    terminal = Terminal()
    show_dataset(terminal, out, run_synthesis(terminal, whole, out, workers))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o")] = Path("out/demo"), workers: Workers = None
) -> None:
    """Makes a small dataset out of what is installed: no data, no weights, no network.

    AUs come from the expert tables and from early frames of a sample video.
    """
    from miex.flows.extraction import demo_pool
    from miex.flows.overrides import configure
    from miex.flows.synthesis import run_synthesis, show_dataset
    from miex.pipeline.synthesis.config import SynthesisConfig

    terminal = Terminal()
    sources = [*SynthesisConfig().sources, f"pool:{demo_pool(terminal, out)}"]
    config = configure(
        None, {"name": "demo", "quality.identity_share": 1.0, "sources": tuple(sources)}
    )
    show_dataset(terminal, out, run_synthesis(terminal, config, out, workers))


@app.command()
def faces(
    source: Annotated[
        str,
        typer.Argument(
            help="samples, a folder, folder:PATH, celeba:PATH or emotionnet:PATH.",
            metavar="SOURCE",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The face table.")] = Path(
        "faces.parquet"
    ),
    setting: Settings = None,
    workers: Workers = None,
) -> None:
    """Prepares faces once: detect, 68 landmarks, crop, filter. Later runs reuse the table.

    --set takes fields of the preparation, as size=256 or max_yaw=20.
    """
    from miex.datasets.config import build, parse_assignments
    from miex.flows.synthesis import run_faces
    from miex.pipeline.faces.config import FaceConfig

    config = build(FaceConfig, parse_assignments(setting or []))
    run_faces(Terminal(), source, config, out, workers)


@app.command("faces-download")
def faces_download(
    lists: Annotated[
        list[Path], typer.Argument(metavar="LIST", help="EmotionNet's lists of image URLs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Images go to OUT/images.")] = Path(
        "emotionnet"
    ),
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask dead links once more.")
    ] = False,
    setting: Settings = None,
) -> None:
    """Downloads EmotionNet's images, politely; starts where an earlier download ended.

    --set takes fields of the download, as threads=8 or per_host=2.
    """
    from miex.datasets.config import parse_assignments
    from miex.flows.synthesis import run_download

    run_download(Terminal(), lists, out, parse_assignments(setting or []), retry_failed)


@app.command()
def verify(folder: DatasetFolder, workers: Workers = None) -> None:
    """Checks every checksum, row and frame of a dataset; exit code 1 if something is wrong."""
    from rich.markup import escape

    from miex.pipeline.synthesis.verify import verify as find_problems

    terminal = Terminal()
    with terminal.stages() as stages:
        meter = stages.of("verify", "rows")
        problems = find_problems(folder, workers=workers, on_rows=meter.advance)
    for problem in problems:
        terminal.fail(f"{problem.where}: {problem.what}")
    if problems:
        terminal.fail(f"{len(problems)} problems in {folder}; see the lines above")
        raise typer.Exit(1)
    terminal.say(f"[green]ok[/] {escape(str(folder))}: {meter.done} samples, nothing is wrong")


@app.command()
def sheet(
    folder: DatasetFolder,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="PNG; DIR/sheet.png by default.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Rows of the sheet.")] = 24,
) -> None:
    """Draws a contact sheet: onset, apex and what changed."""
    from rich.markup import escape

    from miex.pipeline.reports.sheet import contact_sheet

    path = contact_sheet(folder, out, samples=samples)
    Terminal().say(f"contact sheet: {escape(str(path))}")


@app.command()
def report(
    targets: Annotated[
        list[Path], typer.Argument(metavar="DIR|POOL...", help="Datasets, or pools (.parquet).")
    ],
    against: Annotated[
        Path | None, typer.Option(help="Another dataset or pool to compare with.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Its folder; DIR/report by default.")
    ] = None,
) -> None:
    """Writes AU statistics, quality, findings and a gallery into one HTML file."""
    from miex.flows.report_command import run_report

    run_report(Terminal(), targets, against, out)


@app.command("redraw")
def redraw_sample(
    folder: DatasetFolder,
    sample_id: Annotated[str, typer.Argument(metavar="SAMPLE_ID", help="As miex-00000042.")],
) -> None:
    """Makes one sample again, alone, from its seed, and compares; exit code 1 if it differs."""
    from miex.flows.synthesis import run_redraw

    if not run_redraw(Terminal(), folder, sample_id):
        raise typer.Exit(1)


@app.command()
def doctor(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Where weights and databases may lie."),
    ] = None,
) -> None:
    """Says what is installed and found here, and what each missing thing would add."""
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
        terminal.fail(f"needed and missing: {', '.join(missing)}; install miex again")
        raise typer.Exit(1)
    terminal.say("Everything that is needed is there. Folders to look in: miex doctor FOLDER ...")
