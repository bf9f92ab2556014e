"""Configuration of the training set of a generator.

The default of `min_agreement` was set on the 8,332 photographs of LFW that become training faces,
with labels of OpenFace's regressors. The correlations with MediaPipe and with landmark motion leave
a gap between AU05 (0.35) and AU14 (0.16), and 0.3 lies in it. This is lower than the correlation
below which a calibration counts as weak (0.4), since the errors of the second estimator reduce it
as well. If the errors of two estimators are independent, their correlation is the product of their
correlations with the truth (Spearman 1904, The proof and measurement of association between two
things). A correlation of 0.3 between two equally good estimators therefore means 0.55 with the
truth. Agreement with landmark motion is too optimistic, because it uses the same landmarks as
OpenFace's regressors; MediaPipe detects its own.
"""

from typing import Annotated, Literal

from pydantic import Field

from miex.au_sources.estimators.base import estimator_names
from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.pipeline.faces.config import FaceConfig


class TrainingSetConfig(FrozenConfig):
    """Config of one training set: size of the crops, labels, split and encoding."""

    size: Annotated[int, Flag()] = Field(
        128, ge=32, le=512, multiple_of=4, description="side of the crops, in pixels"
    )
    source: str | None = Field(
        None,
        description="name of the photographs for the model card; by default the name of the reader",
    )
    licence: str | None = Field(
        None,
        description="licence of the photographs for the model card; by default the licence that "
        "the reader states",
    )
    estimator: Annotated[str, Flag(short="-e", metavar="NAME[:MODEL]", choices=estimator_names)] = (
        Field("landmarks", description="AU estimator that makes the labels")
    )
    calibration: str = Field(
        "shipped",
        description="map of the estimator's scale onto 0-5: shipped, none, or a file written by "
        "`miex calibrate`",
    )
    checks: Annotated[tuple[str, ...], Flag(option="--check", metavar="NAME[:MODEL]")] = Field(
        (),
        description="second estimators that are compared with the labels on these photographs; by "
        "default the correlations of the calibrations shipped with miex are used",
    )
    min_agreement: float = Field(
        0.3,
        ge=0,
        le=1,
        description="smallest correlation with a second estimator at which the labels of an AU "
        "are used in losses; 0 uses the labels of every AU without a comparison",
    )
    held_out: int = Field(
        500, ge=1, description="number of identities that are held out for the assessment"
    )
    held_out_share: float = Field(
        0.15,
        gt=0,
        lt=0.5,
        description="largest share of the identities that are held out; it limits held_out in "
        "small sets",
    )
    validation: int = Field(
        200, ge=1, description="number of identities on which training is monitored"
    )
    validation_share: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="largest share of the identities used for validation; it limits validation in "
        "small sets",
    )
    same_person_distance: float = Field(
        0.38,
        ge=0,
        description="names whose embedding distance is below this value are put into the same "
        "split; in LFW this joins 64 of 4,773 names, 27 of them in one chain of different people "
        "(190 at 0.45)",
    )
    seed: Annotated[int, Flag()] = Field(0, ge=0, lt=2**63, description="seed of the split")
    image_format: Literal["jpeg", "webp"] = Field(
        "jpeg", description="encoding of the crops; webp is lossless"
    )
    quality: int = Field(
        95,
        ge=1,
        le=100,
        description="quality of jpeg with full colour resolution (4:4:4); at 95 a crop of 128 "
        "pixels takes 7 kB with a PSNR of 46 dB",
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="device of the estimators: auto, cpu, cuda, cuda:1, ..."
    )
    download: Annotated[bool, Flag()] = Field(
        False, description="allow the estimators to download their weights"
    )


def training_face_config(size: int) -> FaceConfig:
    """Return the config of the face preparation for training.

    The filters are the usual ones, but all photographs of an identity are kept, and so are two
    names of one person, which the split puts into the same part.

    Args:
        size: Side of the crops, pixels.
    """
    return FaceConfig(size=size, templates_per_identity=10_000, same_person_distance=0.0)
