"""Configure the three jobs on recognizers: pretrain, fine-tune, evaluate; needs no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag, Group
from miex.datasets.labels import LABEL_SPACES
from miex.pipeline.recognition.clip_samples import ClipSampleConfig
from miex.pipeline.recognition.evaluation_config import EvaluationConfig
from miex.pipeline.recognition.recognizer_config import (
    PRESET,
    Hyperparameters,
    Preset,
    recognizer_names,
)
from miex.pipeline.recognition.run_config import RunConfig

_RECOGNIZER = Flag(short="-r", choices=recognizer_names)
_LABEL_SPACE = Flag(choices=lambda: tuple(LABEL_SPACES))


class SyntheticData(FrozenConfig):
    """Synthesized datasets to pretrain on."""

    datasets: Annotated[tuple[str, ...], Flag(argument=True, metavar="DATASET...")] = Field(
        (), description="synthesized datasets to pretrain on, folders or addresses"
    )
    weights: dict[str, float] = Field(
        {}, description="relative probability with which samples of an AU source are drawn"
    )
    template_database: str | None = Field(
        None,
        description="clip database whose subjects are the template faces, if they are from one",
    )


class ClipData(FrozenConfig):
    """Databases of real clips."""

    databases: Annotated[tuple[str, ...], Flag("clips", metavar="NAME:PATH")] = Field(
        (), description="databases of real clips, as in `miex clips`"
    )
    samples: ClipSampleConfig = ClipSampleConfig()
    only: tuple[str, ...] = Field(
        (), description="take clips of these databases alone, where one source holds several"
    )


class TrainingClips(FrozenConfig):
    """Databases of real clips that are trained on and never tested; cut as the tested ones are."""

    databases: tuple[str, ...] = ()
    only: tuple[str, ...] = Field(
        (), description="take clips of these databases alone, where one source holds several"
    )
    macro: Literal["early", "apex"] = Field(
        "early", description="which frame of a macro-expression is shown, see ClipSampleConfig"
    )

    def as_clips(self, samples: ClipSampleConfig) -> ClipData:
        """Return them as clips that are cut as others."""
        return ClipData(
            databases=self.databases,
            only=self.only,
            samples=samples.model_copy(update={"macro": self.macro}),
        )


class PretrainJob(FrozenConfig):
    """Train a recognizer on synthesized datasets."""

    recognizer: Annotated[str, _RECOGNIZER] = Field(description="recognizer to train")
    preset: Annotated[Preset, Flag()] = Field("paper", description=PRESET)
    config: dict[str, Any] = Field({}, description="parameters that differ from the preset's")
    alone: Annotated[bool, Flag()] = Field(
        False, description="it will not be fine-tuned: a preset may train it otherwise then"
    )
    synthetic: SyntheticData = SyntheticData()
    label_space: Annotated[str, _LABEL_SPACE] = Field(
        "three_class", description="label space of the classes"
    )
    training: Annotated[dict[str, Any], Group(Hyperparameters)] = Field(
        {}, description="hyperparameters that differ from the paper's"
    )
    run: RunConfig = RunConfig()


class FinetuneJob(FrozenConfig):
    """Train a recognizer on real clips, from a pretrained one or from scratch."""

    recognizer: Annotated[str, _RECOGNIZER] = Field(description="recognizer to train")
    preset: Annotated[Preset, Flag()] = Field("paper", description=PRESET)
    config: dict[str, Any] = Field({}, description="parameters that differ from the preset's")
    checkpoint: Annotated[Path | None, Flag()] = Field(
        None,
        description="pretrained recognizer to start from: a file, the folder of its training, or "
        "hf-hub:USER/NAME",
    )
    clips: ClipData = ClipData()
    exclude: Annotated[tuple[str, ...], Flag(metavar="DATABASE:SUBJECT")] = Field(
        (), description="subjects that are left out, for a later test"
    )
    label_space: Annotated[str, _LABEL_SPACE] = Field(
        "three_class", description="label space of the classes"
    )
    training: Annotated[dict[str, Any], Group(Hyperparameters)] = Field(
        {}, description="hyperparameters that differ from the paper's"
    )
    run: RunConfig = RunConfig()


class EvaluateJob(FrozenConfig):
    """Evaluate by a protocol: every fold pretrains, fine-tunes and tests."""

    inlined = ("evaluation",)

    evaluation: EvaluationConfig
    clips: ClipData = ClipData()
    synthetic: Annotated[
        SyntheticData,
        Group(
            datasets=Flag(
                option="--pretrain",
                metavar="DATASET",
                description="synthesized datasets that each fold pretrains on",
            )
        ),
    ] = SyntheticData()
    pretraining_clips: Annotated[
        TrainingClips,
        Group(
            databases=Flag(
                "pretrain_clips",
                metavar="NAME:PATH",
                description="databases of real clips that each fold pretrains on, without the"
                " people that it tests",
            )
        ),
    ] = TrainingClips()
    training_clips: Annotated[
        TrainingClips,
        Group(
            databases=Flag(
                "train_clips",
                metavar="NAME:PATH",
                description="databases of clips that are fine-tuned on with those of each fold, and"
                " never tested; of macro-expressions an early frame",
            )
        ),
    ] = TrainingClips()
    checkpoint: Annotated[Path | None, Flag()] = Field(
        None,
        description="pretrained recognizer instead of datasets: a file, the folder of its training,"
        " or hf-hub:USER/NAME",
    )

    @model_validator(mode="after")
    def _one_start(self) -> "EvaluateJob":
        if self.checkpoint and (self.synthetic.datasets or self.pretraining_clips.databases):
            raise ValueError("give datasets or clips to pretrain on, or a checkpoint, not both")
        return self
