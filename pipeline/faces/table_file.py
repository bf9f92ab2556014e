"""One Parquet file of a face table, which may consist of several.

Each row is a face. The crop is stored as lossless WebP, which `load_dataset("parquet", ...)` and
most viewers decode. The schema metadata holds the config, the licences and the rejections, so that
the file can be used without any other file.
"""

import base64
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from miex.datasets.base import Face, FaceQuality, Rejection
from miex.datasets.encoding import ImageConfig, encode_frame
from miex.datasets.files import whole_file
from miex.datasets.image_tables import (
    IMAGE,
    described,
    floats,
    image_value,
    open_image_table,
)
from miex.datasets.seals import DamagedFile, check_seal
from miex.datasets.storage import open_binary, shown
from miex.pipeline.faces.config import FaceConfig

FORMAT = "miex-faces/1"
"""Format name and version in the metadata of every face table; other formats are refused."""

ROWS_PER_GROUP = 64
"""Faces per row group, the smallest amount that is read: 64 crops of 128 pixels are 2 MB."""

QUALITIES = tuple(field.name for field in fields(FaceQuality))
"""Names of the quality columns."""

# All fields are nullable, since Hugging Face recognizes an image column only if it is.
SCHEMA = pa.schema(
    [
        pa.field("identity", pa.string()),
        pa.field("origin", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("crop", IMAGE),
        pa.field("landmarks", pa.list_(pa.list_(pa.float32(), 2), 68)),
        pa.field("embedding", pa.list_(pa.float32(), 128)),
        *(pa.field(name, pa.float32()) for name in QUALITIES),
        pa.field("transform", pa.list_(pa.float64(), 6)),
    ]
)

_EARLIER = SCHEMA.remove(SCHEMA.get_field_index("transform"))
"""Schema of tables that were written before the transform was kept."""

_CROPS = ImageConfig(format="webp")

_REJECTIONS_KEY = b"miex.rejections"

REMEDY = "prepare the faces with `miex faces`"
"""What to do with a table that cannot be read, for messages."""


@dataclass(frozen=True, slots=True)
class TableNotes:
    """The metadata of a face table.

    Attributes:
        source: Name of the reader.
        licences: Licence of the source, and of each photograph that has a licence of its own, by
            origin.
        config: Config of the face preparation.
        detector: Names and versions of the detection models.
        photographs: Number of photographs that were examined.
        fingerprint: SHA-256 of the list of photographs, the config and the detector, hexadecimal.
    """

    source: str
    licences: Mapping[str, str]
    config: FaceConfig
    detector: str
    photographs: int
    fingerprint: str


def face_to_row(face: Face) -> dict[str, Any]:
    """Return a face as a row of `SCHEMA`."""
    return {
        "identity": face.identity,
        "origin": face.origin,
        "sha256": face.sha256,
        "crop": image_value(encode_frame(face.crop, _CROPS), face.origin, _CROPS.format),
        "landmarks": face.landmarks.tolist(),
        "embedding": face.embedding.tolist(),
        **asdict(face.quality),
        "transform": None if face.transform is None else face.transform.ravel().tolist(),
    }


def faces_of(table: pa.Table) -> list[Face]:
    """Return the faces of an Arrow table with `SCHEMA`.

    Raises:
        ValueError: A crop cannot be decoded to a square image.
    """
    rows = table.drop_columns(["landmarks", "embedding"]).to_pylist()
    landmarks = floats(table["landmarks"]).reshape(-1, 68, 2)
    embeddings = floats(table["embedding"]).reshape(-1, 128)
    return [
        Face(
            crop=_decode(row["crop"]["bytes"], row["origin"]),
            landmarks=landmarks[index].copy(),
            identity=row["identity"],
            origin=row["origin"],
            sha256=row["sha256"],
            quality=FaceQuality(**{name: row[name] for name in QUALITIES}),
            embedding=embeddings[index].copy(),
            transform=_matrix(row.get("transform")),
        )
        for index, row in enumerate(rows)
    ]


def _matrix(values: Sequence[float] | None) -> NDArray[np.float64] | None:
    return None if values is None else np.asarray(values, np.float64).reshape(2, 3)


def _decode(encoded: bytes, origin: str) -> NDArray[np.uint8]:
    buffer = np.frombuffer(encoded, dtype=np.uint8)
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if buffer.size else None
    if image is None or image.shape[0] != image.shape[1]:
        raise ValueError(f"the crop of {origin} cannot be decoded to a square image; {REMEDY}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def write_table_file(
    path: Path, batches: Iterable[pa.Table], notes: TableNotes, rejections: Sequence[Rejection]
) -> None:
    """Write a file of a face table atomically.

    Args:
        path: The file to write, or its address.
        batches: Arrow tables with `SCHEMA`, of any length; rows are grouped by `ROWS_PER_GROUP`.
        notes: The metadata.
        rejections: Every photograph that was left out, with its reason.

    Raises:
        DiskFullError: The disk is full.
    """
    content = {**asdict(notes), "config": notes.config.model_dump(mode="json")}
    schema = described(SCHEMA, FORMAT, content)
    extra = {_REJECTIONS_KEY: pack_rejections(rejections)}
    schema = schema.with_metadata(schema.metadata | extra)
    with whole_file(path, sealed=True) as temporary:
        _write_groups(temporary, batches, schema)


def _write_groups(path: Path, batches: Iterable[pa.Table], schema: pa.Schema) -> None:
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    ) as writer:
        waiting = SCHEMA.empty_table()
        for batch in batches:
            waiting = pa.concat_tables([waiting, batch])
            whole = len(waiting) // ROWS_PER_GROUP * ROWS_PER_GROUP
            for start in range(0, whole, ROWS_PER_GROUP):
                writer.write_table(_group(waiting[start : start + ROWS_PER_GROUP], schema))
            waiting = waiting[whole:].combine_chunks()
        if len(waiting):
            writer.write_table(_group(waiting, schema))


