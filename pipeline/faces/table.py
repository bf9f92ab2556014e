"""The face table: prepared faces in one Parquet file, or in a folder of several.

A table of more than `ROWS_PER_PART` faces is a folder ``NAME.parquet`` with files
``part-00000.parquet``, each a face table of its own, and ``_index.json`` with the number of rows
and the SHA-256 of the footer of each. Opening such a table reads the index only; a face costs its
row group.
"""

import bisect
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.base import Face, Rejection
from miex.datasets.documents import read_document, write_document
from miex.datasets.files import whole_file
from miex.datasets.seals import known_sha256
from miex.datasets.storage import exists, is_address, local_file, read_bytes, shown
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.identities import IdentityRows, ListedIdentities, StoredIdentities
from miex.pipeline.faces.table_file import (
    REMEDY,
    ParquetPart,
    TableFile,
    TableNotes,
    count_by_reason,
    footer_of,
    notes_of,
    write_table_file,
)

ROWS_PER_PART = 65_536
"""Most faces in one file; 65,536 crops of 128 pixels are 1.4 GB."""

INDEX = "_index.json"
"""Index of a table in a folder. Readers of Parquet folders skip names that begin with ``_``."""

_FORMAT = "miex-faces/2"
_IDENTITIES = "_identities.parquet"


def write_face_table(
    path: Path,
    batches: Iterable[pa.Table],
    notes: TableNotes,
    rejections: Sequence[Rejection],
    rows: int = 0,
) -> None:
    """Write a face table: one file or, of more than `ROWS_PER_PART` faces, a folder.

    Args:
        path: The file or folder to write, or its address. Each file is written atomically, the
            index of a folder last.
        batches: Arrow tables with `SCHEMA`, of any length; rows are grouped by `ROWS_PER_GROUP`.
        notes: The metadata.
        rejections: Every photograph that was left out, with its reason.
        rows: Number of faces, where there may be more than `ROWS_PER_PART`.

    Raises:
        DiskFullError: The disk is full.
    """
    if rows <= ROWS_PER_PART:
        write_table_file(path, batches, notes, rejections)
        return
    count = -(-rows // ROWS_PER_PART)
    share = -(-len(rejections) // count)
    waiting, parts = _Waiting(batches), []
    for number in range(count):
        file = path / f"part-{number:05d}.parquet"
        size = min(ROWS_PER_PART, rows - number * ROWS_PER_PART)
        left_out = rejections[number * share : (number + 1) * share]
        write_table_file(file, waiting.take(size), notes, left_out)
        footer = hashlib.sha256(footer_of(file)).hexdigest()
        parts.append({"path": file.name, "rows": size, "footer": footer})
    identities = _write_identities(path / _IDENTITIES, pa.chunked_array(waiting.names, pa.string()))
    index = {
        "format": _FORMAT,
        "notes": {**asdict(notes), "config": notes.config.model_dump(mode="json")},
        "rejections": count_by_reason(rejections),
        "identities": identities,
        "parts": parts,
    }
    write_document(path / INDEX, index)


class _Waiting:
    """Batches of faces that are taken in portions; one batch is in memory at a time.

    Attributes:
        names: Identities of the faces that were taken.
    """

    def __init__(self, batches: Iterable[pa.Table]) -> None:
        self._batches = iter(batches)
        self._rest: pa.Table | None = None
        self.names: list[pa.Array] = []

    def take(self, count: int) -> Iterator[pa.Table]:
        """Yield tables with the next so many faces in all."""
        while count:
            batch = next(self._batches) if self._rest is None else self._rest
            part, self._rest = batch[:count], batch[count:] if len(batch) > count else None
            self.names += part["identity"].chunks
            count -= len(part)
            yield part


def _write_identities(path: Path, names: pa.ChunkedArray) -> dict[str, Any]:
    """Write the rows of each identity, unless each has one row, and return their number.

    Args:
        path: The file to write.
        names: Identity of each row.
    """
    codes = names.combine_chunks().dictionary_encode()
    count = len(codes.dictionary)
    if count == len(names):
        return {"count": count}
    numbers = codes.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=count))])
    rows = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(order))
    with whole_file(path) as temporary:
        pq.write_table(
            pa.table({"rows": rows}),
            temporary,
            row_group_size=StoredIdentities.ROWS_PER_GROUP,
            write_page_checksum=True,
        )
    return {"count": count, "footer": hashlib.sha256(footer_of(path)).hexdigest()}


