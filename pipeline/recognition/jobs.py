"""The three jobs on recognizers: pretrain, fine-tune, evaluate; from configs to results.

Every job has a frozen config; an interrupted job resumes when it is run again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from miex.datasets.base import Rejection
from miex.datasets.clips.base import open_clips
from miex.datasets.clips.part import only_of
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.device import choose_device
from miex.datasets.files import whole_file
from miex.datasets.labels import LabelSpace, find_label_space
from miex.datasets.locks import locking
from miex.datasets.remote import is_remote, local_copy
from miex.pipeline.recognition.cache import CachedInputs, open_inputs
from miex.pipeline.recognition.checkpoint import Card, load_checkpoint, transfer
from miex.pipeline.recognition.clip_samples import ClipBlock, clip_blocks
from miex.pipeline.recognition.evaluation import evaluate, with_own_preset
from miex.pipeline.recognition.evaluation_config import Material
from miex.pipeline.recognition.input_form import with_input_form
from miex.pipeline.recognition.job_config import (
    ClipData,
    EvaluateJob,
    FinetuneJob,
    PretrainJob,
    SyntheticData,
)
from miex.pipeline.recognition.protocols import find_protocol
from miex.pipeline.recognition.recognizer_config import TrainingStage
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    create_recognizer,
    with_preset,
)
from miex.pipeline.recognition.representations.base import Representation
from miex.pipeline.recognition.results import Result
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.shard_samples import shard_blocks
from miex.pipeline.recognition.training import Data, OnStep, OnWarning, train
from miex.pipeline.workers import OnStage, stage_reporter

LEFT_OUT = "left_out.json"
"""File of the samples that were left out of a training, with reasons; missing if there are none."""

ReadClips = Callable[
    [ClipData, LabelSpace, OnStage | None], tuple[list[ClipBlock], list[Rejection]]
]
"""`read_clips`, or a function that caches its results."""


@locking("out")
def pretrain(
    job: PretrainJob,
    out: Path,
    cache: Path,
    *,
    on_stage: OnStage | None = None,
    on_step: OnStep | None = None,
    on_warning: OnWarning | None = None,
) -> Card:
    """Pretrain a recognizer, and write it into `out`.

    Args:
        job: Config of the job.
        out: Folder of the training.
        cache: Folder of cached representations and of copies of remote datasets.
        on_stage: Called with the progress of all stages except training.
        on_step: Called with the progress of training.
        on_warning: Called with problems of the training.

    Raises:
        ValueError: The config does not fit, or a dataset has another label space.
        FileNotFoundError: There is no such dataset.
    """
    space = find_label_space(job.label_space)
    config = with_input_form(job.recognizer, with_preset(job.recognizer, job.preset, job.config))
    recognizer = _fresh(job.recognizer, config, space, job.run)
    stage: TrainingStage = "alone" if job.alone else "pretraining"
    hyper = recognizer.config.hyperparameters(job.training, stage)
    inputs, name = _open_synthetic(
        job.synthetic, space, recognizer.representation, cache, job.run.device, on_stage
    )
    card = train(
        recognizer,
        Data(inputs, _drawn(inputs), name),
        _card(recognizer, space),
        "pretrain",
        job.run,
        hyper=hyper,
        folder=out,
        on_step=on_step,
        on_warning=on_warning,
    )
    _write_left_out(out, inputs.rejections)
    return card


@locking("out")
def finetune(
    job: FinetuneJob,
    out: Path,
    cache: Path,
    *,
    on_stage: OnStage | None = None,
    on_step: OnStep | None = None,
    on_warning: OnWarning | None = None,
) -> Card:
    """Fine-tune a recognizer on all given clips, and write it into `out`.

    The arguments are those of `pretrain`. Only `exclude` is held out here; use `run_evaluation` to
    measure a recognizer.

    Raises:
        ValueError: The config does not fit, or the checkpoint is of another recognizer.
        FileNotFoundError: There is no such database or checkpoint.
    """
    space = find_label_space(job.label_space)
    own = with_preset(job.recognizer, job.preset, job.config)
    config = with_input_form(job.recognizer, own, job.clips.databases)
    recognizer = _fresh(job.recognizer, config, space, job.run)
    stage: TrainingStage = "training" if job.checkpoint is None else "fine_tuning"
    hyper = recognizer.config.hyperparameters(job.training, stage)
    card = _card(recognizer, space)
    if job.checkpoint:
        if isinstance(recognizer, FittedRecognizer):
            raise ValueError(f"{job.recognizer} is fitted once; it cannot start from a checkpoint")
        found = load_checkpoint(job.checkpoint)
        transfer(recognizer, found, space)
        card = Card(
            card.recognizer, card.config, card.label_space, recognizer.weights, found.card.stages
        )
    inputs, rejections = open_real(job.clips, space, recognizer, cache, job.run.device, on_stage)
    excluded = set(job.exclude)
    people = {f"{info.database}:{info.subject}" for info in inputs.infos}
    if excluded - people:
        raise ValueError(
            f"exclude={sorted(excluded - people)[0]} is nobody of the clips; write"
            f" DATABASE:SUBJECT, as {sorted(people)[0]}"
        )
    kept = [
        index
        for index, info in enumerate(inputs.infos)
        if f"{info.database}:{info.subject}" not in excluded
    ]
    card = train(
        recognizer,
        Data(inputs, kept, ", ".join(job.clips.databases)),
        card,
        "finetune",
        job.run,
        hyper=hyper,
        folder=out,
        on_step=on_step,
        on_warning=on_warning,
    )
    _write_left_out(out, [*rejections, *inputs.rejections])
    return card


def run_evaluation(
    job: EvaluateJob,
    out: Path,
    cache: Path,
    *,
    on_stage: OnStage | None = None,
    on_step: OnStep | None = None,
    read: ReadClips | None = None,
) -> Result:
    """Evaluate a recognizer, or resume an interrupted evaluation; see `evaluation.evaluate`.

    The arguments are those of `pretrain`, and `read` reads the clips; `read_clips` by default.

    Raises:
        ValueError: A leak, or the config does not fit.
        FileNotFoundError: There is no such database, dataset or checkpoint.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "evaluate runs in one process; pretrain with torchrun, and evaluate with --checkpoint"
        )
    named = (job.clips, job.pretraining_clips, job.training_clips)
    databases = tuple(text for part in named for text in part.databases)
    config = with_own_preset(job.evaluation)
    own = with_input_form(config.recognizer, config.config, databases)
    config = config.model_copy(update={"config": own})
    space = find_protocol(config.protocol).space
    recognizer = _fresh(config.recognizer, config.config, space, config.run)
    for changes in (config.pretraining, config.finetuning):
        recognizer.config.hyperparameters(changes)
    checkpoint = load_checkpoint(job.checkpoint) if job.checkpoint else None
    representation, device = recognizer.representation, config.run.device
    clips, rejections = open_real(job.clips, space, recognizer, cache, device, on_stage, read)
    synthetic, name = None, ""
    if job.synthetic.datasets:
        synthetic, name = _open_synthetic(
            job.synthetic, config.space_of_pretraining, representation, cache, device, on_stage
        )
    about: dict[str, Any] = {
        "clips": job.clips.model_dump(mode="json"),
        "synthetic": job.synthetic.model_dump(mode="json"),
        "paper": recognizer.paper,
    }
    more: dict[str, Any] = {}
    spaces = {"pretraining": config.space_of_pretraining, "training": space}
    for stage, part in (("pretraining", job.pretraining_clips), ("training", job.training_clips)):
        if part.databases:
            data = part.as_clips(job.clips.samples)
            inputs, others = open_real(
                data, spaces[stage], recognizer, cache, device, on_stage, read
            )
            named_by = sorted({info.database for info in inputs.infos})
            more |= {f"{stage}_clips": inputs, f"{stage}_name": f"clips of {', '.join(named_by)}"}
            about[f"{stage}_clips"] = data.model_dump(mode="json")
            about[f"{stage}_clips_left_out"] = [asdict(each) for each in others]
    material = Material(clips, synthetic, name, checkpoint, rejections, about, **more)

    def on_fold(done: int, total: int, what: str) -> None:
        if on_stage:
            on_stage(f"folds: {what}", done, total)

    return evaluate(config, material, out, on_fold, on_step)


