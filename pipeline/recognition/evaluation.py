"""Run a protocol: every fold pretrains, fine-tunes and tests without its held-out people.

OUT/folds/seed-0/casme2_sub01.json    predictions of each fold; a killed evaluation resumes here
OUT/pretrained/seed-0-3f9c...         pretrainings, shared by folds that refuse the same samples
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from miex.datasets.base import Rejection
from miex.datasets.config import build
from miex.datasets.documents import read_document, write_document
from miex.datasets.files import sha256_file
from miex.datasets.locks import locking
from miex.pipeline.recognition.au_baseline import predict_from_aus
from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import lineage_of
from miex.pipeline.recognition.evaluation_config import EvaluationConfig, Material
from miex.pipeline.recognition.fold import run_fold
from miex.pipeline.recognition.protocols import (
    Fold,
    Protocol,
    Split,
    clip_list_hash,
    find_protocol,
)
from miex.pipeline.recognition.published_folds import NOT_LISTED
from miex.pipeline.recognition.recognizers.base import (
    create_recognizer,
    recognizer_class,
    with_preset,
)
from miex.pipeline.recognition.results import Prediction, Result, write_result
from miex.pipeline.recognition.run_config import computed_by
from miex.pipeline.recognition.sample import SampleInfo
from miex.pipeline.recognition.training import OnStep

OnFold = Callable[[int, int, str], None]
"""Called with (finished folds, all folds, current work) before, within and after each fold."""


@locking("out")
def evaluate(
    config: EvaluationConfig,
    material: Material,
    out: Path,
    on_fold: OnFold | None = None,
    on_step: OnStep | None = None,
) -> Result:
    """Evaluate a recognizer, or resume an evaluation that was interrupted.

    Args:
        config: Protocol and training.
        material: Clips, synthetic samples and checkpoint.
        out: Folder of the evaluation.
        on_fold: Called with the progress.
        on_step: Called with the progress of the trainings within the folds.

    Raises:
        ValueError: A leak; clips that do not fit the protocol; a checkpoint of another recognizer
            or one that was trained on test subjects; no training data; or `out` holds another
            evaluation.
        DiskFullError: The disk is full; finished folds are kept.
    """
    if config.mixing and (material.synthetic is None or not config.finetune):
        raise ValueError(
            f"mixing={config.mixing}, and there is nothing to mix: give synthesized datasets"
            " (--pretrain), and fine-tune"
        )
    if not config.finetune and material.pretraining is None and material.checkpoint is None:
        raise ValueError(
            "finetune=false, and nothing to pretrain on: nothing would be learnt; give synthesized"
            " datasets, clips to pretrain on or a checkpoint, or fine-tune"
        )
    if not config.finetune and material.training_clips is not None:
        raise ValueError(
            f"finetune=false, and {material.training_name} to fine-tune on; pretrain on them"
            " (--pretrain-clips), or fine-tune"
        )
    config = with_own_preset(config)
    protocol = find_protocol(config.protocol)
    infos = material.clips.infos
    own = build(recognizer_class(config.recognizer).Config, config.config)
    for changes in (config.pretraining, config.finetuning):
        own.hyperparameters(changes)
    _require_distinct(material.clips, material.pretraining_clips, material.training_clips)
    split = protocol.split(infos, config.fold_seed, config.folds)
    folds = split.folds
    tested = [infos[index] for fold in folds for index in fold.test]
    identity = _identity(config, material, protocol, split)
    claimed = _claim(out, identity)
    predictions: list[Prediction] = []
    trained: dict[str, Any] = {}
    total = len(folds) * len(config.seeds)
    for seed in config.seeds:
        for fold in folds:
            done = len(trained)
            path = out / "folds" / f"seed-{seed}" / f"{_file_name(fold.name)}.json"
            content = _finished(path, fold, material, claimed)
            if content is None:
                what = f"seed {seed}, {fold.name}"
                if on_fold:
                    on_fold(done, total, what)
                content = run_fold(config, protocol, material, fold, seed, out, on_step)
                content["evaluation"] = claimed
                write_document(path, content, indent=None)
            predictions += [_prediction(seed, fold.name, each) for each in content["predictions"]]
            trained[f"seed-{seed}/{fold.name}"] = content["training"]
            if on_fold:
                on_fold(len(trained), total, fold.name)
    about = identity | {
        "training": trained,
        **_circumstances(config, material, tested, protocol, split),
    }
    from_aus = predict_from_aus(infos, folds)
    return write_result(out, about, tested, predictions, protocol.space.classes, from_aus)


def with_own_preset(config: EvaluationConfig) -> EvaluationConfig:
    """Return a config whose recognizer has the parameters of its preset.

    Raises:
        ValueError: The recognizer has no such preset.
    """
    own = with_preset(config.recognizer, config.preset, config.config)
    return config.model_copy(update={"config": own})


def _require_distinct(inputs: CachedInputs, *trained: CachedInputs | None) -> None:
    """Refuse clips that look the same pixel by pixel under two names.

    Trained on under one name and tested on under the other, a recording leaks. Recordings of one
    event by two cameras (SMIC-HS, VIS and NIR) differ in every pixel and are not seen here: they
    are kept together by the subject's key.

    Args:
        inputs: Clips to test on.
        trained: Clips that are only trained on; they may be clips to test on under the same name.

    Raises:
        ValueError: Two clips are equal and show different people, or have different labels.
    """
    seen: dict[bytes, SampleInfo] = {}
    for digest, info in _digests(inputs):
        other = seen.setdefault(digest, info)
        if other is not info and (other.person != info.person or other.label != info.label):
            raise ValueError(
                f"{other.key} and {info.key} are the same recording under two names, or nothing"
                " moves in either; leave one out, or it is trained on and tested on"
            )
    for each in filter(None, trained):
        for digest, info in _digests(each):
            if digest in seen and seen[digest].person != info.person:
                raise ValueError(
                    f"{info.key} would be trained on and is the same recording as"
                    f" {seen[digest].key}, which is tested on, or nothing moves in either; leave"
                    " one out"
                )


def _digests(inputs: CachedInputs) -> Iterator[tuple[bytes, SampleInfo]]:
    for begin in range(0, len(inputs), 256):
        indices = range(begin, min(begin + 256, len(inputs)))
        batch = inputs.take(list(indices))
        for row, index in enumerate(indices):
            digest = hashlib.sha256()
            for name in sorted(batch):
                digest.update(np.ascontiguousarray(batch[name][row].numpy()).tobytes())
            yield digest.digest(), inputs.infos[index]


def _identity(
    config: EvaluationConfig, material: Material, protocol: Protocol, split: Split
) -> dict[str, Any]:
    """Return the identity of the evaluation, which is written first and compared on resuming."""
    synthetic = material.synthetic
    keys = "" if synthetic is None else "\n".join(info.key for info in synthetic.infos)
    return {
        "recognizer": config.recognizer,
        "protocol": config.protocol,
        "label_space": protocol.label_space,
        "classes": list(protocol.space.classes),
        "clip_list": clip_list_hash(
            material.clips.infos[index] for fold in split.folds for index in fold.test
        ),
        "folds": dict(split.about),
        "config": config.model_dump(mode="json"),
        "content": material.clips.content,
        "computed": computed_by(config.run),
        "started_from": _started_from(config, material, protocol),
        "pretrained_on": {
            "name": material.synthetic_name,
            "samples": 0 if synthetic is None else len(synthetic),
            "sha256": hashlib.sha256(keys.encode()).hexdigest() if keys else None,
            "content": synthetic.content if synthetic is not None else None,
            "checkpoint": None
            if material.checkpoint is None
            else [
                asdict(stage) | {"subjects": len(stage.subjects)}
                for stage in material.checkpoint.card.stages
            ],
        },
        "about": dict(material.about or {}),
        **{
            name: _about_clips(inputs)
            for name, inputs in (
                ("pretraining_clips", material.pretraining_clips),
                ("training_clips", material.training_clips),
            )
            if inputs is not None
        },
    }


def _about_clips(inputs: CachedInputs) -> dict[str, Any]:
    """Return what is recorded of clips that are trained on and not tested."""
    return {
        "clips": len(inputs),
        "subjects": len(lineage_of(inputs.infos)),
        "databases": dict(Counter(info.database for info in inputs.infos)),
        "apex_rules": dict(Counter(info.apex_rule for info in inputs.infos)),
        "clip_list": clip_list_hash(inputs.infos),
        "content": inputs.content,
        "rejections": [asdict(each) for each in inputs.rejections],
    }


def _started_from(config: EvaluationConfig, material: Material, protocol: Protocol) -> str:
    """Return the initial weights, since pretrained ones may be present only on some machines."""
    if material.checkpoint is not None:
        return f"sha256 {sha256_file(material.checkpoint.path)}"
    return create_recognizer(config.recognizer, len(protocol.space.classes), config.config).weights


def _circumstances(
    config: EvaluationConfig,
    material: Material,
    tested: Sequence[Any],
    protocol: Protocol,
    split: Split,
) -> dict[str, Any]:
    """Return the circumstances that a result records with its scores."""
    clip_list = clip_list_hash(tested)
    unusable = () if material.synthetic is None else material.synthetic.rejections
    return {
        "clips": len(tested),
        "subjects": len(lineage_of(tested)),
        "published_clips": protocol.clips,
        "clips_in_paper": protocol.clips_in_paper,
        "published_list": None if protocol.clip_list is None else clip_list == protocol.clip_list,
        "oracle": config.selection == "oracle",
        "apex_rules": dict(Counter(info.apex_rule for info in tested)),
        "rejections": [asdict(each) for each in _left_out(material, protocol, split)],
        "synthetic_rejections": [asdict(each) for each in unusable],
    }


def _left_out(material: Material, protocol: Protocol, split: Split) -> Iterator[Rejection]:
    """Return every clip that is not tested, with the reason."""
    yield from material.rejections
    yield from material.clips.rejections
    for info in material.clips.infos:
        if protocol.databases and info.database not in protocol.databases:
            detail = f"{protocol.name} is of {', '.join(protocol.databases)}"
            yield Rejection(info.key, "not_in_protocol", detail)
    for index in split.left_out:
        detail = f"the published folds are of other clips ({split.about['list']})"
        yield Rejection(material.clips.infos[index].key, NOT_LISTED, detail)


def _claim(out: Path, identity: Mapping[str, Any]) -> str:
    """Record the evaluation of a folder, or raise an error if the folder holds another one.

    Returns:
        Hash of the evaluation, which is part of the file of every fold.

    Raises:
        ValueError: The folder holds another evaluation, or its file is damaged.
    """
    path = out / "evaluation.json"
    text = json.dumps(identity, indent=2, sort_keys=True)
    wanted = _deciding(json.loads(text))
    if path.exists():
        remedy = f"give another folder, or delete {out} to begin anew"
        content = read_document(path, "evaluation", remedy)
        try:
            found = _deciding(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged (it lacks {error}); {remedy}") from None
        if found != wanted:
            both = sorted(found.keys() | wanted.keys())
            names = ", ".join(name for name in both if found.get(name) != wanted.get(name))
            raise ValueError(
                f"{out} holds another evaluation (see {path.name}; they differ in {names}); give"
                f" another folder, or delete {out} to begin anew"
            )
    write_document(path, json.loads(text))
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def _deciding(identity: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that determine the predictions of a seed: no paths, no saving intervals.

    The seeds themselves are left out, so that more of them can be added to a finished evaluation.
    """
    about = {
        name: {key: each for key, each in value.items() if key not in ("databases", "datasets")}
        if isinstance(value, dict)
        else value
        for name, value in identity["about"].items()
    }
    run = {
        name: value
        for name, value in identity["config"]["run"].items()
        if name not in ("checkpoint_seconds", "tensorboard", "log")
    }
    config = {name: value for name, value in identity["config"].items() if name != "seeds"}
    return identity | {"about": about, "config": config | {"run": run}}


def _finished(path: Path, fold: Fold, material: Material, evaluation: str) -> dict[str, Any] | None:
    """Return the result of a finished fold; None if there is no valid one."""
    if not path.is_file():
        return None
    try:
        content = read_document(path, "fold", "it is computed again")
        keys = [each["key"] for each in content["predictions"]]
    except (ValueError, KeyError, TypeError):
        return None
    own = keys == [material.clips.infos[index].key for index in fold.test]
    return content if own and content.get("evaluation") == evaluation else None


def _prediction(seed: int, fold: str, each: Mapping[str, Any]) -> Prediction:
    return Prediction(
        seed,
        fold,
        each["key"],
        each["prediction"],
        tuple(each["scores"]),
        each["majority"],
        each.get("last_epoch"),
    )


def _file_name(fold: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in fold)
