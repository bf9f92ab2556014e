"""Configure a run of an experiment: its inputs, and how it departs from the paper; no torch."""

from typing import Annotated, Any

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.pipeline.recognition.protocols import PROTOCOLS
from miex.pipeline.recognition.recognizer_config import recognizer_names


class Inputs(FrozenConfig):
    """What whoever runs an experiment gives it."""

    clips: tuple[str, ...] = Field((), description="NAME:PATH, as in `miex clips`")
    files: dict[str, str] = Field({}, description="by the names of the experiment's inputs")


class Scale(FrozenConfig):
    """How a run departs from the paper, so that it fits a machine or other clips."""

    seeds: Annotated[int | None, Flag()] = Field(
        None, ge=1, description="number of runs of each cell; the paper's by default"
    )
    epochs: Annotated[float, Flag(metavar="FACTOR")] = Field(
        1.0, gt=0, allow_inf_nan=False, description="multiply the epochs of every training by it"
    )
    pretraining_epochs: Annotated[float | None, Flag(metavar="FACTOR")] = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="multiply the epochs of pretraining by it; as --epochs by default",
    )
    identities: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        description="number of identities of the largest dataset; the others in proportion",
    )
    samples: Annotated[int | None, Flag()] = Field(
        None, ge=1, description="number of samples of the largest dataset; the others in proportion"
    )
    recognizers: Annotated[
        tuple[str, ...], Flag(option="--recognizer", short="-r", choices=recognizer_names)
    ] = Field((), description="only this recognizer")
    rows: Annotated[tuple[str, ...], Flag(option="--row")] = Field(
        (), description="only rows of this name; * matches anything"
    )
    settings: dict[str, Any] = Field({}, description="fields of EvaluateJob, of every cell")
    synthesis: dict[str, Any] = Field({}, description="fields of SynthesisConfig, of every dataset")
    protocol: Annotated[str | None, Flag(short="-p", choices=lambda: tuple(PROTOCOLS))] = Field(
        None, description="protocol instead of the experiment's own"
    )
    stand_in: Annotated[str | None, Flag(metavar="WHAT")] = Field(
        None, description="what the clips are, if they are not the paper's; every heading says it"
    )
