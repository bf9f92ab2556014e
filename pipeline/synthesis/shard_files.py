"""Parquet shards: written whole or not at all, recognised again, recorded with their hash."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.dataset_format import COLUMN_NOTES, FORMAT, SCHEMA, huggingface_features
from miex.datasets.files import sha256_file, whole_file
from miex.pipeline.synthesis.render import Rejection

_ROW_GROUP = 128
_DICTIONARY_LIMIT = 1 << 28
_FOOTER_KEY = "miex.shard"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A finished shard.

    Attributes:
        number: Its place, from 0.
        path: Relative to the dataset folder.
        rows: Samples in it.
        sha256: Hash of the file.
        bytes: Size of the file.
        first: Sample number of the first sample planned for it.
        last: Sample number of the last one.
        rejections: Planned samples that are not in it.
    """

    number: int
    path: str
    rows: int
    sha256: str
    bytes: int
    first: int
    last: int
    rejections: tuple[Rejection, ...]


def shard_path(number: int, count: int) -> str:
    """`data/train-00000-of-00012.parquet`, the form that Hugging Face expects of a split."""
    return f"data/train-{number:05d}-of-{count:05d}.parquet"


def schema_with_metadata(config_json: str, classes: Sequence[str]) -> pa.Schema:
    """Return the dataset's schema with everything that makes a shard understandable alone.

    Args:
        config_json: The config of the dataset.
        classes: Names of the classes, in the order of their labels.
    """
    return SCHEMA.with_metadata(
        {
            "huggingface": json.dumps(huggingface_features(classes)),
            "miex.format": FORMAT,
            "miex.config": config_json,
            "miex.columns": json.dumps(COLUMN_NOTES),
        }
    )


def write_shard(
    folder: Path,
    number: int,
    count: int,
    indices: range,
    rows: Iterable[dict[str, Any] | Rejection],
    schema: pa.Schema,
    fingerprint: str,
) -> ShardRecord:
    """Writes one shard, streaming: never more than one row group is in memory.

    Args:
        folder: The dataset folder.
        number: Place of the shard.
        count: How many shards there are.
        indices: The sample numbers planned for it.
        rows: A row or a rejection for each of them, in order.
        schema: From `schema_with_metadata`.
        fingerprint: Of the job; a shard of another job is never taken for this one's.

    Raises:
        DiskFullError: The disk is full; nothing half-written stays.
    """
    path = folder / shard_path(number, count)
    rejections: list[Rejection] = []
    written = 0
    frames = "frames.list.element.bytes"
    # Frames are compressed already; squeezing them again costs time and gains nothing.
    compression = {name: "NONE" if name == frames else "ZSTD" for name in _leaf_columns(schema)}
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression=compression,
            # The samples of one face share their onset: a dictionary stores it once a row group.
            use_dictionary=[frames],
            dictionary_pagesize_limit=_DICTIONARY_LIMIT,
        ) as writer,
    ):
        for group in _groups(rows, rejections):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            written += len(group)
        footer = {
            "fingerprint": fingerprint,
            "number": number,
            "count": count,
            "first": indices.start,
            "last": indices.stop - 1,
            "rejections": [asdict(rejection) for rejection in rejections],
        }
        writer.add_key_value_metadata({_FOOTER_KEY: json.dumps(footer)})
    return _record(folder, path, footer, written)


def _leaf_columns(schema: pa.Schema) -> list[str]:
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    layout = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [layout.column(i).path for i in range(len(layout))]


def _groups(
    rows: Iterable[dict[str, Any] | Rejection], rejections: list[Rejection]
) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        if isinstance(row, Rejection):
            rejections.append(row)
            continue
        group.append(row)
        if len(group) == _ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


def _record(folder: Path, path: Path, footer: dict[str, Any], rows: int) -> ShardRecord:
    return ShardRecord(
        number=footer["number"],
        path=path.relative_to(folder).as_posix(),
        rows=rows,
        sha256=sha256_file(path),
        bytes=path.stat().st_size,
        first=footer["first"],
        last=footer["last"],
        rejections=tuple(Rejection(**rejection) for rejection in footer["rejections"]),
    )


def read_shard_record(
    folder: Path, number: int, count: int, fingerprint: str
) -> ShardRecord | None:
    """Recognises a shard that an earlier run finished.

    Returns:
        Its record, or None where there is no such file, or where it is damaged or belongs to
        another job: the shard is then to be rendered again.
    """
    path = folder / shard_path(number, count)
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            footer = json.loads(metadata.metadata[_FOOTER_KEY.encode()])
            rows = metadata.num_rows
            planned = footer["last"] - footer["first"] + 1
            if footer["fingerprint"] != fingerprint or (footer["number"], footer["count"]) != (
                number,
                count,
            ):
                return None
            if rows + len(footer["rejections"]) != planned:
                return None
        return _record(folder, path, footer, rows)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None
