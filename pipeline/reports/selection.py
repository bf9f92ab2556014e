"""Choose samples that represent a whole dataset, and read no others."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.dataset_format import DatasetFolder

_CANDIDATES = 4096
"""How many rows are looked at when a dataset has more: bounds memory and time."""

REAL = "real micro-expressions"
"""How AUs from real micro-expressions are named in reports."""

_SOURCES = {"real_mie": REAL, "early_mae": "early macro-expressions"}
"""Kinds of AU sources in words."""

_KEYS = ("identity", "label", "fine_emotion", "au_source", "au_estimator", "source_dataset")


@contextmanager
def open_shard(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a shard for reading.

    Raises:
        ValueError: It is missing or damaged, also when that shows only while reading from it.
    """
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); `miex verify {path.parent.parent}` checks every "
            "shard, and the command that made the dataset makes missing ones again"
        ) from None


def source_label(row: Mapping[str, Any]) -> str:
    """Return the source of a row's AUs in words.

    Such as ``expert table miex``, ``real micro-expressions of casme2`` or ``early
    macro-expressions of ckplus``.
    """
    kind, origin = str(row["au_source"]), row["source_dataset"]
    if kind == "expert":
        table = (row["au_estimator"] or "").partition(" (")[0].removeprefix("table ")
        # The name of the table; its version stands in the dataset card.
        return f"expert table {table.rpartition(' ')[0] or table}" if table else "expert table"
    words = _SOURCES.get(kind, kind)
    return f"{words} of {origin}" if origin else words


def choose_samples(dataset: DatasetFolder, count: int, seed: int) -> list[dict[str, Any]]:
    """Read a few rows, balanced over classes and AU sources, then identities and emotions.

    Args:
        dataset: Where to choose.
        count: How many; fewer come back if the dataset has no more.
        seed: Equal seeds choose equal samples.

    Returns:
        Complete rows, ordered by class, source and place in the dataset.

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: `count` or `seed` does not fit, or a shard is damaged.
    """
    if count < 1 or seed < 0:
        raise ValueError(f"samples: {count}, seed: {seed}; expected at least 1 and at least 0")
    rng = np.random.default_rng(seed)
    total = len(dataset)
    numbers = np.arange(total)
    if total > _CANDIDATES:
        numbers = np.sort(rng.choice(total, _CANDIDATES, replace=False))
    keys = dict(zip(numbers.tolist(), read_rows(dataset, numbers.tolist(), _KEYS), strict=True))
    order = {key: (row["label"], source_label(row), key) for key, row in keys.items()}
    chosen = _spread(keys, [int(number) for number in rng.permutation(numbers)], count)
    rows = dict(zip(sorted(chosen), read_rows(dataset, sorted(chosen), None), strict=True))
    return [rows[number] for number in sorted(chosen, key=order.__getitem__)]


def _spread(keys: Mapping[int, Mapping[str, Any]], order: Sequence[int], count: int) -> list[int]:
    """Take rows from every cell (class, source) in turn, the least seen identity first."""
    cells: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number in order:
        cells[source_label(keys[number]), keys[number]["label"]].append(number)
    # Classes vary faster than sources, so that an incomplete last round keeps them balanced.
    turn = [cells[cell] for cell in sorted(cells)]
    identities: Counter[str] = Counter()
    emotions: Counter[str | None] = Counter()
    chosen: list[int] = []
    while len(chosen) < count and any(turn):
        for cell in turn:
            if not cell or len(chosen) == count:
                continue
            best = min(
                cell,
                key=lambda n: (identities[keys[n]["identity"]], emotions[keys[n]["fine_emotion"]]),
            )
            cell.remove(best)
            identities[keys[best]["identity"]] += 1
            emotions[keys[best]["fine_emotion"]] += 1
            chosen.append(best)
    return chosen


def read_rows(
    dataset: DatasetFolder, numbers: Sequence[int], columns: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    """Read rows by their number in the dataset, ascending; only their row groups are read."""
    wanted = np.asarray(numbers, dtype=np.int64)
    start = 0
    for path in dataset.intact_shards():
        with open_shard(path) as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                inside = wanted[(wanted >= start) & (wanted < stop)] - start
                if inside.size:
                    table = file.read_row_group(group, columns=list(columns) if columns else None)
                    yield from table.take(inside).to_pylist()
                start = stop
    if wanted.size and wanted[-1] >= start:
        raise ValueError(
            f"{dataset.folder}: the shards hold {start} rows, the manifest says {len(dataset)}; "
            f"`miex verify {dataset.folder}` says which shard differs"
        )
