"""Compute how much two distributions differ: effect sizes, then p-values."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BINS = 30
_MAGNITUDES = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"))
"""Bounds of |Cliff's delta| after Romano et al., Appropriate statistics for ordinal level data,
Florida Association of Institutional Research, 2006; above the last one it is large."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How two samples of one quantity differ.

    Attributes:
        first: How many values the first has.
        second: How many the second has.
        means: Of both.
        medians: Of both.
        cliffs_delta: P(first > second) - P(first < second), -1 to 1.
        cohens_d: Difference of the means in pooled standard deviations; NaN where both are
            constant.
        jensen_shannon: Divergence in bits, 0 (same) to 1 (disjoint).
        p_value: Mann-Whitney test, normal approximation with ties; small in large samples even
            where nothing that matters differs.
    """

    first: int
    second: int
    means: tuple[float, float]
    medians: tuple[float, float]
    cliffs_delta: float
    cohens_d: float
    jensen_shannon: float
    p_value: float

    @property
    def magnitude(self) -> str:
        """Return Cliff's delta in a word: negligible, small, medium or large."""
        size = abs(self.cliffs_delta)
        return next((word for bound, word in _MAGNITUDES if size < bound), "large")


def measure_effect(first: ArrayLike, second: ArrayLike) -> Effect | None:
    """Compare two samples; NaN counts nowhere; None if one of them has no value."""
    a, b = (_known(values) for values in (first, second))
    if not a.size or not b.size:
        return None
    below, above, ties = _order(a, b)
    delta = (above - below) / (a.size * b.size)
    return Effect(
        a.size,
        b.size,
        (float(a.mean()), float(b.mean())),
        (float(np.median(a)), float(np.median(b))),
        delta,
        _cohens_d(a, b),
        jensen_shannon(a, b),
        _p_value(above + 0.5 * ties, a, b),
    )


def _known(values: ArrayLike) -> NDArray[np.float64]:
    every = np.asarray(values, dtype=np.float64).ravel()
    return every[~np.isnan(every)]


def _order(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return in how many pairs the first value is smaller, larger, equal."""
    ordered = np.sort(b)
    smaller = np.searchsorted(ordered, a, side="left")
    not_larger = np.searchsorted(ordered, a, side="right")
    above = float(smaller.sum())
    below = float((b.size - not_larger).sum())
    return below, above, float(a.size) * b.size - above - below


def _cohens_d(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    freedom = a.size + b.size - 2
    if freedom < 1:
        return float("nan")
    squares = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    pooled = math.sqrt(squares / freedom)
    return float((a.mean() - b.mean()) / pooled) if pooled > 0 else float("nan")


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> float:
    """Return the Jensen-Shannon divergence in bits, 0 to 1 (Lin, IEEE T-IT 37(1), 1991).

    Over 30 equal bins of the common range, or over the values themselves where there are fewer.
    """
    a, b = _known(first), _known(second)
    values = np.unique(np.concatenate([a, b]))
    if values.size <= _BINS:
        p, q = (np.searchsorted(values, part) for part in (a, b))
        shares = [np.bincount(part, minlength=values.size) / part.size for part in (p, q)]
    else:
        edges = np.linspace(values[0], values[-1], _BINS + 1)
        shares = [np.histogram(part, edges)[0] / part.size for part in (a, b)]
    middle = (shares[0] + shares[1]) / 2
    return float(sum(_kullback_leibler(share, middle) for share in shares) / 2)


def _kullback_leibler(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    inside = p > 0
    return float((p[inside] * np.log2(p[inside] / q[inside])).sum())


def _p_value(u: float, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of Mann-Whitney's U (normal, corrected for ties)."""
    count = a.size + b.size
    _, ties = np.unique(np.concatenate([a, b]), return_counts=True)
    correction = float((ties.astype(np.float64) ** 3 - ties).sum()) / (count * (count - 1.0))
    variance = a.size * b.size / 12 * (count + 1 - correction)
    if variance <= 0:
        return 1.0
    z = (abs(u - a.size * b.size / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(max(z, 0.0) / math.sqrt(2))
