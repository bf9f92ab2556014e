"""Format of the datasets that miex writes: folder, manifest, schema of the rows."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from miex.datasets.documents import read_document
from miex.datasets.given_files import require_folder
from miex.datasets.image_tables import hub_features
from miex.datasets.paths import require_plain
from miex.datasets.seals import DamagedFile, known_sha256
from miex.datasets.storage import exists, local_file, shown

FORMAT = "miex-dataset/1"
"""Format name and version in every manifest and shard; other formats are refused."""

PARTITIONED = "miex-dataset/2"
"""Format of a dataset of more than `SHARDS_PER_FOLDER` shards: its manifest names part lists."""

SHARDS_PER_FOLDER = 1000
"""Most shards of a dataset in one folder and one manifest; a million samples by default."""

MANIFEST = "manifest.json"

PART_LIST = "shards.json"
"""Name of the list of the shards, and of their rejections, in each folder of a large dataset."""

MANIFEST_REMEDY = (
    "start the same `miex synthesize` command again: it writes the manifest anew from the shards"
)
"""Remedy for a damaged manifest, for messages."""

SHARD_REMEDY = (
    "start the same `miex synthesize` command again, which renders damaged shards again, or copy it"
    " again"
)
"""Remedy for a damaged shard, for messages."""

_FIELDS: dict[str, type] = {
    "name": str,
    "fingerprint": str,
    "config": dict,
    "inputs": dict,
    "label_space": dict,
    "counts": dict,
}

_LISTS: dict[str, dict[str, type]] = {
    FORMAT: {"shards": list, "rejections": list},
    PARTITIONED: {"parts": list, "rejections_by_reason": dict},
}
"""Fields of a manifest that only one of the formats has."""

RUN_LOG = "run.json"
"""Duration of the last run, which differs between runs of the same config."""

_AU_COUNT = 17
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
        pa.field("emotion", pa.string(), nullable=False),
        pa.field("fine_emotion", pa.string()),
        pa.field("au_source", pa.string(), nullable=False),
        pa.field("aus", pa.list_(pa.list_(pa.float32(), _AU_COUNT)), nullable=False),
        # Hugging Face recognizes a column of images only if it is nullable; it is never null.
        pa.field("frames", pa.list_(_IMAGE)),
        pa.field("apex_index", pa.int16(), nullable=False),
        pa.field("landmarks", pa.list_(pa.list_(pa.float32(), 2)), nullable=False),
        pa.field("source_dataset", pa.string()),
        pa.field("source_subject", pa.string()),
        pa.field("source_clip", pa.string()),
        pa.field("source_onset_frame", pa.int32()),
        pa.field("source_apex_frame", pa.int32()),
        pa.field("au_estimator", pa.string()),
        pa.field("template", pa.string(), nullable=False),
        pa.field("template_sha256", pa.string(), nullable=False),
        pa.field("generator", pa.string(), nullable=False),
        pa.field("generator_sha256", pa.string()),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("attempt", pa.int16(), nullable=False),
        pa.field("asymmetry", pa.float32()),
        pa.field("motion", pa.float32()),
        pa.field("motion_iod", pa.float32()),
        pa.field("identity_similarity", pa.float32()),
        pa.field("au_fidelity", pa.float32()),
    ]
)
"""Columns of a sample; docs/dataset_format.md describes them."""

ABSENT: dict[str, str | int] = {
    "fine_emotion": "",
    "source_dataset": "",
    "source_subject": "",
    "source_clip": "",
    "source_onset_frame": -1,
    "source_apex_frame": -1,
    "au_estimator": "",
    "generator_sha256": "",
}
"""What stands in a text or integer column where nothing is known.

The default collate function of PyTorch refuses None, so that a null in one row would stop a
training on what `datasets.load_dataset` gives. Columns of floats hold null, which becomes NaN.
Datasets of earlier versions hold null in all columns.
"""

COLUMN_NOTES: dict[str, str] = {
    "label": "index of `emotion` in the label space",
    "aus": "requested AUs, one vector a frame, order 01 02 04 05 06 07 09 10 12 14 15 17 20 23 25 "
    "26 45, FACS intensity 0-5",
    "frames": "frames[0] is the onset, frames[apex_index] the apex",
    "attempt": "which draw was kept, 0 the first; seed, index and attempt remake the row",
    "landmarks": "68 landmarks of the template (iBUG 300-W order), x and y in pixels of the frames",
    "asymmetry": "0 where both sides of the face show the AUs alike; -.7 where the left side of the"
    " image shows 30 % of them, .7 where the right side does",
    "motion": "mean motion of the fastest 5 % of pixels from onset to apex, pixels of the frames:"
    " the displacement that warp applied; optical flow (DIS) of other generators and of asymmetric "
    "datasets",
    "motion_iod": "motion in inter-ocular distances (eye centres) of the template",
    "identity_similarity": "cosine between the embeddings (dlib ResNet) of the apex frame and of "
    "the template; null where not measured",
    "au_fidelity": "correlation of requested and re-estimated AU change; null where not measured",
}
"""Units and definitions, written into the metadata of every shard's schema."""


