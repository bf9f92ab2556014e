"""The face table: prepared faces in one Parquet file that later runs reuse.

Each row is a face. The crop is stored as lossless WebP, which `load_dataset("parquet", ...)` and
most viewers decode. The schema metadata holds the config, the licences and all rejections, so that
the file can be used without any other file.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
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
from miex.datasets.seals import check_seal, known_sha256
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

_REMEDY = "prepare the faces again with `miex faces`"


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
        raise ValueError(f"the crop of {origin} cannot be decoded to a square image; {_REMEDY}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def write_face_table(
    path: Path, batches: Iterable[pa.Table], notes: TableNotes, rejections: Sequence[Rejection]
) -> None:
    """Write a face table atomically.

    Args:
        path: The file to write.
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
            while len(waiting) >= ROWS_PER_GROUP:
                writer.write_table(_group(waiting[:ROWS_PER_GROUP], schema))
                waiting = waiting[ROWS_PER_GROUP:].combine_chunks()
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


class FaceTable:
    """A face table on disk.

    Opening it reads the metadata only, and `load` reads only the row groups that it needs. No file
    is held open, so that the object can be shared between threads and sent to other processes.

    Attributes:
        path: The file.
        notes: The metadata.
    """

    def __init__(self, path: Path, notes: TableNotes, rows: int) -> None:
        self.path = path
        self.notes = notes
        self._rows = rows

    @classmethod
    def open(cls, path: Path) -> "FaceTable":
        """Open a face table.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is damaged, is no Parquet file or no face table, or was written
                by another version of miex.
        """
        content, rows = open_image_table(path, SCHEMA, FORMAT, "face table", _REMEDY, (_EARLIER,))
        try:
            notes = TableNotes(**{**content, "config": FaceConfig(**content["config"])})
        except (ValidationError, KeyError, TypeError) as error:
            raise ValueError(f"{path} was made by another version of miex; {_REMEDY}") from error
        check_seal(path, _REMEDY)
        return cls(path, notes, rows)

    def __len__(self) -> int:
        return self._rows

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
        """Identity of each row."""
        try:
            table = pq.read_table(self.path, columns=["identity"], page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} is damaged ({error}); {_REMEDY}") from None
        column: list[str] = table["identity"].to_pylist()
        return column

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return known_sha256(self.path)

    @cached_property
    def rejections(self) -> list[Rejection]:
        """Every photograph that was left out, with its reason."""
        try:
            return unpack_rejections(pq.read_schema(self.path).metadata[_REJECTIONS_KEY])
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(
                f"{self.path}: its list of rejections is damaged ({error}); {_REMEDY}"
            ) from None

    @property
    def rejection_counts(self) -> dict[str, int]:
        """Number of rejections per reason, the most frequent reason first."""
        return count_by_reason(self.rejections)

    def load(self, rows: Sequence[int]) -> list[Face]:
        """Read faces in the given order.

        Args:
            rows: Row numbers, counted from 0; a number may be repeated.

        Raises:
            IndexError: A row does not exist.
            ValueError: The file is damaged.
        """
        for row in rows:
            if not 0 <= row < self._rows:
                raise IndexError(
                    f"row {row} does not exist in {self.path}, which has {self._rows} faces"
                )
        wanted: dict[int, list[int]] = {}
        for row in sorted(set(rows)):
            wanted.setdefault(row // ROWS_PER_GROUP, []).append(row)
        faces: dict[int, Face] = {}
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                for group, members in wanted.items():
                    chosen = [row % ROWS_PER_GROUP for row in members]
                    found = faces_of(file.read_row_group(group).take(chosen))
                    faces.update(zip(members, found, strict=True))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} is damaged ({error}); {_REMEDY}") from None
        return [faces[row] for row in rows]


def count_by_reason(rejections: Iterable[Rejection]) -> dict[str, int]:
    """Return the number of rejections per reason, most frequent first, ties by name."""
    counts: dict[str, int] = {}
    for rejection in rejections:
        counts[rejection.reason] = counts.get(rejection.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
