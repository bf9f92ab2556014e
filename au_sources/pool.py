"""Hold AU pairs in a table, the form in which every AU source provides them."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, AUArray, require_aus
from miex.au_sources.pool_file import (
    AU_SOURCE_NAMES,
    SCHEMA,
    AUSourceName,
    content_sha256,
    make_table,
    metadata,
    read_table,
    tracks,
    vectors,
    write_table,
)
from miex.datasets.labels import Emotion, LabelSpace, parse_emotion


@dataclass(frozen=True, slots=True, eq=False)
class AUPair:
    """The AUs of a face before and at the height of an expression, and where they come from.

    Attributes:
        onset: ``float32 (17,)``, FACS intensity 0 to 5, NaN where not measured.
        apex: The same at the apex.
        emotion: What the clip is annotated with, or the expert was asked for.
        source: Which of the three sources of MiE-X.
        track: ``float32 (T, 17)``, every frame from the onset to the apex, both included, or None.
        dataset: Database of the clip; None for expert.
        subject: Who is shown, as the database names them; with `dataset` the key that keeps
            folds apart, so both are required of real faces.
        clip: Name of the clip.
        onset_frame: Number of the onset, as the database counts.
        apex_frame: Number of the apex, as the database counts.
        estimator: Estimator and version, or table and version.

    Raises:
        ValueError: AUs outside 0 to 5, an unknown emotion or source, a frame number below 0, a
            track that does not lead from onset to apex, or a pair from a real face without its
            dataset and subject.
    """

    onset: AUArray
    apex: AUArray
    emotion: Emotion
    source: AUSourceName
    track: AUArray | None = None
    dataset: str | None = None
    subject: str | None = None
    clip: str | None = None
    onset_frame: int | None = None
    apex_frame: int | None = None
    estimator: str | None = None

    def __post_init__(self) -> None:
        for name in ("onset", "apex", "track"):
            given = getattr(self, name)
            if given is not None:
                aus = require_aus(given, f"{name} of an AU pair", allow_missing=True).copy()
                aus.setflags(write=False)
                object.__setattr__(self, name, aus)
        if self.onset.shape != (AU_COUNT,) or self.apex.shape != (AU_COUNT,):
            raise ValueError(
                f"AU pair: onset {self.onset.shape} and apex {self.apex.shape}, expected "
                f"({AU_COUNT},) each"
            )
        if self.track is not None and not _leads(self.track, self.onset, self.apex):
            raise ValueError(
                f"AU pair: a track of shape {self.track.shape} that does not lead from onset to "
                f"apex; expected (T, {AU_COUNT}) with T >= 2, the onset first and the apex last"
            )
        object.__setattr__(self, "emotion", parse_emotion(self.emotion))
        for frame in (self.onset_frame, self.apex_frame):
            if frame is not None and not 0 <= frame < 2**31:
                raise ValueError(f"AU pair: frame number {frame}, expected 0 to {2**31 - 1}")
        if self.source not in AU_SOURCE_NAMES:
            raise ValueError(
                f"AU pair: source {self.source!r}, expected {', '.join(AU_SOURCE_NAMES)}"
            )
        if self.source != "expert" and (self.dataset is None or self.subject is None):
            raise ValueError(
                f"AU pair: a {self.source} pair needs its dataset and subject; without them it "
                "could be trained on in a fold that tests on the same person"
            )


def _leads(track: AUArray, onset: AUArray, apex: AUArray) -> bool:
    return (
        track.ndim == 2
        and len(track) >= 2
        and np.array_equal(track[0], onset, equal_nan=True)
        and np.array_equal(track[-1], apex, equal_nan=True)
    )


@dataclass(frozen=True, slots=True)
class PoolSummary:
    """What a pool holds, in numbers.

    Attributes:
        pairs: How many pairs.
        null_pairs: Those without a measured difference between onset and apex.
        distinct: How many pairs of onset and apex AUs differ from each other.
        tracks: Pairs with the AUs of the frames between.
        by_source: Pairs of each source.
        by_emotion: Pairs of each emotion.
        by_dataset: Pairs of each database, under `none` those that have none.
        threshold: Rise from onset to apex from which on an AU counts as active, 0 to 5.
        au_frequency: Share of the pairs in which an AU is active, among those that measured it at
            both ends; None where none did.
        au_missing: Pairs that did not measure an AU at both ends.
        active_aus: Mean number of active AUs in a pair.
    """

    pairs: int
    null_pairs: int
    distinct: int
    tracks: int
    by_source: dict[str, int]
    by_emotion: dict[str, int]
    by_dataset: dict[str, int]
    threshold: float
    au_frequency: dict[str, float | None]
    au_missing: dict[str, int]
    active_aus: float


class AUPool:
    """Many AU pairs as columns. It is immutable; every operation returns a new pool.

    Create one with `from_pairs`, `read` or `merge`.

    Attributes:
        citation: What to cite when the pool is used.
        licence: Under which terms it may be used.
    """

    def __init__(self, table: Any) -> None:
        self._table = table.combine_chunks()
        content = metadata(table)
        self.citation: str = content.get("citation", "")
        self.licence: str = content.get("licence", "")

    @classmethod
    def from_pairs(
        cls, pairs: Iterable[AUPair], *, citation: str = "", licence: str = ""
    ) -> "AUPool":
        """Collect pairs in order, with their citations and licences."""
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        for pair in pairs:
            for name, column in columns.items():
                column.append(getattr(pair, name))
        return cls(make_table(columns, citation, licence))

    @classmethod
    def read(cls, path: Path) -> "AUPool":
        """Read a pool that `write` wrote, and check every value.

        Raises:
            FileNotFoundError: No such file.
            ValueError: Not Parquet, not a pool, no rows, or a value that no pool may hold; the
                message names file, row and field.
        """
        return cls(read_table(path))

    @classmethod
    def merge(cls, pools: Sequence["AUPool"]) -> "AUPool":
        """Return the pairs of several pools, one pool after the other, with citations and licences.

        Raises:
            ValueError: No pools.
        """
        if not pools:
            raise ValueError("no AU pools to merge; give at least one")
        citation, licence = (
            "; ".join(dict.fromkeys(text for text in texts if text))
            for texts in ([p.citation for p in pools], [p.licence for p in pools])
        )
        empty = make_table({name: [] for name in SCHEMA.names}, citation, licence)
        tables = [pool._table.replace_schema_metadata(empty.schema.metadata) for pool in pools]
        return cls(pa.concat_tables(tables))

    def write(self, path: Path) -> None:
        """Write the pool as one Parquet file, atomically.

        Raises:
            ValueError: The pool is empty.
            OSError: The file cannot be written; nothing half-written stays.
        """
        if not len(self):
            raise ValueError(f"{path}: the AU pool has no pairs to write")
        write_table(self._table, path)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> AUPair:
        if not -len(self) <= row < len(self):
            raise IndexError(f"pair {row} of a pool of {len(self)}")
        row %= len(self)
        frames, ends = self._tracks
        has_track = self._table["track"][row].is_valid
        text = {name: self._table[name][row].as_py() for name in SCHEMA.names[:8]}
        text["emotion"] = Emotion(text["emotion"])
        return AUPair(
            onset=self.onset[row],
            apex=self.apex[row],
            track=frames[ends[row] : ends[row + 1]] if has_track else None,
            **text,
        )

    def __iter__(self) -> Iterator[AUPair]:
        return (self[row] for row in range(len(self)))

    @cached_property
    def onset(self) -> AUArray:
        """Return ``(N, 17)``, read-only."""
        return vectors(self._table["onset"])

    @cached_property
    def apex(self) -> AUArray:
        """Return ``(N, 17)``, read-only."""
        return vectors(self._table["apex"])

    @cached_property
    def _tracks(self) -> tuple[AUArray, NDArray[np.int64]]:
        return tracks(self._table["track"])

    @cached_property
    def emotions(self) -> tuple[Emotion, ...]:
        """Return the emotion of every pair."""
        return tuple(Emotion(text) for text in self._table["emotion"].to_pylist())

    @cached_property
    def sources(self) -> tuple[AUSourceName, ...]:
        """Return the source of every pair."""
        return tuple(self._table["source"].to_pylist())

    @cached_property
    def subjects(self) -> tuple[tuple[str, str] | None, ...]:
        """Return (dataset, subject) of every pair; None where one of them is unknown."""
        keys = zip(
            self._table["dataset"].to_pylist(), self._table["subject"].to_pylist(), strict=True
        )
        return tuple(None if None in key else key for key in keys)

    @cached_property
    def clips(self) -> tuple[tuple[str, str, str, int | None] | None, ...]:
        """Return (dataset, subject, clip, onset frame) of every pair; None where unknown."""
        names = ("dataset", "subject", "clip", "onset_frame")
        keys = zip(*(self._table[name].to_pylist() for name in names), strict=True)
        return tuple(None if None in key[:3] else key for key in keys)

    @cached_property
    def has_track(self) -> NDArray[np.bool_]:
        """Return ``(N,)``, whether a pair has the AUs of the frames between onset and apex."""
        known: NDArray[np.bool_] = self._table["track"].is_valid().to_numpy()
        return known

    @cached_property
    def distinct(self) -> int:
        """Return the number of distinct pairs of onset and apex AUs."""
        if not len(self):
            return 0
        both = np.concatenate([self.onset, self.apex], axis=1)
        # One bit pattern for NaN, none for negative zero.
        both = np.where(np.isnan(both), np.float32(-1), both + np.float32(0))
        return len(np.unique(both, axis=0))

    @cached_property
    def moves(self) -> NDArray[np.bool_]:
        """Return ``(N,)``, whether any AU that was measured at both ends differs between them."""
        moves: NDArray[np.bool_] = (np.nan_to_num(self.apex - self.onset) != 0).any(axis=1)
        return moves

    @cached_property
    def sha256(self) -> str:
        """Return the hash of the pairs and their order, independent of the file's compression."""
        return content_sha256(self._table)

    def filter(
        self,
        *,
        subjects: Collection[tuple[str, str]] | None = None,
        exclude_subjects: Collection[tuple[str, str]] = (),
        emotions: Collection[Emotion] | None = None,
        sources: Collection[AUSourceName] | None = None,
    ) -> "AUPool":
        """Return the pairs that meet every condition.

        Args:
            subjects: Keep only these (dataset, subject); pairs of nobody are left out.
            exclude_subjects: Leave these (dataset, subject) out, e.g. those of a test fold.
            emotions: Keep only these.
            sources: Keep only these.
        """
        keep = [
            (subjects is None or key in subjects)
            and key not in exclude_subjects
            and (emotions is None or emotion in emotions)
            and (sources is None or source in sources)
            for key, emotion, source in zip(self.subjects, self.emotions, self.sources, strict=True)
        ]
        return AUPool(self._table.filter(pa.array(keep, pa.bool_())))

    def indices_by_class(self, label_space: LabelSpace) -> dict[str, NDArray[np.int64]]:
        """Return the rows of each class of a label space, in order; empty without pairs."""
        names = np.array([label_space.merge[emotion] or "" for emotion in self.emotions], dtype=str)
        return {name: np.flatnonzero(names == name) for name in label_space.classes}

    def describe(self, threshold: float = 0.5) -> PoolSummary:
        """Count pairs and AUs.

        Args:
            threshold: Rise from onset to apex from which on an AU counts as active, on the 0-5
                scale; the default is the smallest intensity that MiE-X's expert draws.
        """
        rise = self.apex - self.onset
        missing = np.isnan(rise)
        active = np.nan_to_num(rise) >= threshold
        measured = len(self) - missing.sum(axis=0)
        return PoolSummary(
            pairs=len(self),
            null_pairs=int(np.count_nonzero(~self.moves)),
            distinct=self.distinct,
            tracks=int(np.count_nonzero(self.has_track)),
            by_source=dict(Counter(self.sources)),
            by_emotion=dict(Counter(str(emotion) for emotion in self.emotions)),
            by_dataset=dict(Counter(d or "none" for d in self._table["dataset"].to_pylist())),
            threshold=threshold,
            au_frequency={
                name: float(count / n) if n else None
                for name, count, n in zip(AU_NAMES, active.sum(axis=0), measured, strict=True)
            },
            au_missing=dict(zip(AU_NAMES, missing.sum(axis=0).tolist(), strict=True)),
            active_aus=float(active.sum() / len(self)) if len(self) else 0.0,
        )
