"""Everything that decides what a dataset contains, as one frozen value.

How the work is done (workers, progress, where the output lies) is not in here: it must not
change a single byte of the result.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from miex.au_sources.action_units import MAX_INTENSITY
from miex.datasets.config import Flag, FrozenConfig, build
from miex.datasets.encoding import ImageConfig
from miex.datasets.labels import LABEL_SPACES, find_label_space
from miex.generators.base import GeneratorConfig
from miex.pipeline.faces.config import FaceConfig


class SequenceConfig(FrozenConfig):
    """How many frames a sample has, and how the expression grows over them."""

    frames: Annotated[int, Flag()] = Field(
        2, ge=2, le=256, description="frames from onset to apex, both counted"
    )
    easing: Annotated[Literal["linear", "smooth", "early", "late"], Flag()] = Field(
        "linear", description="growth from onset to apex; linear as in MiE-X's video variant"
    )
    back_to_offset: Annotated[bool, Flag()] = Field(
        False,
        description="append the way back to the offset: frames - 1 more frames, the last one equal "
        "to the onset",
    )


class QualityConfig(FrozenConfig):
    """When a rendered sample counts, and what is measured of it."""

    min_motion_iod: float = Field(
        0.002,
        ge=0,
        description="smallest accepted motion from onset to apex, in inter-ocular distances; "
        "frames that are equal pixel by pixel are refused whatever this says",
    )
    max_attempts: int = Field(5, ge=1, le=100, description="draws before a sample is rejected")
    identity_share: float = Field(
        0.05, ge=0, le=1, description="share of the samples whose identity similarity is measured"
    )
    min_identity_similarity: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="a measured sample below it is redrawn (cosine between embeddings)",
    )
    fidelity_share: float = Field(
        0.0, ge=0, le=1, description="share of the samples whose AU fidelity is measured"
    )
    fidelity_estimator: str | None = Field(
        None,
        description="what measures it, NAME or NAME:MODEL; for a trained generator not the "
        "estimator that labelled its training data",
    )

    @model_validator(mode="after")
    def _fidelity_has_an_estimator(self) -> "QualityConfig":
        if self.fidelity_share and not self.fidelity_estimator:
            raise ValueError(
                "fidelity_share needs fidelity_estimator, for instance "
                "mediapipe:face_landmarker.task or openface-models:FOLDER"
            )
        return self


class DriftConfig(FrozenConfig):
    """How heads drift from onset to apex: standard deviations; none by default, as in MiE-X.

    `True` in its place means as much as in two public videos of people before a camera, over a
    sixth of a second: shifts had deviations of .003 to .013 inter-ocular distances, turns of .1
    degrees, sizes of .002 to .004.
    """

    shift: float = Field(
        0.0, ge=0, le=0.1, description="to the right and down, inter-ocular distances"
    )
    turn: float = Field(0.0, ge=0, le=5, description="in the image, degrees")
    scale: float = Field(0.0, ge=0, le=0.05, description="towards the camera, share of the size")

    @model_validator(mode="before")
    @classmethod
    def _as_measured(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"shift": 0.01, "turn": 0.1, "scale": 0.003} if value else {}
        return value

    @property
    def any(self) -> bool:
        """Whether heads drift at all."""
        return bool(self.shift or self.turn or self.scale)


class SynthesisConfig(FrozenConfig):
    """One dataset: which faces, which AUs, which generator, how many samples."""

    name: Annotated[str, Flag()] = Field(
        "miex", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="prefix of the sample ids"
    )
    seed: Annotated[int, Flag()] = Field(
        0, ge=0, lt=2**63, description="seed of everything that is drawn at random"
    )
    faces: Annotated[str, Flag()] = Field(
        "samples",
        description="a face table (.parquet), or photographs: samples, folder:PATH, celeba:PATH, "
        "emotionnet:PATH",
    )
    face_preparation: FaceConfig = FaceConfig()
    identities: Annotated[int | None, Flag(short="-n")] = Field(
        None, ge=1, description="number of identities; all by default"
    )
    label_space: Annotated[str, Flag(choices=lambda: tuple(LABEL_SPACES))] = Field(
        "three_class", description="classes of the samples"
    )
    sources: Annotated[tuple[str, ...], Flag(option="--source")] = Field(
        ("expert:miex", "expert:du2014", "expert:casme3"),
        min_length=1,
        description="AU sources: expert:TABLE (miex, du2014, casme3 or a YAML file) or "
        "pool:FILE.parquet",
    )
    intensity: Annotated[tuple[float, float], Flag()] = Field(
        (0.5, 1.5), description="range of the expert intensities, on the 0-5 scale"
    )
    emotion_weights: dict[str, float] = Field(
        default_factory=dict, description="weights of fine emotions within their class"
    )
    samples: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        description="number of samples; by default each identity gets every class from every "
        "source once",
    )
    au_triplets: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        description="number of distinct (onset AUs, apex AUs, label) triplets, shared by several "
        "identities; by default every sample has its own",
    )
    sequence: SequenceConfig = SequenceConfig()
    drift: Annotated[
        DriftConfig,
        Flag(kind=bool, description="move heads a little between onset and apex, as in real clips"),
    ] = DriftConfig()
    generator: GeneratorConfig = GeneratorConfig()
    quality: QualityConfig = QualityConfig()
    image: ImageConfig = ImageConfig()
    rows_per_shard: int = Field(1024, ge=1)

    @field_validator("label_space")
    @classmethod
    def _known_label_space(cls, value: str) -> str:
        return find_label_space(value).name

    @field_validator("intensity")
    @classmethod
    def _ordered_intensity(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0 < low <= high <= MAX_INTENSITY:
            raise ValueError(f"expected 0 < low <= high <= {MAX_INTENSITY:g}")
        return value

    @field_validator("sources")
    @classmethod
    def _distinct_sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [source for source, count in Counter(value).items() if count > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)} is given twice; name every source once")
        return value

    @classmethod
    def from_yaml(cls, path: Path) -> "SynthesisConfig":
        """Read a config file.

        Raises:
            FileNotFoundError: No such file.
            ValueError: Not YAML, or a field that does not fit; the message names each one.
        """
        return build(cls, file=path)

    def record(self) -> dict[str, Any]:
        """The config as a dataset remembers it.

        Fields that came later are left out where they change nothing, so that datasets that were
        made before keep their hash.
        """
        content = self.model_dump(mode="json")
        if not self.quality.fidelity_share:
            del content["quality"]["fidelity_share"], content["quality"]["fidelity_estimator"]
        if not self.drift.any:
            del content["drift"]
        return content

    def canonical(self) -> str:
        """The config as JSON with sorted keys: equal configs give equal text."""
        return json.dumps(self.record(), sort_keys=True, separators=(",", ":"))

    def sha256(self) -> str:
        """Hash of `canonical`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()
