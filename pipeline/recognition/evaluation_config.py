"""What an evaluation does, and what it works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from miex.datasets.base import Rejection
from miex.datasets.config import FrozenConfig
from miex.datasets.labels import LabelSpace, find_label_space
from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import Checkpoint
from miex.pipeline.recognition.protocols import find_protocol
from miex.pipeline.recognition.run_config import RunConfig


class EvaluationConfig(FrozenConfig):
    """What is evaluated, and how it is trained. Where things lie is not in here."""

    recognizer: str
    config: dict[str, Any] = Field({}, description="parameters that differ from the paper's")
    protocol: str = "megc2019"
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field((0, 1, 2), min_length=1)
    fold_seed: int = Field(0, ge=0, description="who shares a fold, in protocols of k folds")
    finetune: bool = Field(True, description="False tests what pretraining alone has learnt")
    pretraining: dict[str, Any] = Field({}, description="hyperparameters that differ, pretraining")
    finetuning: dict[str, Any] = Field({}, description="hyperparameters that differ, fine-tuning")
    pretraining_space: str | None = Field(
        None, description="label space to pretrain in; the protocol's by default"
    )
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
        space = self.space_of_pretraining
        own = find_protocol(self.protocol).space
        if not self.finetune and space.classes != own.classes:
            raise ValueError(
                f"finetune=false, and pretraining_space={space.name} has other classes than"
                f" {self.protocol} tests ({own.name}); leave pretraining_space out, or fine-tune"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: each may stand once")
        return self

    @property
    def space_of_pretraining(self) -> LabelSpace:
        """The label space that synthetic samples are labelled in.

        Raises:
            ValueError: No label space, or no protocol, has such a name.
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
