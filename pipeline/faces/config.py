"""Configuration of face preparation: crop geometry and filter thresholds.

The thresholds were set on 8,849 photographs of 5,000 identities of LFW (Huang et al. 2007). For
each threshold, crops just above and just below it were inspected, and the value was chosen so that
crops that a person would accept are kept:

- sharpness: below 25 (0.7 % of the photographs) the facial features are visibly blurred;
- yaw: from about 33 degrees the far eye reaches the outline of the face;
- pitch: from about 25 degrees the eyelids hide the eyes;
- misfit: above 0.12 (0.7 %) most landmarks are wrong;
- duplicates: copies of one photograph that were re-encoded, resized or trimmed differ by an
  embedding distance of at most 0.18 and, in most cases, by at most 32 hash bits. Different
  photographs of one person exceed at least one of the two limits;
- same person: 25 of the 12.5 million pairs of LFW names have an embedding distance below 0.35. At
  most four of these pairs show different people; the others are known label errors of LFW or two
  spellings of one name. Of the pairs of photographs with the same name, 13 % are below 0.35. At
  0.38 most pairs of names show different people. At 0.6, dlib's limit for verification, 99 % of
  the identities are that close to a different person. Most of the close pairs of different people
  are East Asian faces, which the embedding separates less well.
"""

from typing import Any

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.images import MAX_MEGAPIXELS


class FaceConfig(FrozenConfig):
    """Crop geometry and the thresholds that a photograph must meet to become a face."""

    size: int = Field(
        128, ge=32, le=512, multiple_of=4, description="side of the square crop, in pixels"
    )
    eye_distance: float = Field(
        0.30,
        ge=0.15,
        le=0.5,
        description="distance between the eye centres as a share of the side; at 0.30 the crop "
        "shows the face from hair line to chin and leaves room for a dropped jaw",
    )
    eye_height: float = Field(
        0.38,
        ge=0.2,
        le=0.6,
        description="distance of the eyes from the upper edge as a share of the side",
    )
    max_megapixels: float = Field(
        50.0,
        gt=0,
        le=MAX_MEGAPIXELS,
        description="larger photographs are rejected before they are decoded",
    )
    max_side: int = Field(
        2048, ge=256, le=8192, description="larger photographs are downscaled to this long side"
    )
    detection_side: int = Field(
        800, ge=128, le=4096, description="long side of the image in which faces are detected"
    )
    cnn: bool = Field(
        True,
        description="use dlib's CNN detector where the HOG detector finds no face; it takes about "
        "0.6 s per photograph",
    )
    dominance: float = Field(
        1.25,
        ge=1,
        description="smallest ratio of the width of the largest face to that of the second largest",
    )
    min_face_size: float = Field(
        20.0,
        ge=0,
        description="smallest distance between the eye centres in the photograph, in pixels",
    )
    min_sharpness: float = Field(
        25.0, ge=0, description="smallest variance of the Laplacian of the face at 128 pixels"
    )
    max_yaw: float = Field(
        32.0, ge=0, le=90, description="largest turn of the head to the left or right, in degrees"
    )
    max_pitch: float = Field(
        25.0, ge=0, le=90, description="largest turn of the head up or down, in degrees"
    )
    max_roll: float = Field(
        30.0,
        ge=0,
        le=180,
        description="largest in-plane rotation of the head, in degrees; the crop is upright",
    )
    max_misfit: float = Field(
        0.12,
        gt=0,
        description="largest root mean square distance between the landmarks and those of a mean "
        "head in the same pose, as a share of the distance between the eye centres",
    )
    max_outside: float = Field(
        0.15, ge=0, le=1, description="largest share of the crop outside the photograph"
    )
    duplicate_distance: float = Field(
        0.22,
        ge=0,
        description="two photographs are duplicates when their embedding distance is below this "
        "value and their hashes agree (see duplicate_bits)",
    )
    duplicate_bits: int = Field(
        32,
        ge=0,
        le=256,
        description="two hashes agree when at most this many of their 256 bits differ",
    )
    same_person_distance: float = Field(
        0.35,
        ge=0,
        description="two identities are the same person when their embedding distance is below "
        "this value",
    )
    max_expression: float | None = Field(
        None,
        gt=0,
        le=5,
        description="largest intensity (0-5) of an AU that a photograph may show already, by the "
        "estimator landmarks; no limit by default, as in MiE-X",
    )
    rest_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the square of that intensity when the template of an identity is "
        "chosen among several photographs; 1 makes an intensity of 1 count as much as 15 degrees "
        "of yaw",
    )
    max_bystander: float = Field(
        0.02,
        ge=0,
        le=1,
        description="largest share of the crop that the detected face of another person may cover",
    )
    templates_per_identity: int = Field(
        1,
        ge=1,
        description="largest number of photographs kept per identity, best first; each sample "
        "draws one of them",
    )

    def record(self) -> dict[str, Any]:
        """Return the config as it is hashed, without later fields that have their default.

        The hashes of existing face tables and datasets therefore do not change.
        """
        content = self.model_dump(mode="json")
        for name in _LATER_FIELDS:
            if content[name] == type(self).model_fields[name].default:
                del content[name]
        return content


_LATER_FIELDS = ("max_expression", "rest_weight", "max_bystander")
