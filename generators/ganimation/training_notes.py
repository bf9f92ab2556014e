"""What a training set says about itself: measured with what, how far to be trusted, from whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miex.au_sources.action_units import AU_NAMES


@dataclass(frozen=True, slots=True)
class AUAgreement:
    """How far a second estimator confirms the AU labels, and what follows from it.

    Attributes:
        au: `AU01`, ...
        trusted: Whether losses may use the labels of this AU.
        reason: Why, or why not, in words.
        correlation: Pearson's, cross-validated by identity, between the labels and the second
            estimator mapped onto their scale; the best one if there were several. None if no
            second estimator measures the AU.
        against: The estimator behind the correlation.
        photographs: On how many photographs.
    """

    au: str
    trusted: bool
    reason: str
    correlation: float | None = None
    against: str | None = None
    photographs: int = 0


@dataclass(frozen=True, slots=True)
class TrainingNotes:
    """What a training set says about itself.

    Attributes:
        image_size: Side S of the crops, pixels.
        source: Where the photographs come from.
        estimator: What measured the AUs.
        estimator_version: Its version, with the calibration if one was applied.
        agreement: One for each of the 17 AUs, in their order.
        licences: Terms by source, and by origin for photographs that have their own.
        estimator_scale: What the numbers mean, see `miex.au_sources.estimators.base.Scale`.
        detector: What found faces and landmarks.
        encoding: Format and quality of the crops.
        psnr: Loss by the encoding: peak signal-to-noise ratio, dB, mean over photographs; None if
            lossless or not measured.
        counts: Photographs and identities of each split.
        rejections: Photographs that were left out, by reason.
        same_person: Names that look like one person and were therefore kept in one split.
        config: How the set was made.
        fingerprint: Hash of everything the set was made from, hexadecimal.

    Raises:
        ValueError: `agreement` is not about the 17 AUs in their order.
    """

    image_size: int
    source: str
    estimator: str
    estimator_version: str
    agreement: tuple[AUAgreement, ...]
    licences: Mapping[str, str] = field(default_factory=dict)
    estimator_scale: str = "intensity"
    detector: str = ""
    encoding: str = ""
    psnr: float | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rejections: Mapping[str, int] = field(default_factory=dict)
    same_person: tuple[tuple[str, ...], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        found = tuple(one.au for one in self.agreement)
        if found != AU_NAMES:
            raise ValueError(
                f"notes of a training set: agreement for {', '.join(found) or 'no AU'}; expected "
                f"one entry each for {', '.join(AU_NAMES)}, in this order"
            )