def card_features(classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the columns for the front matter of a dataset card (`dataset_info`).

    `load_dataset` reads them there, with `label` as a `ClassLabel`. The metadata of a shard cannot
    define it, because `datasets` ignores types that differ from those of the file.

    Args:
        classes: Names of the classes in the order of `label`.
    """
    special: dict[str, dict[str, Any]] = {
        "label": {"dtype": {"class_label": {"names": dict(enumerate(classes))}}},
        "aus": {"list": {"list": "float32", "length": _AU_COUNT}},
        "landmarks": {"list": {"list": "float32", "length": 2}},
        "frames": {"list": "image"},
    }
    features = hub_features(SCHEMA)["info"]["features"]
    return [
        {"name": name, **(special.get(name) or {"dtype": features[name]["dtype"]})}
        for name in SCHEMA.names
    ]


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """Finished dataset folder, read without PyTorch; for training see `miex.datasets.shards`.

    Attributes:
        folder: The folder that holds `manifest.json` and `data/`, or its address.
        manifest: Content of the manifest. That of a dataset of many folders has the entries of
            all shards here too, but not the rejections, which `rejections` reads.
    """

    folder: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, *, unchecked: bool = False) -> "DatasetFolder":
        """Open a folder that `miex synthesize` finished, and verify its manifest.

        Args:
            folder: The folder.
            unchecked: Accept a manifest with a wrong checksum, to find further damage.

        Raises:
            FileNotFoundError: There is no manifest: no dataset, or an interrupted synthesis.
            ValueError: The manifest is damaged, has an unknown format, or names files outside
                the folder.
        """
        path = Path(folder) / MANIFEST
        remedy = "give a folder that `miex synthesize` made"
        require_folder(Path(folder), "dataset of miex", remedy)
        if not exists(path):
            raise FileNotFoundError(
                f"{shown(folder)} holds no finished miex dataset: {MANIFEST} is missing. If a run "
                "was interrupted there, start the same `miex synthesize` command again."
            )
        kept: dict[str, Any] = {}

        def check(found: dict[str, Any]) -> None:
            require_manifest(found, path)
            kept.update(found)

        try:
            read_document(path, "manifest", MANIFEST_REMEDY, check=check)
        except DamagedFile:
            if not unchecked:
                raise
        if kept["format"] == PARTITIONED:
            parts = _part_lists(Path(folder), kept)
            kept["shards"] = [shard for part in parts for shard in part["shards"]]
            _require_shards(kept["shards"], path)
        return cls(Path(folder), kept)

    def rejections(self) -> Iterator[dict[str, Any]]:
        """Yield every rejected sample with its reason, in the order of the plan.

        Raises:
            ValueError: A list of a dataset of many folders is damaged.
        """
        if self.manifest["format"] == FORMAT:
            yield from self.manifest["rejections"]
            return
        for part in _part_lists(self.folder, self.manifest):
            yield from part["rejections"]

    @property
    def shards(self) -> list[Path]:
        """The Parquet files, in the order of the plan."""
        return [self.folder / shard["path"] for shard in self.manifest["shards"]]

    def __len__(self) -> int:
        return sum(int(shard["rows"]) for shard in self.manifest["shards"])

    def intact(self, number: int) -> Path:
        """Return the path of a shard whose SHA-256 is that of the manifest.

        Each unchanged shard is read once in a process. One at an address is copied into the cache.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is damaged, or was changed.
        """
        path = self.folder / self.manifest["shards"][number]["path"]
        try:
            path = local_file(path)
            right = known_sha256(path) == self.manifest["shards"][number]["sha256"]
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{path} is missing; `miex verify {self.folder}` says what else is; {SHARD_REMEDY}"
            ) from None
        if not right:
            raise DamagedFile(
                f"{path} is damaged: its SHA-256 is not that of the manifest; {SHARD_REMEDY}"
            )
        return path

    def intact_shards(self) -> Iterator[Path]:
        """Return every shard in order, each verified when its turn comes; see `intact`."""
        return (self.intact(number) for number in range(len(self.manifest["shards"])))

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of every row; without `frames` the table stays small."""
        return pa.concat_tables(
            [pq.read_table(path, columns=list(columns)) for path in self.intact_shards()]
        )

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield every row as a dictionary; the memory does not grow with the dataset."""
        for path in self.intact_shards():
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(64, columns=list(columns) if columns else None):
                    yield from batch.to_pylist()

    def row(self, sample_id: str) -> dict[str, Any]:
        """Return one row.

        Raises:
            KeyError: The dataset has no such sample.
        """
        for path in self.intact_shards():
            found = pq.read_table(path, filters=[("sample_id", "==", sample_id)])
            if found.num_rows:
                return dict(found.to_pylist()[0])
        raise KeyError(f"{self.folder} has no sample {sample_id!r}")


def _part_lists(folder: Path, manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the lists of shards and rejections of a dataset of many folders, one after the other.

    Raises:
        ValueError: A list is damaged, is not that of the manifest, or lies outside the folder.
    """
    for part in manifest["parts"]:
        path = require_plain(folder, part["path"], str(folder / MANIFEST))
        content = read_document(path, "list of shards", MANIFEST_REMEDY)
        if (len(content["shards"]), len(content["rejections"])) != (
            part["shards"],
            part["rejections"],
        ) or content["fingerprint"] != manifest["fingerprint"]:
            raise DamagedFile(f"{path} is not the list of the manifest; {MANIFEST_REMEDY}")
        yield content


def count_rejections(manifest: Mapping[str, Any]) -> Counter[str]:
    """Return the number of rejected samples by reason."""
    if "rejections_by_reason" in manifest:
        return Counter(manifest["rejections_by_reason"])
    return Counter(rejection["reason"] for rejection in manifest["rejections"])


def require_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    """Check the structure of a manifest.

    Raises:
        ValueError: Another format, a field of another type, or a shard outside the folder.
    """
    found = manifest.get("format")
    if found not in _LISTS:
        raise ValueError(f"{path}: expected format {FORMAT!r}, found {found!r}; {MANIFEST_REMEDY}")
    for name, kind in (_FIELDS | _LISTS[str(found)]).items():
        if not isinstance(manifest.get(name), kind):
            raise ValueError(
                f"{path} is damaged ({name}: expected {kind.__name__}, found "
                f"{type(manifest.get(name)).__name__}); {MANIFEST_REMEDY}"
            )
    space = manifest["label_space"]
    sources = manifest["inputs"].get("sources")
    classes = space.get("classes")
    try:
        whole = isinstance(space["name"], str) and all(isinstance(c, str) for c in classes)
        whole &= all(isinstance(source["description"], str) for source in sources)
    except (KeyError, TypeError, IndexError):
        whole = False
    if not whole:
        raise ValueError(
            f"{path} is damaged (label_space or inputs are incomplete); {MANIFEST_REMEDY}"
        )
    _require_shards(manifest.get("shards", []), path)


def _require_shards(shards: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Check the entries of the shards of a manifest.

    Raises:
        ValueError: An entry is incomplete, or names a file outside the folder.
    """
    try:
        whole = all(
            isinstance(shard["rows"], int) and shard["rows"] >= 0 and len(shard["sha256"]) == 64
            for shard in shards
        )
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged (shards are incomplete); {MANIFEST_REMEDY}")
    for shard in shards:
        require_plain(path.parent, shard.get("path"), str(path))


def decode_frames(row: dict[str, Any]) -> NDArray[np.uint8]:
    """Decode the frames of a row.

    Returns:
        ``uint8 (T, S, S, 3)`` RGB.

    Raises:
        ValueError: A frame is not a readable image; the message names the sample and the frame.
    """
    frames = []
    for number, frame in enumerate(row["frames"]):
        try:
            frames.append(_decode(frame["bytes"]))
        except OSError as error:
            raise ValueError(
                f"sample {row.get('sample_id')}: frame {number} cannot be decoded ({error})"
            ) from None
    return np.stack(frames)


def _decode(encoded: bytes) -> NDArray[np.uint8]:
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        # Twice as fast as Pillow, and without the interpreter's lock. OpenCV returns the rest of
        # a truncated image of other formats without an error.
        frame = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        if frame is None:
            raise OSError("damaged WebP image")
        return np.asarray(frame, np.uint8)
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))
