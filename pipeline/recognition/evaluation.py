"""Runs a protocol: for every fold pretrain, fine-tune, test, on nobody who was seen before.

OUT/folds/seed-0/casme2_sub01.json    what each fold answered; a killed evaluation goes on here
OUT/pretrained/seed-0-3f9c...         pretrainings, shared by folds that refuse the same samples
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from miex.datasets.base import Rejection
from miex.datasets.files import whole_file
from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import (
    Card,
    Checkpoint,
    lineage_of,
    load_checkpoint,
    transfer,
)
from miex.pipeline.recognition.metrics import confusion, scores
from miex.pipeline.recognition.protocols import (
    Fold,
    Protocol,
    admit,
    clip_list_hash,
    find_protocol,
    inner_split,
    require_disjoint,
)
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    Hyperparameters,
    create_recognizer,
)
from miex.pipeline.recognition.results import Prediction, Result, write_result
from miex.pipeline.recognition.training import CHECKPOINT, Data, RunConfig, predict, train

OnFold = Callable[[int, int, str], None]
"""(folds done, folds in all, what is being done)."""


class EvaluationConfig(BaseModel):
    """What is evaluated, and how it is trained. Where things lie is not in here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recognizer: str
    config: dict[str, Any] = Field({}, description="parameters that differ from the paper's")
    protocol: str = "megc2019"
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    fold_seed: int = Field(0, ge=0, description="who shares a fold, in protocols of k folds")
    finetune: bool = Field(True, description="False tests what pretraining alone has learnt")
    pretraining: dict[str, Any] = Field({}, description="hyperparameters that differ, pretraining")
    finetuning: dict[str, Any] = Field({}, description="hyperparameters that differ, fine-tuning")
    selection: Literal["last", "validation", "oracle"] = Field(
        "last",
        description="which epoch is tested: the last; the best on people of the training set who "
        "are set aside; or the best on the test itself, which is not a result",
    )
    allow_oracle: bool = Field(False, description="needed for selection=oracle; stamps the result")
    validation_share: float = Field(0.2, gt=0, lt=1, description="people set aside, of selection")
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _honest(self) -> "EvaluationConfig":
        if self.selection == "oracle" and not self.allow_oracle:
            raise ValueError(
                "selection=oracle picks the epoch by the test clips: published scores fell from"
                " .79 to .59 UF1 without it. Use last, or validation; or set allow_oracle=true,"
                " and the result is stamped"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: each may stand once")
        return self


@dataclass(frozen=True, slots=True)
class Material:
    """What an evaluation works on.

    Attributes:
        clips: Representations of the real clips.
        synthetic: Representations of synthesized samples to pretrain on; None for none.
        synthetic_name: What they are, for people.
        checkpoint: A pretrained recognizer, instead of synthetic samples.
        rejections: Clips that were left out on the way.
        about: Anything else to be recorded: databases, datasets, how clips were cut.
    """

    clips: CachedInputs
    synthetic: CachedInputs | None = None
    synthetic_name: str = ""
    checkpoint: Checkpoint | None = None
    rejections: Sequence[Rejection] = ()
    about: Mapping[str, Any] | None = None


def evaluate(
    config: EvaluationConfig, material: Material, out: Path, on_fold: OnFold | None = None
) -> Result:
    """Evaluates, or goes on with an evaluation that was interrupted.

    Args:
        config: What to do.
        material: What to do it on.
        out: Folder of the evaluation.
        on_fold: Called before and after each fold.

    Raises:
        ValueError: A leak; clips that do not suit the protocol; a checkpoint of another
            recognizer or one that has seen someone who is tested on; or `out` holds another
            evaluation.
        DiskFullError: The disk is full; folds that are finished are kept.
    """
    protocol = find_protocol(config.protocol)
    infos = material.clips.infos
    require_distinct(material.clips)
    folds = protocol.split_folds(infos, config.fold_seed)
    tested = [infos[index] for fold in folds for index in fold.test]
    identity = _identity(config, material, protocol)
    _claim(out, identity)
    predictions: list[Prediction] = []
    trained: dict[str, Any] = {}
    total = len(folds) * len(config.seeds)
    for seed in config.seeds:
        for fold in folds:
            done = len(trained)
            path = out / "folds" / f"seed-{seed}" / f"{_file_name(fold.name)}.json"
            content = _finished(path, fold, material)
            if content is None:
                if on_fold:
                    on_fold(done, total, f"seed {seed}, {fold.name}")
                content = _run_fold(config, protocol, material, fold, seed, out)
                with whole_file(path) as temporary:
                    temporary.write_text(json.dumps(content), encoding="utf-8")
            predictions += [_prediction(seed, fold.name, each) for each in content["predictions"]]
            trained[f"seed-{seed}/{fold.name}"] = content["training"]
            if on_fold:
                on_fold(len(trained), total, fold.name)
    about = identity | {"training": trained, **_circumstances(config, material, tested, protocol)}
    return write_result(out, about, tested, predictions, protocol.space.classes)


def require_distinct(inputs: CachedInputs) -> None:
    """Refuses clips that look the same pixel by pixel under two names.

    Databases share recordings (SMIC-HS, VIS and NIR; CASME and CASME II): trained on under one
    name and tested on under the other, they leak.

    Raises:
        ValueError: Two clips are equal and show different people, or have different labels.
    """
    seen: dict[bytes, int] = {}
    for begin in range(0, len(inputs), 256):
        indices = range(begin, min(begin + 256, len(inputs)))
        batch = inputs.take(list(indices))
        for row, index in enumerate(indices):
            digest = hashlib.sha256()
            for name in sorted(batch):
                digest.update(np.ascontiguousarray(batch[name][row].numpy()).tobytes())
            other = seen.setdefault(digest.digest(), index)
            one, two = inputs.infos[other], inputs.infos[index]
            if other != index and (one.person != two.person or one.label != two.label):
                raise ValueError(
                    f"{one.key} and {two.key} are the same recording under two names; leave one"
                    " out, or it is trained on and tested on"
                )


def pretrain_for(
    recognizer: AnyRecognizer,
    config: EvaluationConfig,
    synthetic: CachedInputs,
    name: str,
    held_out: Iterable[tuple[str, str]],
    seed: int,
    out: Path,
) -> tuple[Checkpoint, int]:
    """Pretrains on the synthetic samples that a fold may see; folds that may see the same share it.

    Args:
        recognizer: A fresh one.
        config: How to train.
        synthetic: All synthetic samples.
        name: What they are, for people.
        held_out: The people that are tested on.
        seed: Of the training.
        out: Folder of the evaluation.

    Returns:
        The pretrained recognizer, and how many samples were refused.
    """
    kept, refused = admit(synthetic.infos, held_out)
    if not kept:
        raise ValueError(
            f"all {len(refused)} synthetic samples descend from people who are tested on; "
            "synthesize with AU sources of other databases, or expert tables"
        )
    keys = "\n".join(synthetic.infos[index].key for index in refused)
    folder = out / "pretrained" / f"seed-{seed}-{hashlib.sha256(keys.encode()).hexdigest()[:12]}"
    path = folder / CHECKPOINT
    if not path.is_file():
        require_disjoint((synthetic.infos[index] for index in kept), held_out)
        card = Card(
            config.recognizer,
            recognizer.config.model_dump(mode="json"),
            find_protocol(config.protocol).label_space,
            recognizer.weights,
        )
        train(
            recognizer,
            Data(synthetic, kept, name),
            card,
            "pretrain",
            config.run.model_copy(update={"seed": seed}),
            hyper=_hyper(recognizer, config.pretraining),
            folder=folder,
        )
    return load_checkpoint(path), len(refused)


def _run_fold(
    config: EvaluationConfig,
    protocol: Protocol,
    material: Material,
    fold: Fold,
    seed: int,
    out: Path,
) -> dict[str, Any]:
    """Trains for one fold, and predicts its test clips."""
    clips = material.clips
    training = [clips.infos[index] for index in fold.train]
    require_disjoint(training, fold.held_out)
    recognizer = _fresh(config, protocol, seed)
    about: dict[str, Any] = {"clips": len(training), "refused_synthetic": 0}
    card = Card(
        config.recognizer,
        recognizer.config.model_dump(mode="json"),
        protocol.label_space,
        recognizer.weights,
    )
    checkpoint = material.checkpoint
    if material.synthetic is not None:
        checkpoint, about["refused_synthetic"] = pretrain_for(
            recognizer,
            config,
            material.synthetic,
            material.synthetic_name,
            fold.held_out,
            seed,
            out,
        )
        recognizer = _fresh(config, protocol, seed)
    if checkpoint is not None:
        _require_unseen(checkpoint, fold)
        recognizer, card = _start_from(recognizer, checkpoint, config), checkpoint.card
    best = list(fold.test)
    if config.finetune or isinstance(recognizer, FittedRecognizer):
        epoch = _finetune(recognizer, config, material, card, fold, seed)
        about["epoch"] = epoch
    logits = predict(recognizer, clips, best, device=config.run.device)
    majority = Counter(info.label for info in training).most_common(1)[0][0]
    about["weights"] = recognizer.weights
    return {
        "training": about,
        "predictions": [
            {
                "key": clips.infos[index].key,
                "prediction": int(row.argmax()),
                "scores": [float(value) for value in row],
                "majority": majority,
            }
            for index, row in zip(best, logits, strict=True)
        ],
    }


def _fresh(config: EvaluationConfig, protocol: Protocol, seed: int) -> AnyRecognizer:
    torch.manual_seed(seed)
    return create_recognizer(config.recognizer, len(protocol.space.classes), config.config)


def _start_from(
    recognizer: AnyRecognizer, checkpoint: Checkpoint, config: EvaluationConfig
) -> AnyRecognizer:
    if isinstance(recognizer, FittedRecognizer):
        if config.finetune:
            raise ValueError(
                f"{config.recognizer} is fitted once and cannot be fine-tuned: evaluate it with"
                " finetune=false, or without synthetic samples"
            )
        return checkpoint.create()
    transfer(recognizer, checkpoint)
    return recognizer


def _require_unseen(checkpoint: Checkpoint, fold: Fold) -> None:
    seen = sorted(checkpoint.card.subjects & fold.held_out)
    if seen:
        database, subject = seen[0]
        raise ValueError(
            f"leak: {checkpoint.path} was trained on samples of {database}:{subject}, who is tested"
            f" on in fold {fold.name}; give the datasets instead, and each fold pretrains without"
            " the people that it tests on"
        )


def _finetune(
    recognizer: AnyRecognizer,
    config: EvaluationConfig,
    material: Material,
    card: Card,
    fold: Fold,
    seed: int,
) -> int:
    """Trains on the fold's clips; returns the epoch that is tested."""
    clips, hyper = material.clips, _hyper(recognizer, config.finetuning)
    indices: Sequence[int] = fold.train
    judges: Sequence[int] = ()
    if config.selection == "validation":
        indices, judges = inner_split(clips.infos, fold.train, config.validation_share, seed)
    elif config.selection == "oracle":
        judges = fold.test
    run = config.run.model_copy(update={"seed": seed})
    kept: dict[str, Any] = {"score": -1.0, "epoch": hyper.epochs, "state": None}

    def judge(epoch: int) -> None:
        assert not isinstance(recognizer, FittedRecognizer)
        logits = predict(recognizer, clips, judges, device=config.run.device)
        labels = [clips.infos[index].label for index in judges]
        found = scores(confusion(labels, logits.argmax(1), recognizer.classes)).uf1
        if found > kept["score"]:
            state = {name: each.clone() for name, each in recognizer.state_dict().items()}
            kept.update(score=found, epoch=epoch, state=state)

    train(
        recognizer,
        Data(clips, indices, config.protocol),
        card,
        "finetune",
        run,
        hyper=hyper,
        on_epoch=judge if len(judges) else None,
    )
    if kept["state"] is not None and not isinstance(recognizer, FittedRecognizer):
        recognizer.load_state_dict(kept["state"])
    return int(kept["epoch"])


def _hyper(recognizer: AnyRecognizer, changes: Mapping[str, Any]) -> Hyperparameters:
    own = recognizer.config.training.model_dump()
    return Hyperparameters.model_validate(own | dict(changes))


def _identity(config: EvaluationConfig, material: Material, protocol: Protocol) -> dict[str, Any]:
    """What makes this evaluation this one; written first, so that no other goes on with it."""
    synthetic = material.synthetic
    keys = "" if synthetic is None else "\n".join(info.key for info in synthetic.infos)
    return {
        "recognizer": config.recognizer,
        "protocol": config.protocol,
        "label_space": protocol.label_space,
        "classes": list(protocol.space.classes),
        "clip_list": clip_list_hash(
            info
            for info in material.clips.infos
            if not protocol.databases or info.database in protocol.databases
        ),
        "config": config.model_dump(mode="json"),
        "pretrained_on": {
            "name": material.synthetic_name,
            "samples": 0 if synthetic is None else len(synthetic),
            "sha256": hashlib.sha256(keys.encode()).hexdigest() if keys else None,
            "checkpoint": None
            if material.checkpoint is None
            else [
                asdict(stage) | {"subjects": len(stage.subjects)}
                for stage in material.checkpoint.card.stages
            ],
        },
        "about": dict(material.about or {}),
    }


def _circumstances(
    config: EvaluationConfig, material: Material, tested: Sequence[Any], protocol: Protocol
) -> dict[str, Any]:
    """What a reader must know to believe the scores."""
    clip_list = clip_list_hash(tested)
    return {
        "clips": len(tested),
        "subjects": len(lineage_of(tested)),
        "published_clips": protocol.clips,
        "published_list": None if protocol.clip_list is None else clip_list == protocol.clip_list,
        "oracle": config.selection == "oracle",
        "apex_rules": dict(Counter(info.apex_rule for info in tested)),
        "rejections": [asdict(each) for each in (*material.rejections, *material.clips.rejections)],
    }


def _claim(out: Path, identity: Mapping[str, Any]) -> None:
    path = out / "evaluation.json"
    text = json.dumps(identity, indent=2, sort_keys=True)
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != json.loads(text):
            raise ValueError(
                f"{out} holds another evaluation (see {path.name}); give another folder, or delete"
                " it to begin anew"
            )
        return
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _finished(path: Path, fold: Fold, material: Material) -> dict[str, Any] | None:
    """What a fold has answered before; None if it has not, or its file is damaged."""
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        keys = [each["key"] for each in content["predictions"]]
    except (ValueError, KeyError, TypeError):
        return None
    return content if keys == [material.clips.infos[index].key for index in fold.test] else None


def _prediction(seed: int, fold: str, each: Mapping[str, Any]) -> Prediction:
    return Prediction(
        seed, fold, each["key"], each["prediction"], tuple(each["scores"]), each["majority"]
    )


def _file_name(fold: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in fold)
