"""Define the command `miex assess-generator`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from miex.flows.command_line import (
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


@app.command(
    "assess-generator",
    cls=options_of("pipeline.assessment.config:AssessmentConfig"),
    rich_help_panel="Generators",
    epilog=examples(
        "miex assess-generator warp --faces faces.parquet -n 40",
        "miex assess-generator ganimation:FILE --faces training.parquet -e mediapipe:FILE",
    ),
)
@when_interrupted("nothing was written to {out}, and the same command begins anew")
def assess_generator(
    ctx: typer.Context,
    generators: Annotated[
        list[str],
        typer.Argument(metavar="GENERATOR...", help="Generators: warp, ganimation, NAME:FILE."),
    ],
    out: Annotated[Path, out_option("Folder of the page.")] = Path("out/assessment"),
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Weights of a generator. Repeatable."),
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:FILE",
            help="Embedding for realism, in addition: mobilefacenet:FILE, inception:FILE. "
            "Repeatable.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1, ...")
    ] = "auto",
    setting: Settings = None,
    workers: Workers = None,
) -> None:
    """Measure how well generators render AUs, identity and motion, and how real they look.

    `warp` is always included for comparison. --set takes looks=24, draws=2, splits=100, ...
    """
    import json

    from miex.pipeline.assessment.config import AssessmentConfig

    words = [f"generators={json.dumps(generator_fields(generators, checkpoint or [], device))}"]
    if embedding:
        usual = AssessmentConfig.model_fields["embeddings"].default
        words.append(f"embeddings={json.dumps([*usual, *embedding])}")
    _run_assessment(Terminal(), config_of(ctx, None, [*words, *(setting or [])]), out, workers)


def generator_fields(
    specs: Sequence[str], checkpoints: Sequence[str], device: str
) -> list[dict[str, str]]:
    """Return fields of `GeneratorConfig` for every generator of the command line.

    Raises:
        ValueError: A checkpoint of a generator that is not named.
    """
    weights: dict[str, str] = {}
    for word in checkpoints:
        name, equals, file = word.partition("=")
        if not (name and equals and file):
            raise ValueError(f"--checkpoint {word}: expected NAME=FILE, as in ganimation=a.pth")
        if name not in specs:
            raise ValueError(f"--checkpoint {word}: generator {name!r} is not among those named")
        weights[name] = file
    found = []
    for spec in specs:
        name, _, file = spec.partition(":")
        file = file or weights.get(name, "")
        found.append({"name": name, "device": device} | ({"checkpoint": file} if file else {}))
    return found


def _run_assessment(terminal: Terminal, config: Any, out: Path, workers: int | None) -> None:
    """Assess generators with progress, and print which targets are met.

    Args:
        terminal: Where to print.
        config: An `AssessmentConfig`.
        out: Folder of the page.
        workers: Number of processes.
    """
    from rich.markup import escape

    from miex.pipeline.assessment.assessment import assess_generators

    units = {"faces": "photographs", "assess": "faces"}
    with terminal.stages() as stages:

        def on_progress(stage: str, done: int, total: int) -> None:
            stages.of(stage, units[stage]).to(done, total)
            stages.announce(stage, "fewer faces, -n 40")

        document = assess_generators(config, out, workers=workers, on_progress=on_progress)
    words = {None: "", True: "met: ", False: "NOT met: "}
    generators = document["generators"]
    rows = [
        (
            row["name"],
            *(words[one["targets"][n]["met"]] + one["targets"][n]["text"] for one in generators),
        )
        for n, row in enumerate(generators[0]["targets"])
    ]
    terminal.table("targets", ("", *(one["label"] for one in generators)), rows)
    styles = {"fault": "bold red", "warning": "yellow", "note": "cyan"}
    for finding in document["findings"]:
        severity = finding["severity"]
        terminal.say(f"[{styles[severity]}]{severity:8}[/]{escape(finding['text'])}")
    terminal.say(f"  page   {escape(str(out / 'index.html'))}")
    terminal.say(f"  card   {escape(str(out / 'card.md'))}")
    terminal.say(f"Next: look at {escape(str(out / 'sheet-micro.png'))}")
