"""Metadata of a training set: estimator, reliability of the labels, source and licences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from miex.au_sources.action_units import AU_NAMES


@dataclass(frozen=True, slots=True)
class AUAgreement:
    """Agreement of the labels of an AU with a second estimator.

    Attributes:
        au: `AU01`, ...
        trusted: Whether losses may use the labels of this AU.
        reason: Reason, as text.
        correlation: Pearson correlation, cross-validated by identity, between the labels and the
            second estimator mapped onto their scale; the best of several. None if no second
            estimator measures the AU.
        against: The second estimator.
        photographs: Number of photographs of the correlation.
    """

    au: str
    trusted: bool
    reason: str
    correlation: float | None = None
    against: str | None = None
    photographs: int = 0


@dataclass(frozen=True, slots=True)
class TrainingNotes:
    """Metadata of a training set.

    Attributes:
        image_size: Side S of the crops, pixels.
        source: Source of the photographs.
        estimator: Estimator of the AUs.
        estimator_version: Its version, with the calibration if one was applied.
        agreement: One for each of the 17 AUs, in their order.
        licences: Terms of use by source, and by origin for photographs with their own terms.
        estimator_scale: Scale of the AUs, see `miex.au_sources.estimators.base.Scale`.
        detector: Detector of faces and landmarks.
        encoding: Format and quality of the crops.
        psnr: Peak signal-to-noise ratio of the encoding, dB, mean over photographs; None if
            lossless or not measured.
        counts: Photographs and identities of each split.
        rejections: Photographs that were left out, by reason.
        same_person: Groups of names with similar embeddings, each kept in one split.
        config: Config of the set.
        fingerprint: Hash of all inputs of the set, hexadecimal.

    Raises:
        ValueError: `agreement` does not list the 17 AUs in their order.
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
