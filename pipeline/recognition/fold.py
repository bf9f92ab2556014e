"""Fold of an evaluation: pretrain and fine-tune without the held-out people, then test."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import (
    CHECKPOINT,
    Card,
    Checkpoint,
    load_checkpoint,
    require_alike,
    transfer,
)
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.held_out import inner_split, require_disjoint
from miex.pipeline.recognition.metrics import confusion, scores
from miex.pipeline.recognition.prediction import predict
from miex.pipeline.recognition.protocols import Fold, Protocol, find_protocol
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    create_recognizer,
)
from miex.pipeline.recognition.sample import person_of, with_anyone
from miex.pipeline.recognition.training import Data, OnStep, OnWarning, train
from miex.pipeline.recognition.training_data import (
    Refused,
    admitted,
    count_refused,
    finetuning_data,
    training_only,
    with_training_clips,
)


def _pretrain_for(
    recognizer: AnyRecognizer,
    config: EvaluationConfig,
    inputs: CachedInputs,
    name: str,
    held_out: Iterable[tuple[str, str]],
    seed: int,
    out: Path,
    on_step: OnStep | None = None,
    on_warning: OnWarning | None = None,
) -> tuple[Checkpoint, Refused]:
    """Pretrain on the samples that a fold may see; folds that may see the same share it.

    Args:
        recognizer: A fresh one.
        config: How to train.
        inputs: All samples to pretrain on, synthesized ones and real clips.
        name: What they are, for people.
        held_out: The people that are tested on.
        seed: Of the training.
        out: Folder of the evaluation.
        on_step: Progress of the training.
        on_warning: Where the training goes wrong.

    Returns:
        The pretrained recognizer, and how many samples were refused.

    Raises:
        ValueError: Every sample descends from someone who is tested on.
    """
    kept, refused = admitted(inputs, held_out)
    keys = (inputs.infos[index].key for index in refused)
    parts = "\n".join((inputs.content, recognizer.weights, *keys))
    folder = out / "pretrained" / f"seed-{seed}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"
    require_disjoint((inputs.infos[index] for index in kept), held_out)
    card = Card(
        config.recognizer,
        recognizer.config.model_dump(mode="json"),
        config.space_of_pretraining.name,
        recognizer.weights,
    )
    # A finished pretraining is used if it is the same training.
    train(
        recognizer,
        Data(inputs, kept, name),
        card,
        "pretrain",
        config.run.model_copy(update={"seed": seed}),
        hyper=recognizer.config.hyperparameters(
            config.pretraining, "pretraining" if config.finetune else "alone"
        ),
        folder=folder,
        on_step=on_step,
        on_warning=on_warning,
    )
    return load_checkpoint(folder / CHECKPOINT), count_refused(inputs, refused)


def run_fold(
    config: EvaluationConfig,
    protocol: Protocol,
    material: Material,
    fold: Fold,
    seed: int,
    out: Path,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Train for one fold, and predict its test clips.

    Args:
        config: Config of the evaluation.
        protocol: The protocol.
        material: Data of the evaluation.
        fold: The fold.
        seed: Seed of the run.
        out: Folder of the evaluation, with the pretrainings.
        on_step: Called with the progress of each training.

    Returns:
        ``training``, facts about the training data, and ``predictions``, one per test clip.

    Raises:
        ValueError: A leak.
    """
    clips = material.clips
    training = [clips.infos[index] for index in fold.train]
    require_disjoint(training, fold.held_out)
    recognizer = _fresh(config, protocol.space, seed)
    about: dict[str, Any] = {"clips": len(training), "warnings": []}
    refused = Refused()
    card = Card(
        config.recognizer,
        recognizer.config.model_dump(mode="json"),
        protocol.label_space,
        recognizer.weights,
    )
    checkpoint = material.checkpoint
    together = isinstance(recognizer, FittedRecognizer) and config.finetune
    pretraining = material.pretraining
    if pretraining is not None and not together:
        checkpoint, refused = _pretrain_for(
            _fresh(config, config.space_of_pretraining, seed),
            config,
            *pretraining,
            fold.held_out,
            seed,
            out,
            on_step,
            about["warnings"].append,
        )
        recognizer = _fresh(config, protocol.space, seed)
    if checkpoint is not None:
        _require_unseen(checkpoint, fold)
        recognizer = _start_from(recognizer, checkpoint, config, protocol.space)
        card = replace(card, weights=recognizer.weights, stages=checkpoint.card.stages)
    last_epoch: Sequence[int | None] = [None] * len(fold.test)
    if pretraining is not None and together:
        refused = _fit_together(recognizer, config, material, card, fold, seed)
    elif config.finetune:
        tuned = finetune(
            recognizer, config, material, card, fold, seed, on_step, about["warnings"].append
        )
        about["epoch"] = tuned.epoch
        last_epoch = tuned.last_epoch or last_epoch
    about |= {"weights": recognizer.weights, **_counts(material, fold, refused)}
    return {
        "training": about,
        "predictions": _predictions(recognizer, config, clips, fold, last_epoch),
    }


