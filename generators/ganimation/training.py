"""Trains GANimation's generator: photographs with AUs in, a checkpoint out.

python -m miex.generators.ganimation.training --data training.parquet --out runs/gan --minutes 9

The same command goes on where a killed or stopped run was. Several GPUs: `accelerate launch -m`
(or `torchrun -m`) in place of `python -m`. What lies in the output folder: `generator.safetensors`
(the result so far, half precision), `metrics.jsonl`, `samples/`, `training.json` and the states.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import Field
from torch import Tensor

from miex.au_sources.action_units import AUArray
from miex.datasets.config import FrozenConfig
from miex.datasets.files import whole_file
from miex.datasets.locks import locked
from miex.datasets.processes import Processes
from miex.generators.ganimation.adversaries import Adversaries, Precision
from miex.generators.ganimation.appearance import shading_of_aus
from miex.generators.ganimation.batches import Batches
from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.computing import choose_dtype
from miex.generators.ganimation.guided_network import GuidedGANimation
from miex.generators.ganimation.material import Material, guide_of, read_material
from miex.generators.ganimation.monitor import WATCHED, Monitor, Watch, constant_aus, first_faces
from miex.generators.ganimation.recipe import RECIPES, Recipe, choose_recipe
from miex.generators.ganimation.run_state import load_state, save_state
from miex.generators.ganimation.training_set import TrainingSet

WEIGHTS = "generator.safetensors"
SUMMARY = "training.json"

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with the stage (`faces`, `warps`, `steps`), what is done, what there is, and losses."""


