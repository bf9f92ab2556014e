"""Run the jobs on recognizers with progress, and print their results."""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from miex.datasets.quantity import quantity
from miex.flows.progress import Meter, Stages
from miex.flows.terminal import Terminal
from miex.pipeline.inside.config import InsideConfig
from miex.pipeline.inside.look import inside_pictures, look_inside
from miex.pipeline.inside.page import write_inside_page
from miex.pipeline.recognition.checkpoint import CHECKPOINT, Card, load_checkpoint
from miex.pipeline.recognition.job_config import EvaluateJob, FinetuneJob, PretrainJob
from miex.pipeline.recognition.jobs import LEFT_OUT, finetune, pretrain, run_evaluation
from miex.pipeline.recognition.results import RESULT, Result, require_comparable
from miex.pipeline.recognition.training_log import METRICS
from miex.pipeline.reports.results_page import PAGE, notes_of, write_results_page
from miex.pipeline.workers import OnStage

FAST = "ststnet"
"""The recognizer with the fewest parameters; commands that take long name it."""


def run_training(
    terminal: Terminal, job: PretrainJob | FinetuneJob, out: Path, cache: Path
) -> Card:
    """Pretrain or fine-tune with progress, and print what the recognizer was trained on.

    Returns:
        The card of the trained recognizer.

    Raises:
        FileNotFoundError: A dataset, database or checkpoint does not exist.
        ValueError: A config that does not fit, or a dataset of another label space.
    """
    train: Callable[..., Card] = pretrain if isinstance(job, PretrainJob) else finetune
    warnings: list[str] = []
    with terminal.stages() as stages:
        card = train(
            job,
            out,
            cache,
            on_stage=_on_stage(stages),
            on_step=_on_step(stages, _faster(job.recognizer), warnings),
            on_warning=warnings.append,
        )
    _show_trained(terminal, card, out, warnings)
    return card


def run_evaluating(terminal: Terminal, job: EvaluateJob, out: Path, cache: Path) -> Result:
    """Evaluate with progress, write the page, and print the scores.

    Returns:
        The result.

    Raises:
        FileNotFoundError: A dataset, database or checkpoint does not exist.
        ValueError: A config that does not fit, or a leak.
    """
    with terminal.stages() as stages:
        folds = _Folds(stages, _faster(job.evaluation.recognizer, len(job.evaluation.seeds)))
        result = run_evaluation(job, out, cache, on_stage=_on_stage(stages), on_step=folds.step)
    write_results_page([result], out)
    _show_result(terminal, result)
    return result


def run_results(
    terminal: Terminal,
    folders: Sequence[Path],
    out: Path,
    checkpoints: Sequence[Path],
    looking: InsideConfig | None,
    cache: Path,
) -> None:
    """Write the page of several evaluations, and print their scores.

    Args:
        terminal: Where to print.
        folders: Folders of evaluations.
        out: Folder of the page.
        checkpoints: Recognizers whose pictures are added to the page.
        looking: Samples for the pictures; None for no pictures.
        cache: Folder of cached representations.

    Raises:
        FileNotFoundError: A folder or checkpoint does not exist.
        ValueError: The evaluations cannot be compared: other clips or classes.
    """
    results = [Result.open(folder) for folder in folders]
    require_comparable(results)
    pictures: dict[str, list[tuple[str, str]]] = {}
    with terminal.stages() as stages:
        for path in checkpoints if looking else ():
            assert looking is not None
            found = load_checkpoint(path)
            inside = look_inside(found, looking, cache, _on_stage(stages))
            pictures |= {
                f"{path}: {heading}": shown for heading, shown in inside_pictures(inside).items()
            }
    page = write_results_page(results, out, pictures=pictures)
    for result in results:
        _show_result(terminal, result)
    terminal.tell(f"page of all evaluations: {page}")


def run_inspection(
    terminal: Terminal, checkpoint: Path, config: InsideConfig, out: Path, cache: Path
) -> None:
    """Write the page that shows what a recognizer looks at.

    Raises:
        FileNotFoundError: The checkpoint, a database or a dataset does not exist.
        ValueError: A layer that the recognizer does not have, or no usable sample.
    """
    found = load_checkpoint(checkpoint)
    with terminal.stages() as stages:
        inside = look_inside(found, config, cache, _on_stage(stages))
    page = write_inside_page(inside, str(found.path), out)
    rows = [(str(count), source) for source, count in inside.samples.items()]
    terminal.table(f"{found.card.recognizer}, inspected on", ("samples", "source"), rows)
    terminal.tell(f"classified correctly: {inside.answered} of {sum(inside.samples.values())}")
    for text in inside.missing:
        terminal.tell(text)
    terminal.tell(f"page: {page}")


