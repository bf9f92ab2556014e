"""Read and write the Parquet file of an AU pool: schema, atomic writing, checks on reading."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, MAX_INTENSITY, AUArray
from miex.datasets.files import whole_file
from miex.datasets.given_files import require_file
from miex.datasets.labels import Emotion
from miex.datasets.seals import warn_unsealed

AUSourceName: TypeAlias = Literal["real_mie", "early_mae", "expert"]
"""Real micro-expressions, early frames of macro-expressions, expert tables (MiE-X, section 4.2)."""

AU_SOURCE_NAMES: tuple[AUSourceName, ...] = get_args(AUSourceName)

FORMAT = "miex-au-pool/1"
"""Written into every pool; a reader refuses what it does not know."""

_VECTOR = pa.list_(pa.field("item", pa.float32(), nullable=False), AU_COUNT)
_TRACK = pa.list_(pa.field("item", _VECTOR, nullable=False))

SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("emotion", pa.string(), nullable=False),
        pa.field("dataset", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("clip", pa.string()),
        pa.field("onset_frame", pa.int32()),
        pa.field("apex_frame", pa.int32()),
        pa.field("estimator", pa.string()),
        pa.field("onset", _VECTOR, nullable=False),
        pa.field("apex", _VECTOR, nullable=False),
        pa.field("track", _TRACK),
    ]
)
"""One row a pair, the fields of `AUPair`."""

_KEY = b"miex"
_CHECKSUM_KEY = b"miex.checksum"

_REMEDY = "run the `miex extract-aus` that wrote it again, or copy it again"


def make_table(columns: dict[str, list[Any]], citation: str, licence: str) -> Any:
    """Return a `pyarrow.Table` of `SCHEMA`.

    Args:
        columns: The fields of `AUPair`, one value a pair; AUs as arrays.
        citation: What to cite.
        licence: Terms of use.
    """
    tracks = columns["track"]
    frames = [frame for track in tracks if track is not None for frame in track]
    lengths = [0 if track is None else len(track) for track in tracks]
    arrays = {
        field.name: pa.array(columns[field.name], field.type)
        for field in SCHEMA
        if field.type not in (_VECTOR, _TRACK)
    }
    arrays["onset"] = _vectors(columns["onset"])
    arrays["apex"] = _vectors(columns["apex"])
    arrays["track"] = pa.ListArray.from_arrays(
        pa.array(np.cumsum([0, *lengths]), pa.int32()),
        _vectors(frames),
        type=_TRACK,
        mask=pa.array([track is None for track in tracks], pa.bool_()),
    )
    content = {
        "format": FORMAT,
        "au_names": list(AU_NAMES),
        "units": "AUs: FACS intensity 0 (absent) to 5 (maximum), NaN not measured; "
        "frames: numbers as the database counts them",
        "citation": citation,
        "licence": licence,
    }
    schema = SCHEMA.with_metadata({_KEY: json.dumps(content, sort_keys=True)})
    return pa.Table.from_arrays([arrays[name] for name in SCHEMA.names], schema=schema)


def _vectors(vectors: list[AUArray]) -> Any:
    values = np.concatenate(vectors) if vectors else np.empty(0, dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values, pa.float32()), type=_VECTOR)


def metadata(table: Any) -> dict[str, Any]:
    """Return what the table says about itself: format, au_names, units, citation, licence.

    Empty if another program wrote it.
    """
    try:
        content = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def vectors(column: Any) -> AUArray:
    """Return ``float32 (N, 17)``, a view of the AU vectors of a column."""
    flat: AUArray = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, AU_COUNT)


def tracks(column: Any) -> tuple[AUArray, NDArray[np.int64]]:
    """Return all frames of all tracks, ``(F, 17)``, and their ends by row, ``(N + 1,)``."""
    lists = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    frames = lists.flatten().flatten().to_numpy(zero_copy_only=False)
    return frames.reshape(-1, AU_COUNT), np.cumsum(np.concatenate([[0], lengths]), dtype=np.int64)


def write_table(table: Any, path: Path) -> None:
    """Write a pool atomically; an existing pool stays until the new one is complete.

    Raises:
        DiskFullError: The disk is full.
        OSError: The folder does not allow it.
    """
    stated = {**(table.schema.metadata or {}), _CHECKSUM_KEY: _checksum(table)}
    table = table.replace_schema_metadata(stated)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path) -> Any:
    """Read a pool, verify its checksum, and check every value.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not Parquet, not a pool, or a value that no pool may hold; the message names
            file, row and field.
    """
    require_file(path, "AU pool", "`miex extract-aus` writes one")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not a readable Parquet file: {reason}; {_REMEDY}") from None
    _check_schema(table, path)
    table = table.select(SCHEMA.names)
    if not len(table):
        raise ValueError(f"{path}: the AU pool has no rows; write at least one pair")
    for name, known in (("source", AU_SOURCE_NAMES), ("emotion", tuple(Emotion))):
        wrong = pc.invert(pc.is_in(table[name], value_set=pa.array(list(known))))
        _refuse(wrong.to_numpy(), table, name, path, f"one of {', '.join(known)}")
    for name in ("onset", "apex"):
        outside = _outside(vectors(table[name]))
        _refuse(outside.any(axis=1), table, name, path, f"AUs from 0 to {MAX_INTENSITY:g} or NaN")
    _check_tracks(table, path)
    unknown = pc.or_(pc.is_null(table["dataset"]), pc.is_null(table["subject"]))
    nameless = pc.and_(unknown, pc.not_equal(table["source"], "expert"))
    _refuse(
        nameless.to_numpy(), table, "subject", path, "dataset and subject of pairs from real faces"
    )
    stated = table.schema.metadata.get(_CHECKSUM_KEY)
    if stated is None:
        warn_unsealed(path)
    elif stated.decode(errors="replace") != _checksum(table):
        raise ValueError(
            f"{path} is damaged: its pairs or notes are not those that were written; {_REMEDY}"
        )
    return table


def content_sha256(table: Any) -> str:
    """Return the hash of the pairs and their order, whatever program and compression wrote them."""
    digest = hashlib.sha256()
    for name in SCHEMA.names[:8]:
        digest.update(json.dumps([name, table[name].to_pylist()]).encode())
    frames, ends = tracks(table["track"])
    digest.update(ends.astype("<i8").tobytes())
    for aus in (vectors(table["onset"]), vectors(table["apex"]), frames):
        # One bit pattern for NaN, none for negative zero.
        canonical = np.where(np.isnan(aus), np.float32(np.nan), aus + np.float32(0))
        digest.update(canonical.astype("<f4").tobytes())
    return digest.hexdigest()


def _checksum(table: Any) -> str:
    """Return what vouches for a pool: a hash of its pairs and of its notes."""
    notes = (table.schema.metadata or {}).get(_KEY, b"")
    return hashlib.sha256(content_sha256(table).encode() + notes).hexdigest()


def _outside(aus: AUArray) -> NDArray[np.bool_]:
    return ~((aus >= 0) & (aus <= MAX_INTENSITY)) & ~np.isnan(aus)


def _refuse(wrong: Any, table: Any, name: str, path: Path, expected: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{path}: row {row}, {name}: {table[name][row].as_py()!r}, expected {expected} "
            f"({np.count_nonzero(wrong)} such rows)"
        )


def _check_schema(table: Any, path: Path) -> None:
    way_out = "write it with AUPool.from_pairs(...).write(path)"
    content = metadata(table)
    if content.get("format") != FORMAT or content.get("au_names") != list(AU_NAMES):
        raise ValueError(
            f"{path}: not an AU pool of this version (format {content.get('format')!r}, expected "
            f"{FORMAT!r} over {len(AU_NAMES)} AUs); {way_out}"
        )
    for field in SCHEMA:
        if field.name not in table.column_names:
            raise ValueError(f"{path}: column {field.name!r} is absent; {way_out}")
        column = table[field.name]
        if column.type != field.type:
            raise ValueError(
                f"{path}: column {field.name!r} is {column.type}, expected {field.type}; {way_out}"
            )
        if not field.nullable and column.null_count:
            row = int(np.argmax(column.is_null().to_numpy()))
            raise ValueError(f"{path}: row {row}, {field.name}: null; every pair needs one")


def _check_tracks(table: Any, path: Path) -> None:
    frames, ends = tracks(table["track"])
    present = np.asarray(table["track"].is_valid())
    too_short = present & (np.diff(ends) < 2)
    _refuse(too_short, table, "track", path, "at least two frames, onset and apex")
    outside = np.flatnonzero(_outside(frames).any(axis=1))
    wrong = np.zeros(len(table), dtype=bool)
    wrong[np.searchsorted(ends, outside, side="right") - 1] = True
    _refuse(wrong, table, "track", path, f"AUs from 0 to {MAX_INTENSITY:g} or NaN")
    rows = np.flatnonzero(present)
    for name, at in (("onset", ends[rows]), ("apex", ends[rows + 1] - 1)):
        wrong = np.zeros(len(table), dtype=bool)
        wrong[rows] = ~_equal(frames[at], vectors(table[name])[rows])
        _refuse(wrong, table, "track", path, f"a track with the pair's {name} at its end")


def _equal(left: AUArray, right: AUArray) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = ((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)
    return same
