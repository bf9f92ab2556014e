"""The command `miex experiment`.

Whatever is slow to import is imported inside the command that needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from miex.flows.terminal import Terminal

if TYPE_CHECKING:
    from miex.pipeline.experiments.plan import Plan

_Words = list[str] | None

_Name = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="An experiment, or a YAML file; lists them without."),
]
_Clips = Annotated[
    _Words, typer.Option(metavar="NAME:PATH", help="Real clips, as `miex clips`; repeatable.")
]
_Faces = Annotated[Path | None, typer.Option(help="A face table (.parquet).")]
_Pool = Annotated[
    _Words, typer.Option(metavar="NAME=FILE", help="An AU pool, as real_mie=F; repeatable.")
]
_File = Annotated[
    _Words, typer.Option(metavar="NAME=FILE", help="Any other file that it takes; repeatable.")
]
_Out = Annotated[Path | None, typer.Option("--out", "-o", help="out/experiments/NAME.")]
_StandIn = Annotated[
    str | None, typer.Option(metavar="WHAT", help="What the clips are, if not the paper's.")
]
_Protocol = Annotated[
    str | None, typer.Option("--protocol", "-p", help="In place of its own: loso, kfold, ...")
]
_Recognizer = Annotated[
    _Words, typer.Option("--recognizer", "-r", help="Only this one; repeatable.")
]
_Row = Annotated[_Words, typer.Option(help="Only rows of such a name, * for anything; repeatable.")]
_Seeds = Annotated[int | None, typer.Option(min=1, help="How many runs of each cell.")]
_Epochs = Annotated[
    float | None, typer.Option(metavar="FACTOR", help="Of the length of every training.")
]
_PretrainingEpochs = Annotated[
    float | None, typer.Option(metavar="FACTOR", help="Of the length of pretrainings.")
]
_Size = Annotated[
    int | None, typer.Option(min=1, help="Of the largest dataset; others in proportion.")
]
_Device = Annotated[str | None, typer.Option(help="Of training: auto, cpu, cuda, ...")]
_Workers = Annotated[
    int | None, typer.Option("--workers", "-j", min=1, help="Processes that synthesize.")
]
_Cache = Annotated[
    Path | None, typer.Option(help="Folder of representations; may be deleted. out/cache.")
]
_Settings = Annotated[
    _Words,
    typer.Option("--set", metavar="FIELD=VALUE", help="A field of every evaluation; repeatable."),
]
_Synthesis = Annotated[
    _Words, typer.Option(metavar="FIELD=VALUE", help="A field of every dataset; repeatable.")
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]


def experiment(
    name: _Name = None,
    clips: _Clips = None,
    faces: _Faces = None,
    pool: _Pool = None,
    file: _File = None,
    out: _Out = None,
    stand_in: _StandIn = None,
    protocol: _Protocol = None,
    recognizer: _Recognizer = None,
    row: _Row = None,
    seeds: _Seeds = None,
    epochs: _Epochs = None,
    pretraining_epochs: _PretrainingEpochs = None,
    identities: _Size = None,
    samples: _Size = None,
    device: _Device = None,
    workers: _Workers = None,
    cache: _Cache = None,
    setting: _Settings = None,
    synthesis: _Synthesis = None,
    dry_run: _DryRun = False,
) -> None:
    """Runs a table or figure of the papers, our numbers beside theirs; run again, it goes on.

    On other clips than the paper's every heading says so. --set takes fields as
    evaluation.run.balance=classes or clips.samples.size=64.
    """
    if name is None:
        _list(Terminal())
        return
    from miex.datasets.config import parse_assignments
    from miex.flows.api import CACHE as DEFAULT_CACHE
    from miex.pipeline.experiments.config import load_experiment
    from miex.pipeline.experiments.plan import Inputs, plan_experiment

    given = parse_assignments(setting or []) | ({"evaluation.run.device": device} if device else {})
    scale = _scale(
        {
            "protocol": protocol, "stand_in": stand_in, "recognizers": recognizer, "rows": row,
            "seeds": seeds, "epochs": epochs, "pretraining_epochs": pretraining_epochs,
            "identities": identities, "samples": samples, "settings": given,
            "synthesis": parse_assignments(synthesis or []),
        }
    )  # fmt: skip
    files = _named([*(pool or []), *(file or []), *([f"faces={faces}"] if faces else [])])
    what = load_experiment(name)
    inputs = Inputs(clips=tuple(clips or ()), files=files)
    place = out or Path("out/experiments") / what.name
    if dry_run:
        _show_plan(Terminal(), plan_experiment(what, inputs, place, scale))
    else:
        _run(Terminal(), (what, inputs, place, cache or DEFAULT_CACHE, scale), workers)


def _scale(values: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from miex.datasets.config import explain
    from miex.pipeline.experiments.plan import Scale

    try:
        return Scale(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def _named(words: list[str]) -> dict[str, str]:
    files = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise ValueError(f"expected NAME=FILE, as in real_mie=pool.parquet, not {word!r}")
        files[name] = path
    return files


def _list(terminal: Terminal) -> None:
    from miex.pipeline.experiments.config import experiment_names, load_experiment

    rows = []
    for name in experiment_names():
        what = load_experiment(name)
        needs = [key for key, each in what.inputs.items() if not each.optional]
        rows.append((name, what.title, what.protocol, ", ".join(needs) or "-"))
    terminal.table("Experiments", ("name", "what it shows", "protocol", "files it needs"), rows)
    terminal.say("Next: miex experiment NAME --dry-run says what it would do")


def _show_plan(terminal: Terminal, plan: "Plan") -> None:
    from miex.pipeline.experiments.run import show_plan

    terminal.say(escape(f"{plan.experiment.title}: {plan.experiment.paper}"))
    for name, about in plan.experiment.inputs.items():
        terminal.say(escape(f"  {name}: {about.about}{', optional' if about.optional else ''}"))
    folders = {folder for cell in plan.cells for folder in cell.datasets}
    for reason, cells in show_plan(plan).items():
        said = f"cannot be computed: {reason}" if reason else f"to compute, {len(folders)} datasets"
        terminal.table(f"{len(cells)} cells {said}", ("cell", ""), [(cell, "") for cell in cells])
    _say_all(terminal, "not as in the paper", plan.departures)


def _run(terminal: Terminal, arguments: tuple[Any, ...], workers: int | None) -> None:
    from miex.pipeline.experiments.page import METRIC_NAMES, published, spread
    from miex.pipeline.experiments.run import run_experiment
    from miex.pipeline.reports.results_page import PAGE

    with terminal.stages() as stages:
        meter, cell = stages.of("cells", "cells"), ""

        def on_stage(what: str, done: int, total: int) -> None:
            nonlocal cell
            stage, _, current = what.partition(": ")
            if stage == "cells":
                cell, meter.note = current, current
                meter.to(done, total)
            else:
                # One meter: hundreds of cells would each leave half a dozen others.
                meter.note = f"{cell}: {stage} {done} of {total}"
                meter.to(meter.done, meter.total)

        table = run_experiment(*arguments, workers=workers, on_stage=on_stage)
    metrics = table["metrics"]
    heads = [head for metric in metrics for head in (METRIC_NAMES[metric], "paper")]
    rows = [
        (
            cell["row"],
            cell["column"],
            *(
                text
                for metric in metrics
                for text in (spread(cell, metric), published(cell, metric))
            ),
        )
        for cell in table["cells"]
    ]
    title = f"{table['title']} ({table['standing']})"
    terminal.table(title, ("row", "column", *heads), rows)
    empty = {cell["reason"]: None for cell in table["cells"] if cell["reason"]}
    _say_all(terminal, "cells without a score", empty)
    _say_all(terminal, "not as in the paper", table["departures"])
    terminal.say(escape(f"page: {arguments[2] / PAGE}"))


def _say_all(terminal: Terminal, title: str, lines: Any) -> None:
    for number, line in enumerate(lines):
        terminal.say(escape(f"{title}: {line}" if not number else f"  {line}"))


def register(app: typer.Typer) -> None:
    """Adds the command to an app."""
    app.command()(experiment)
