"""Define findings and the evidence for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from miex.pipeline.reports.face_statistics import Faces
from miex.pipeline.reports.pixels import Pixels
from miex.pipeline.reports.references import RealDatabase
from miex.pipeline.reports.samples import Samples
from miex.pipeline.reports.statistics import Coverage, GroupStatistics

Severity: TypeAlias = Literal["fault", "warning", "note", "good"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of the report.

    Attributes:
        key: Which check it comes from.
        severity: `fault` (rows are wrong), `warning` (think before training), `note`, or `good`.
        text: The sentence, with its number.
        number: The number itself.
        link: Id of the part of the report that shows it.
        examples: Names of a few samples, identities or AUs it is about.
    """

    key: str
    severity: Severity
    text: str
    number: float
    link: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence for findings.

    Attributes:
        samples: What the report is about.
        groups: AU statistics by source and class.
        coverage: Of the AU space.
        pixels: What the frames show; None where there are no images.
        faces: Whose they are.
        real: Published counts of real micro-expressions, which findings compare with.
        beside: Pools of the user that the plots show beside them.
    """

    samples: Samples
    groups: Mapping[tuple[str, str], GroupStatistics]
    coverage: Coverage
    pixels: Pixels | None
    faces: Faces
    real: Sequence[RealDatabase]
    beside: Sequence[RealDatabase] = ()
