"""Configuration of a synthetic dataset, with everything that determines its content.

Settings that must not change the content, such as the number of workers and the output folder, are
arguments of the functions instead.
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
from miex.au_sources.expert_table import table_names
from miex.datasets.config import FrozenConfig, build
from miex.datasets.encoding import ImageConfig
from miex.datasets.flags import Flag
from miex.datasets.labels import LABEL_SPACES, find_label_space
from miex.datasets.paths import exists
from miex.datasets.storage import is_address
from miex.generators.base import GeneratorConfig
from miex.pipeline.faces.config import FaceConfig

_SHARDS, _LEAST_ROWS, _MOST_ROWS = 64, 128, 1024
"""Shards of a dataset, as long as they have the numbers of rows that follow."""

_MAX_SAMPLES = 100_000_000
"""Sample numbers have eight digits; MiE-X has 45,000 samples."""


class SequenceConfig(FrozenConfig):
    """Number of frames of a sample and growth of the expression over them."""

    frames: Annotated[int, Flag()] = Field(
        2, ge=2, le=256, description="number of frames from onset to apex, both included"
    )
    easing: Annotated[Literal["linear", "smooth", "early", "late"], Flag()] = Field(
        "linear",
        description="growth of the intensity from onset to apex; MiE-X's videos are linear",
    )
    back_to_offset: Annotated[bool, Flag()] = Field(
        False,
        description="append frames - 1 more frames from apex to offset; the offset equals the "
        "onset",
    )


class QualityConfig(FrozenConfig):
    """Acceptance thresholds of a rendered sample and the shares of samples to measure."""

    min_motion_iod: float = Field(
        0.002,
        ge=0,
        description="smallest accepted motion from onset to apex, in inter-ocular distances; a "
        "sample whose onset and apex have equal pixels is never accepted",
    )
    max_attempts: int = Field(
        5, ge=1, le=100, description="number of draws before a sample is rejected"
    )
    identity_share: float = Field(
        0.05, ge=0, le=1, description="share of the samples whose identity similarity is measured"
    )
    min_identity_similarity: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="smallest accepted cosine between the identity embeddings of template and "
        "apex; measured samples below it are redrawn",
    )
    fidelity_share: float = Field(
        0.0, ge=0, le=1, description="share of the samples whose AU fidelity is measured"
    )
    fidelity_estimator: str | None = Field(
        None,
        description="AU estimator that measures AU fidelity, NAME or NAME:MODEL; it must not have "
        "labelled the training data of the generator",
    )

    @model_validator(mode="after")
    def _fidelity_has_an_estimator(self) -> "QualityConfig":
        if self.fidelity_share and not self.fidelity_estimator:
            raise ValueError(
                f"fidelity_share: {self.fidelity_share:g} needs fidelity_estimator, for example "
                "mediapipe:face_landmarker.task or openface-models:FOLDER; set it, or set "
                "fidelity_share to 0"
            )
        return self


class DriftConfig(FrozenConfig):
    """Standard deviations of the head motion between onset and apex; 0 by default, as in MiE-X.

    `drift: true` selects the values 0.01, 0.1 and 0.003. They are rounded from two public videos
    of people in front of a camera, measured over a sixth of a second: standard deviations of 0.003
    to 0.013 inter-ocular distances (shift), 0.1 degrees (turn) and 0.002 to 0.004 (scale).
    """

    shift: float = Field(
        0.0,
        ge=0,
        le=0.1,
        description="standard deviation of the horizontal and of the vertical shift, in "
        "inter-ocular distances",
    )
    turn: float = Field(
        0.0, ge=0, le=5, description="standard deviation of the in-plane rotation, in degrees"
    )
    scale: float = Field(
        0.0, ge=0, le=0.05, description="standard deviation of the relative change in size"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_measured(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"shift": 0.01, "turn": 0.1, "scale": 0.003} if value else {}
        return value

    @property
    def any(self) -> bool:
        """Whether any standard deviation is above 0."""
        return bool(self.shift or self.turn or self.scale)


class AsymmetryConfig(FrozenConfig):
    """Share and strength of asymmetric expressions; none by default, as in MiE-X.

    `asymmetry: true` selects a share of 0.9, which gave the best results on the optical flow of
    real micro-expressions (docs/evaluation.md). Many micro-expressions are coded on one side only
    (R12, L14).
    """

    share: float = Field(
        0.0, ge=0, le=1, description="share of the samples with an asymmetric expression"
    )
    weakest: float = Field(
        0.0,
        ge=0,
        le=1,
        description="lower limit of the intensity of the weaker side, as a share of that of the "
        "stronger side; it is drawn uniformly from weakest to strongest",
    )
    strongest: float = Field(
        0.6, ge=0, le=1, description="upper limit of the intensity of the weaker side"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_measured(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"share": 0.9} if value else {}
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "AsymmetryConfig":
        if self.weakest > self.strongest:
            raise ValueError(
                f"weakest: {self.weakest} is above strongest: {self.strongest}; exchange the values"
            )
        return self


class SensorConfig(FrozenConfig):
    """Noise and JPEG compression that are added to the frames; none by default.

    Eight public videos of people in front of a camera, scaled to 128 pixels, have noise of 0.1 to
    0.6 grey levels (docs/evaluation.md).
    """

    noise: float = Field(
        0.0, ge=0, le=20, description="standard deviation of the noise, in grey levels"
    )
    jpeg: int | None = Field(
        None,
        ge=10,
        le=100,
        description="quality of an added JPEG compression of each frame; none by default",
    )

    @property
    def any(self) -> bool:
        """Whether noise or compression is added."""
        return bool(self.noise or self.jpeg)


def _located(text: str, folder: Path) -> str:
    """Return the absolute path of a text that names a file; any other text as it is."""
    path = folder / Path(text).expanduser()
    return str(path) if not is_address(text) and exists(path) else text


def _located_after_colon(spec: str, folder: Path) -> str:
    kind, colon, rest = spec.partition(":")
    if not rest or (kind == "expert" and rest in table_names()):
        return spec
    return f"{kind}{colon}{_located(rest, folder)}"


class SynthesisConfig(FrozenConfig):
    """Config of one dataset: faces, AU sources, generator, number of samples and quality limits."""

    name: Annotated[str, Flag()] = Field(
        "miex",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="prefix of the sample ids",
    )
    seed: Annotated[int, Flag()] = Field(
        0, ge=0, lt=2**63, description="seed of all random draws, stored as a 64-bit integer"
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
        ("expert:micro", "expert:miex", "expert:casme3"),
        min_length=1,
        description="AU sources: expert:TABLE (micro, miex, casme3, du2014 or a YAML file) or "
        "pool:FILE.parquet",
    )
    intensity: Annotated[tuple[float, float], Flag()] = Field(
        (0.5, 1.5),
        description="range from which the intensities of expert sources are drawn uniformly, on "
        "the 0-5 scale",
    )
    emotion_weights: dict[str, float] = Field(
        default_factory=dict, description="weights of fine emotions within their class"
    )
    samples: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        le=_MAX_SAMPLES,
        description="number of samples; by default one for each combination of identity, class "
        "and source",
    )
    au_triplets: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        le=_MAX_SAMPLES,
        description="number of distinct (onset AUs, apex AUs, label) triplets, which several "
        "identities share; by default every sample has its own triplet",
    )
    sequence: SequenceConfig = SequenceConfig()
    drift: Annotated[
        DriftConfig,
        Flag(kind=bool, description="move heads a little between onset and apex, as in real clips"),
    ] = DriftConfig()
    asymmetry: Annotated[
        AsymmetryConfig,
        Flag(kind=bool, description="make expressions stronger on one side, as many real ones"),
    ] = AsymmetryConfig()
    sensor: SensorConfig = SensorConfig()
    generator: GeneratorConfig = GeneratorConfig()
    quality: QualityConfig = QualityConfig()
    image: ImageConfig = ImageConfig()
    rows_per_shard: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="samples of a shard; by default 128 to 1024, by the number of samples",
    )

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
        duplicates = [source for source, count in Counter(value).items() if count > 1]
        if duplicates:
            raise ValueError(f"duplicate source {', '.join(duplicates)}; name every source once")
        return value

    def shard_rows(self, samples: int) -> int:
        """Return the number of samples of a shard of a dataset with this many.

        Unless it is set, there are some 64 shards where a shard has 128 samples or more, so
        that all cores have work until the end. It must not depend on the number of workers.
        """
        if self.rows_per_shard is not None:
            return self.rows_per_shard
        parts = -(-samples // (_SHARDS * _LEAST_ROWS))
        return min(_MOST_ROWS, _LEAST_ROWS * parts)

    @classmethod
    def from_yaml(cls, path: Path) -> "SynthesisConfig":
        """Read a config file.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is not YAML, or a field is unknown or invalid; the message names
                every such field.
        """
        return build(cls, file=path)

    def located(self, folder: Path) -> "SynthesisConfig":
        """Return the config with absolute paths, for processes in other working directories.

        It serves to open files only: hashes and manifests are those of the config itself.

        Args:
            folder: The folder to which relative paths refer.
        """
        quality, generator = self.quality, self.generator
        if generator.checkpoint is not None:
            checkpoint = Path(_located(str(generator.checkpoint), folder))
            generator = generator.model_copy(update={"checkpoint": checkpoint})
        if quality.fidelity_estimator:
            estimator = _located_after_colon(quality.fidelity_estimator, folder)
            quality = quality.model_copy(update={"fidelity_estimator": estimator})
        sources = tuple(_located_after_colon(spec, folder) for spec in self.sources)
        changes = {"sources": sources, "quality": quality, "generator": generator}
        return self.model_copy(update=changes)

    def record(self) -> dict[str, Any]:
        """Return the config as it is stored in shards and in the manifest.

        Fields that were added in later versions are omitted where they have no effect, so that the
        hash of existing datasets does not change.
        """
        content = self.model_dump(mode="json")
        content["face_preparation"] = self.face_preparation.record()
        if not self.quality.fidelity_share:
            del content["quality"]["fidelity_share"], content["quality"]["fidelity_estimator"]
        if not self.drift.any:
            del content["drift"]
        if not self.asymmetry.share:
            del content["asymmetry"]
        if not self.sensor.any:
            del content["sensor"]
        return content

    def canonical(self) -> str:
        """Return `record` as JSON with sorted keys, so that equal configs have equal text."""
        return json.dumps(self.record(), sort_keys=True, separators=(",", ":"))

    def sha256(self) -> str:
        """Return the SHA-256 of `canonical`, hexadecimal."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()