def _predictions(
    recognizer: AnyRecognizer,
    config: EvaluationConfig,
    clips: CachedInputs,
    fold: Fold,
    last_epoch: Sequence[int | None],
) -> list[dict[str, Any]]:
    """Return the prediction of every test clip as a fold's file holds it."""
    logits = predict(recognizer, clips, fold.test, device=config.run.device)
    labels = Counter(clips.infos[index].label for index in fold.train)
    majority = labels.most_common(1)[0][0]
    return [
        {
            "key": clips.infos[index].key,
            "prediction": int(row.argmax()),
            "scores": [float(value) for value in row],
            "majority": majority,
            "last_epoch": last,
        }
        for index, row, last in zip(fold.test, logits, last_epoch, strict=True)
    ]


def _counts(material: Material, fold: Fold, refused: Refused) -> dict[str, int]:
    """Return how many samples a fold took and refused, of each kind that there is."""
    counts = {"refused_synthetic": refused.synthetic}
    if material.pretraining_clips is not None:
        counts["refused_pretraining_clips"] = refused.clips
    if material.training_clips is not None:
        kept = len(training_only(material, fold.held_out))
        others = len(material.training_clips) - kept
        counts |= {"training_clips": kept, "refused_training_clips": others}
    return counts


def _fresh(config: EvaluationConfig, space: LabelSpace, seed: int) -> AnyRecognizer:
    torch.manual_seed(seed)
    return create_recognizer(config.recognizer, len(space.classes), config.config)


def _start_from(
    recognizer: AnyRecognizer,
    checkpoint: Checkpoint,
    config: EvaluationConfig,
    space: LabelSpace,
) -> AnyRecognizer:
    found = LABEL_SPACES[checkpoint.card.label_space]
    if not config.finetune and found.classes != space.classes:
        raise ValueError(
            f"{checkpoint.path} answers in {found.name} ({', '.join(found.classes)}), and"
            f" {config.protocol} tests {space.name}; fine-tune it, or pretrain in {space.name}"
        )
    require_alike(recognizer, checkpoint)
    if isinstance(recognizer, FittedRecognizer):
        if config.finetune:
            raise ValueError(
                f"{config.recognizer} is fitted once and cannot start from {checkpoint.path}: give"
                " the datasets instead, and it is fitted on them and the clips together; or"
                " finetune=false"
            )
        return checkpoint.create()
    transfer(recognizer, checkpoint, space)
    return recognizer


def _require_unseen(checkpoint: Checkpoint, fold: Fold) -> None:
    subjects = {person_of(*each) for each in checkpoint.card.subjects}
    seen = sorted(subjects & with_anyone(fold.held_out))
    if seen:
        database, subject = seen[0]
        raise ValueError(
            f"leak: {checkpoint.path} was trained on samples of {database}:{subject}, who is tested"
            f" on in fold {fold.name}; give the datasets instead, and each fold pretrains without"
            " the people that it tests on"
        )


