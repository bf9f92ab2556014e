"""The stages of the chain of MiE-X that train and test recognizers."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from miex.datasets.config import build
from miex.pipeline.experiments.chain_inputs import PAPER_DATABASES
from miex.pipeline.experiments.chain_stages import Work
from miex.pipeline.experiments.config import load_experiment
from miex.pipeline.experiments.plan import pretraining_key
from miex.pipeline.experiments.run import run_experiment
from miex.pipeline.experiments.scale import Inputs, Scale
from miex.pipeline.recognition.input_form import with_input_form
from miex.pipeline.recognition.job_config import EvaluateJob, FinetuneJob, PretrainJob
from miex.pipeline.recognition.jobs import (
    finetune,
    pretrain,
    result_folder,
    run_evaluation,
)
from miex.pipeline.recognition.recognizers.base import recognizer_class
from miex.pipeline.recognition.results import Result
from miex.pipeline.recognition.training import OnStep
from miex.pipeline.reports.results_page import write_results_page
from miex.pipeline.workers import OnStage

VARIANTS = ("clips alone", "MiE-X alone", "MiE-X, then clips")
"""What the recognizers are trained on; rows 1, 7 and 8 of table 1 of MiE-X."""

TABLE = "mie_x_table_1"


def pretrain_all(work: Work, on_stage: OnStage) -> Mapping[str, Any]:
    """Train every recognizer on the dataset."""
    folder, _ = work.dataset()

    def job(name: str) -> PretrainJob:
        return build(PretrainJob, _job(work, name) | {"synthetic.datasets": [str(folder)]})

    return _train_each(work, "pretrained", pretrain, job, on_stage)


def finetune_all(work: Work, on_stage: OnStage) -> Mapping[str, Any]:
    """Fine-tune every recognizer on all clips."""

    def job(name: str) -> FinetuneJob:
        values = _job(work, name) | {"clips.databases": work.settled.clips}
        values["checkpoint"] = work.out / "pretrained" / name
        return build(FinetuneJob, values)

    return _train_each(work, "finetuned", finetune, job, on_stage)


def _train_each(
    work: Work,
    folder: str,
    train: Callable[..., Any],
    job: Callable[[str], Any],
    on_stage: OnStage,
) -> Mapping[str, Any]:
    """Train every recognizer by its job, each in a folder of its own."""
    for name in work.settled.recognizers:
        step = _step_reporter(on_stage, name)
        train(job(name), work.out / folder / name, work.cache, on_stage=on_stage, on_step=step)
    return {"output": str(work.out / folder), "recognizers": work.settled.recognizers}


def _job(work: Work, name: str) -> dict[str, Any]:
    return {
        "recognizer": name,
        "config": _form(work, name),
        "training": {"epochs": epochs_of(work, name)},
        "run.device": work.config.device,
        "run.seed": work.config.seed,
    }


def _form(work: Work, name: str) -> dict[str, Any]:
    """Return the parameters of a recognizer that follow from the kind of the clips."""
    return with_input_form(name, {}, work.settled.clips if work.settled.flow else ())


def epochs_of(work: Work, name: str) -> int:
    """Return the epochs of a training, those of the paper times the factor."""
    own: Any = build(recognizer_class(name).Config, _form(work, name))
    return max(1, round(int(own.training.epochs) * work.settled.epochs))


def evaluations(work: Work) -> Iterator[tuple[str, str, EvaluateJob]]:
    """Yield (recognizer, variant, job) of every evaluation."""
    folder, _ = work.dataset()
    for name in work.settled.recognizers:
        for variant in VARIANTS:
            epochs = {"epochs": epochs_of(work, name)}
            values: dict[str, Any] = {
                "recognizer": name,
                "config": _form(work, name),
                "protocol": work.settled.protocol,
                "seeds": list(range(work.settled.seeds)),
                "finetune": variant != VARIANTS[1],
                "finetuning": epochs,
                "run": {"device": work.config.device},
                "clips.databases": work.settled.clips,
            }
            if work.settled.stands_in:
                # Fictitious subjects have the names of real ones.
                values["folds"] = "seeded"
            if variant != VARIANTS[0]:
                values |= {"pretraining": epochs, "synthetic.datasets": [str(folder)]}
            yield name, variant, build(EvaluateJob, values)


def evaluate_all(work: Work, on_stage: OnStage) -> Mapping[str, Any]:
    """Evaluate every recognizer on what it was trained on, by the protocol."""
    scores, results = [], []
    for name, variant, job in evaluations(work):
        folder = result_folder(job, work.out / "evaluated")
        try:
            result = Result.open(folder)
        except (FileNotFoundError, ValueError):
            _share_pretraining(work, folder, job)
            result = run_evaluation(
                job,
                folder,
                work.cache,
                on_stage=_reporter(on_stage, variant),
            )
            write_results_page([result], folder)
        results.append(result)
        scores.append(score_row(name, variant, result, work.out))
    page = write_results_page(results, work.out / "evaluated", title="Reproduction of MiE-X")
    return {"output": str(page), "scores": scores}


def _share_pretraining(work: Work, folder: Path, job: EvaluateJob) -> None:
    """Let both evaluations that pretrain alike use one pretraining."""
    if not job.synthetic.datasets:
        return
    link, shared = folder / "pretrained", work.out / "evaluated" / "pretrained"
    target = shared / pretraining_key(job)
    target.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(os.path.relpath(target, folder), target_is_directory=True)


def table_1(work: Work, on_stage: OnStage) -> Mapping[str, Any]:
    """Compute table 1 of MiE-X, whose datasets are those of this chain where they agree."""
    place = work.out / "tables" / TABLE
    place.mkdir(parents=True, exist_ok=True)
    link = place / "datasets"
    if not link.exists():
        link.symlink_to(os.path.relpath(work.out / "datasets", place), target_is_directory=True)
    sources = {source: str(work.pool(source)) for source in ("real_mie", "early_mae")}
    settled = work.settled
    scale = Scale(
        seeds=settled.seeds,
        epochs=settled.epochs,
        identities=settled.identities,
        samples=settled.samples,
        recognizers=tuple(r for r in settled.recognizers if r in ("apex_me", "branches")),
        settings={"evaluation.run.device": work.config.device},
        synthesis={
            "generator.name": work.config.generator,
            "generator.checkpoint": work.config.checkpoint,
            "generator.device": work.config.device,
            "seed": work.config.seed,
        },
    )
    # Rows of the table train on CK+, too.
    macro = tuple(each for each in settled.macro if each != "samples")
    files = {"faces": str(work.face_table), **sources}
    inputs = Inputs(clips=(*settled.clips, *macro), files=files)
    found = run_experiment(
        load_experiment(TABLE), inputs, place, work.cache, scale,
        workers=work.workers, on_stage=on_stage,
    )  # fmt: skip
    computed = sum(bool(cell["scores"]) for cell in found["cells"])
    cells = f"{computed} of {len(found['cells'])}"
    return {"output": str(place / "index.html"), "cells": cells}


def table_left_out(work: Work) -> str | None:
    """Return why table 1 is not computed, or None."""
    names = {each.partition(":")[0] for each in work.settled.clips}
    if not work.config.tables:
        return "--no-tables"
    if work.settled.size != "paper":
        return "the paper's size only (--size paper)"
    if work.settled.stands_in or not (names >= set(PAPER_DATABASES) or "megc2019" in names):
        return f"needs the databases {', '.join(PAPER_DATABASES)} (--clips)"
    return None


def _step_reporter(on_stage: OnStage, name: str) -> OnStep:
    def report(step: int, steps: int, _terms: Mapping[str, float]) -> None:
        on_stage(f"steps: {name}", step, steps)

    return report


def _reporter(on_stage: OnStage, variant: str) -> OnStage:
    def report(what: str, done: int, total: int) -> None:
        on_stage(f"{what.partition(': ')[0]}: {variant}", done, total)

    return report


def score_row(name: str, variant: str, result: Result, out: Path) -> dict[str, Any]:
    """Return the scores of an evaluation as a row of the page."""
    content = result.content
    mean, deviation = (content["pooled"][part] for part in ("mean", "deviation"))
    return {
        "recognizer": name,
        "trained on": variant,
        "clips": content["clips"],
        "uf1": [mean["uf1"], deviation["uf1"]],
        "uar": [mean["uar"], deviation["uar"]],
        "chance": content["baselines"]["chance"]["uf1"],
        "majority": content["baselines"]["majority"]["uf1"],
        "page": os.path.relpath(result.folder / "index.html", out),
    }
