"""Counts what a dataset holds, streaming its columns: memory does not grow with the samples."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT
from miex.datasets.miex import MiexDataset
from miex.pipeline.reports.selection import open_shard, source_label

ACTIVE_FROM = 0.25
"""An AU counts as active when it rises by this between onset and apex, on the scale of 0 to 5:
below the smallest intensity that MiE-X draws (0.5), above what an estimator reads from noise."""

_COLUMNS = (
    "emotion",
    "au_source",
    "au_estimator",
    "source_dataset",
    "aus",
    "apex_index",
    "attempt",
    "motion",
    "motion_iod",
    "identity_similarity",
    "au_fidelity",
)
_BATCH = 4096
_ROUND = [step * 10**power for power in range(6) for step in (1, 2, 5)]


class Histogram:
    """Counts of values in narrow equal bins; quantiles are exact to one bin.

    Args:
        low: Lower end; smaller values count into the first bin.
        high: Upper end; larger values count into the last bin.
        bins: Number of bins.
    """

    def __init__(self, low: float, high: float, bins: int) -> None:
        self._low, self._width = low, (high - low) / bins
        self._counts = np.zeros(bins, dtype=np.int64)
        self._sum = 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Counts values of any shape; NaN stands for not measured and counts nowhere."""
        known = values[~np.isnan(values)]
        index = ((known - self._low) / self._width).clip(0, self._counts.size - 1).astype(np.int64)
        self._counts += np.bincount(index, minlength=self._counts.size)
        self._sum += float(known.sum())

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self._counts.sum())

    @property
    def mean(self) -> float:
        """Mean of the values; NaN without any."""
        return self._sum / self.total if self.total else float("nan")

    def quantile(self, share: float) -> float:
        """The value below which a share of the values lies; NaN without any."""
        if not self.total:
            return float("nan")
        index = int(np.searchsorted(np.cumsum(self._counts), share * self.total))
        return float(self._low + (min(index, self._counts.size - 1) + 0.5) * self._width)

    def bars(self, most: int = 40) -> list[tuple[float, float, int]]:
        """The filled part of the range in at most `most` round equal bars: (from, to, count)."""
        filled = np.flatnonzero(self._counts)
        if not filled.size:
            return []
        first, last = int(filled[0]), int(filled[-1])
        together = next(n for n in _ROUND if (last - first + 1) / n <= most - 1)
        first -= first % together
        return [
            (
                float(self._low + start * self._width),
                float(self._low + (start + together) * self._width),
                int(self._counts[start : start + together].sum()),
            )
            for start in range(first, last + 1, together)
        ]


def _pixels() -> Histogram:
    return Histogram(0.0, 40.0, 4000)


def _distances() -> Histogram:
    return Histogram(0.0, 1.0, 10_000)


def _cosines() -> Histogram:
    return Histogram(-1.0, 1.0, 400)


@dataclass(slots=True)
class Group:
    """Samples of one AU source and class.

    Attributes:
        samples: How many.
        active: ``(17,)``, in how many of them each AU is active.
        cardinality: ``(18,)``, how many of them have 0, 1, ... 17 active AUs.
        motion: Of the samples, pixels.
        motion_iod: Of the samples, inter-ocular distances.
    """

    samples: int = 0
    active: NDArray[np.int64] = field(default_factory=lambda: np.zeros(AU_COUNT, np.int64))
    cardinality: NDArray[np.int64] = field(default_factory=lambda: np.zeros(AU_COUNT + 1, np.int64))
    motion: Histogram = field(default_factory=_pixels)
    motion_iod: Histogram = field(default_factory=_distances)


@dataclass(slots=True)
class Statistics:
    """What a dataset holds.

    Attributes:
        groups: By (AU source, class).
        whole: All samples.
        attempts: How many samples were kept at which attempt, 0 the first.
        identity_similarity: Where it was measured.
        au_fidelity: Where it was measured.
    """

    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    whole: Group = field(default_factory=Group)
    attempts: Counter[int] = field(default_factory=Counter)
    identity_similarity: Histogram = field(default_factory=_cosines)
    au_fidelity: Histogram = field(default_factory=_cosines)


def gather(dataset: MiexDataset) -> Statistics:
    """Reads every column but the frames, once.

    Raises:
        ValueError: A shard is missing or damaged.
    """
    found = Statistics()
    for batch in _batches(dataset):
        rises = _rises(batch.column("aus"), batch.column("apex_index"))
        motion, motion_iod = _floats(batch, "motion"), _floats(batch, "motion_iod")
        found.attempts.update(batch.column("attempt").to_pylist())
        found.identity_similarity.add(_floats(batch, "identity_similarity"))
        found.au_fidelity.add(_floats(batch, "au_fidelity"))
        members: dict[tuple[str, str], list[int]] = {}
        names = batch.select(["emotion", "au_source", "au_estimator", "source_dataset"])
        for number, row in enumerate(names.to_pylist()):
            members.setdefault((source_label(row), row["emotion"]), []).append(number)
        for key, numbers in members.items():
            for group in (found.whole, found.groups.setdefault(key, Group())):
                _count(group, rises[numbers] >= ACTIVE_FROM)
                group.motion.add(motion[numbers])
                group.motion_iod.add(motion_iod[numbers])
    return found


def _batches(dataset: MiexDataset) -> Iterator[pa.RecordBatch]:
    for path in dataset.shards:
        with open_shard(path) as file:
            yield from file.iter_batches(_BATCH, columns=list(_COLUMNS))


def _floats(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    return np.array(batch.column(name).to_pylist(), dtype=np.float64)


def _rises(aus: pa.ListArray, apex_index: pa.Array) -> NDArray[np.float32]:
    """AUs at the apex minus AUs at the onset, ``(N, 17)``."""
    # DLPack, because pyarrow's `to_numpy` imports pandas, which takes longer than all the rest.
    vectors = np.from_dlpack(aus.flatten().flatten()).reshape(-1, AU_COUNT)
    offsets = np.from_dlpack(aus.offsets)
    onset = offsets[:-1] - offsets[0]
    rises = vectors[onset + np.from_dlpack(apex_index)] - vectors[onset]
    return np.asarray(rises, dtype=np.float32)


def _count(group: Group, active: NDArray[np.bool_]) -> None:
    group.samples += len(active)
    group.active += active.sum(axis=0)
    group.cardinality += np.bincount(active.sum(axis=1), minlength=AU_COUNT + 1)
