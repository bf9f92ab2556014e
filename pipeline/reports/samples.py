"""Read a dataset or AU pools as columns without images, for reports."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT
from miex.au_sources.pool import AUPool
from miex.au_sources.pool_file import read_table
from miex.datasets.dataset_format import MANIFEST, SCHEMA, DatasetFolder
from miex.datasets.labels import LABEL_SPACES, Emotion
from miex.datasets.storage import exists, is_address, local_file
from miex.pipeline.reports.overview import open_overview
from miex.pipeline.reports.selection import open_shard, source_label

Values = NDArray[np.float64]
"""``(N,)``, NaN where a sample was not measured."""

_MEASURED = ("motion", "motion_iod", "identity_similarity", "au_fidelity")
_TEXTS = ("sample_id", "identity", "emotion", "fine_emotion", "template", "template_sha256")
_ORIGIN = ("au_source", "au_estimator", "source_dataset")
_POOL_ORIGIN = ("source", "estimator", "dataset")
"""What a pool calls the columns of `_ORIGIN`."""

_COLUMNS = (*_TEXTS, *_ORIGIN, "label", "aus", "apex_index", "attempt", *_MEASURED)
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Samples:
    """The columns of a dataset or of AU pools that statistics and findings need.

    Attributes:
        name: What to call them.
        onset: ``float32 (N, 17)``, intensity 0 to 5, NaN where not measured.
        apex: The same at the apex.
        sample_id: What names a sample.
        source: Where its AUs come from, see `source_label`.
        emotion: Its class.
        fine: Its emotion inside the class, None where not known.
        classes: The classes in their order.
        label: ``(N,)`` index of the class as stored; -1 in pools, which have none.
        identity: Who is shown; "" in pools.
        template: Hash of the template's photograph, and which face on it; "" in pools.
        attempt: ``(N,)``, which draw was kept, 0 the first.
        measures: Measured of every sample, by name: `motion`, `motion_iod` and so on.
        dataset: Where the images are; None for pools.
        citation: What to cite, of pools.
        licence: Terms, of pools.
    """

    name: str
    onset: NDArray[np.float32]
    apex: NDArray[np.float32]
    sample_id: Sequence[str]
    source: Sequence[str]
    emotion: Sequence[str]
    fine: Sequence[str | None]
    classes: tuple[str, ...]
    label: NDArray[np.int64]
    identity: Sequence[str]
    template: Sequence[str]
    attempt: NDArray[np.int64]
    measures: dict[str, Values] = field(default_factory=dict)
    dataset: DatasetFolder | None = None
    citation: str = ""
    licence: str = ""

    def __len__(self) -> int:
        return len(self.apex)

    @property
    def rises(self) -> NDArray[np.float32]:
        """Return ``(N, 17)`` apex minus onset, NaN where one of them was not measured."""
        return self.apex - self.onset


def open_target(path: Path) -> Samples:
    """Open a dataset folder or an AU pool.

    Raises:
        FileNotFoundError: Nothing there, or a folder without a finished dataset.
        ValueError: Neither a dataset nor a pool, of another version, or damaged; the message
            names file and field.
    """
    path = Path(path)
    if path.is_dir() or (is_address(path) and path.suffix != ".parquet"):
        return read_dataset(open_overview(path))
    if not exists(path):
        raise FileNotFoundError(
            f"{path} does not exist; expected a dataset folder that `miex synthesize` made, or an "
            "AU pool (Parquet) that `miex extract-aus` made"
        )
    return _read_pool(local_file(path))


def read_dataset(dataset: DatasetFolder) -> Samples:
    """Read every column that is asked for here, but no frame.

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: The manifest lacks a field, or a shard is damaged or of another schema.
    """
    _check_manifest(dataset)
    columns: dict[str, list[Any]] = {name: [] for name in (*_TEXTS, *_ORIGIN)}
    numbers: dict[str, list[Values]] = {n: [] for n in ("label", "attempt", *_MEASURED)}
    vectors: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for path in dataset.intact_shards():
        with open_shard(path) as file:
            _check_schema(path, file.schema_arrow)
            for batch in file.iter_batches(_BATCH, columns=list(_COLUMNS)):
                for name, texts in columns.items():
                    texts += batch.column(name).to_pylist()
                for name, values in numbers.items():
                    column = batch.column(name).to_pylist()
                    values.append(np.array(column, dtype=np.float64))
                vectors.append(_ends(path, batch))
    found = {n: np.concatenate(v) if v else np.empty(0) for n, v in numbers.items()}
    if len(found["label"]) != len(dataset):
        raise ValueError(
            f"{dataset.folder}: the shards hold {len(found['label'])} rows, the manifest says "
            f"{len(dataset)}; `miex verify {dataset.folder}` says which shard differs"
        )
    empty = np.empty((0, AU_COUNT), np.float32)
    origins = zip(*(columns[name] for name in _ORIGIN), strict=True)
    labels = {row: source_label(dict(zip(_ORIGIN, row, strict=True))) for row in set(origins)}
    origins = zip(*(columns[name] for name in _ORIGIN), strict=True)
    return Samples(
        name=dataset.manifest["name"],
        onset=np.concatenate([onset for onset, _ in vectors] or [empty]),
        apex=np.concatenate([apex for _, apex in vectors] or [empty]),
        sample_id=columns["sample_id"],
        source=[labels[row] for row in origins],
        emotion=columns["emotion"],
        fine=[name or None for name in columns["fine_emotion"]],
        classes=tuple(dataset.manifest["label_space"]["classes"]),
        label=found["label"].astype(np.int64),
        identity=columns["identity"],
        # One photograph may show several people; `#` behind its path says which.
        template=[
            f"{sha}{''.join(path.partition('#')[1:])}"
            for path, sha in zip(columns["template"], columns["template_sha256"], strict=True)
        ],
        attempt=found["attempt"].astype(np.int64),
        measures={name: found[name] for name in _MEASURED},
        dataset=dataset,
    )


def _read_pool(path: Path) -> Samples:
    """Read an AU pool; its emotions are merged into the three classes where they belong to one.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No pool, or one with values that no pool may hold.
    """
    table = read_table(path)
    pool = AUPool(table)
    merge = LABEL_SPACES["three_class"].merge
    emotion = [merge[fine] or str(fine) for fine in pool.emotions]
    origins = zip(*(table[name].to_pylist() for name in _POOL_ORIGIN), strict=True)
    source = [source_label(dict(zip(_ORIGIN, row, strict=True))) for row in origins]
    classes = LABEL_SPACES["three_class"].classes
    count = len(pool)
    return Samples(
        name=path.stem,
        onset=pool.onset,
        apex=pool.apex,
        sample_id=[f"{path.stem}:{row}" for row in range(count)],
        source=source,
        emotion=emotion,
        fine=[None if fine.is_coarse else str(fine) for fine in map(Emotion, pool.emotions)],
        classes=(*classes, *sorted(set(emotion) - set(classes))),
        label=np.full(count, -1),
        identity=[""] * count,
        template=[""] * count,
        attempt=np.zeros(count, np.int64),
        citation=pool.citation,
        licence=pool.licence,
    )


def join(parts: Sequence[Samples]) -> Samples:
    """Join several targets into one without images; each source is named with its target.

    Raises:
        ValueError: No target.
    """
    if not parts:
        raise ValueError("nothing to report on; give at least one dataset folder or AU pool")
    if len(parts) == 1:
        return parts[0]
    every = {name for part in parts for name in part.measures}

    def texts(column: str) -> list[Any]:
        return [value for part in parts for value in getattr(part, column)]

    def arrays(column: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, column) for part in parts])

    return Samples(
        name=" + ".join(part.name for part in parts),
        onset=arrays("onset"),
        apex=arrays("apex"),
        sample_id=texts("sample_id"),
        source=[f"{part.name}: {source}" for part in parts for source in part.source],
        emotion=texts("emotion"),
        fine=texts("fine"),
        classes=tuple(dict.fromkeys(name for part in parts for name in part.classes)),
        # Classes of several targets need not have the same index.
        label=np.full(sum(map(len, parts)), -1),
        identity=texts("identity"),
        template=texts("template"),
        attempt=arrays("attempt"),
        measures={
            name: np.concatenate(
                [part.measures.get(name, np.full(len(part), np.nan)) for part in parts]
            )
            for name in sorted(every)
        },
        citation="; ".join(dict.fromkeys(part.citation for part in parts if part.citation)),
        licence="; ".join(dict.fromkeys(part.licence for part in parts if part.licence)),
    )


def _check_manifest(dataset: DatasetFolder) -> None:
    wanted = (
        "name", "config", "config_sha256", "inputs", "versions", "label_space", "counts", "shards",
    )  # fmt: skip
    missing = [name for name in wanted if name not in dataset.manifest]
    if missing:
        raise ValueError(
            f"{dataset.folder / MANIFEST}: {', '.join(missing)} missing; it was written by "
            "something else or cut short, start the command that made the dataset again"
        )


def _check_schema(path: Path, schema: pa.Schema) -> None:
    for name in _COLUMNS:
        if name not in schema.names:
            raise ValueError(
                f"{path}: no column {name!r}; expected the columns of docs/dataset_format.md, "
                f"found {', '.join(schema.names[:8])}, ... Another program wrote this file."
            )
        if schema.field(name).type != SCHEMA.field(name).type:
            raise ValueError(
                f"{path}: column {name!r} is {schema.field(name).type}, expected "
                f"{SCHEMA.field(name).type}; synthesize again with this version of miex"
            )


def _ends(path: Path, batch: pa.RecordBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return AUs at the onset and at the apex, ``(N, 17)`` each."""
    aus = batch.column("aus")
    # DLPack, because pyarrow's `to_numpy` imports pandas, which takes longer than all the rest.
    vectors = np.from_dlpack(aus.flatten().flatten().fill_null(np.nan)).reshape(-1, AU_COUNT)
    offsets = np.from_dlpack(aus.offsets)
    start, stop = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    apex = start + np.from_dlpack(batch.column("apex_index"))
    wrong = np.flatnonzero((apex < start) | (apex >= stop))
    if wrong.size:
        row = int(wrong[0])
        raise ValueError(
            f"{path}: {batch.column('sample_id')[row]} has its apex at "
            f"{int(apex[row] - start[row])} of {int(stop[row] - start[row])} AU vectors; "
            "`miex verify` lists every such row"
        )
    return vectors[start].astype(np.float32), vectors[apex].astype(np.float32)
