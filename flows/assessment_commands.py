"""The command `miex assess-generator`.

Whatever is slow to import is imported inside the command.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miex.flows.terminal import Terminal

if TYPE_CHECKING:
    from miex.generators.base import GeneratorConfig
    from miex.pipeline.assessment.config import AssessmentConfig


def assess_generator(
    generators: Annotated[
        list[str],
        typer.Argument(metavar="GENERATOR...", help="warp, ganimation, or ganimation:FILE."),
    ],
    faces: Annotated[
        str,
        typer.Option(help="A training set (its held-out people), a face table, or photographs."),
    ] = "samples",
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Weights of a generator; repeatable."),
    ] = None,
    identities: Annotated[
        int | None, typer.Option("--identities", "-n", help="How many people; all by default.")
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            "--estimator",
            "-e",
            help="NAME or NAME:MODEL; the first decides, more are shown beside it.",
        ),
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Estimator that labelled the training data; repeatable."),
    ] = None,
    allow_training_estimator: Annotated[
        bool,
        typer.Option("--allow-training-estimator", help="Measure with it all the same."),
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(help="AUs: expert:TABLE or pool:FILE.parquet; repeatable."),
    ] = None,
    agreement: Annotated[
        list[Path] | None,
        typer.Option(help="A file of miex calibrate beside the shipped ones; repeatable."),
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(help="For realism: mobilefacenet:FILE or inception:FILE, beside the others."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other field; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder.")] = Path("out/assessment"),
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Processes; one a core by default.")
    ] = None,
) -> None:
    """Measures whether generators do what they are asked: AUs, identity, motion, realism.

    `warp` is always put beside. --set takes looks=24, draws=2, splits=100, seed=1 and the like.
    """
    lists = {
        "estimators": estimator,
        "trained_on": trained_on,
        "sources": source,
        "agreement": agreement,
        "embeddings": embedding,
    }
    values = {
        "generators": _generators(generators, checkpoint or [], device),
        "faces": faces,
        "identities": identities,
        "allow_training_estimator": allow_training_estimator,
        **{name: tuple(given) for name, given in lists.items() if given},
    }
    run_assessment(Terminal(), _config(values, setting or []), out, workers)


def _config(values: dict[str, Any], settings: list[str]) -> "AssessmentConfig":
    """The config of flags and of other fields that win over them.

    Raises:
        ValueError: A field that does not exist, or a value that does not fit.
    """
    from pydantic import ValidationError

    from miex.datasets.config import explain, parse_assignments
    from miex.pipeline.assessment.config import AssessmentConfig

    if "embeddings" in values:
        usual = AssessmentConfig.model_fields["embeddings"].default
        values["embeddings"] = (*usual, *values["embeddings"])
    try:
        return AssessmentConfig(**(values | parse_assignments(settings)))
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def _generators(
    specs: Sequence[str], checkpoints: Sequence[str], device: str
) -> "tuple[GeneratorConfig, ...]":
    """The generators of the command line.

    Raises:
        ValueError: A checkpoint for a generator that is not named, or given twice.
    """
    from miex.generators.base import GeneratorConfig

    weights: dict[str, Path] = {}
    for word in checkpoints:
        name, equals, file = word.partition("=")
        if not (name and equals and file):
            raise ValueError(f"--checkpoint {word}: expected NAME=FILE, as in ganimation=a.pth")
        if name not in specs:
            raise ValueError(f"--checkpoint {word}: no generator {name!r} is asked for")
        weights[name] = Path(file)
    found = []
    for spec in specs:
        name, colon, file = spec.partition(":")
        path = Path(file) if colon else weights.get(name)
        found.append(GeneratorConfig(name=name, checkpoint=path, device=device))
    return tuple(found)


def run_assessment(terminal: Terminal, config: Any, out: Path, workers: int | None) -> None:
    """Assesses with progress, and says which targets are met.

    Args:
        terminal: Shows it.
        config: An `AssessmentConfig`.
        out: Folder.
        workers: Processes.
    """
    from rich.markup import escape

    from miex.pipeline.assessment.assessment import assess_generators

    units = {"faces": "photographs", "assess": "faces"}
    with terminal.stages() as stages:

        def on_progress(stage: str, done: int, total: int) -> None:
            stages.of(stage, units[stage]).to(done, total)

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
