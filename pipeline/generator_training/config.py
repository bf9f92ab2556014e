"""How a generator's training set is made.

The least agreement was set on the 8,332 photographs of LFW that become training faces, labelled by
OpenFace's regressors. There MediaPipe and landmark motion leave a gap between AU05 (.35) and AU14
(.16). It is lower than the correlation below which a calibration is weak (.4), because the errors
of the second estimator are not the labels' own: of two estimators with independent errors the
correlation is the product of their correlations with the truth (Spearman 1904, The proof and
measurement of association between two things), so that .3 between two equally good ones means .55
with the truth. Landmark motion flatters, though: it sees the same landmarks as OpenFace's
regressors, MediaPipe finds its own.
"""

from typing import Literal

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.pipeline.faces.config import FaceConfig


class TrainingSetConfig(FrozenConfig):
    """One training set: how large, measured with what, split how."""

    size: int = Field(128, ge=32, le=512, multiple_of=4, description="side of the crops, pixels")
    source: str | None = Field(
        None, description="what the photographs are, for the card; the reader's name by default"
    )
    licence: str | None = Field(
        None, description="their terms, for the card; those that the reader states by default"
    )
    estimator: str = Field(
        "landmarks", description="NAME or NAME:MODEL, measures the AUs: openface-models:FOLDER, ..."
    )
    calibration: str = Field(
        "shipped",
        description="maps the estimator's scale onto 0-5: shipped, none, or a file of "
        "`miex calibrate`",
    )
    checks: tuple[str, ...] = Field(
        (),
        description="second estimators that confirm the labels on these photographs; without, "
        "the correlations of the calibrations that come with miex count",
    )
    min_agreement: float = Field(
        0.3,
        ge=0,
        le=1,
        description="smallest correlation between the labels of an AU and a second estimator "
        "with which losses may use them; 0 trusts every AU unconfirmed",
    )
    held_out: int = Field(500, ge=1, description="identities that only the assessment sees")
    held_out_share: float = Field(
        0.15, gt=0, lt=0.5, description="of all identities, at most; counts in small sets"
    )
    validation: int = Field(200, ge=1, description="identities that training is watched on")
    validation_share: float = Field(
        0.05, gt=0, lt=0.5, description="of all identities, at most; counts in small sets"
    )
    same_person_distance: float = Field(
        0.38,
        ge=0,
        description="names whose embeddings are nearer than this stay in one split; wider than "
        "where one of them is dropped, since it costs nothing to keep strangers together: in LFW "
        "64 of 4,773 names, of which strangers form one chain of 27 (190 at 0.45)",
    )
    seed: int = Field(0, ge=0, description="of the split")
    image_format: Literal["jpeg", "webp"] = Field("jpeg", description="webp is lossless")
    quality: int = Field(
        95,
        ge=1,
        le=100,
        description="of jpeg, with full colour resolution (4:4:4); at 95 a crop of 128 pixels has "
        "7 kB and 46 dB",
    )
    device: str = Field("auto", description="of the estimators: auto, cpu, cuda, ...")
    download: bool = Field(False, description="allow the estimators to download their weights")


def training_face_config(size: int) -> FaceConfig:
    """How faces are prepared for training: the usual filters, but every photograph of a person.

    Two names of one person stay, too: the split keeps them together.
    """
    return FaceConfig(size=size, templates_per_identity=10_000, same_person_distance=0.0)
