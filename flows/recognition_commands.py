"""Define the commands on recognizers: `miex recognizers`, `pretrain`, `evaluate`, `results`, ..."""

from pathlib import Path
from typing import Annotated

import typer

from miex.datasets.quantity import quantity
from miex.flows.api import CACHE
from miex.flows.command_line import (
    TRAINING_KEPT,
    Cache,
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

_PANEL = "Recognizers"


@app.command(rich_help_panel=_PANEL, epilog=examples("miex recognizers"))
def recognizers() -> None:
    """List the recognizers: name, paper and representation."""
    from miex.pipeline.recognition.recognizer_config import recognizer_facts, recognizer_names

    terminal = Terminal()
    facts = {name: recognizer_facts(name) for name in recognizer_names()}
    rows = [
        (name, *(str(each.get(key, "")) for key in ("citation", "looks_at")))
        for name, each in facts.items()
    ]
    terminal.table("Recognizers", ("name", "paper", "looks at"), rows)
    for name, each in facts.items():
        if each.get("from_random_weights"):
            terminal.tell(f"{name} without pretrained weights: {each['from_random_weights']}")


@app.command(
    rich_help_panel=_PANEL,
    epilog=examples("miex fictitious casme2 -o out/casme2 --subjects 4 --clips 6"),
)
@when_interrupted("{out} is not complete: delete it before you run the command again")
def fictitious(
    database: Annotated[
        str, typer.Argument(metavar="DATABASE", help="casme2, samm, smic, megc2019, ckplus, ...")
    ],
    out: Annotated[Path, out_option("Folder to create.")],
    subjects: Annotated[int, typer.Option(min=2, help="Number of subjects.")] = 4,
    clips: Annotated[int, typer.Option(min=3, help="Number of clips per subject.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawing.")] = 0,
) -> None:
    """Draw a small database in the real layout, to try commands without a licence."""
    from miex.pipeline.fictitious_databases.write import write_fictitious

    terminal = Terminal()
    drawn = write_fictitious(database, out, subjects, clips, seed)
    terminal.tell(
        f"{quantity(drawn.listed, 'clip')}, drawn and without meaning; open them as {drawn.spec}"
    )
    for quirk in drawn.quirks:
        terminal.tell(f"  planted: {quirk}")


def _add_job(
    name: str, job: str, out: str, help: str, *lines: str, kept: str = TRAINING_KEPT
) -> None:
    """Add the command of a job on a recognizer; all of them have the same options of their own.

    Args:
        name: Name of the command.
        job: Class in `pipeline/recognition/job_config.py`, whose flags are further options.
        out: Folder of the result by default.
        help: Help of the command.
        lines: Examples.
        kept: What Ctrl-C leaves, see `when_interrupted`.
    """

    @app.command(
        name,
        cls=options_of(f"pipeline.recognition.job_config:{job}"),
        help=help,
        rich_help_panel=_PANEL,
        epilog=examples(*lines),
    )
    @when_interrupted(kept)
    def command(
        ctx: typer.Context,
        out: Annotated[Path, out_option("Folder of the result.")] = Path(out),
        config: ConfigFile = None,
        setting: Settings = None,
        cache: Cache = CACHE,
    ) -> None:
        job = config_of(ctx, config, setting)
        from miex.flows.recognition import run_evaluating, run_training

        run = run_evaluating if name == "evaluate" else run_training
        run(Terminal(), job, out, cache)


_add_job(
    "pretrain",
    "PretrainJob",
    "out/pretrained",
    "Train a recognizer on synthesized datasets; resumes when run again.",
    "miex pretrain out/miex -r ststnet --epochs 40 -o out/pretrained",
    "miex pretrain out/miex -r dere_grl --set config.actions=5",
)
_add_job(
    "finetune",
    "FinetuneJob",
    "out/finetuned",
    "Train a recognizer on real clips, from --checkpoint or from scratch.",
    "miex finetune -r ststnet --clips casme2:/data/CASME2 --checkpoint out/pretrained",
)
_add_job(
    "evaluate",
    "EvaluateJob",
    "out/evaluated",
    "Evaluate by a protocol; test subjects are held out of every training stage.",
    "miex evaluate -r ststnet -p casme2 --clips casme2:/data/CASME2 --pretrain out/miex",
    "miex evaluate -r ststnet -p loso --clips smic:/data/SMIC --set config.side=64",
    kept="finished folds are kept in {out}, and the same command resumes with the interrupted fold",
)


@app.command(
    cls=options_of("pipeline.inside.config:InsideConfig"),
    rich_help_panel=_PANEL,
    epilog=examples(
        "miex results out/evaluated out/another -o out/results",
        "miex results out/evaluated --inside out/finetuned --clips casme2:/data/CASME2",
    ),
)
@when_interrupted("the evaluations are unchanged, and the same command writes the page anew")
def results(
    ctx: typer.Context,
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of `miex evaluate`.")
    ],
    out: Annotated[Path, out_option("Folder of the page.")] = Path("out/results"),
    inside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="Show what this recognizer looks at, as `miex inspect`. Repeatable.",
        ),
    ] = None,
    cache: Cache = CACHE,
) -> None:
    """Compare evaluations in one page; refuses those on other clips or classes."""
    looking = config_of(ctx) if inside else None
    from miex.flows.recognition import run_results

    run_results(Terminal(), folders, out, inside or [], looking, cache)


@app.command(
    cls=options_of("pipeline.inside.config:InsideConfig"),
    rich_help_panel=_PANEL,
    epilog=examples("miex inspect out/finetuned --clips casme2:/data/CASME2 --dataset out/miex"),
)
@when_interrupted("no page was written to {out}, and the same command begins anew")
def inspect(
    ctx: typer.Context,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="A trained recognizer, its folder, or hf-hub:USER/NAME."
        ),
    ],
    out: Annotated[Path, out_option("Folder of the page.")] = Path("out/inside"),
    setting: Settings = None,
    cache: Cache = CACHE,
) -> None:
    """Show what a recognizer looks at: Grad-CAM, attention, actions, t-SNE, Action Units."""
    config = config_of(ctx, setting=setting)
    from miex.flows.recognition import run_inspection

    run_inspection(Terminal(), checkpoint, config, out, cache)
