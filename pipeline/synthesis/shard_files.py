"""Writing of Parquet shards, and recognition of the shards that an earlier run finished."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.dataset_format import COLUMN_NOTES, FORMAT, SCHEMA, SHARDS_PER_FOLDER
from miex.datasets.files import whole_file
from miex.datasets.image_tables import hub_features
from miex.datasets.seals import SEAL, UNSEALED, known_sha256
from miex.datasets.storage import open_binary
from miex.pipeline.synthesis.render import Rejection
from miex.pipeline.synthesis.tally import TALLIED, Tally

_ROW_GROUP = 128
_DICTIONARY_LIMIT = 1 << 28
_FOOTER_KEY = "miex.shard"


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A finished shard.

    Attributes:
        number: Number of the shard, from 0.
        path: Path relative to the dataset folder.
        rows: Number of samples.
        sha256: SHA-256 of the file, hexadecimal.
        bytes: Size of the file.
        first: Index of the first planned sample.
        last: Index of the last planned sample.
        rejections: Planned samples that were rejected.
        tally: Counts of the samples; None where only the manifest has them.
    """

    number: int
    path: str
    rows: int
    sha256: str
    bytes: int
    first: int
    last: int
    rejections: tuple[Rejection, ...]
    tally: Tally | None = None

    def entry(self) -> dict[str, Any]:
        """Return the entry of the shard in a manifest."""
        return {
            "path": self.path,
            "rows": self.rows,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "first": self.first,
            "last": self.last,
        }


SpecOf = Callable[[str], str]
"""Returns the spec of the AU source of a sample, by its id."""


def shard_path(number: int, count: int) -> str:
    """Return the path of a shard in a dataset folder, with the name that Hugging Face expects.

    It is `data/train-00000-of-00012.parquet`. Of more than `SHARDS_PER_FOLDER` shards, each
    thousand has a folder: `data/00003/train-03012-of-90000.parquet`.
    """
    folder = "data" if count <= SHARDS_PER_FOLDER else f"data/{number // SHARDS_PER_FOLDER:05d}"
    return f"{folder}/train-{number:05d}-of-{count:05d}.parquet"


def schema_with_metadata(config_json: str) -> pa.Schema:
    """Return the dataset schema with the metadata that every shard carries.

    Args:
        config_json: The synthesis config, see `SynthesisConfig.canonical`.
    """
    return SCHEMA.with_metadata(
        {
            "huggingface": json.dumps(hub_features(SCHEMA)),
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
    spec_of: SpecOf,
) -> ShardRecord:
    """Write one shard atomically, holding at most one row group in memory.

    Args:
        folder: The dataset folder.
        number: Number of the shard, from 0.
        count: Number of shards of the dataset.
        indices: Indices of the samples planned for the shard.
        rows: A row or a rejection for each index, in order.
        schema: The schema that `schema_with_metadata` returned.
        fingerprint: Fingerprint of the job, by which a later run recognises its shards.
        spec_of: Returns the spec of the AU source of a sample.

    Returns:
        The record of the shard.

    Raises:
        DiskFullError: The disk is full; no part of the shard is left on disk.
    """
    path = folder / shard_path(number, count)
    rejections: list[Rejection] = []
    tally = Tally()
    frames = "frames.list.element.bytes"
    # The frames are compressed images, which a second compression does not make smaller.
    compression = {
        name: "NONE" if name == frames else "ZSTD"
        for name in _leaf_columns(schema.remove_metadata())
    }
    with (
        whole_file(path, sealed=True) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression=compression,
            # Samples of one face share their onset, which a dictionary stores once per row group.
            use_dictionary=[frames],
            dictionary_pagesize_limit=_DICTIONARY_LIMIT,
        ) as writer,
    ):
        for group in _groups(rows, rejections):
            table = pa.Table.from_pylist(group, schema=schema)
            writer.write_table(table)
            tally.add_table(table, map(spec_of, table["sample_id"].to_pylist()))
        footer = {
            "fingerprint": fingerprint,
            "number": number,
            "count": count,
            "first": indices.start,
            "last": indices.stop - 1,
            "rejections": [asdict(rejection) for rejection in rejections],
        }
        writer.add_key_value_metadata({_FOOTER_KEY: json.dumps(footer), SEAL.decode(): UNSEALED})
    return _record(folder, path, footer, tally)


@cache
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


def _record(folder: Path, path: Path, footer: dict[str, Any], tally: Tally) -> ShardRecord:
    return ShardRecord(
        number=footer["number"],
        path=path.relative_to(folder).as_posix(),
        rows=tally.written,
        sha256=known_sha256(path),
        bytes=path.stat().st_size,
        first=footer["first"],
        last=footer["last"],
        rejections=tuple(Rejection(**rejection) for rejection in footer["rejections"]),
        tally=tally,
    )


def shard_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of the job of a shard, or None if the shard cannot be read."""
    footer = read_footer(path)
    return None if footer is None else str(footer["fingerprint"])


def read_footer(path: Path) -> dict[str, Any] | None:
    """Return what a shard states of itself, or None if it cannot be read.

    Returns:
        `fingerprint`, `number`, `count`, `first`, `last`, `rejections`, and `config`.
    """
    try:
        with open_binary(path) as content, pq.ParquetFile(content) as file:
            metadata = file.metadata.metadata
            footer: dict[str, Any] = json.loads(metadata[_FOOTER_KEY.encode()])
            footer["config"] = json.loads(file.schema_arrow.metadata[b"miex.config"])
        expected = {"fingerprint", "number", "count", "first", "last", "rejections"}
        return footer if expected <= footer.keys() else None
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None


def read_shard_record(
    folder: Path, number: int, count: int, fingerprint: str, spec_of: SpecOf
) -> ShardRecord | None:
    """Read the record of a shard that an earlier run finished.

    Args:
        folder: The dataset folder.
        number: Number of the shard, from 0.
        count: Number of shards of the dataset.
        fingerprint: Fingerprint of the job.
        spec_of: Returns the spec of the AU source of a sample.

    Returns:
        The record, or None if the file is missing, is damaged or belongs to another job, so that
        the shard must be rendered.
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
            tally = Tally()
            for batch in file.iter_batches(1024, columns=["sample_id", *TALLIED]):
                tally.add_table(batch, map(spec_of, batch["sample_id"].to_pylist()))
        return _record(folder, path, footer, tally)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None
