"""Counts of samples that are summed shard by shard, so that a dataset is never read as a whole."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

NOT_ANNOTATED = "not annotated"
"""Name under which samples without a fine emotion are counted."""

TALLIED = ("identity", "emotion", "fine_emotion", "au_source", "attempt", "aus")
"""Columns that `Tally.add_table` reads."""

GROUPS = {"by_class": "emotion", "by_emotion": "fine_emotion", "by_au_source": "au_source"}
"""Groups of counts in the manifest, and the column that each counts."""


def _counters() -> dict[str, Counter[str]]:
    return {name: Counter() for name in (*GROUPS, "by_source")}


@dataclass(slots=True)
class Tally:
    """Counts of adjacent samples of a dataset, which can be added to those of the next samples.

    Attributes:
        written: Number of samples.
        redrawn: Number of samples that were not accepted at the first attempt.
        frames: Number of frames.
        identities: Number of identities. Samples of one identity are adjacent in a dataset, so
            that two tallies share at most the identity at their border.
        first: Identity of the first sample, None without samples.
        last: Identity of the last sample.
        by: Number of samples by group of `GROUPS` and ``by_source``, and by value.
    """

    written: int = 0
    redrawn: int = 0
    frames: int = 0
    identities: int = 0
    first: str | None = None
    last: str | None = None
    by: dict[str, Counter[str]] = field(default_factory=_counters)

    def add_table(self, table: pa.Table | pa.RecordBatch, specs: Iterable[str] = ()) -> None:
        """Count the samples of a table that follow those counted so far.

        Args:
            table: The columns `TALLIED`.
            specs: Spec of the AU source of each sample, if they are to be counted.
        """
        if not len(table):
            return
        people = table["identity"].to_pylist()
        part = Tally(
            written=len(table),
            redrawn=int(pc.sum(pc.greater(table["attempt"], 0)).as_py()),
            frames=int(pc.sum(pc.list_value_length(table["aus"])).as_py() or 0),
            identities=len(set(people)),
            first=people[0],
            last=people[-1],
        )
        for group, column in GROUPS.items():
            values = table[column].to_pylist()
            part.by[group].update(value or NOT_ANNOTATED for value in values)
        part.by["by_source"].update(specs)
        self.add(part)

    def add(self, later: "Tally") -> None:
        """Add the counts of the samples that follow."""
        if not later.written:
            return
        shared = self.written > 0 and self.last == later.first
        self.identities += later.identities - shared
        self.written += later.written
        self.redrawn += later.redrawn
        self.frames += later.frames
        self.first = later.first if self.first is None else self.first
        self.last = later.last
        for group, counts in later.by.items():
            self.by[group].update(counts)

    def content(self) -> dict[str, Any]:
        """Return the counts as they are stored with a shard; `Tally.of` reads them."""
        return {
            **{name: getattr(self, name) for name in self.__slots__ if name != "by"},
            "by": {group: dict(sorted(counts.items())) for group, counts in self.by.items()},
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Tally":
        """Return the counts that `content` has stored."""
        by = {group: Counter(counts) for group, counts in content["by"].items()}
        return cls(**{**content, "by": by})

    def counts(
        self, planned: int, rejected: int, classes: Sequence[str], sources: Sequence[str]
    ) -> dict[str, Any]:
        """Return the field `counts` of a manifest.

        Args:
            planned: Number of planned samples.
            rejected: Number of rejected samples.
            classes: Classes of the label space, in order.
            sources: Specs of the AU sources, in order.
        """
        by = self.by
        return {
            "planned": planned,
            "written": self.written,
            "rejected": rejected,
            "redrawn": self.redrawn,
            "frames": self.frames,
            "identities": self.identities,
            "by_class": {name: by["by_class"][name] for name in classes},
            "by_source": {spec: by["by_source"][spec] for spec in sources},
            "by_emotion": dict(sorted(by["by_emotion"].items())),
            "by_au_source": dict(sorted(by["by_au_source"].items())),
        }
