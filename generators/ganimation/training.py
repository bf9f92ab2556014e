"""Train GANimation's generator: from photographs with AUs to a checkpoint.

The folder of a run holds `generator.safetensors` (the weights so far, half precision),
`metrics.jsonl`, `samples/`, `training.json` and the states from which it resumes.
"""

import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from miex.au_sources.action_units import AUArray
from miex.datasets.documents import read_document, write_document
from miex.datasets.interrupts import deferred_interrupt
from miex.datasets.locks import locked
from miex.datasets.processes import Processes
from miex.datasets.trackers import Trackers
from miex.generators.ganimation.adversaries import Adversaries, Precision
from miex.generators.ganimation.appearance import shading_of_aus
from miex.generators.ganimation.batches import Batches
from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.computing import choose_dtype
from miex.generators.ganimation.guided_network import GuidedGANimation
from miex.generators.ganimation.material import Material, Progress, guide_of, read_material
from miex.generators.ganimation.monitor import WATCHED, Monitor, Watch, constant_aus, first_faces
from miex.generators.ganimation.run_state import load_state, save_state
from miex.generators.ganimation.training_config import TrainingConfig
from miex.generators.ganimation.training_set import TrainingSet

_log = logging.getLogger("miex")

WEIGHTS = "generator.safetensors"
_SUMMARY = "training.json"
_OF_THE_RUN = ("images_per_second", "losses")
"""Results that differ between runs of the same training, which only the summary states: the
weights of a training have the same hash whether it was interrupted or not."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Result of a training run.

    Attributes:
        weights: The checkpoint.
        step: Number of finished steps.
        total: Total number of steps; larger than `step` if the time limit was reached.
        au_error: Mean squared error of the discriminator's AUs on held-out photographs, FACS
            intensity squared; NaN without held-out photographs.
        au_error_constant: The same of the mean of the training photographs.
        images_per_second: Training photographs per second in the steps of this run.
    """

    weights: Path
    step: int
    total: int
    au_error: float
    au_error_constant: float
    images_per_second: float


def train(config: TrainingConfig, out: Path, on_progress: Progress | None = None) -> TrainingResult:
    """Train a generator, or resume a training.

    On a CPU a run that was stopped and resumed ends with the same weights, to the bit, as one that
    was not stopped (with the same number of threads).

    Args:
        config: Data, recipe and duration.
        out: Folder of the run; a run in it resumes.
        on_progress: Called in the process of rank 0.

    Raises:
        FileNotFoundError: There is no such training set.
        ValueError: Data, recipe and machine do not fit, or the folder holds another training.
        TrainingFailedError: The training diverged, or the generator changes nothing; the message
            states the reason and a remedy.
    """
    with locked(out):
        return _train(config, out, on_progress)


def _train(config: TrainingConfig, out: Path, on_progress: Progress | None) -> TrainingResult:
    until = time.monotonic() + 60 * (config.minutes or math.inf)
    processes = Processes.start(config.device)
    recipe = config.recipe
    tell = on_progress if on_progress and processes.rank == 0 else _silent
    data = TrainingSet.open(config.data)
    material = read_material(config, out, data, processes, tell)
    faces = material.faces
    total = config.steps or recipe.total_steps(len(faces))
    run, networks, start = _begin(config, out, data, material, total, processes)
    batches = Batches(
        faces, data.trusted, recipe, config.seed, processes.device, material.teacher,
        (processes.rank, processes.count), material.paired,
    )  # fmt: skip
    constant = constant_aus(faces, data.trusted)
    watched = first_faces(data.faces("validation"), WATCHED)
    watch = Watch(
        watched, data.trusted, constant, config.seed, networks,
        teacher=guide_of(recipe, watched, processes),
    )  # fmt: skip
    monitor = None
    if processes.rank == 0:
        trackers = Trackers(config.log, out, start, recipe.model_dump(mode="json"))
        monitor = Monitor(out, start, paints=recipe.design != "guided", trackers=trackers)

    sums: dict[str, list[Tensor]] = {}
    losses: dict[str, float] = {}
    step, over, began = start, start >= total, time.monotonic()
    kernels = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True)
    with kernels, deferred_interrupt() as interrupted:
        while not over:
            found = networks.step(batches.at(step), step, recipe.rate_factor(step, total))
            step += 1
            if interrupted():
                if monitor is not None:
                    save_state(out, step, run, networks.modules, networks.optimisers)
                raise KeyboardInterrupt
            for name, value in found.items():
                sums.setdefault(name, []).append(value)
            if step % config.log_every and step < total:
                continue
            # Only here the processor waits for the device.
            losses = {name: float(torch.stack(each).mean()) for name, each in sums.items()}
            sums.clear()
            over = step >= total or processes.agree(time.monotonic() > until)
            tell("steps", step, total, losses)
            if monitor is None:
                continue
            monitor.log(step, losses)
            if over or _due(step, config.validate_every, config.log_every):
                monitor.validated(step, watch.measure(), watch.grid())
            if over or _due(step, config.save_every, config.log_every):
                save_state(out, step, run, networks.modules, networks.optimisers)
    if monitor is not None:
        monitor.close()
    rate = (step - start) * recipe.batch / max(time.monotonic() - began, 1e-9)
    held_out = _held_out(data, networks, constant, processes)
    weights = out / WEIGHTS
    if monitor is not None and not _is_exported(out, step):
        _export(config, out, data, material.pairs, networks, {
            "step": step, "steps": total, "images_per_second": round(rate, 2),
            "processes": processes.count, "losses": losses, "held_out": held_out,
        })  # fmt: skip
    return TrainingResult(weights, step, total, images_per_second=rate, **held_out)