class TrainingConfig(FrozenConfig):
    """What to train, on what, for how long.

    Attributes:
        data: A training set that `miex training-set` made.
        out: Folder of the run; a run in it is gone on with.
        recipe: How to train.
        pairs: Frames of people in motion, another training set, several photographs of each
            person; for recipes with `paired_share`.
        photographs: Learn from this many of the training photographs, drawn at random: `warp`
            keeps 0.7 MB of each in memory. All by default.
        start: Weights to begin with, of the recipe's design and width, in place of random ones.
        seed: Of everything random.
        steps: Steps in all, in place of the recipe's epochs; the learning rate falls accordingly.
        minutes: Stop after so many, with a state and weights; the next run goes on.
        device: auto, cpu, cuda, ...
        compile: torch.compile the generator; worth its minute on a GPU.
        log_every: Steps between two lines of losses, whose means they are.
        validate_every: Steps between two looks at the validation photographs.
        save_every: Steps between two states. (Both are checked where losses are logged.)
    """

    data: Path
    out: Path
    recipe: Recipe = RECIPES["guided"]
    pairs: Path | None = None
    photographs: int | None = Field(None, ge=1)
    start: Path | None = None
    seed: int = Field(0, ge=0)
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    device: str = "auto"
    compile: bool = False
    log_every: int = Field(20, ge=1)
    validate_every: int = Field(500, ge=1)
    save_every: int = Field(2000, ge=1)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came out.

    Attributes:
        weights: The checkpoint.
        step: Steps that are done.
        total: Steps there are; fewer done means that the time was over.
        au_error: Of the discriminator on held-out photographs, intensity squared.
        au_error_constant: Of the mean of the training photographs there; NaN without any.
        images_per_second: Photographs seen by this run in its steps.
    """

    weights: Path
    step: int
    total: int
    au_error: float
    au_error_constant: float
    images_per_second: float


def train(config: TrainingConfig, on_progress: Progress | None = None) -> TrainingResult:
    """Trains a generator, or goes on with it.

    On a CPU a run that was stopped and resumed ends with the weights of one that was not, to the
    bit (with the same number of threads).

    Raises:
        FileNotFoundError: No training set.
        ValueError: Data, recipe and machine do not fit, or the folder holds another training.
        TrainingFailedError: It diverged or does nothing; the reason, and the way out.
    """
    with locked(config.out):
        return _train(config, on_progress)


def _train(config: TrainingConfig, on_progress: Progress | None) -> TrainingResult:
    until = time.monotonic() + 60 * (config.minutes or math.inf)
    processes = Processes.start(config.device)
    recipe = config.recipe
    tell = on_progress if on_progress and processes.rank == 0 else _silent
    data = TrainingSet.open(config.data)
    material = read_material(config, data, processes, tell)
    faces = material.faces
    total = config.steps or recipe.total_steps(len(faces))
    run, networks, start = _begin(config, data, material, total, processes)
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
        monitor = Monitor(config.out, start, paints=recipe.design != "guided")

    sums: dict[str, list[Tensor]] = {}
    losses: dict[str, float] = {}
    step, over, began = start, start >= total, time.monotonic()
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
        while not over:
            found = networks.step(batches.at(step), step, recipe.rate_factor(step, total))
            step += 1
            for name, value in found.items():
                sums.setdefault(name, []).append(value)
            if step % config.log_every and step < total:
                continue
            # The one place where the processor waits for the device.
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
                save_state(config.out, step, run, networks.modules, networks.optimisers)
    rate = (step - start) * recipe.batch / max(time.monotonic() - began, 1e-9)
    held_out = _held_out(data, networks, constant, processes)
    weights = config.out / WEIGHTS
    if monitor is not None and not _is_exported(config.out, step):
        _export(config, data, material.pairs, networks, {
            "step": step, "steps": total, "images_per_second": round(rate, 2),
            "processes": processes.count, "losses": losses, "held_out": held_out,
        })  # fmt: skip
    return TrainingResult(weights, step, total, images_per_second=rate, **held_out)


def _begin(
    config: TrainingConfig,
    data: TrainingSet,
    material: Material,
    total: int,
    processes: Processes,
) -> tuple[dict[str, Any], Adversaries, int]:
    """What the training is, its networks, and how many steps of it are done."""
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
    done = load_state(config.out, run, networks.modules, networks.optimisers)
    if not done and given is not None:
        networks.begin_with(given.network)
    elif not done and isinstance(networks.generator, GuidedGANimation):
        networks.start_shading(shading_of_aus(material.everybody, data.trusted))
    return run, networks, done


def _silent(stage: str, done: int, total: int, losses: Mapping[str, float]) -> None:
    """Nobody watches."""


def _precision(config: TrainingConfig, processes: Processes) -> Precision:
    device = processes.device
    bf16 = choose_dtype("auto", device) == torch.bfloat16
    return Precision(device, bf16, config.compile)


def _due(step: int, every: int, log_every: int) -> bool:
    """Whether a multiple of `every` lies among the steps since the last line."""
    return step // every > (step - log_every) // every


def _held_out(
    data: TrainingSet, networks: Adversaries, constant: AUArray, processes: Processes
) -> dict[str, float]:
    """How well the discriminator reads AUs of strangers, beside always saying the mean."""
    faces = data.faces("held_out")
    if not len(faces):
        return {"au_error": math.nan, "au_error_constant": math.nan}
    teacher = guide_of(networks.recipe, faces, processes)
    found = Watch(faces, data.trusted, constant, 0, networks, len(faces), teacher).measure()
    return {"au_error": found.au_error, "au_error_constant": found.au_error_constant}


def _is_exported(out: Path, step: int) -> bool:
    """Whether the weights after this step lie there, with what an earlier run knew about them."""
    summary = out / SUMMARY
    if not (out / WEIGHTS).is_file() or not summary.is_file():
        return False
    return bool(json.loads(summary.read_text("utf-8")).get("step") == step)


def _about(data: TrainingSet) -> dict[str, Any]:
    """What a card says about a training set."""
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
    data: TrainingSet,
    pairs: TrainingSet | None,
    networks: Adversaries,
    results: Mapping[str, Any],
) -> None:
    """Write the weights with their card, and the same in full for machines."""
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
    card = {n: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for n, v in about.items()}
    save_checkpoint(
        networks.average,
        config.out / WEIGHTS,
        image_size=data.image_size,
        card=card,
        dtype=torch.float16,
    )
    with whole_file(config.out / SUMMARY) as temporary:
        temporary.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", "utf-8")


def _version(package: str) -> str:
    """Of a package; a checkout that was never installed has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains as the command line says.

    Raises:
        SystemExit: With code 2 and one line, for an error that a user can mend.
    """
    parser = argparse.ArgumentParser(prog="training", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="training set (.parquet)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--recipe", default="guided", choices=list(RECIPES))
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", dest="changes")
    parser.add_argument("--pairs", type=Path, help="frames of people in motion (.parquet)")
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--photographs", type=int, help="learn from so many of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="in all, in place of the recipe's epochs")
    parser.add_argument("--minutes", type=float, help="stop after so many; the next run goes on")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--validate-every", type=int, default=500)
    parser.add_argument("--save-every", type=int, default=2000)
    given = vars(parser.parse_args(arguments))
    try:
        changes = {}
        for word in given.pop("changes"):
            field, _, value = word.partition("=")
            changes[field] = yaml.safe_load(value)
        recipe = choose_recipe(given.pop("recipe"), changes)
        result = train(TrainingConfig(recipe=recipe, **given), _printer())
    except (ValueError, OSError, RuntimeError) as error:
        parser.exit(2, f"error: {' '.join(str(error).split())}\n")
    print(
        f"{result.step} of {result.total} steps, {result.images_per_second:.0f} images/s;"
        f" squared error of the AUs of strangers {result.au_error:.3f}, of the mean"
        f" {result.au_error_constant:.3f}; weights: {result.weights}"
    )


def _printer() -> Progress:
    """Prints where a training is, every few seconds."""
    shown = 0.0

    def show(stage: str, done: int, total: int, losses: Mapping[str, float]) -> None:
        nonlocal shown
        if time.monotonic() - shown > 5 or (done == total and stage != "faces"):
            shown = time.monotonic()
            values = " ".join(f"{name} {value:.4f}" for name, value in losses.items())
            print(f"{stage} {done}/{total} {values}", file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    main()
