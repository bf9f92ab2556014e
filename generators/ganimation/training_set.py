"""The training set of a generator: crops, landmarks and AUs of many people in one Parquet file.

Each row is a photograph; the crops are image files, which `load_dataset("parquet", ...)` and most
viewers show. Each row has a split, the same for all photographs of an identity. The schema metadata
holds the estimator, the trusted AUs, the licences and what was left out, so that the file can be
used without any other file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AUArray, require_aus
from miex.datasets.files import whole_file
from miex.datasets.image_tables import (
    IMAGE,
    described,
    floats,
    image_value,
    open_image_table,
)
from miex.datasets.seals import check_seal, known_sha256
from miex.generators.ganimation.training_notes import AUAgreement, TrainingNotes

FORMAT = "miex-training-set/1"
"""Format name and version in every training set; other formats are refused."""

Split: TypeAlias = Literal["train", "validation", "held_out"]

SPLITS: tuple[Split, ...] = ("train", "validation", "held_out")
"""`train` is for training, `validation` for monitoring, `held_out` only for the assessment."""

ROWS_PER_GROUP = 256
"""Rows per row group; at 128 pixels about 2 MB."""

_LANDMARKS = 68
_THREADS = 8

# Hugging Face recognizes an image column only if it is nullable.
SCHEMA = pa.schema(
    [
        pa.field("origin", pa.string()),
        pa.field("identity", pa.string()),
        pa.field("split", pa.string()),
        pa.field("crop", IMAGE),
        pa.field("landmarks", pa.list_(pa.list_(pa.float32(), 2), _LANDMARKS)),
        pa.field("aus", pa.list_(pa.float32(), AU_COUNT)),
    ]
)

# Groups bytes of equal significance: a fifth smaller after compression.
_ENCODINGS = {
    "landmarks.list.element.list.element": "BYTE_STREAM_SPLIT",
    "aus.list.element": "BYTE_STREAM_SPLIT",
}


@dataclass(frozen=True, slots=True, eq=False)
class TrainingFaces:
    """N photographs of a split, in memory.

    Attributes:
        images: ``uint8 (N, S, S, 3)`` RGB.
        landmarks: ``float32 (N, 68, 2)``, x and y in pixels of the image, iBUG 300-W order.
        aus: ``float32 (N, 17)``, intensities 0 to 5; NaN where not measured.
        identities: N names.
        origins: N origins, unique.

    Raises:
        ValueError: The shapes do not agree.
    """

    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    aus: AUArray
    identities: tuple[str, ...]
    origins: tuple[str, ...]

    def __post_init__(self) -> None:
        count, size = len(self.identities), self.images.shape[1:2]
        shapes = {
            "images": (self.images.shape, (count, *size, *size, 3)),
            "landmarks": (self.landmarks.shape, (count, _LANDMARKS, 2)),
            "aus": (self.aus.shape, (count, AU_COUNT)),
            "origins": ((len(self.origins),), (count,)),
        }
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise ValueError(
                    f"training faces: {name} of shape {found}, expected {expected} for {count} "
                    "identities"
                )

    def __len__(self) -> int:
        return len(self.identities)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """``(N, 17)``, True for measured AUs."""
        return np.isfinite(self.aus)


def some_faces(faces: TrainingFaces, rows: NDArray[np.int64]) -> TrainingFaces:
    """Return the photographs of some rows, in their order."""
    names, origins = ([texts[row] for row in rows] for texts in (faces.identities, faces.origins))
    images, landmarks, aus = faces.images[rows], faces.landmarks[rows], faces.aus[rows]
    return TrainingFaces(images, landmarks, aus, tuple(names), tuple(origins))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRow:
    """Photograph to be written.

    Attributes:
        image: Content of an image file, S x S pixels, in a format that OpenCV reads.
        suffix: Suffix of such a file, as `jpeg`.
        landmarks: ``(68, 2)``, x and y in pixels of the image.
        aus: ``(17,)``, 0 to 5; NaN where not measured.
        identity: Person who is shown.
        origin: `Photograph.origin`.
        split: Split of the photograph.
    """

    image: bytes
    suffix: str
    landmarks: NDArray[np.float32]
    aus: AUArray
    identity: str
    origin: str
    split: Split


def write_training_set(path: Path, rows: Iterable[TrainingRow], notes: TrainingNotes) -> None:
    """Write a training set atomically, with `ROWS_PER_GROUP` rows in memory.

    Rows of one split should be consecutive, so that readers can skip the others.

    Raises:
        ValueError: An identity is in two splits, an origin occurs twice, landmarks or AUs are
            invalid (the message names the origin), or there is no row.
        DiskFullError: The disk is full.
    """
    schema = described(SCHEMA, FORMAT, asdict(notes))
    checked = _checked(rows)
    with (
        whole_file(path, sealed=True) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=False,
            column_encoding=_ENCODINGS,
            write_statistics=["split"],
            write_page_checksum=True,
        ) as writer,
    ):
        written = 0
        while group := [_as_dict(row) for row in islice(checked, ROWS_PER_GROUP)]:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            written += len(group)
        if not written:
            raise ValueError(f"{path}: there is no photograph for the training set")


def _checked(rows: Iterable[TrainingRow]) -> Iterator[TrainingRow]:
    split_of: dict[str, str] = {}
    origins: set[str] = set()
    for row in rows:
        if row.split not in SPLITS:
            raise ValueError(f"{row.origin}: split {row.split!r}, expected {', '.join(SPLITS)}")
        if split_of.setdefault(row.identity, row.split) != row.split:
            raise ValueError(
                f"{row.origin}: {row.identity!r} belongs to {split_of[row.identity]} already and "
                f"cannot be in {row.split}, too; split by identity"
            )
        if row.origin in origins:
            raise ValueError(f"{row.origin} occurs twice; expected every photograph once")
        origins.add(row.origin)
        if np.shape(row.landmarks) != (_LANDMARKS, 2) or not np.isfinite(row.landmarks).all():
            raise ValueError(
                f"{row.origin}: landmarks of shape {np.shape(row.landmarks)}, expected "
                f"({_LANDMARKS}, 2), all finite"
            )
        if require_aus(row.aus, row.origin, allow_missing=True).ndim != 1:
            raise ValueError(f"{row.origin}: AUs of shape {row.aus.shape}, expected ({AU_COUNT},)")
        yield row


def _as_dict(row: TrainingRow) -> dict[str, Any]:
    return {
        "origin": row.origin,
        "identity": row.identity,
        "split": row.split,
        "crop": image_value(row.image, row.origin, row.suffix),
        "landmarks": np.asarray(row.landmarks, np.float32).tolist(),
        "aus": np.asarray(row.aus, np.float32).tolist(),
    }


class TrainingSet:
    """Training set on the disk; opening it does not read crops.

    No file is held open, so that it can be shared between threads and sent to processes.

    Attributes:
        path: The file.
        notes: Metadata of the set.
    """

    def __init__(self, path: Path, notes: TrainingNotes, rows: int) -> None:
        self.path = path
        self.notes = notes
        self._rows = rows

    @classmethod
    def open(cls, path: Path | str) -> "TrainingSet":
        """Open a training set.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged, is no Parquet file or no training set.
        """
        path = Path(path)
        remedy = "make one with `miex training-set FACES -o training.parquet`"
        content, rows = open_image_table(path, SCHEMA, FORMAT, "training set", remedy)
        try:
            agreement = tuple(AUAgreement(**one) for one in content.pop("agreement"))
            alike = tuple(map(tuple, content.pop("same_person")))
            notes = TrainingNotes(agreement=agreement, same_person=alike, **content)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} was made by another version of miex ({error}); {remedy}"
            ) from None
        check_seal(path, f"{remedy}, or copy it again")
        return cls(path, notes, rows)

    def __len__(self) -> int:
        return self._rows

    @property
    def image_size(self) -> int:
        """Side S of the crops, pixels."""
        return self.notes.image_size

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """``(17,)``, True for AUs whose labels a second estimator confirms."""
        return np.array([one.trusted for one in self.notes.agreement], dtype=bool)

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, hexadecimal."""
        return known_sha256(self.path)

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of every row; without `crop` the table stays small.

        Raises:
            ValueError: The file is damaged.
        """
        try:
            table = pq.read_table(self.path, columns=list(columns), page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from None
        return table.replace_schema_metadata()

    def count(self, split: Split) -> int:
        """Return the number of photographs of a split."""
        return int(pc.sum(pc.equal(self.table(["split"])["split"], split)).as_py() or 0)

    def aus(self, split: Split) -> AUArray:
        """Return the intensities of a split, ``float32 (N, 17)``, without reading crops."""
        table = self.table(["split", "aus"])
        return floats(table.filter(pc.equal(table["split"], split))["aus"]).reshape(-1, AU_COUNT)

    def faces(
        self, split: Split, on_progress: Callable[[int], None] | None = None
    ) -> TrainingFaces:
        """Read and decode every photograph of a split, in the order of the file.

        Args:
            split: train, validation or held_out; one may be empty.
            on_progress: Called with the number of decoded photographs.

        Raises:
            ValueError: There is no such split, the file is damaged, or a crop is no image of S x S
                pixels.
        """
        if split not in SPLITS:
            raise ValueError(f"split {split!r}, expected one of {', '.join(SPLITS)}")
        size = self.image_size
        images = np.empty((self.count(split), size, size, 3), np.uint8)
        tables = [SCHEMA.empty_table().drop_columns(["crop"])]
        done = 0
        with ThreadPoolExecutor(_THREADS) as pool:
            for table in self._tables("split", [split]):
                crops, origins = table["crop"].to_pylist(), table["origin"].to_pylist()
                for image in pool.map(self._decode, crops, origins):
                    images[done] = image
                    done += 1
                tables.append(table.drop_columns(["crop"]))
                if on_progress is not None:
                    on_progress(done)
        joined = pa.concat_tables(tables)
        return TrainingFaces(
            images=images,
            landmarks=floats(joined["landmarks"]).reshape(-1, _LANDMARKS, 2),
            aus=floats(joined["aus"]).reshape(-1, AU_COUNT),
            identities=tuple(joined["identity"].to_pylist()),
            origins=tuple(joined["origin"].to_pylist()),
        )

    def crops(self, origins: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
        """Return photographs, ``uint8 (S, S, 3)`` RGB by origin; unknown origins are left out.

        Raises:
            ValueError: See `faces`.
        """
        return {
            row["origin"]: self._decode(row["crop"], row["origin"])
            for table in self._tables("origin", list(origins))
            for row in table.select(["origin", "crop"]).to_pylist()
        }

    def _tables(self, column: str, values: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows with one of these values in a column, group by group."""
        wanted = pa.array(values, pa.string())
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                for group in range(file.num_row_groups):
                    found = file.read_row_group(group, columns=[column])[column]
                    chosen = pc.is_in(found, wanted)
                    if pc.any(chosen).as_py():
                        table = file.read_row_group(group).replace_schema_metadata()
                        yield table.filter(chosen)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from None

    def _decode(self, crop: Mapping[str, bytes], origin: str) -> NDArray[np.uint8]:
        buffer = np.frombuffer(crop["bytes"], dtype=np.uint8)
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if buffer.size else None
        side = self.image_size
        if image is None or image.shape != (side, side, 3):
            found = "cannot be decoded" if image is None else f"has shape {image.shape}"
            raise ValueError(
                f"{self.path}: the crop of {origin} {found}, expected an image of {side} x {side} "
                "pixels; make the training set again"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
