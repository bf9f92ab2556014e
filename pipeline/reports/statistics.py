"""Compute statistics of AUs and measures. NaN is not measured: excluded, and counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from miex.au_sources.action_units import AU_COUNT
from miex.pipeline.reports.samples import Samples, Values

ACTIVE_FROM = 0.25
"""An AU counts as active when it rises by this between onset and apex, on the scale of 0 to 5:
below the smallest intensity that MiE-X draws (0.5), above what an estimator reads from noise."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

ALL = "all"
"""Key of a group that does not ask for a source, or for a class."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A distribution in a few numbers; NaN where nothing was measured.

    Attributes:
        count: How many values were measured.
        missing: How many were not.
        mean: Of the measured ones.
        deviation: Standard deviation of the measured ones (divided by their number).
        low: The smallest.
        high: The largest.
        quantiles: At `_QUANTILES`, with linear interpolation.
    """

    count: int
    missing: int
    mean: float
    deviation: float
    low: float
    high: float
    quantiles: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median of the measured values."""
        return self.quantiles[2]

    def as_dict(self) -> dict[str, Any]:
        """Return a flat dictionary for JSON and CSV."""
        names = [f"q{round(100 * share):02d}" for share in _QUANTILES]
        return {
            "count": self.count,
            "missing": self.missing,
            "mean": self.mean,
            "deviation": self.deviation,
            "min": self.low,
            "max": self.high,
            **dict(zip(names, self.quantiles, strict=True)),
        }


def summarise(values: ArrayLike) -> Summary:
    """Summarise values of any shape; NaN counts as missing."""
    every = np.asarray(values, dtype=np.float64).ravel()
    known = every[~np.isnan(every)]
    missing = every.size - known.size
    if not known.size:
        nan = float("nan")
        return Summary(0, missing, nan, nan, nan, nan, (nan,) * len(_QUANTILES))
    quantiles = tuple(float(value) for value in np.quantile(known, _QUANTILES))
    return Summary(
        known.size,
        missing,
        float(known.mean()),
        float(known.std()),
        float(known.min()),
        float(known.max()),
        quantiles,
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a histogram: values from `low` on and below `high` (the last one: up to `high`)."""

    low: float
    high: float
    count: int