def has_face_table(path: Path) -> bool:
    """Return whether there is a face table at a path or address."""
    return exists(path / INDEX) or (path.is_file() if not is_address(path) else exists(path))


class FaceTable:
    """A face table on disk or at an address.

    Opening it reads metadata only, and `load` reads only the row groups that it needs. No file
    is held open, so that the object can be shared between threads and sent to other processes.

    Attributes:
        path: The file or folder.
        notes: The metadata.
        parts: The files of the table.
    """

    def __init__(
        self,
        path: Path,
        notes: TableNotes,
        parts: Sequence[TableFile],
        sizes: Sequence[int],
        index: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.notes = notes
        self.parts = parts
        self._ends = list(accumulate(sizes))
        self._index = index

    @classmethod
    def open(cls, path: Path) -> "FaceTable":
        """Open a face table.

        Args:
            path: The file or folder, or its address. A table that is one file at an address is
                copied into the cache.

        Raises:
            FileNotFoundError: There is no such table.
            ValueError: The table is damaged, is no Parquet file or no face table, or was written
                by another version of miex.
        """
        if not exists(path / INDEX):
            local = local_file(path)
            file, notes = TableFile.open(local)
            return cls(path, notes, [file], [len(file)])
        index = read_document(path / INDEX, "index of a face table", REMEDY)
        if index.get("format") != _FORMAT:
            raise ValueError(
                f"{shown(path)} has format {index.get('format')!r}, expected {_FORMAT!r}; {REMEDY}"
            )
        try:
            notes = notes_of(index["notes"], path)
            parts = [TableFile(path / str(each["path"]), each["footer"]) for each in index["parts"]]
            sizes = [int(each["rows"]) for each in index["parts"]]
            index["identities"]["count"], index["rejections"].items()
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{shown(path / INDEX)} is damaged ({error!r}); {REMEDY}") from None
        return cls(path, notes, parts, sizes, index)

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def config(self) -> FaceConfig:
        """Config of the face preparation."""
        return self.notes.config

    @property
    def licences(self) -> Mapping[str, str]:
        """Licence of the source, and of each photograph that has a licence of its own."""
        return self.notes.licences

    @cached_property
    def identities(self) -> list[str]:
        """Identity of each row; the whole table is read for it."""
        return [name for part in self.parts for name in part.identities]

    @cached_property
    def people(self) -> IdentityRows:
        """The identities by number, in the order of their first rows, with the rows of each."""
        if self._index is None:
            return ListedIdentities(self.identities)
        known = self._index["identities"]
        footer = known.get("footer")
        part = None if footer is None else ParquetPart(self.path / _IDENTITIES, footer)
        return StoredIdentities(int(known["count"]), part)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file or, for a folder, of its index, hexadecimal."""
        if self._index is None:
            return known_sha256(self.parts[0].path)
        return hashlib.sha256(read_bytes(self.path / INDEX)).hexdigest()

    @cached_property
    def rejections(self) -> list[Rejection]:
        """Every photograph that was left out, with its reason."""
        return [rejection for part in self.parts for rejection in part.rejections]

    @property
    def rejection_counts(self) -> dict[str, int]:
        """Number of rejections per reason, the most frequent reason first."""
        if self._index is not None:
            return dict(self._index["rejections"])
        return count_by_reason(self.rejections)

    def load(self, rows: Sequence[int]) -> list[Face]:
        """Read faces in the given order.

        Args:
            rows: Row numbers, counted from 0; a number may be repeated.

        Raises:
            IndexError: A row does not exist.
            ValueError: The table is damaged.
        """
        for row in rows:
            if not 0 <= row < len(self):
                raise IndexError(
                    f"row {row} does not exist in {shown(self.path)}, which has {len(self)} faces"
                )
        wanted: dict[int, list[int]] = {}
        for row in sorted(set(rows)):
            wanted.setdefault(bisect.bisect_right(self._ends, row), []).append(row)
        faces: dict[int, Face] = {}
        for part, members in wanted.items():
            first = self._ends[part - 1] if part else 0
            found = self.parts[part].load([row - first for row in members])
            faces.update(zip(members, found, strict=True))
        return [faces[row] for row in rows]
