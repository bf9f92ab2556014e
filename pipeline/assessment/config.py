"""Configuration of an assessment, and the targets that a generator should reach."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from miex.au_sources.estimators.base import estimator_names
from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.generators.base import GeneratorConfig

TARGET_AUS = (1, 2, 4, 6, 7, 9, 10, 12, 15, 17, 25, 26, 45)
"""AUs over which fidelity is averaged, if they are measured and two estimators agree on them."""

FEWEST_IDENTITIES = 8
"""Smallest number of identities; realism compares two halves of them."""

INTENSITIES = (1.0, 2.0, 3.0)
"""Default intensities of single AUs, on the 0-5 scale."""

IDENTITY = "dlib-identity"
TEXTURE = "lbp-texture"

SPLITS = 50
"""Default number of random splits of the identities."""


class AssessmentConfig(FrozenConfig):
    """Config of an assessment: generators, faces, estimators and cases."""

    generators: tuple[GeneratorConfig, ...] = Field(
        min_length=1, description="generators to compare; `warp` is added if it is not among them"
    )
    faces: Annotated[str, Flag()] = Field(
        "samples",
        description="a training set (its held-out split), a face table (.parquet), or photographs: "
        "samples, folder:PATH, ...",
    )
    identities: Annotated[int | None, Flag(short="-n")] = Field(
        None,
        ge=FEWEST_IDENTITIES,
        description="number of identities, drawn at random; all by default",
    )
    estimators: Annotated[
        tuple[str, ...],
        Flag(option="--estimator", short="-e", metavar="NAME[:MODEL]", choices=estimator_names),
    ] = Field(
        (),
        description="AU estimators; the first one decides about the targets, the others are shown "
        "for comparison; by default the preferred one that is available",
    )
    calibration: Literal["shipped", "none"] = Field(
        "shipped",
        description="map of the estimators' scales onto FACS intensities, or none; a map is nearly "
        "flat where the two calibrated estimators agree little",
    )
    trained_on: Annotated[tuple[str, ...], Flag(metavar="NAME")] = Field(
        (),
        description="estimators that labelled the training data of the generators, if their cards "
        "do not state them",
    )
    allow_training_estimator: Annotated[bool, Flag()] = Field(
        False,
        description="permit an estimator that labelled the training data; every result states it",
    )
    agreement: Annotated[tuple[Path, ...], Flag(metavar="FILE")] = Field(
        (), description="calibrations written by `miex calibrate`, in addition to the shipped ones"
    )
    sources: Annotated[tuple[str, ...], Flag(option="--source")] = Field(
        ("expert:miex", "expert:du2014", "expert:casme3"),
        description="AU sources of the micro-expressions: expert:TABLE or pool:FILE.parquet",
    )
    intensities: tuple[float, ...] = Field(
        INTENSITIES, min_length=2, description="intensities of single AUs, 0 to 5, ascending"
    )
    draws: int = Field(
        1, ge=1, description="number of micro-expressions per face, class and AU source"
    )
    looks: int = Field(
        12,
        ge=2,
        description="number of rendered apex frames per face that are embedded; half of them are "
        "micro-expressions",
    )
    embeddings: tuple[str, ...] = Field(
        (IDENTITY, TEXTURE),
        min_length=1,
        description="embeddings for realism; the first one decides about the target",
    )
    splits: int = Field(
        SPLITS, ge=2, description="number of random splits of the identities, for realism"
    )
    min_motion_iod: float = Field(
        0.002,
        ge=0,
        description="motion in inter-ocular distances below which a case counts as without motion",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of all random draws")

    @field_validator("intensities")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or not (value[0] > 0 and value[-1] <= 5):
            raise ValueError("expected ascending intensities above 0 and at most 5")
        return value

    @field_validator("estimators", "sources", "embeddings")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        duplicates = sorted({one for one in value if value.count(one) > 1})
        if duplicates:
            raise ValueError(f"duplicate {', '.join(duplicates)}; name each one once")
        return value


class Targets(FrozenConfig):
    """Values that a generator should reach; the defaults are this project's choice."""

    correlation: float = Field(
        0.55, description="smallest mean correlation between requested and estimated AU change"
    )
    direction: float = Field(
        0.94, description="smallest share of faces in which the estimate of a requested AU rises"
    )
    direction_from: float = Field(
        2.0, description="lowest intensity at which the direction is evaluated"
    )
    identity: float = Field(
        0.99, description="smallest share of rendered frames that show the same person"
    )
    same_person: float = Field(
        0.6,
        description="Euclidean distance of dlib's embeddings below which two images show one "
        "person; dlib's limit for verification",
    )
    nulls: float = Field(0.01, description="largest share of cases without motion, exclusive")
    motion: tuple[float, float] = Field(
        (0.5, 3.0),
        description="range of the motion of micro-expressions, in pixels of a frame of 128",
    )
    motion_share: float = Field(
        0.9, description="smallest share of micro-expressions with motion in this range"
    )
    outside: float = Field(
        0.5, description="largest mean change outside the face, in grey levels of 255, exclusive"
    )
