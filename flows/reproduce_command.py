"""Define the command `miex reproduce`: the whole chain of a paper, from photographs to scores."""

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
    out_option,
)
from miex.flows.progress import duration
from miex.flows.terminal import Terminal

if TYPE_CHECKING:
    from miex.pipeline.experiments.chain import Chain

_PAPERS = ("mie-x",)

_UNITS = frozenset({"links", "photographs", "samples", "clips", "steps", "folds"})
"""Progress that needs no other name than its stage."""


@app.command(
    "reproduce",
    cls=options_of("pipeline.experiments.chain_config:ChainConfig"),
    rich_help_panel="Recognizers",
    epilog=examples(
        "miex reproduce mie-x",
        "miex reproduce mie-x --dry-run",
        "miex reproduce mie-x --clips casme2:/data/CASME2 --clips smic:/data/SMIC "
        "--clips samm:/data/SAMM --macro ckplus:/data/CK+ --faces faces.parquet -o out/mie-x",
    ),
)
def reproduce(
    ctx: typer.Context,
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="mie-x.")],
    out: Annotated[Path, out_option("Folder of the run.")] = Path("out/mie-x"),
    config: ConfigFile = None,
    setting: Settings = None,
    workers: Workers = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of cached representations; OUT/cache by default."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the stages, their needs and their time.")
    ] = False,
) -> None:
    """Reproduce MiE-X: faces, AU pools, dataset, training, evaluation; resumes when run again.

    Without options it takes minutes, and works on what is installed.
    """
    if paper not in _PAPERS:
        raise ValueError(f"no paper is called {paper!r}; there are: {', '.join(_PAPERS)}")
    whole = config_of(ctx, config, setting)
    from miex.pipeline.experiments.chain import Chain

    chain = Chain(whole, out, cache, workers)
    terminal = Terminal()
    if dry_run:
        show_outlook(terminal, chain)
    else:
        run_chain(terminal, chain)


def show_outlook(terminal: Terminal, chain: "Chain") -> None:
    """Print the stages of a run, what each needs, and the time that it will take."""
    outlook = chain.outlook()
    for note in chain.settled.notes:
        terminal.say(escape(f"note: {note}"))
    rows = [
        (
            each.stage.name,
            each.stage.title,
            each.stage.needs or "-",
            f"{each.amount:,.0f} {each.stage.unit}" if each.seconds is not None else "",
            ""
            if each.seconds is None
            else f"{'' if each.measured else 'about '}{duration(each.seconds)}",
            each.state,
        )
        for each in outlook
    ]
    columns = ("stage", "what", "needs", "amount", "time", "state")
    terminal.table(f"stages of {chain.out}", columns, rows)
    left = sum(each.seconds or 0 for each in outlook if not each.measured)
    terminal.say(f"to do: about {duration(left)} at the measured rates (docs/reproduce.md)")


def run_chain(terminal: Terminal, chain: "Chain") -> Path:
    """Run a chain with progress, print what every stage made, and return the page."""
    from miex.datasets.locks import locked

    for note in chain.settled.notes:
        terminal.say(escape(f"note: {note}"))
    with locked(chain.out):
        for number, stage in enumerate(chain.stages, start=1):
            with terminal.stages() as stages:

                def report(what: str, done: int, total: int, name: str = stage.name) -> None:
                    unit, _, note = what.partition(": ")
                    known = unit in _UNITS
                    meter = stages.of(
                        name if known else f"{name}, {unit}", unit if known else "items"
                    )
                    meter.note = note
                    meter.to(done, total)

                made = chain.run_stage(stage, report)
            head = f"{number}/{len(chain.stages)} {stage.title}"
            skipped = made.get("skipped")
            if stage.left_out is not None:
                terminal.say(escape(f"{head}: left out, {stage.left_out}"))
            elif skipped is not None:
                terminal.say(escape(f"{head}: {skipped}"))
            else:
                terminal.say(f"[green]{escape(head)}[/]: {escape(str(made['output']))}")
        page = chain.write_page()
    _show_scores(terminal, chain)
    terminal.say(f"page: {escape(str(page))}")
    return page


def _show_scores(terminal: Terminal, chain: "Chain") -> None:
    found = chain.finished(chain.stage("evaluate")) or {}
    rows = [
        (
            row["recognizer"],
            row["trained on"],
            str(row["clips"]),
            f"{row['uf1'][0]:.3f}",
            f"{row['uar'][0]:.3f}",
        )
        for row in found.get("scores", ())
    ]
    if rows:
        title = "fictitious clips" if chain.settled.stands_in else chain.settled.protocol
        terminal.table(title, ("recognizer", "trained on", "clips", "UF1", "UAR"), rows)