def _fit_together(
    recognizer: AnyRecognizer,
    config: EvaluationConfig,
    material: Material,
    card: Card,
    fold: Fold,
    seed: int,
) -> Refused:
    """Fit what cannot be fine-tuned on the fold's clips and the samples of pretraining at once.

    Returns:
        How many samples were refused.

    Raises:
        ValueError: Every one was refused, or they have other classes.
    """
    assert material.pretraining is not None
    inputs, name = material.pretraining
    space, own = config.space_of_pretraining, find_protocol(config.protocol).space
    if space.classes != own.classes:
        raise ValueError(
            f"{config.recognizer} is fitted on synthetic samples and clips together, and"
            f" pretraining_space={space.name} has other classes than {own.name}; leave it out"
        )
    clips = with_training_clips(config, material, fold, fold.train)
    kept, refused = admitted(inputs, fold.held_out)
    both = clips.inputs.joined(inputs)
    known = {clips.inputs.infos[index].key for index in clips.indices}
    # Clips of the fold may be among those to pretrain on: a sample counts once.
    more = [len(clips.inputs) + index for index in kept if inputs.infos[index].key not in known]
    indices = [*clips.indices, *more]
    require_disjoint((both.infos[index] for index in indices), fold.held_out)
    data = Data(both, indices, f"{clips.name}, {name}")
    train(recognizer, data, card, "finetune", config.run.model_copy(update={"seed": seed}))
    return count_refused(inputs, refused)


@dataclass(frozen=True, slots=True)
class Tuned:
    """Result of the training on the clips of a fold.

    Attributes:
        epoch: The epoch that is tested; None for a fitted recognizer, which has no epochs.
        last_epoch: Predicted class of each test clip after the last epoch; None unless the epoch
            was chosen on the test clips.
    """

    epoch: int | None
    last_epoch: tuple[int, ...] | None = None


def finetune(
    recognizer: AnyRecognizer,
    config: EvaluationConfig,
    material: Material,
    card: Card,
    fold: Fold,
    seed: int,
    on_step: OnStep | None = None,
    on_warning: OnWarning | None = None,
) -> Tuned:
    """Train on the clips of the fold."""
    clips = material.clips
    hyper = recognizer.config.hyperparameters(
        config.finetuning, "fine_tuning" if card.stages else "training"
    )
    indices: Sequence[int] = fold.train
    judges: Sequence[int] = ()
    if isinstance(recognizer, FittedRecognizer):
        pass
    elif config.selection == "validation":
        indices, judges = inner_split(clips.infos, fold.train, config.validation_share, seed)
    elif config.selection == "oracle":
        judges = fold.test
    run = config.run.model_copy(update={"seed": seed})
    chosen_by = {clips.infos[index].person for index in judges}
    data = finetuning_data(config, material, fold, indices, chosen_by)
    kept: dict[str, Any] = {"score": -1.0, "epoch": hyper.epochs, "state": None, "last": None}

    def judge(epoch: int) -> None:
        assert not isinstance(recognizer, FittedRecognizer)
        logits = predict(recognizer, clips, judges, device=config.run.device)
        labels = [clips.infos[index].label for index in judges]
        kept["last"] = tuple(map(int, logits.argmax(1)))
        counts = confusion(labels, kept["last"], recognizer.classes)
        found = getattr(scores(counts), config.selection_by)
        if found > kept["score"]:
            state = {name: each.clone() for name, each in recognizer.state_dict().items()}
            kept.update(score=found, epoch=epoch, state=state)

    train(
        recognizer,
        data,
        card,
        "finetune",
        run,
        hyper=hyper,
        on_step=on_step,
        on_warning=on_warning,
        on_epoch=judge if len(judges) else None,
    )
    if kept["state"] is not None and not isinstance(recognizer, FittedRecognizer):
        recognizer.load_state_dict(kept["state"])
    if isinstance(recognizer, FittedRecognizer):
        return Tuned(None)
    return Tuned(int(kept["epoch"]), kept["last"] if config.selection == "oracle" else None)
