"""The identities of a face table by number, and the rows of each."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from miex.pipeline.faces.table_file import ParquetPart


class IdentityRows(Protocol):
    """Identities by number, in the order of their first rows."""

    def __len__(self) -> int:
        """Return the number of identities."""
        ...

    def rows_of(self, number: int) -> Sequence[int]:
        """Return the rows of an identity, ascending."""
        ...


class ListedIdentities:
    """Identities of a table whose names fit into memory.

    Args:
        names: Identity of each row.
    """

    def __init__(self, names: Sequence[str]) -> None:
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, []).append(row)
        self._rows = list(rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def rows_of(self, number: int) -> Sequence[int]:
        """Return the rows of an identity, ascending."""
        return self._rows[number]


class StoredIdentities:
    """Identities of a table in a folder: their rows are read when they are needed.

    Args:
        count: Number of identities.
        part: Rows of each identity; None where identity n has the row n alone.
    """

    ROWS_PER_GROUP = 4096
    """Identities that are read together."""

    def __init__(self, count: int, part: ParquetPart | None) -> None:
        self._count = count
        self._part = part

    def __len__(self) -> int:
        return self._count

    def rows_of(self, number: int) -> Sequence[int]:
        """Return the rows of an identity, ascending.

        Raises:
            ValueError: The file of the identities is damaged.
        """
        if self._part is None:
            return (number,)
        group, place = divmod(number, self.ROWS_PER_GROUP)
        rows: list[int] = _group(self._part, group)[place].as_py()
        return rows


@lru_cache(maxsize=4)
def _group(part: ParquetPart, group: int) -> Any:
    return part.read(group)["rows"]
