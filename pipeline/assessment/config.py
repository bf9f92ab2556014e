"""What an assessment does, and the targets that a generator is held against."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from miex.datasets.config import FrozenConfig
from miex.generators.base import GeneratorConfig
from miex.pipeline.assessment.cases import INTENSITIES
from miex.pipeline.assessment.embeddings import IDENTITY, TEXTURE
from miex.pipeline.assessment.realism import SPLITS

TARGET_AUS = (1, 2, 4, 6, 7, 9, 10, 12, 15, 17, 25, 26, 45)
"""AUs over which fidelity is averaged, as far as they are measured and estimators agree."""

FEWEST_IDENTITIES = 8


class AssessmentConfig(FrozenConfig):
    """Which generators are assessed, on whom, with what."""

    generators: tuple[GeneratorConfig, ...] = Field(
        min_length=1, description="side by side; `warp` is put beside them where it is not there"
    )
    faces: str = Field(
        description="a training set (its held-out split), a face table (.parquet), or a source to "
        "prepare: samples, folder:PATH, ..."
    )
    identities: int | None = Field(
        None, ge=FEWEST_IDENTITIES, description="how many people; all by default"
    )
    estimators: tuple[str, ...] = Field(
        (),
        description="AU estimators, NAME or NAME:MODEL; the first one decides about targets, the "
        "others are shown beside it; by default the best that is there",
    )
    calibration: Literal["shipped", "none"] = Field(
        "shipped",
        description="of the estimators' scales; changes then are FACS intensities, though a map is "
        "flat where estimators agree little",
    )
    trained_on: tuple[str, ...] = Field(
        (), description="estimators that labelled the generators' training data, where no card says"
    )
    allow_training_estimator: bool = Field(
        False, description="measure with the training estimator all the same; every page says so"
    )
    agreement: tuple[Path, ...] = Field(
        (), description="tables of `miex calibrate` beside the shipped ones"
    )
    sources: tuple[str, ...] = Field(
        ("expert:miex", "expert:du2014", "expert:casme3"),
        description="AU sources of the micro-expressions",
    )
    intensities: tuple[float, ...] = Field(
        INTENSITIES, min_length=2, description="of each AU alone, 0 to 5, ascending"
    )
    draws: int = Field(1, ge=1, description="of each class from each source, a face")
    looks: int = Field(
        12, ge=2, description="rendered frames of a face that are embedded, half of them micro"
    )
    embeddings: tuple[str, ...] = Field(
        (IDENTITY, TEXTURE), min_length=1, description="for realism; the first one decides"
    )
    splits: int = Field(SPLITS, ge=2, description="random halves of the people, for realism")
    min_motion_iod: float = Field(
        0.002, ge=0, description="less motion than this is none, as in a synthesis"
    )
    seed: int = Field(0, ge=0)

    @field_validator("intensities")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or not (value[0] > 0 and value[-1] <= 5):
            raise ValueError("expected ascending intensities above 0, up to 5")
        return value

    @field_validator("estimators", "sources", "embeddings")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("one stands there twice")
        return value


class Targets(FrozenConfig):
    """What a generator has to reach; the defaults are the project's."""

    correlation: float = 0.6
    direction: float = 0.9
    direction_from: float = 2.0
    identity: float = 0.99
    same_person: float = Field(0.6, description="Euclidean distance of dlib's embeddings")
    nulls: float = 0.01
    motion: tuple[float, float] = (0.5, 3.0)
