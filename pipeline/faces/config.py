"""Thresholds and conventions of face preparation.

The thresholds were set by looking at the crops of 8,849 photographs of 5,000 identities of LFW
(Huang et al. 2007) around each of them, and keep what a person would accept:

- sharpness: below 25 (0.7 % of the photographs) features are smeared;
- yaw: the far eye leaves the outline from about 33 degrees; pitch: the lids hide the eyes from
  about 25;
- misfit: above 0.12 (0.7 %) most landmarks are off;
- duplicates: the same photograph in other encodings, sizes and trims lies within 0.18 and mostly
  within 32 bits; different photographs of one person are not that near in both;
- same person: 25 of the 12.5 million pairs of names lie nearer than 0.35, at most four of them
  strangers (the others: LFW's known label errors, two spellings of one name); 13 % of two
  photographs of one name do. At 0.38 strangers prevail; at 0.6, dlib's limit for verification,
  99 % of the identities have a stranger nearer. Most near strangers are East Asian faces, which
  the embedding tells apart less well.
"""

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.images import MAX_MEGAPIXELS


class FaceConfig(FrozenConfig):
    """What makes a photograph a usable face, and how it is cut out."""

    size: int = Field(
        128, ge=32, le=512, multiple_of=4, description="side of the square crop, pixels"
    )
    eye_distance: float = Field(
        0.30,
        ge=0.15,
        le=0.5,
        description="distance of the eye centres as a share of the side; at 0.30 hair line and "
        "chin fit in with room for a dropped jaw",
    )
    eye_height: float = Field(
        0.38, ge=0.2, le=0.6, description="height of the eyes from the top as a share of the side"
    )
    max_megapixels: float = Field(
        50.0, gt=0, le=MAX_MEGAPIXELS, description="larger photographs are refused undecoded"
    )
    max_side: int = Field(
        2048, ge=256, le=8192, description="larger photographs are shrunk to this long side"
    )
    detection_side: int = Field(
        800, ge=128, le=4096, description="long side at which faces are looked for"
    )
    cnn: bool = Field(
        True, description="last resort dlib's CNN detector, about 0.6 s a photograph without a face"
    )
    dominance: float = Field(
        1.25,
        ge=1,
        description="the largest face must be at least so many times as wide as the next",
    )
    min_face_size: float = Field(
        20.0, ge=0, description="smallest distance of the eye centres in the photograph, pixels"
    )
    min_sharpness: float = Field(
        25.0, ge=0, description="smallest variance of the Laplacian of the face at 128 pixels"
    )
    max_yaw: float = Field(32.0, ge=0, le=90, description="largest turn of the head, degrees")
    max_pitch: float = Field(25.0, ge=0, le=90, description="largest nod of the head, degrees")
    max_roll: float = Field(
        30.0, ge=0, le=180, description="largest in-plane rotation, degrees; the crop is upright"
    )
    max_misfit: float = Field(
        0.12,
        gt=0,
        description="largest distance of the landmarks from a head in that pose, root mean "
        "square, in distances of the eye centres; beyond it the landmarks are wrong",
    )
    max_outside: float = Field(
        0.15, ge=0, le=1, description="largest share of the crop outside the photograph"
    )
    duplicate_distance: float = Field(
        0.22,
        ge=0,
        description="two photographs are one when their embeddings are nearer than this and "
        "their hashes agree (see duplicate_bits)",
    )
    duplicate_bits: int = Field(
        32, ge=0, le=256, description="differing bits of 256 up to which two hashes agree"
    )
    same_person_distance: float = Field(
        0.35,
        ge=0,
        description="two identities are one person when their embeddings are nearer than this",
    )
    templates_per_identity: int = Field(
        1,
        ge=1,
        description="best photographs of an identity that are kept; each sample draws one of them",
    )