def histogram(values: ArrayLike, most: int = 36) -> list[Bar]:
    """Count values in at most `most` equal bars with round ends; NaN counts nowhere.

    Values outside the middle 99.8 % (of more than 1,000) fall into the outermost bars, so that
    one wild value does not squeeze all others into one bar.
    """
    every = np.asarray(values, dtype=np.float64).ravel()
    known = every[~np.isnan(every)]
    if not known.size:
        return []
    low, high = (float(v) for v in (known.min(), known.max()))
    if known.size > 1000:
        low, high = (float(v) for v in np.quantile(known, (0.001, 0.999)))
    step = _round_step((high - low) / most) if high > low else max(abs(low), 1.0) * 0.05
    first = np.floor(low / step)
    # Rounding must not leave a value above the last edge.
    edges = (first + np.arange(int(np.floor(high / step) - first) + 2)) * step
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
    return [
        Bar(float(a), float(b), int(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)
    ]


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... times a power of ten that is not below `least`."""
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9)))


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """AUs of the samples of one source and class.

    Attributes:
        source: The source, or `ALL`.
        emotion: The class, or `ALL`.
        samples: How many.
        measured: ``(17,)``, in how many of them each AU was measured at both ends.
        active: ``(17,)``, in how many of those it is active, see `ACTIVE_FROM`.
        share: ``(17,)`` active / measured, NaN where never measured.
        onset: Of each AU at the onset.
        apex: Of each AU at the apex.
        rise: Of each AU from onset to apex.
        intensity: Of each AU at the apex where it is active.
        cardinality: ``(18,)``, how many samples have 0, 1, ... 17 active AUs.
        together: ``(17, 17)``, in how many samples two AUs are active together.
    """

    source: str
    emotion: str
    samples: int
    measured: NDArray[np.int64]
    active: NDArray[np.int64]
    share: Values
    onset: tuple[Summary, ...]
    apex: tuple[Summary, ...]
    rise: tuple[Summary, ...]
    intensity: tuple[Summary, ...]
    cardinality: NDArray[np.int64]
    together: NDArray[np.int64]

    @property
    def mean_active(self) -> float:
        """Return the mean number of active AUs; NaN without samples."""
        return float(self.active.sum()) / self.samples if self.samples else float("nan")


def active_aus(rises: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return ``(N, 17)``, whether each AU is active; an AU that was not measured is not."""
    active: NDArray[np.bool_] = np.nan_to_num(rises, nan=0.0) >= ACTIVE_FROM
    return active


def describe_group(
    samples: Samples, members: NDArray[np.intp], key: tuple[str, str]
) -> GroupStatistics:
    """Return AU statistics of some samples.

    Args:
        samples: All of them.
        members: Rows to look at.
        key: (source, class), see `GroupStatistics`.
    """
    onset, apex = samples.onset[members], samples.apex[members]
    rises = apex - onset
    active = active_aus(rises)
    measured = np.count_nonzero(~np.isnan(rises), axis=0)
    count = active.sum(axis=0)
    shown = np.where(active, apex, np.nan)
    return GroupStatistics(
        source=key[0],
        emotion=key[1],
        samples=len(members),
        measured=measured,
        active=count,
        share=np.divide(count, measured, out=np.full(AU_COUNT, np.nan), where=measured > 0),
        onset=tuple(summarise(onset[:, au]) for au in range(AU_COUNT)),
        apex=tuple(summarise(apex[:, au]) for au in range(AU_COUNT)),
        rise=tuple(summarise(rises[:, au]) for au in range(AU_COUNT)),
        intensity=tuple(summarise(shown[:, au]) for au in range(AU_COUNT)),
        cardinality=np.bincount(active.sum(axis=1), minlength=AU_COUNT + 1),
        together=active.T.astype(np.int64) @ active.astype(np.int64),
    )


def describe_groups(samples: Samples) -> dict[tuple[str, str], GroupStatistics]:
    """Return AU statistics of all samples, each source, each class, and each combination.

    The whole comes first; sources follow in the order of their names, classes in theirs.
    """
    source, emotion = np.array(samples.source, dtype=object), np.array(samples.emotion, object)
    sources = sorted(set(samples.source))
    present = set(samples.emotion)
    emotions = [name for name in samples.classes if name in present]
    emotions += sorted(present - set(emotions))
    keys = [(ALL, ALL)]
    keys += [(name, ALL) for name in sources] if len(sources) > 1 else []
    keys += [(ALL, name) for name in emotions]
    if len(sources) > 1:
        keys += [(name, other) for name in sources for other in emotions]
    groups = {}
    for key in keys:
        inside = np.ones(len(samples), dtype=bool)
        if key[0] != ALL:
            inside &= source == key[0]
        if key[1] != ALL:
            inside &= emotion == key[1]
        if inside.any() or key == (ALL, ALL):
            groups[key] = describe_group(samples, np.flatnonzero(inside), key)
    return groups


@dataclass(frozen=True, slots=True)
class Coverage:
    """The variety of AUs in some samples.

    Attributes:
        combinations: How many different sets of active AUs occur.
        effective: Exponential of the entropy of those sets: how many equally frequent ones would
            be as varied.
        most_frequent: The most frequent sets, each with its count; the set as 17 bits, AU01 first.
        duplicates: Samples whose onset and apex vectors both occur in an earlier sample.
        most_repeated: How often the most frequent pair of vectors occurs.
        points: ``(M, 2)`` projection of the rises of `shown`.
        shown: ``(M,)`` rows that are projected.
        axes: ``(2, 17)`` directions of the projection.
        explained: Share of the variance that each direction explains.
    """

    combinations: int
    effective: float
    most_frequent: tuple[tuple[int, int], ...]
    duplicates: int
    most_repeated: int
    points: Values
    shown: NDArray[np.intp]
    axes: Values
    explained: tuple[float, float]


def cover(samples: Samples, most: int = 1500, seed: int = 0) -> Coverage:
    """Measure how varied the AUs are; see `Coverage`.

    Args:
        samples: What to look at.
        most: How many points to project at most; equal seeds choose equal ones.
        seed: Of that choice.
    """
    codes = _pattern_codes(active_aus(samples.rises))
    counts = Counter(codes.tolist())
    shares = np.array(list(counts.values()), dtype=np.float64) / max(len(samples), 1)
    effective = float(np.exp(-(shares * np.log(shares)).sum())) if len(samples) else 0.0
    pairs = Counter(_pair_keys(samples))
    shown = np.arange(len(samples))
    if len(samples) > most:
        shown = np.sort(np.random.default_rng(seed).choice(len(samples), most, replace=False))
    axes, explained = principal_axes(samples.rises)
    centred = np.nan_to_num(samples.rises[shown]) - _means(samples.rises)
    return Coverage(
        combinations=len(counts),
        effective=effective,
        most_frequent=tuple(counts.most_common(10)),
        duplicates=len(samples) - len(pairs),
        most_repeated=max(pairs.values(), default=0),
        points=centred @ axes.T,
        shown=shown,
        axes=axes,
        explained=explained,
    )


def _pattern_codes(active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return sets of active AUs ``(N, 17)`` as numbers ``(N,)``; AU01 is the lowest bit."""
    return active.astype(np.int64) @ (1 << np.arange(AU_COUNT, dtype=np.int64))


def _pair_keys(samples: Samples) -> list[bytes]:
    both = np.nan_to_num(np.hstack([samples.onset, samples.apex]), nan=-1.0).astype(np.float32)
    return [row.tobytes() for row in both]


def _means(rises: NDArray[np.float32]) -> Values:
    return np.asarray(np.nan_to_num(rises).mean(axis=0, dtype=np.float64) if len(rises) else 0.0)


def principal_axes(rises: NDArray[np.float32]) -> tuple[Values, tuple[float, float]]:
    """Return the two directions in which AU changes vary most (principal component analysis).

    AUs that were not measured stand as no change: a projection needs a number.

    Returns:
        ``(2, 17)`` orthonormal directions, the larger entry positive, and the share of the
        variance each explains; zeros for fewer than two samples.
    """
    if len(rises) < 2:
        return np.zeros((2, AU_COUNT)), (0.0, 0.0)
    centred = np.nan_to_num(rises).astype(np.float64) - _means(rises)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    axes = directions[:, [-1, -2]].T
    axes *= np.sign(axes[[0, 1], np.abs(axes).argmax(axis=1)])[:, None]
    total = float(variances.clip(0).sum())
    first, second = (float(max(variances[k], 0.0)) for k in (-1, -2))
    return axes, (first / total, second / total) if total else (0.0, 0.0)


def counts_of(texts: Sequence[str | None]) -> Mapping[str, int]:
    """Return how often each text occurs, the most frequent first; None as `unknown`."""
    return dict(Counter("unknown" if text is None else text for text in texts).most_common())