def _group(table: pa.Table, schema: pa.Schema) -> pa.Table:
    return table.combine_chunks().cast(schema)


def pack_rejections(rejections: Sequence[Rejection]) -> bytes:
    """Return rejections as compressed ASCII text; a million take a few megabytes."""
    rows = [[item.origin, item.reason, item.detail] for item in rejections]
    return base64.b64encode(zlib.compress(json.dumps(rows).encode(), 9))


def unpack_rejections(text: bytes) -> list[Rejection]:
    """Return the rejections that `pack_rejections` encoded."""
    return [Rejection(*row) for row in json.loads(zlib.decompress(base64.b64decode(text)))]


class ParquetPart:
    """A Parquet file whose footer is read and verified once, and its row groups when needed.

    No file is held open, so that the object can be shared between threads and sent to other
    processes. What is read is verified: the footer by its SHA-256, the pages by their checksums.

    Args:
        path: The file, or its address.
        footer: SHA-256 of the footer, see `footer_of`; None where the whole file was verified.
    """

    def __init__(self, path: Path, footer: str | None = None) -> None:
        self.path = path
        self._footer = footer

    @property
    def metadata(self) -> pq.FileMetaData:
        """The parsed footer, which is kept for the parts that were used last.

        Raises:
            FileNotFoundError: The file is missing.
            ValueError: The footer is damaged.
        """
        return _parsed(self)

    def parse(self) -> pq.FileMetaData:
        """Read, verify and parse the footer; see `metadata`."""
        content = footer_of(self.path)
        if self._footer not in (None, sha256(content).hexdigest()):
            raise DamagedFile(f"{shown(self.path)} is damaged: its footer has changed; {REMEDY}")
        try:
            return pq.read_metadata(io.BytesIO(content))
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(error) from None

    def read(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a row group.

        Raises:
            ValueError: The file is damaged.
        """
        metadata = self.metadata
        try:
            with (
                open_binary(self.path) as content,
                pq.ParquetFile(
                    content, metadata=metadata, page_checksum_verification=True, pre_buffer=True
                ) as file,
            ):
                return file.read_row_group(group, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(error) from None

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column of all rows."""
        groups = range(self.metadata.num_row_groups)
        return pa.concat_tables(self.read(group, [name]) for group in groups)[name]

    def damaged(self, error: Exception) -> ValueError:
        """Return the error for content that cannot be read."""
        return ValueError(f"{shown(self.path)} is damaged ({error}); {REMEDY}")


@lru_cache(maxsize=4)
def _parsed(part: ParquetPart) -> pq.FileMetaData:
    # The footer of 65,536 faces takes some ten megabytes when it is parsed.
    return part.parse()


def footer_of(path: Path) -> bytes:
    """Return the footer of a Parquet file between the marks of such a file.

    Arrow parses these bytes like a whole file.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: It is no Parquet file.
    """
    with open_binary(path) as file:
        end = file.seek(0, io.SEEK_END)
        file.seek(max(0, end - 8))
        tail = file.read(8)
        size = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or not 0 < size <= end - 12:
            raise DamagedFile(f"{shown(path)} is no complete Parquet file; {REMEDY}")
        file.seek(end - 8 - size)
        return b"".join((b"PAR1", file.read(size), tail))


class TableFile(ParquetPart):
    """A Parquet file of faces.

    Args:
        path: The file, or its address.
        footer: SHA-256 of the footer, None where the whole file was verified.
    """

    @classmethod
    def open(cls, path: Path) -> tuple["TableFile", TableNotes]:
        """Open a file of faces that is a whole table, and verify all of it.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is damaged, is no Parquet file or no face table, or was written
                by another version of miex.
        """
        content, _ = open_image_table(path, SCHEMA, FORMAT, "face table", REMEDY, (_EARLIER,))
        notes = notes_of(content, path)
        check_seal(path, REMEDY)
        return cls(path), notes

    def __len__(self) -> int:
        return int(self.metadata.num_rows)

    @property
    def identities(self) -> list[str]:
        """Identity of each row."""
        column: list[str] = self.column("identity").to_pylist()
        return column

    @property
    def rejections(self) -> list[Rejection]:
        """Photographs that were left out, with their reasons."""
        try:
            return unpack_rejections(self.metadata.metadata[_REJECTIONS_KEY])
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(
                f"{self.path}: its list of rejections is damaged ({error}); {REMEDY}"
            ) from None

    def load(self, rows: Sequence[int]) -> list[Face]:
        """Read faces in ascending order of their rows; only their row groups are read.

        Args:
            rows: Row numbers of this file, ascending, each once.

        Raises:
            ValueError: The file is damaged.
        """
        wanted: dict[int, list[int]] = {}
        for row in rows:
            wanted.setdefault(row // ROWS_PER_GROUP, []).append(row % ROWS_PER_GROUP)
        return [
            face
            for group, chosen in wanted.items()
            for face in faces_of(self.read(group).take(chosen))
        ]


def notes_of(content: Mapping[str, Any], path: Path) -> TableNotes:
    """Return the notes that a face table states of itself.

    Raises:
        ValueError: Another version of miex wrote them.
    """
    try:
        return TableNotes(**{**content, "config": FaceConfig(**content["config"])})
    except (ValidationError, KeyError, TypeError) as error:
        raise ValueError(f"{shown(path)} was made by another version of miex; {REMEDY}") from error


def count_by_reason(rejections: Iterable[Rejection]) -> dict[str, int]:
    """Return the number of rejections per reason, most frequent first, ties by name."""
    counts = Counter(rejection.reason for rejection in rejections)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
