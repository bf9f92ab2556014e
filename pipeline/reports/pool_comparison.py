"""Compare AU pools with real micro-expressions: AUs per clip, and the frequency of each AU."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.base import AUSource
from miex.au_sources.pool import AUPool
from miex.pipeline.reports.references import REAL_AUS_PER_CLIP, real_databases
from miex.pipeline.reports.statistics import ACTIVE_FROM

OVERSHOOT_FACTOR, OVERSHOOT_SHARE = 2.0, 0.05
"""An AU is too frequent in a pool if it is this many times as frequent as in that real database
which shows it most, and in this share of the pairs more. Smaller differences lie between the real
databases themselves: AU04 is in 14 % of SAMM's clips and 51 % of CASME II's."""

_LEAST_PAIRS = 30
"""Pairs that a pool must have before its frequencies are judged: of fewer, a share is off by
more than 15 points (two standard deviations) where an AU is in a quarter of them."""

_DRAWS = 1000
"""Pairs of each class that stand for an expert table; the frequencies are good to 3 points."""


@dataclass(frozen=True, slots=True)
class Column:
    """One pool, or one real database.

    Attributes:
        name: What to call it.
        clips: How many pairs or annotated clips.
        real: Whether these are published counts of real micro-expressions.
        aus_per_clip: Mean number of active AUs.
        shares: Share of the clips in which each of the 17 AUs is active, in the order of
            `AU_NAMES`; None where it was not measured or counted.
    """

    name: str
    clips: int
    real: bool
    aus_per_clip: float
    shares: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Overshoot:
    """An AU that is too frequent in a pool.

    Attributes:
        column: Which pool.
        au: Name of the AU.
        share: In the pool.
        most: The largest share in a real database.
        where: That database.
    """

    column: str
    au: str
    share: float
    most: float
    where: str

    def __str__(self) -> str:
        return (
            f"{self.column}: {self.au} in {self.share:.0%} of the pairs, "
            f"in at most {self.most:.1%} of real clips ({self.where})"
        )


def compare(pools: Mapping[str, AUPool], threshold: float = ACTIVE_FROM) -> list[Column]:
    """Return one column per pool, then the published counts of CASME II, SAMM and CAS(ME)3.

    Args:
        pools: By name.
        threshold: Rise from onset to apex from which on an AU counts as active, 0 to 5.
    """
    columns = []
    for name, pool in pools.items():
        summary = pool.describe(threshold)
        shares = tuple(summary.au_frequency[au] for au in AU_NAMES)
        columns.append(Column(name, summary.pairs, False, summary.active_aus, shares))
    return columns + [
        Column(real.name, real.clips, True, real.aus_per_clip, real.shares)
        for real in real_databases()
    ]


def overshoots(columns: list[Column]) -> list[Overshoot]:
    """Return every AU that a pool shows too often, the worst first; see `OVERSHOOT_FACTOR`.

    AUs that no real database counted are passed over, and so are pools of few pairs.
    """
    found = []
    for au, name in enumerate(AU_NAMES):
        counted = [
            (share, column.name)
            for column in columns
            if column.real and (share := column.shares[au]) is not None
        ]
        if not counted:
            continue
        most, where = max(counted)
        for column in columns:
            share = column.shares[au]
            if column.real or share is None or column.clips < _LEAST_PAIRS:
                continue
            if share > OVERSHOOT_FACTOR * most and share - most > OVERSHOOT_SHARE:
                found.append(Overshoot(column.name, name, share, most, where))
    return sorted(found, key=lambda one: one.most - one.share)


def too_many(columns: list[Column]) -> list[Column]:
    """Return the pools with more AUs per clip than real databases (`REAL_AUS_PER_CLIP`)."""
    judged = [column for column in columns if not column.real and column.clips >= _LEAST_PAIRS]
    return [column for column in judged if column.aus_per_clip > REAL_AUS_PER_CLIP[1]]


def draw_pool(source: AUSource, draws: int = _DRAWS, seed: int = 0) -> AUPool:
    """Return a pool of pairs that a source draws, equally many of each class.

    Args:
        source: An expert table, for instance.
        draws: Pairs of each class.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    return AUPool.from_pairs(
        source.draw(name, rng)
        for name in source.label_space.classes
        if name in source.classes
        for _ in range(draws)
    )