def _open_synthetic(
    data: SyntheticData,
    space: LabelSpace,
    representation: Representation,
    cache: Path,
    device: str,
    on_stage: OnStage | None = None,
) -> tuple[CachedInputs, str]:
    """Return the representations of synthesized datasets.

    Returns:
        The inputs, and their description.

    Raises:
        ValueError: No dataset, a dataset given twice, or another label space.
        FileNotFoundError: There is no such dataset.
    """
    if not data.datasets:
        raise ValueError("no dataset is given; `miex synthesize` makes one")
    blocks, names = [], []
    for place in data.datasets:
        folder = Path(place).expanduser()
        if is_remote(place):
            folder = local_copy(
                place, cache / "datasets", stage_reporter(on_stage, f"copying {place}")
            )
        dataset = DatasetFolder.open(folder)
        name = f"{dataset.manifest['name']}@{dataset.manifest['fingerprint'][:8]}"
        if name in names:
            raise ValueError(f"{place} is given twice ({name})")
        names.append(name)
        blocks += shard_blocks(
            dataset, space, template_database=data.template_database, weights=data.weights
        )
    inputs = open_inputs(
        blocks,
        representation,
        cache / "representations",
        device=choose_device(device),
        on_progress=stage_reporter(on_stage, f"{representation.name} of synthetic samples"),
    )
    return inputs, ", ".join(names)


