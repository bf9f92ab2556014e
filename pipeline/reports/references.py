"""Provide published figures of real micro-expressions and of MiE-X for comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from miex.au_sources.action_units import AU_NUMBERS

REAL_AUS_PER_CLIP = (1.25, 1.70)
"""Smallest and largest mean number of annotated AUs in a clip of CASME, CASME II, SAMM, MMEW, 4DME
and CAS(ME)3 (counts of the authors of MEB, tvaranka/meb on GitHub, and of CAS(ME)3's sheet)."""


@dataclass(frozen=True, slots=True)
class RealDatabase:
    """How often AUs were annotated in real micro-expressions.

    Attributes:
        name: Of the database.
        clips: How many were annotated.
        aus_per_clip: Mean number of AUs.
        shares: Share of the clips by AU, in the order of `AU_NAMES`; None where not counted.
        cardinality: Share of the clips by number of AUs, where it is known.
        citation: Of the database and of the count.
    """

    name: str
    clips: int
    aus_per_clip: float
    shares: tuple[float | None, ...]
    cardinality: Mapping[int, float]
    citation: str


@dataclass(frozen=True, slots=True)
class Published:
    """A published distribution of a measure.

    Attributes:
        name: Of what.
        low: Below it lie 5 %.
        median: Half lie below it.
        high: Above it lie 5 %.
        pairs: How many were measured.
    """

    name: str
    low: float
    median: float
    high: float
    pairs: int


PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "psnr": (
        Published("MiE-X", 34.8, 38.4, 43.5, 14_066),
        Published("SAMM", 38.2, 39.1, 40.3, 159),
        Published("SMIC", 38.3, 38.9, 40.2, 157),
    ),
    "ssim": (
        Published("MiE-X", 0.945, 0.982, 0.994, 14_066),
        Published("SAMM", 0.897, 0.919, 0.937, 159),
        Published("SMIC", 0.934, 0.947, 0.958, 157),
    ),
}
"""Quantiles of the per-pair figures that the authors of EQuiME published (noobasuna/equime on
GitHub): onset and apex in MiE-X, where 934 of 15,000 pairs with equal frames are left out;
neighbouring frames in SAMM and SMIC. The MiE-X figures were computed on differences that wrap at
8 bit: an order of magnitude, no target."""

MIEX_NULL_SHARE = 934 / 15_000
"""Share of the published MiE-X pairs whose apex equals their onset (the same figures)."""


def real_databases() -> list[RealDatabase]:
    """Return real micro-expression databases to compare with, from `real_aus.yaml`."""
    text = (Path(__file__).parent / "real_aus.yaml").read_text(encoding="utf-8")
    return [
        RealDatabase(
            name=entry["name"],
            clips=entry["clips"],
            aus_per_clip=entry["aus_per_clip"],
            shares=tuple(
                entry["counts"][number] / entry["clips"] if number in entry["counts"] else None
                for number in AU_NUMBERS
            ),
            cardinality={
                number: count / entry["clips"]
                for number, count in entry.get("cardinality", {}).items()
            },
            citation=entry["citation"],
        )
        for entry in yaml.safe_load(text)
    ]
