"""Verification of a dataset folder against its manifest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY
from miex.datasets.dataset_format import (
    MANIFEST,
    MANIFEST_REMEDY,
    SCHEMA,
    DatasetFolder,
    decode_frames,
)
from miex.datasets.files import sha256_file
from miex.datasets.given_files import require_folder
from miex.datasets.seals import DamagedFile
from miex.datasets.storage import borrowed, sizes
from miex.pipeline.synthesis.shard_files import shard_fingerprint
from miex.pipeline.synthesis.tally import TALLIED, Tally
from miex.pipeline.synthesis.verify_manifest import check_manifest
from miex.pipeline.workers import cores, map_in_threads

_GROUPS = {"by_class": "class", "by_emotion": "emotion", "by_au_source": "kind of source"}
"""Groups of counts in the manifest, and the words for one item of each group."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A deviation of a dataset folder from its manifest.

    Attributes:
        where: Path of the file, or id of the sample.
        what: The deviation, with the expected and the actual value.
    """

    where: str
    what: str


def verify(
    folder: Path,
    *,
    workers: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> list[Problem]:
    """Verify the checksums, manifest, schema, counts, rows and frames of a finished dataset.

    Args:
        folder: The dataset folder.
        workers: Number of threads, all cores by default; image decoding releases the interpreter
            lock.
        on_rows: Called with the number of rows checked since the last call.

    Returns:
        All deviations; empty for an intact dataset.

    Raises:
        FileNotFoundError: The folder holds no finished dataset.
        ValueError: Its manifest cannot be read.
    """
    require_folder(folder, "dataset of miex", "give a folder that `miex synthesize` made")
    changed = False
    try:
        dataset = DatasetFolder.open(folder)
    except DamagedFile:
        changed = True
        dataset = DatasetFolder.open(folder, unchecked=True)
    tally = Tally()
    problems: list[Problem] = []

    def check(shard: dict[str, Any]) -> tuple[list[Problem], Tally]:
        found = Tally()
        return list(_check_shard(dataset, shard, found, on_rows)), found

    for part, found in map_in_threads(check, dataset.manifest["shards"], workers or cores()):
        problems += part
        tally.add(found)
    try:
        problems += _check_counts(dataset, tally)
    except (KeyError, TypeError, AttributeError) as error:
        problems.append(Problem(MANIFEST, f"its counts are incomplete: {error!r}"))
    problems += [Problem(MANIFEST, what) for what in check_manifest(dataset)]
    # A wrong checksum is reported only if no problem names the field that was changed.
    if changed and not any(problem.where == MANIFEST for problem in problems):
        what = f"its checksum is wrong: the file was changed or is damaged; {MANIFEST_REMEDY}"
        problems.append(Problem(MANIFEST, what))
    return [*problems, *_check_folder(dataset)]


def _check_shard(
    dataset: DatasetFolder,
    shard: dict[str, Any],
    tally: Tally,
    on_rows: Callable[[int], None] | None,
) -> Iterator[Problem]:
    name = shard["path"]
    try:
        with borrowed(dataset.folder / name) as path:
            yield from _check_file(dataset, shard, path, tally, on_rows)
    except FileNotFoundError:
        yield Problem(name, "is missing; run the same `miex synthesize` command to render it again")


def _check_file(
    dataset: DatasetFolder,
    shard: dict[str, Any],
    path: Path,
    tally: Tally,
    on_rows: Callable[[int], None] | None,
) -> Iterator[Problem]:
    name = shard["path"]
    if sha256_file(path) != shard["sha256"]:
        yield Problem(
            name, "its SHA-256 differs from the manifest: the file was changed or is damaged"
        )
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                yield Problem(name, "its columns differ from the schema of this version of miex")
                return
            if file.metadata.num_rows != shard["rows"]:
                yield Problem(
                    name,
                    f"holds {file.metadata.num_rows} rows, but the manifest lists {shard['rows']}",
                )
            if shard_fingerprint(path) != dataset.manifest["fingerprint"]:
                yield Problem(name, "belongs to another dataset than the manifest")
            previous = ""
            for batch in file.iter_batches(64):
                for row in batch.to_pylist():
                    for what in _check_row(row, dataset.manifest, previous):
                        yield Problem(row["sample_id"], what)
                    previous = row["sample_id"]
                tally.add_table(batch.select(TALLIED))
                if on_rows:
                    on_rows(len(batch))
    except (OSError, pa.ArrowException) as error:
        yield Problem(name, f"cannot be read: {error}")


def _check_row(row: dict[str, Any], manifest: dict[str, Any], previous: str) -> Iterator[str]:
    classes = manifest["label_space"]["classes"]
    if row["sample_id"] <= previous:
        yield f"follows {previous}, but sample ids must increase"
    if not 0 <= row["label"] < len(classes) or classes[row["label"]] != row["emotion"]:
        yield f"label {row['label']} is not class {row['emotion']!r} of {classes}"
    if not row["frames"]:
        yield "has no frames"
        return
    aus = np.array(row["aus"], dtype=np.float32)
    if aus.shape != (len(row["frames"]), AU_COUNT):
        yield f"has {len(row['frames'])} frames, but AUs of shape {aus.shape}"
    elif not np.isfinite(aus).all() or aus.min() < 0 or aus.max() > MAX_INTENSITY:
        yield f"has AUs outside 0-{MAX_INTENSITY:g} or not finite"
    if not 0 < row["apex_index"] < len(row["frames"]):
        yield f"has apex_index {row['apex_index']}, expected 1-{len(row['frames']) - 1}"
        return
    try:
        frames = decode_frames(row)
    except ValueError as error:
        yield str(error)
        return
    if np.array_equal(frames[0], frames[row["apex_index"]]):
        yield "has equal pixels in onset and apex: a label without motion"


def _check_folder(dataset: DatasetFolder) -> Iterator[Problem]:
    listed = {shard["path"] for shard in dataset.manifest["shards"]}
    for where in sorted(f"data/{name}" for name in sizes(dataset.folder / "data")):
        if where.endswith(".parquet") and where not in listed:
            yield Problem(where, "is not listed in the manifest, but readers of the folder load it")


def _check_counts(dataset: DatasetFolder, tally: Tally) -> Iterator[Problem]:
    stated = dataset.manifest["counts"]
    names = ("written", "frames", "redrawn", "identities")
    pairs = {name: (stated[name], getattr(tally, name)) for name in names}
    for group, title in _GROUPS.items():
        for name, number in stated[group].items():
            pairs[f"{title} {name}"] = number, tally.by[group][name]
    for name, (number, found) in pairs.items():
        if found != number:
            yield Problem(MANIFEST, f"{name} is {number}, but the shards hold {found}")
    if stated["planned"] != stated["written"] + stated["rejected"]:
        yield Problem(MANIFEST, "planned differs from written + rejected")
    listed = sum(1 for _ in dataset.rejections())
    if stated["rejected"] != listed:
        yield Problem(MANIFEST, f"rejected is {stated['rejected']}, but {listed} are listed")
    if stated["written"] != sum(stated["by_source"].values()):
        yield Problem(MANIFEST, "written differs from the sum over by_source")
