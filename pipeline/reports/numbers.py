"""Write every number of a report beside it: `numbers.json` and one CSV for each table."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miex.au_sources.action_units import AU_NAMES
from miex.datasets.files import whole_file
from miex.pipeline.reports.statistics import GroupStatistics


def write_numbers(folder: Path, numbers: Mapping[str, Any]) -> None:
    """Write the numbers.

    Args:
        folder: Where the report is.
        numbers: By the name of their table; a list of flat dictionaries becomes a CSV, too.

    Raises:
        DiskFullError: The disk is full.
    """
    for name, rows in numbers.items():
        if isinstance(rows, list) and rows and isinstance(rows[0], Mapping):
            _write(folder / f"{name}.csv", _csv(rows))
    text = json.dumps(_plain(numbers), indent=1, ensure_ascii=False, allow_nan=False)
    _write(folder / "numbers.json", text)


def _write(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {name: _plain(value) for name, value in row.items()}
        writer.writerow(
            {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in plain.items()}
        )
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)


def au_rows(groups: Mapping[tuple[str, str], GroupStatistics]) -> list[dict[str, Any]]:
    """Return one row for every group and AU."""
    return [
        {
            "source": source,
            "emotion": emotion,
            "au": name,
            "samples": group.samples,
            "measured": group.measured[au],
            "active": group.active[au],
            "share": group.share[au],
            "onset_mean": group.onset[au].mean,
            "apex_mean": group.apex[au].mean,
            "change_mean": group.rise[au].mean,
            **{f"intensity_{k}": v for k, v in group.intensity[au].as_dict().items()},
        }
        for (source, emotion), group in groups.items()
        for au, name in enumerate(AU_NAMES)
    ]


def together_rows(groups: Mapping[tuple[str, str], GroupStatistics]) -> list[dict[str, Any]]:
    """Return one row for every group and pair of AUs that is active together at least once."""
    return [
        {
            "source": source,
            "emotion": emotion,
            "first": AU_NAMES[a],
            "second": AU_NAMES[b],
            "count": group.together[a, b],
            "share": group.together[a, b] / group.samples,
        }
        for (source, emotion), group in groups.items()
        for a in range(len(AU_NAMES))
        for b in range(a + 1, len(AU_NAMES))
        if group.together[a, b]
    ]


def cardinality_rows(groups: Mapping[tuple[str, str], GroupStatistics]) -> list[dict[str, Any]]:
    """Return one row for every group and number of active AUs that occurs."""
    return [
        {
            "source": source,
            "emotion": emotion,
            "active_aus": count,
            "samples": samples,
            "share": samples / group.samples,
        }
        for (source, emotion), group in groups.items()
        for count, samples in enumerate(group.cardinality.tolist())
        if samples
    ]
