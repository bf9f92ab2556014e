"""Selection of the AUs that can be measured reliably because two estimators agree on real faces.

If two estimators disagree about an AU in photographs, neither can tell whether a generator rendered
it. Such AUs are excluded from averages and marked in the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.calibration import SHIPPED, WEAK_CORRELATION, Calibration


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a second estimator with the measuring estimator on real faces, for one AU.

    Attributes:
        au: Name of the AU, such as `AU01`.
        measured: Whether the measuring estimator measures the AU.
        correlation: Pearson's correlation, cross-validated over identities; the highest one if
            there are several second estimators. None if no table has the AU.
        against: Name of the second estimator.
        photographs: Number of photographs compared.
        agrees: Whether the AU is included in averages.
    """

    au: str
    measured: bool
    correlation: float | None
    against: str | None
    photographs: int
    agrees: bool


def shipped_tables() -> list[Calibration]:
    """Read the calibrations shipped with miex, each of two estimators on 2,000 photographs."""
    return [Calibration.read(path) for path in sorted(SHIPPED.glob("calibration_*.json"))]


def read_tables(paths: Sequence[Path]) -> list[Calibration]:
    """Read calibrations that `miex calibrate` wrote.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A file is no calibration.
    """
    return [Calibration.read(path) for path in paths]


def judge(
    estimator: str, measured: Sequence[int], tables: Sequence[Calibration]
) -> list[Agreement]:
    """Decide which AUs of an estimator agree with a second estimator.

    Two estimators agree on an AU if their correlation is at least `WEAK_CORRELATION`.

    Args:
        estimator: Name of the measuring estimator.
        measured: FACS numbers of the AUs that it measures.
        tables: Calibrations; those between this and another estimator are used.

    Returns:
        One decision for each of the 17 AUs, in the order of `AU_NAMES`. If no calibration contains
        the estimator, every AU that it measures counts as agreeing.
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
            rows.append(Agreement(name, has, *best, agrees=has and best[0] >= WEAK_CORRELATION))
    return rows
