"""Configure the whole chain of MiE-X, from photographs to scores; needs no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.pipeline.recognition.protocols import PROTOCOLS
from miex.pipeline.recognition.recognizer_config import recognizer_names


class ChainConfig(FrozenConfig):
    """What `miex reproduce mie-x` works on, and at which size."""

    clips: Annotated[tuple[str, ...], Flag(metavar="NAME:PATH")] = Field(
        (),
        description="database of real micro-expressions, as casme2:/data/CASME2: AUs of real_mie, "
        "fine-tuning and test",
    )
    macro: Annotated[tuple[str, ...], Flag(metavar="NAME:PATH")] = Field(
        (),
        description="database of macro-expressions for early_mae, as ckplus:/data/CK+; the sample "
        "videos by default",
    )
    faces: Annotated[str, Flag()] = Field(
        "samples",
        description="face table (.parquet), or photographs: a folder, samples, celeba:PATH, "
        "emotionnet:PATH",
    )
    face_lists: Annotated[tuple[str, ...], Flag(option="--face-list", metavar="LIST")] = Field(
        (), description="EmotionNet's list of image URLs: download the photographs first"
    )
    search: Annotated[tuple[str, ...], Flag(metavar="FOLDER")] = Field(
        (), description="folder in which databases of micro-expressions are looked for"
    )
    size: Annotated[Literal["auto", "demo", "paper"], Flag()] = Field(
        "auto",
        description="demo takes minutes on two cores, paper is the size of MiE-X; auto: demo with "
        "the sample photographs, else paper",
    )
    estimator: Annotated[str, Flag(short="-e", metavar="NAME[:MODEL]")] = Field(
        "landmarks", description="AU estimator of both pools, as in `miex extract-aus`"
    )
    generator: Annotated[str, Flag()] = Field(
        "auto", description="what renders: auto, warp, ganimation, ..."
    )
    checkpoint: Annotated[str | None, Flag()] = Field(
        None, description="weights of the generator; the embedded ones by default"
    )
    recognizers: Annotated[
        tuple[str, ...], Flag(option="--recognizer", short="-r", choices=recognizer_names)
    ] = Field(
        (),
        description="recognizer to train; apex_me and branches at the paper's size, ststnet for "
        "the demo and for clips published as flow by default",
    )
    protocol: Annotated[str | None, Flag(short="-p", choices=lambda: tuple(PROTOCOLS))] = Field(
        None, description="protocol; the 3 folds of MiE-X by default, where the clips allow it"
    )
    identities: Annotated[int | None, Flag(short="-n")] = Field(
        None, ge=1, description="number of identities; 5,000 in MiE-X, all that there are in a demo"
    )
    samples: Annotated[int | None, Flag()] = Field(
        None, ge=1, description="number of samples; 45,000 in MiE-X, 180 in a demo"
    )
    epochs: Annotated[float | None, Flag(metavar="FACTOR")] = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="multiply the epochs of every training by it; 1 in MiE-X",
    )
    seeds: Annotated[int | None, Flag()] = Field(
        None, ge=1, description="number of runs of each evaluation; 3 in MiE-X, 1 in a demo"
    )
    tables: Annotated[bool, Flag()] = Field(
        True,
        description="at the paper's size, also compute table 1 of MiE-X if its databases are given",
    )
    seed: Annotated[int, Flag()] = Field(0, ge=0, lt=2**63, description="seed of all that is drawn")
    device: Annotated[str, Flag()] = Field(
        "auto", description="where to compute: auto, cpu, cuda, cuda:1, ..."
    )

    def record(self) -> dict[str, Any]:
        """Return what decides on the results; the device and the search for databases do not."""
        return self.model_dump(mode="json", exclude={"device", "search"})
