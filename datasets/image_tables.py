"""Columns, metadata and checks that Parquet tables with images have in common.

A table describes itself: its schema metadata hold the format, the notes of whoever wrote it, and
the types of the columns for Hugging Face, so that ``load_dataset("parquet", ...)`` decodes the
images.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.datasets.given_files import require_file
from miex.datasets.seals import SEAL, UNSEALED

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""Type of an image column. It must be nullable for Hugging Face to recognize it."""

_NOTES = b"miex"


def image_value(encoded: bytes, origin: str, suffix: str) -> dict[str, Any]:
    """Return the value of an image column.

    Args:
        encoded: Content of the image file.
        origin: ``SOURCE:relative/path`` of the photograph, from which the name is made.
        suffix: Ending of the image file, as ``webp``.
    """
    return {"bytes": encoded, "path": f"{origin.partition(':')[2].rsplit('.', 1)[0]}.{suffix}"}


def hub_features(schema: pa.Schema) -> dict[str, Any]:
    """Return the types of the columns as Hugging Face's `datasets` states them."""
    return {"info": {"features": {field.name: _feature(field.type) for field in schema}}}


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        inner = _feature(kind.value_type)
        return {"feature": inner, "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    names = {pa.float32(): "float32", pa.float64(): "float64"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}


def described(schema: pa.Schema, form: str, notes: Mapping[str, Any]) -> pa.Schema:
    """Return a schema with the metadata that `open_image_table` checks, and a place for the seal.

    Args:
        schema: The columns.
        form: Name and version of the format, as ``miex-faces/1``.
        notes: Anything that JSON can hold.
    """
    return schema.with_metadata(
        {
            _NOTES: json.dumps({"format": form, **notes}, sort_keys=True).encode(),
            b"huggingface": json.dumps(hub_features(schema)).encode(),
            SEAL: UNSEALED,
        }
    )


def open_image_table(
    path: Path,
    schema: pa.Schema,
    form: str,
    what: str,
    remedy: str,
    earlier: Sequence[pa.Schema] = (),
) -> tuple[dict[str, Any], int]:
    """Return the notes and the number of rows of a table, without reading a row.

    Args:
        path: The file.
        schema: The columns that it must have.
        form: Name and version of the format.
        what: Name of the kind of table for messages, as ``face table``.
        remedy: What to do with a file that cannot be read, for messages.
        earlier: Columns of earlier versions that are still read.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is damaged, is no Parquet file, no such table, or has another format.
        OSError: The file cannot be read.
    """
    require_file(path, what, remedy)
    try:
        with pq.ParquetFile(path) as file:
            found, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no readable Parquet file ({reason}); {remedy}") from None
    metadata = found.metadata or {}
    if _NOTES not in metadata:
        raise ValueError(f"{path} is a Parquet file but no {what}; {remedy}")
    try:
        notes = json.loads(metadata[_NOTES])
        version = notes.pop("format", None)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: its metadata is damaged ({error}); {remedy}") from None
    if version != form:
        raise ValueError(f"{path} has format {version!r}, expected {form!r}; {remedy}")
    if found.remove_metadata() not in (schema, *earlier):
        raise ValueError(f"{path} is a Parquet file but no {what}; {remedy}")
    return notes, rows


def floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return the numbers of a column of (nested) fixed-size lists as ``float32 (N,)``."""
    array = column.combine_chunks()
    while pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    return np.array(array.to_numpy(zero_copy_only=False), dtype=np.float32)
