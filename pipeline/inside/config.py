"""Configure what is shown of a recognizer, and on which samples; importing this needs no torch."""

from typing import Annotated

from pydantic import Field, model_validator

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.pipeline.recognition.clip_samples import ClipSampleConfig


class InsideConfig(FrozenConfig):
    """On which samples a recognizer is inspected, and how many of them are shown."""

    clips: Annotated[tuple[str, ...], Flag(metavar="NAME:PATH")] = Field(
        (), description="databases of real clips, as in `miex clips`"
    )
    datasets: Annotated[tuple[str, ...], Flag(option="--dataset", metavar="DIR")] = Field(
        (), description="synthesized datasets, folders or addresses"
    )
    samples: Annotated[int, Flag()] = Field(
        400, ge=5, description="number of samples of each database or dataset, at most"
    )
    shown: Annotated[int, Flag()] = Field(
        2, ge=1, le=10, description="number of samples shown per class, correct and wrong ones each"
    )
    layers: Annotated[tuple[str, ...], Flag(option="--layer")] = Field(
        (), description="layers of Grad-CAM; the last convolutions by default"
    )
    seed: Annotated[int, Flag()] = Field(
        0, ge=0, description="seed of the choice of samples and of t-SNE"
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="where to compute: auto, cpu, cuda, cuda:1, ..."
    )
    clip_samples: ClipSampleConfig = ClipSampleConfig()

    @model_validator(mode="after")
    def _something(self) -> "InsideConfig":
        if not self.clips and not self.datasets:
            raise ValueError(
                "no samples are given: name a database with --clips or a dataset with --dataset"
            )
        return self
