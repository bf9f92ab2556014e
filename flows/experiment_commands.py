"""Define the command `miex experiment`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from miex.flows.api import CACHE
from miex.flows.command_line import (
    Cache,
    Workers,
    app,
    config_of,
    examples,
    options_of,
    out_option,
    when_interrupted,
)
from miex.flows.terminal import Terminal

if TYPE_CHECKING:
    from miex.pipeline.experiments.plan import Plan

_Words = list[str] | None


@app.command(
    cls=options_of("pipeline.experiments.scale:Scale"),
    rich_help_panel="Recognizers",
    epilog=examples(
        "miex experiment",
        "miex experiment mie_x_table_1 --dry-run",
        "miex experiment mie_x_figure_5 --clips casme2:/data/CASME2 --protocol loso",
    ),
)
@when_interrupted(
    "finished datasets and evaluations are kept, and the same command computes the rest"
)
def experiment(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Experiment or YAML file; lists them if omitted."),
    ] = None,
    clips: Annotated[
        _Words,
        typer.Option(metavar="NAME:PATH", help="Real clips, as in `miex clips`. Repeatable."),
    ] = None,
    faces: Annotated[Path | None, typer.Option(help="Face table (.parquet).")] = None,
    pool: Annotated[
        _Words,
        typer.Option(metavar="NAME=FILE", help="AU pool, as real_mie=real.parquet. Repeatable."),
    ] = None,
    file: Annotated[
        _Words,
        typer.Option(metavar="NAME=FILE", help="Any other input of the experiment. Repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        out_option("Folder of the page; out/experiments/NAME by default."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to train: auto, cpu, cuda, cuda:1, ...")
    ] = None,
    workers: Workers = None,
    cache: Cache = CACHE,
    setting: Annotated[
        _Words,
        typer.Option("--set", metavar="FIELD=VALUE", help="Field of each evaluation. Repeatable."),
    ] = None,
    synthesis: Annotated[
        _Words, typer.Option(metavar="FIELD=VALUE", help="Field of each dataset. Repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be computed.")
    ] = False,
) -> None:
    """Reproduce a table or figure of the papers, with their numbers beside; resumes when run again.

    On other clips than the paper's, every heading says so. --set takes fields as
    evaluation.run.balance=classes or clips.samples.size=64.
    """
    if name is None:
        _list(Terminal())
        return
    from miex.datasets.config import parse_assignments
    from miex.pipeline.experiments.config import load_experiment
    from miex.pipeline.experiments.plan import plan_experiment
    from miex.pipeline.experiments.scale import Inputs

    given = parse_assignments(setting or []) | ({"evaluation.run.device": device} if device else {})
    scale = config_of(ctx).model_copy(
        update={"settings": given, "synthesis": parse_assignments(synthesis or [])}
    )
    files = _named([*(pool or []), *(file or []), *([f"faces={faces}"] if faces else [])])
    what = load_experiment(name)
    inputs = Inputs(clips=tuple(clips or ()), files=files)
    place = out or Path("out/experiments") / what.name
    if dry_run:
        _show_plan(Terminal(), plan_experiment(what, inputs, place, scale))
    else:
        _run(Terminal(), (what, inputs, place, cache, scale), workers)


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
    terminal.say("Next: miex experiment NAME --dry-run shows what would be computed")


def _show_plan(terminal: Terminal, plan: "Plan") -> None:
    from miex.pipeline.experiments.clip_roles import needed_databases
    from miex.pipeline.experiments.run import show_plan

    terminal.say(escape(f"{plan.experiment.title}: {plan.experiment.paper}"))
    for name, about in plan.experiment.inputs.items():
        terminal.say(escape(f"  {name}: {about.about}{', optional' if about.optional else ''}"))
    databases = needed_databases(plan.experiment)
    if databases:
        terminal.say(escape(f"  clips: {', '.join(databases)}"))
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
                stages.announce("cells", "-r ststnet, --seeds 1, --epochs 0.1, or one --row")
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