def _on_stage(stages: Stages) -> OnStage:
    """Return a callback that shows the progress of every stage but training."""

    def report(what: str, done: int, total: int) -> None:
        # All folds are one stage.
        stage, _, note = what.partition(": ")
        meter = stages.of(stage, stage if stage in ("folds", "pictures") else "samples")
        meter.note = note
        meter.to(done, total)
        if stage != "folds":
            stages.announce(stage, "fewer samples or clips; the results are cached")

    return report


def _faster(recognizer: str, seeds: int = 1) -> str:
    """Return the options that make one training of a recognizer, or several, faster."""
    smaller = "" if recognizer == FAST else f"-r {FAST}, "
    fewer = "--seeds 1, " if seeds > 1 else ""
    return f"{smaller}{fewer}fewer --epochs, or a GPU"


class _Losses:
    """Describe the state of a training in a few words: loss, and accuracy over recent batches."""

    PREFIX = "loss "

    def __init__(self) -> None:
        self._accuracies: deque[float] = deque(maxlen=20)

    def note(self, terms: Mapping[str, float]) -> str:
        """Return the note of a step."""
        text = f"{self.PREFIX}{terms['loss']:.3f}"
        if "accuracy" not in terms:
            return text
        self._accuracies.append(terms["accuracy"])
        return f"{text}, accuracy {100 * fmean(self._accuracies):.0f} %"


def _on_step(
    stages: Stages, faster: str, warnings: Sequence[str]
) -> Callable[[int, int, dict[str, float]], None]:
    """Return a callback that shows the progress of training, with its loss and warnings."""
    losses = _Losses()

    def report(step: int, steps: int, terms: dict[str, float]) -> None:
        meter: Meter = stages.of("training", "steps")
        # A resumed training begins with a step that was made before.
        timed = meter.total is not None or step == 1
        meter.note = ", ".join((losses.note(terms), *warnings))
        meter.to(step, steps, timed=timed)
        stages.announce("training", faster)

    return report


class _Folds:
    """Show the trainings within the folds of an evaluation, and estimate its duration from them.

    Args:
        stages: Of the command.
        faster: Options that make the evaluation faster.
    """

    def __init__(self, stages: Stages, faster: str) -> None:
        self._stages, self._faster = stages, faster
        self._losses = _Losses()
        self._fold = ""
        self._began = time.monotonic()

    def step(self, step: int, steps: int, terms: Mapping[str, float]) -> None:
        """Report a step of the current training."""
        meter = self._stages.of("folds", "folds")
        if not meter.note.startswith(_Losses.PREFIX):
            self._fold = meter.note
        if step == 1:
            self._losses, self._began = _Losses(), time.monotonic()
        else:
            # The first step also loads and compiles.
            meter.expect((time.monotonic() - self._began) * steps / (step - 1))
        meter.note = f"{self._losses.note(terms)}, step {step} of {steps}, {self._fold}"
        self._stages.announce("folds", self._faster)


def _show_trained(terminal: Terminal, card: Card, out: Path, warnings: Sequence[str]) -> None:
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


def _show_result(terminal: Terminal, result: Result) -> None:
    """Print the scores of an evaluation beside its baselines."""
    content = result.content
    seeds = len(content["config"]["seeds"])
    title = (
        f"{content['recognizer']} by {content['protocol']}: {quantity(content['clips'], 'clip')},"
        f" {quantity(content['subjects'], 'subject')}, {quantity(seeds, 'seed')}, pooled over folds"
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
        f"95 % interval of UF1: {interval['low']:.3f} to {interval['high']:.3f}"
        " (bootstrap over subjects)"
    )
    for note in notes_of(content):
        terminal.tell(note)
    terminal.tell(f"result: {result.folder / RESULT}")
    terminal.tell(f"page: {result.folder / PAGE}")


def _spread(part: Mapping[str, Any], score: str) -> str:
    deviation = part["deviation"][score]
    mean = f"{part['mean'][score]:.3f}"
    return mean if deviation is None else f"{mean} +- {deviation:.3f}"