def _begin(
    config: TrainingConfig,
    out: Path,
    data: TrainingSet,
    material: Material,
    total: int,
    processes: Processes,
) -> tuple[dict[str, Any], Adversaries, int]:
    """Return the identity of the training, its networks, and the number of finished steps."""
    recipe = config.recipe
    given = load_checkpoint(config.start) if config.start else None
    run = {
        "recipe": recipe.model_dump(), "seed": config.seed, "steps": total, "data": data.sha256,
        "pairs": material.pairs.sha256 if material.pairs else None,
        "photographs": config.photographs,
        "start": given.sha256 if given else None,
    }  # fmt: skip
    networks = Adversaries(
        recipe, data.image_size, config.seed, _precision(config, processes), processes,
        material.reader,
    )  # fmt: skip
    done = load_state(out, run, networks.modules, networks.optimisers)
    if not done and given is not None:
        networks.begin_with(given.network)
    elif not done and isinstance(networks.generator, GuidedGANimation):
        networks.start_shading(shading_of_aus(material.everybody, data.trusted))
    return run, networks, done


def _silent(stage: str, done: int, total: int, losses: Mapping[str, float]) -> None:
    """Do nothing."""


def _precision(config: TrainingConfig, processes: Processes) -> Precision:
    device = processes.device
    bf16 = choose_dtype("auto", device) == torch.bfloat16
    return Precision(device, bf16, config.compile)


def _due(step: int, every: int, log_every: int) -> bool:
    """Return whether a multiple of `every` lies among the steps since the last line."""
    return step // every > (step - log_every) // every


def _held_out(
    data: TrainingSet, networks: Adversaries, constant: AUArray, processes: Processes
) -> dict[str, float]:
    """Return the errors of the discriminator and of the mean AUs on held-out identities."""
    faces = data.faces("held_out")
    if not len(faces):
        return {"au_error": math.nan, "au_error_constant": math.nan}
    teacher = guide_of(networks.recipe, faces, processes)
    found = Watch(faces, data.trusted, constant, 0, networks, len(faces), teacher).measure()
    return {"au_error": found.au_error, "au_error_constant": found.au_error_constant}


def _is_exported(out: Path, step: int) -> bool:
    """Return whether an earlier run exported the weights of this step with their summary."""
    summary = out / _SUMMARY
    if not (out / WEIGHTS).is_file() or not summary.is_file():
        return False
    try:
        return bool(read_document(summary, "summary", "it is written again").get("step") == step)
    except ValueError as error:
        _log.warning("%s", error)
        return False


def _about(data: TrainingSet) -> dict[str, Any]:
    """Return the entries of a card about a training set."""
    notes = data.notes
    return {
        "sha256": data.sha256,
        "source": notes.source,
        "estimator": f"{notes.estimator} {notes.estimator_version}",
        "trusted_aus": [one.au for one in notes.agreement if one.trusted],
        "counts": dict(notes.counts),
        "licences": dict(notes.licences),
    }


def _export(
    config: TrainingConfig,
    out: Path,
    data: TrainingSet,
    pairs: TrainingSet | None,
    networks: Adversaries,
    results: Mapping[str, Any],
) -> None:
    """Write the weights with their card, and the card as a JSON file."""
    about = {
        "condition": config.recipe.condition,
        "recipe": config.recipe.model_dump(mode="json"),
        "seed": config.seed,
        **results,
        "photographs": config.photographs,
        "data": _about(data),
        "pairs": _about(pairs) if pairs else None,
        "versions": {"miex": _version("miex"), "torch": str(torch.__version__)},
    }
    card = {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in about.items()
        if name not in _OF_THE_RUN
    }
    save_checkpoint(
        networks.average,
        out / WEIGHTS,
        image_size=data.image_size,
        card=card,
        dtype=torch.float16,
    )
    write_document(out / _SUMMARY, dict(sorted(about.items())), indent=1)


def _version(package: str) -> str:
    """Return the version of a package; a checkout that was never installed has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
