"""Configuration of the inspection of a recognizer; importing this module does not import torch."""

from typing import Annotated

from pydantic import Field, model_validator

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.pipeline.recognition.clip_samples import ClipSampleConfig


class InsideConfig(FrozenConfig):
    """Config of the inspection of a recognizer: sources and number of samples, layers and seed."""

    clips: Annotated[tuple[str, ...], Flag(metavar="NAME:PATH")] = Field(
        (), description="databases of real clips, as in `miex clips`"
    )
    datasets: Annotated[tuple[str, ...], Flag(option="--dataset", metavar="DIR")] = Field(
        (), description="synthesized datasets, folders or addresses"
    )
    samples: Annotated[int, Flag()] = Field(
        400, ge=5, description="largest number of samples per database or dataset"
    )
    shown: Annotated[int, Flag()] = Field(
        2,
        ge=1,
        le=10,
        description="number of correctly and of incorrectly classified samples to draw per class",
    )
    layers: Annotated[tuple[str, ...], Flag(option="--layer")] = Field(
        (), description="layers of Grad-CAM; the last convolutions by default"
    )
    seed: Annotated[int, Flag()] = Field(
        0, ge=0, lt=2**63, description="seed of the choice of samples and of t-SNE"
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="device: auto, cpu, cuda, cuda:1, ..."
    )
    clip_samples: ClipSampleConfig = ClipSampleConfig()

    @model_validator(mode="after")
    def _something(self) -> "InsideConfig":
        if not self.clips and not self.datasets:
            raise ValueError(
                "no samples are given: name a database with --clips or a dataset with --dataset"
            )
        return self
