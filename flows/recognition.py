"""What the commands on recognizers do: assemble a job, run it with progress, say what came out."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from miex.datasets.config import explain
from miex.flows.terminal import Meter, Stages, Terminal
from miex.pipeline.inside.look import inside_pictures, look_inside
from miex.pipeline.inside.samples import InsideConfig
from miex.pipeline.recognition.checkpoint import CHECKPOINT, Card, load_checkpoint
from miex.pipeline.recognition.jobs import (
    LEFT_OUT,
    EvaluateJob,
    FinetuneJob,
    OnStage,
    PretrainJob,
    finetune,
    pretrain,
    run_evaluation,
)
from miex.pipeline.recognition.results import RESULT, Result, require_comparable
from miex.pipeline.recognition.training_log import METRICS
from miex.pipeline.reports.results_page import PAGE, notes_of, write_results_page

Job = TypeVar("Job", bound=BaseModel)

DEFAULT_CACHE = Path("out/cache")
"""Where representations are kept unless another folder is named; safe to delete."""


def assemble(kind: type[Job], file: Path | None, values: Mapping[str, Any]) -> Job:
    """A job from a YAML file and values that win over it.

    Args:
        kind: Its class.
        file: With fields of the job; none by default.
        values: By field, nested ones with dots; None is not given.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A field that does not exist, or a value that does not fit.
    """
    fields: dict[str, Any] = {}
    if file is not None:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file")
        try:
            fields = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is no YAML ({' '.join(str(error).split())})") from None
        if not isinstance(fields, dict):
            raise ValueError(
                f"{file}: expected `field: value` lines, found {type(fields).__name__}"
            )
    for name, value in values.items():
        if value is not None:
            _place(fields, name, value)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def _place(fields: dict[str, Any], name: str, value: Any) -> None:
    *parents, leaf = name.split(".")
    for depth, parent in enumerate(parents, 1):
        if fields.get(parent) is None:
            fields[parent] = {}
        inner = fields[parent]
        if not isinstance(inner, dict):
            given = ".".join(parents[:depth])
            raise ValueError(f"{name}: {given} is {inner!r}, no group of fields")
        fields = inner
    fields[leaf] = value


def run_pretraining(terminal: Terminal, job: PretrainJob, out: Path, cache: Path) -> None:
    """`miex pretrain`."""
    warnings: list[str] = []
    with terminal.stages() as stages:
        card = pretrain(
            job,
            out,
            cache,
            on_stage=on_stage(stages),
            on_step=on_step(stages, warnings),
            on_warning=warnings.append,
        )
    _say_trained(terminal, card, out, warnings)


def run_finetuning(terminal: Terminal, job: FinetuneJob, out: Path, cache: Path) -> None:
    """`miex finetune`."""
    warnings: list[str] = []
    with terminal.stages() as stages:
        card = finetune(
            job,
            out,
            cache,
            on_stage=on_stage(stages),
            on_step=on_step(stages, warnings),
            on_warning=warnings.append,
        )
    _say_trained(terminal, card, out, warnings)


def run_evaluating(terminal: Terminal, job: EvaluateJob, out: Path, cache: Path) -> None:
    """`miex evaluate`."""
    with terminal.stages() as stages:
        result = run_evaluation(job, out, cache, on_stage=on_stage(stages))
    write_results_page([result], out)
    show_result(terminal, result)


def run_results(
    terminal: Terminal,
    folders: Sequence[Path],
    out: Path,
    checkpoints: Sequence[Path],
    looking: InsideConfig | None,
    cache: Path,
) -> None:
    """`miex results`."""
    results = [Result.open(folder) for folder in folders]
    require_comparable(results)
    pictures: dict[str, list[tuple[str, str]]] = {}
    with terminal.stages() as stages:
        for path in checkpoints if looking else ():
            assert looking is not None
            found = load_checkpoint(path)
            inside = look_inside(found, looking, cache, on_stage(stages))
            pictures |= {
                f"{path}: {heading}": shown for heading, shown in inside_pictures(inside).items()
            }
    page = write_results_page(results, out, pictures=pictures)
    for result in results:
        show_result(terminal, result)
    terminal.tell(f"side by side: {page}")


def on_stage(stages: Stages) -> OnStage:
    """Progress of what a job does before and besides training."""

    def report(what: str, done: int, total: int) -> None:
        # Folds are one stage, whichever of them is on.
        stage, _, note = what.partition(": ")
        meter = stages.of(stage, stage if stage in ("folds", "pictures") else "samples")
        meter.note = note
        meter.to(done, total)

    return report


def on_step(
    stages: Stages, warnings: Sequence[str] = ()
) -> Callable[[int, int, dict[str, float]], None]:
    """Progress of a training, with its loss and whatever has been warned of so far."""

    def report(step: int, steps: int, terms: dict[str, float]) -> None:
        meter: Meter = stages.of("training", "steps")
        meter.note = ", ".join((f"loss {terms['loss']:.3f}", *warnings))
        meter.to(step, steps)

    return report


def _say_trained(terminal: Terminal, card: Card, out: Path, warnings: Sequence[str]) -> None:
    stage = card.stages[-1]
    rows = [(str(count), name) for name, count in stage.sources.items()]
    terminal.table(f"{card.recognizer}, trained on {stage.data}", ("samples", "source"), rows)
    terminal.tell(f"started from: {card.weights}")
    if (out / LEFT_OUT).is_file():
        reasons = Counter(
            each["reason"] for each in json.loads((out / LEFT_OUT).read_text("utf-8"))
        )
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        terminal.tell(f"left out: {counts}; see {out / LEFT_OUT}")
    terminal.tell(f"recognizer: {out / CHECKPOINT}")
    if (out / METRICS).is_file():
        terminal.tell(f"losses: {out / METRICS}")
    for warning in warnings:
        terminal.tell(f"warning: {warning}")


def show_result(terminal: Terminal, result: Result) -> None:
    """Prints the scores, what they are of, and what they are to be compared with."""
    content = result.content
    seeds = len(content["config"]["seeds"])
    title = (
        f"{content['recognizer']} by {content['protocol']}: {content['clips']} clips,"
        f" {content['subjects']} subjects, {seeds} seeds, pooled over folds"
    )
    if content["oracle"]:
        title = f"NOT A RESULT (epoch chosen on the test clips): {title}"
    parts = {"all": content["pooled"]} | content["databases"]
    rows = [
        (name, *(_spread(part, score) for score in ("uf1", "uar", "accuracy")))
        for name, part in parts.items()
    ]
    for name, scores in content["baselines"].items():
        rows.append((name, *(f"{scores[score]:.3f}" for score in ("uf1", "uar", "accuracy"))))
    terminal.table(title, ("clips of", "UF1", "UAR", "accuracy"), rows)
    interval = content["interval"]["uf1"]
    terminal.tell(
        f"95 % of UF1 over subjects: {interval['low']:.3f} to {interval['high']:.3f} (bootstrap)"
    )
    for note in notes_of(content):
        terminal.tell(note)
    terminal.tell(f"result: {result.folder / RESULT}")
    terminal.tell(f"page: {result.folder / PAGE}")


def _spread(part: Mapping[str, Any], score: str) -> str:
    deviation = part["deviation"][score]
    mean = f"{part['mean'][score]:.3f}"
    return mean if deviation is None else f"{mean} +- {deviation:.3f}"