def open_real(
    data: ClipData,
    space: LabelSpace,
    recognizer: AnyRecognizer,
    cache: Path,
    device: str,
    on_stage: OnStage | None = None,
    read: ReadClips | None = None,
) -> tuple[CachedInputs, list[Rejection]]:
    """Return the representations of real clips.

    Returns:
        The inputs, and every clip that was left out before they were computed.

    Raises:
        ValueError: No database, or no usable clip; the message names the most frequent reasons.
        FileNotFoundError: There is no such database.
    """
    representation = recognizer.representation
    samples = data.samples.chosen(recognizer.clip_frames)
    wanted = data.model_copy(update={"samples": samples})
    blocks, rejections = (read or read_clips)(wanted, space, on_stage)
    inputs = open_inputs(
        blocks,
        representation,
        cache / "representations",
        device=choose_device(device),
        on_progress=stage_reporter(on_stage, f"{representation.name} of clips"),
    )
    if not len(inputs):
        left_out = [*rejections, *inputs.rejections]
        shown = "; ".join(f"{each.origin}: {each.reason}, {each.detail}" for each in left_out[:3])
        raise ValueError(
            f"{', '.join(data.databases)}: no clip is usable, {len(left_out)} were left out"
            f" ({shown})"
        )
    return inputs, rejections


def read_clips(
    data: ClipData, space: LabelSpace, on_stage: OnStage | None = None
) -> tuple[list[ClipBlock], list[Rejection]]:
    """Return the samples of real clips, and every clip that was left out.

    Raises:
        ValueError: No database is given.
        FileNotFoundError: There is no such database.
    """
    if not data.databases:
        raise ValueError("no database of clips is given; write NAME:PATH, as casme2:/data/CASME2")
    readers = [only_of(open_clips(text), data.only) for text in data.databases]
    return clip_blocks(
        readers, space, data.samples, on_clip=stage_reporter(on_stage, "reading clips")
    )


def _write_left_out(out: Path, rejections: Sequence[Rejection]) -> None:
    if int(os.environ.get("RANK", "0")):
        return
    if not rejections:
        (out / LEFT_OUT).unlink(missing_ok=True)
        return
    with whole_file(out / LEFT_OUT) as temporary:
        listed = json.dumps([asdict(each) for each in rejections], indent=2)
        temporary.write_text(listed + "\n", encoding="utf-8")


def _drawn(inputs: CachedInputs) -> Sequence[int]:
    """Return the samples with a weight above 0."""
    return [index for index, info in enumerate(inputs.infos) if info.weight > 0]


def _fresh(name: str, config: dict[str, Any], space: LabelSpace, run: RunConfig) -> AnyRecognizer:
    torch.manual_seed(run.seed)
    return create_recognizer(name, len(space.classes), config)


def _card(recognizer: AnyRecognizer, space: LabelSpace) -> Card:
    return Card(
        recognizer.name, recognizer.config.model_dump(mode="json"), space.name, recognizer.weights
    )


def result_folder(job: EvaluateJob, under: Path) -> Path:
    """Return the folder of a job's result, named by a hash of its config."""
    digest = hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:10]
    return under / f"{job.evaluation.recognizer}-{job.evaluation.protocol}-{digest}"
