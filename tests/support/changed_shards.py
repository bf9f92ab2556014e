"""Change shards of a dataset so that the manifest still fits, for tests of what they hold."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.dataset_format import MANIFEST
from miex.datasets.documents import write_document


def replace_shard(shard: Path, table: pa.Table, *, row_group_size: int | None = None) -> None:
    """Write other rows into a shard, and its new checksum into the manifest.

    The number of rows in the manifest stays as it is.

    Args:
        shard: ``data/NAME.parquet`` in the folder of a dataset.
        table: The rows, of any columns.
        row_group_size: Number of rows per row group; all in one if None.
    """
    pq.write_table(table, shard, row_group_size=row_group_size)
    content = shard.read_bytes()
    path = shard.parents[1] / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    sealed = manifest.pop("checksum", None) is not None
    (entry,) = (each for each in manifest["shards"] if each["path"] == f"data/{shard.name}")
    entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    if sealed:
        write_document(path, manifest)
    else:
        path.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
