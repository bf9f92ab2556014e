"""Configuration and data of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from miex.datasets.base import Rejection
from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag, Group
from miex.datasets.labels import LabelSpace, find_label_space
from miex.pipeline.recognition.protocols import PROTOCOLS, FoldSource, find_protocol
from miex.pipeline.recognition.recognizer_config import (
    PRESET,
    Hyperparameters,
    Preset,
    recognizer_names,
)
from miex.pipeline.recognition.run_config import RunConfig

if TYPE_CHECKING:
    from miex.pipeline.recognition.cache import CachedInputs
    from miex.pipeline.recognition.checkpoint import Checkpoint


class EvaluationConfig(FrozenConfig):
    """Recognizer, protocol and training of an evaluation, without paths."""

    recognizer: Annotated[str, Flag(short="-r", choices=recognizer_names)] = Field(
        description="recognizer to evaluate"
    )
    preset: Annotated[Preset, Flag()] = Field("paper", description=PRESET)
    config: dict[str, Any] = Field({}, description="parameters that differ from the preset's")
    protocol: Annotated[str, Flag(short="-p", choices=lambda: tuple(PROTOCOLS))] = Field(
        "megc2019", description="which clips are tested, and which subjects share a fold"
    )
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**63)], ...],
        Flag(kind=int, description="number of runs, with the seeds 0, 1, ...; 3 by default"),
    ] = Field((0, 1, 2), min_length=1, description="training seeds, or how many of them")
    folds: Annotated[FoldSource, Flag()] = Field(
        "auto",
        description="folds of protocols with k folds: published as the authors split,"
        " seeded as evaluation.fold_seed draws, auto published if more than half of the clips are"
        " in the authors' list",
    )
    fold_seed: int = Field(0, ge=0, lt=2**63, description="seed of drawn folds")
    finetune: Annotated[bool, Flag()] = Field(
        True,
        description="fine-tune on the clips of each fold; without, pretraining alone is tested",
    )
    mixing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of synthetic samples in the batches of fine-tuning: 0 fine-tunes on"
        " clips alone, as MiE-X",
    )
    pretraining: Annotated[
        dict[str, Any],
        Group(
            Hyperparameters,
            epochs=Flag(
                "pretraining_epochs", description="epochs of pretraining; the paper's by default"
            ),
            batch_size=None,
        ),
    ] = Field({}, description="hyperparameters of pretraining that differ from the paper's")
    finetuning: Annotated[dict[str, Any], Group(Hyperparameters)] = Field(
        {}, description="hyperparameters of fine-tuning that differ from the paper's"
    )
    pretraining_space: str | None = Field(
        None, description="label space to pretrain in; the protocol's by default"
    )
    selection: Annotated[Literal["last", "validation", "oracle"], Flag()] = Field(
        "last",
        description="epoch that is tested: the last; the best on validation subjects, held out of "
        "training; or the best on the test clips, which is not a result",
    )
    selection_by: Literal["uf1", "accuracy"] = Field(
        "uf1", description="score that an epoch is chosen by"
    )
    allow_oracle: bool = Field(
        False, description="required for selection=oracle; the result is marked"
    )
    validation_share: float = Field(
        0.2, gt=0, lt=1, description="share of the people for selection=validation"
    )
    run: Annotated[RunConfig, Group(seed=None)] = RunConfig()

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        counted = isinstance(value, int) and not isinstance(value, bool)
        return tuple(range(value)) if counted else value

    @model_validator(mode="after")
    def _honest(self) -> "EvaluationConfig":
        if self.selection == "oracle" and not self.allow_oracle:
            raise ValueError(
                "selection=oracle picks the epoch by the test clips: published scores fell from"
                " .79 to .59 UF1 without it. Use last, or validation; or set allow_oracle=true,"
                " and the result is stamped"
            )
        space = self.space_of_pretraining
        own = find_protocol(self.protocol).space
        if not self.finetune and space.classes != own.classes:
            raise ValueError(
                f"finetune=false, and pretraining_space={space.name} has other classes than"
                f" {self.protocol} tests ({own.name}); leave pretraining_space out, or fine-tune"
            )
        if self.mixing and space.classes != own.classes:
            raise ValueError(
                f"mixing={self.mixing} trains on synthetic samples and clips together, and"
                f" pretraining_space={space.name} has other classes than {own.name}; leave it out"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: give each once")
        return self

    @property
    def space_of_pretraining(self) -> LabelSpace:
        """Return the label space of the synthetic samples.

        Raises:
            ValueError: There is no such label space or protocol.
        """
        if self.pretraining_space is None:
            return find_protocol(self.protocol).space
        return find_label_space(self.pretraining_space)


@dataclass(frozen=True, slots=True)
class Material:
    """What an evaluation works on.

    Attributes:
        clips: Representations of the real clips.
        synthetic: Representations of synthesized samples to pretrain on; None for none.
        synthetic_name: What they are, for people.
        pretraining_clips: Representations of real clips to pretrain on; None for none.
        training_clips: Representations of clips that are trained on with those of each fold, and
            never tested; None for none.
        pretraining_name: What `pretraining_clips` are, for people.
        training_name: What `training_clips` are, for people.
        checkpoint: A pretrained recognizer, instead of synthetic samples.
        rejections: Clips that were left out on the way.
        about: Anything else to be recorded: databases, datasets, how clips were cut.
    """

    clips: "CachedInputs"
    synthetic: "CachedInputs | None" = None
    synthetic_name: str = ""
    checkpoint: "Checkpoint | None" = None
    rejections: Sequence[Rejection] = ()
    about: Mapping[str, Any] | None = None
    pretraining_clips: "CachedInputs | None" = None
    training_clips: "CachedInputs | None" = None
    pretraining_name: str = ""
    training_name: str = ""

    @property
    def pretraining(self) -> "tuple[CachedInputs, str] | None":
        """Everything to pretrain on, synthesized and real, and what it is; None for nothing."""
        parts = [(self.synthetic, self.synthetic_name)]
        parts.append((self.pretraining_clips, self.pretraining_name))
        given = [(inputs, name) for inputs, name in parts if inputs is not None]
        if len(given) == 2:
            return given[0][0].joined(given[1][0]), f"{given[0][1]}, {given[1][1]}"
        return given[0] if given else None
