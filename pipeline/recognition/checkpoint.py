"""Trained recognizers on disk, as safetensors without pickle.

A file holds the parameters, the state for resuming (step, optimizer), and the people in the
training samples, on whom the recognizer must not be tested.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from miex.datasets.files import whole_file
from miex.datasets.given_files import require_file
from miex.datasets.hub import RECOGNIZER_FILE, local_checkpoint
from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.datasets.seals import UNSEALED, check_seal
from miex.pipeline.recognition.recognizer_files import everything_in_checkpoint
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    Recognizer,
    create_recognizer,
)
from miex.pipeline.recognition.sample import SampleInfo, Subject

CHECKPOINT = RECOGNIZER_FILE
"""File of the trained recognizer in the folder of a training."""

_FORMAT = "miex-recognizer"
_VERSION = 1
_MODEL = "model."
_OPTIMIZER = "optimizer."
_UNREADABLE = (
    safetensors.SafetensorError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Stage:
    """Training stage: data and duration.

    Attributes:
        name: ``pretrain`` or ``finetune``.
        data: Description of the training data.
        samples: Number of samples.
        sources: Number of samples by AU source, ``real`` for clips.
        subjects: The people in the samples (`SampleInfo.lineage`), sorted.
        hyperparameters: Hyperparameters of the training.
        seed: Seed of the training.
        steps: Number of steps.
        content: Hash of the inputs, their labels and their weights.
        computed: Kind of device and precision, `run_config.computed_by`.
    """

    name: Literal["pretrain", "finetune"]
    data: str
    samples: int
    sources: Mapping[str, int]
    subjects: tuple[Subject, ...]
    hyperparameters: Mapping[str, Any]
    seed: int
    steps: int = 0
    content: str = ""
    computed: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """Facts about a trained recognizer.

    Attributes:
        recognizer: Registered name.
        config: Its parameters.
        label_space: Name of the label space of its logits.
        weights: Initial weights.
        stages: All training stages, the latest one last.
    """

    recognizer: str
    config: Mapping[str, Any]
    label_space: str
    weights: str
    stages: tuple[Stage, ...] = ()

    @property
    def subjects(self) -> frozenset[Subject]:
        """People in the data of all stages, on whom it must not be tested."""
        return frozenset(person for stage in self.stages for person in stage.subjects)


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a training.

    Attributes:
        step: Number of finished steps.
        optimizer: State of the optimizer by parameter and name.
    """

    step: int
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Content of a file.

    Attributes:
        card: Facts about the recognizer.
        tensors: Parameters and buffers of the recognizer.
        progress: State for resuming; None in a finished file.
        path: The file.
    """

    card: Card
    tensors: Mapping[str, Tensor]
    progress: Progress | None
    path: Path

    def create(self) -> AnyRecognizer:
        """Create the saved recognizer.

        Raises:
            ValueError: The parameters do not fit, since another version wrote the file.
        """
        classes = len(LABEL_SPACES[self.card.label_space].classes)
        config = {**self.card.config, **_without_weights(self.card)}
        with everything_in_checkpoint():
            recognizer = create_recognizer(self.card.recognizer, classes, config)
        if isinstance(recognizer, FittedRecognizer):
            recognizer.load_state({name: each.numpy() for name, each in self.tensors.items()})
            return recognizer
        _load(recognizer, self.tensors, self.path)
        recognizer.weights = self.card.weights
        return recognizer


def _without_weights(card: Card) -> dict[str, str]:
    """Return the parameters without pretrained weights, since all parameters are in the file."""
    return {"weights": "random"} if "weights" in card.config else {}


def _load(recognizer: Recognizer, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        recognizer.load_state_dict(dict(tensors))
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ValueError(
            f"{path}: the parameters do not fit {recognizer.name!r} of this version"
            f" ({lines[1].strip() if len(lines) > 1 else lines[0]}); train it again"
        ) from None


_MAY_DIFFER = frozenset(
    {
        *("training", "fine_tuning", "pre_training", "alone", "rotation_of_clips"),
        *("weights", "class_weights"),
    }
)
"""Parameters about training and initial weights, which do not change the network."""


def require_alike(recognizer: AnyRecognizer, checkpoint: Checkpoint) -> None:
    """Check that a checkpoint belongs to a recognizer with the same parameters.

    Raises:
        ValueError: The name or a parameter differs, except training and initial weights.
    """
    card = checkpoint.card
    if checkpoint.progress is not None:
        raise ValueError(
            f"{checkpoint.path} is of a training that was interrupted after"
            f" {checkpoint.progress.step} steps; start that training again to resume it"
        )
    if card.recognizer != recognizer.name:
        raise ValueError(
            f"{checkpoint.path} holds {card.recognizer!r}, not {recognizer.name!r};"
            " pretrain the recognizer that is to be fine-tuned"
        )
    own = recognizer.config.model_dump(mode="json")
    for name, value in own.items():
        found = card.config.get(name, value)
        if name in _MAY_DIFFER or found == value:
            continue
        if name == "magnification_weights" and found and value:
            continue
        raise ValueError(
            f"{checkpoint.path} was trained with {name}={found}, not {value}; give the same"
            " parameters to both"
        )


def transfer(recognizer: Recognizer, checkpoint: Checkpoint, space: LabelSpace) -> tuple[str, ...]:
    """Initialize a recognizer from a checkpoint.

    Layers that depend on the classes (`Recognizer.class_layers`) keep their random weights if the
    classes differ.

    Args:
        recognizer: New recognizer.
        checkpoint: Checkpoint of the same recognizer with the same parameters.
        space: Label space of the new recognizer.

    Returns:
        Names of the tensors that were not loaded.

    Raises:
        ValueError: The checkpoint is of another recognizer, or a tensor does not fit.
    """
    require_alike(recognizer, checkpoint)
    fresh = recognizer.state_dict()
    kept: tuple[str, ...] = ()
    # The same number of classes does not mean the same classes.
    if LABEL_SPACES[checkpoint.card.label_space].classes != space.classes:
        kept = tuple(name for name in fresh if name.startswith(recognizer.class_layers))
    tensors = {name: each for name, each in checkpoint.tensors.items() if name not in kept}
    _load(recognizer, tensors | {name: fresh[name] for name in kept}, checkpoint.path)
    origin = checkpoint.card.stages[-1].data if checkpoint.card.stages else "unknown"
    recognizer.weights = f"{checkpoint.card.weights}, then pretrained on {origin}"
    return kept


def lineage_of(infos: Iterable[SampleInfo]) -> tuple[Subject, ...]:
    """Return all people in the lineage of samples, sorted."""
    return tuple(sorted({person for info in infos for person in info.lineage}))


def save_checkpoint(
    path: Path, recognizer: AnyRecognizer, card: Card, progress: Progress | None = None
) -> None:
    """Write a checkpoint atomically.

    Raises:
        DiskFullError: The disk is full; the previous file is kept.
    """
    if isinstance(recognizer, FittedRecognizer):
        model = {name: torch.from_numpy(each) for name, each in recognizer.state().items()}
    else:
        model = dict(recognizer.state_dict())
    tensors = {f"{_MODEL}{name}": each for name, each in model.items()}
    if progress:
        tensors |= {f"{_OPTIMIZER}{name}": each for name, each in progress.optimizer.items()}
    about = {
        "version": _VERSION,
        "card": asdict(card),
        "step": progress.step if progress else None,
        "sha256": UNSEALED,
    }
    # Parameters that two layers share are written twice, since safetensors has no views.
    whole = {name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()}
    with whole_file(path, sealed=True) as temporary:
        temporary.write_bytes(safetensors.torch.save(whole, {_FORMAT: json.dumps(about)}))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: The file, the folder of a training that is finished, or ``hf-hub:USER/NAME``.

    Raises:
        FileNotFoundError: There is no such file or repository.
        ValueError: No such checkpoint, or a damaged one.
    """
    path = local_checkpoint(path, CHECKPOINT)
    if path.is_dir():
        path = path / CHECKPOINT
    require_file(path, "checkpoint of a recognizer", "`miex pretrain` writes them")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[_FORMAT])
        version = int(about["version"])
    except _UNREADABLE as error:
        raise _damaged(path, error) from None
    if version > _VERSION:
        raise ValueError(f"{path}: version {version} of {_FORMAT}; update miex")
    try:
        tensors = safetensors.torch.load_file(path)
        card = _card(about["card"])
        step = about["step"]
    except _UNREADABLE as error:
        raise _damaged(path, error) from None
    check_seal(path, "train again, or copy it again")
    optimizer = _part(tensors, _OPTIMIZER)
    progress = None if step is None else Progress(int(step), optimizer)
    return Checkpoint(card, _part(tensors, _MODEL), progress, path)


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: no checkpoint of a recognizer, or a damaged one ({error});"
        " `miex pretrain` and `miex finetune` write them"
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)
    }


def _card(content: Mapping[str, Any]) -> Card:
    stages = tuple(
        Stage(**{**stage, "subjects": tuple((each[0], each[1]) for each in stage["subjects"])})
        for stage in content["stages"]
    )
    return replace(Card(**{**content, "stages": ()}), stages=stages)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer as tensors by ``<parameter>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, each in state.items()
        for name, value in each.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        number = isinstance(value, Tensor) and value.ndim == 0 and not value.is_floating_point()
        state.setdefault(int(index), {})[name] = value.item() if number else value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
