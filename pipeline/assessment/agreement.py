"""Which AUs a measurement may be trusted on: those on which two estimators agree about real faces.

Where two estimators see different things in photographs, neither can say whether a generator did
what it was asked; such AUs stay out of the averages, and the table says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.calibration import SHIPPED, WEAK_CORRELATION, Calibration

FROM = WEAK_CORRELATION
"""Correlation from which on two estimators agree: the threshold of weak calibrations."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a second estimator confirms the measuring one on real faces, for one AU.

    Attributes:
        au: `AU01`, ...
        measured: Whether the measuring estimator measures the AU at all.
        correlation: Pearson's, cross-validated by identity; the best of several second
            estimators. None if no table has the AU.
        against: The second estimator.
        photographs: On how many photographs.
        agrees: Whether the AU counts in averages.
    """

    au: str
    measured: bool
    correlation: float | None
    against: str | None
    photographs: int
    agrees: bool


def shipped_tables() -> list[Calibration]:
    """The calibrations of miex: pairs of estimators on 2,000 photographs."""
    return [Calibration.read(path) for path in sorted(SHIPPED.glob("calibration_*.json"))]


def read_tables(paths: Sequence[Path]) -> list[Calibration]:
    """Calibrations that `miex calibrate` wrote.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file holds something else.
    """
    return [Calibration.read(path) for path in paths]


def judge(
    estimator: str, measured: Sequence[int], tables: Sequence[Calibration]
) -> list[Agreement]:
    """Which AUs of an estimator are confirmed by another one.

    Args:
        estimator: Name of the one that measures.
        measured: FACS numbers of the AUs that it measures.
        tables: Calibrations; those in which it takes part, on either side, are looked at.

    Returns:
        One for each of the 17 AUs, in their order. Where the estimator stands in no table nothing
        is known, and every AU that it measures counts.
    """
    ours = [
        (table, table.reference if table.estimator == estimator else table.estimator)
        for table in tables
        if estimator in (table.estimator, table.reference)
    ]
    rows = []
    for name in AU_NAMES:
        has = int(name[2:]) in measured
        known = [
            (table.maps[name].correlation, other, table.maps[name].pairs)
            for table, other in ours
            if name in table.maps
        ]
        best = max(known, default=None)
        if best is None:
            rows.append(Agreement(name, has, None, None, 0, has and not ours))
        else:
            rows.append(Agreement(name, has, *best, agrees=has and best[0] >= FROM))
    return rows
