"""Samples of synthesized datasets: one block per shard."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.dataset_format import SHARD_REMEDY, DatasetFolder, decode_frames
from miex.datasets.labels import LabelSpace
from miex.datasets.seals import known_sha256
from miex.pipeline.recognition.landmarks import FOLLOW_VERSION, follow
from miex.pipeline.recognition.sample import ANYONE, Sample, SampleInfo, Subject, person_of

_ROWS_AT_A_TIME = 32
"""Rows that a thread decodes before it returns them; with single rows it would mostly wait."""

_DECODERS = os.cpu_count() or 1

_ABOUT = (
    "sample_id",
    "identity",
    "label",
    "emotion",
    "au_source",
    "source_dataset",
    "source_subject",
    "au_estimator",
    "template",
)

_SYNTHESIZED = "synthesized"
"""`SampleInfo.apex_rule` of synthesized samples, whose apex is known."""


@dataclass(frozen=True, slots=True)
class ShardBlock:
    """The samples of one shard; see `SampleBlock`.

    Attributes:
        path: The Parquet file.
        sha256: Its hash by the manifest.
        content: Hash of the shard and of the version of landmark tracking.
        infos: Facts about each row, in order.
    """

    path: Path
    sha256: str
    content: str
    infos: Sequence[SampleInfo]

    def load(self, landmarks: bool) -> Iterator[Sample]:
        """See `SampleBlock.load`; images are decoded in advance, in threads.

        Raises:
            ValueError: The shard differs from its manifest, or a frame cannot be decoded.
        """
        # Caches use this hash, and Parquet pages have no checksums.
        if known_sha256(self.path) != self.sha256:
            raise ValueError(_damaged(self.path, "its sha256 is not that of the manifest"))
        columns = ["sample_id", "frames", "apex_index", *(["landmarks"] if landmarks else [])]
        infos = iter(self.infos)
        ahead: deque[Future[list[Sample]]] = deque()
        try:
            with pq.ParquetFile(self.path) as file, ThreadPoolExecutor(_DECODERS) as pool:
                for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=columns):
                    own = [next(infos) for _ in range(batch.num_rows)]
                    ahead.append(pool.submit(_samples, batch, own))
                    if len(ahead) > _DECODERS:
                        yield from ahead.popleft().result()
                while ahead:
                    yield from ahead.popleft().result()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(_damaged(self.path, str(error))) from None


def _damaged(path: Path, what: str) -> str:
    return f"{path} is damaged ({(what.strip() or 'unreadable').splitlines()[0]}); {SHARD_REMEDY}"


def _samples(batch: pa.RecordBatch, infos: Sequence[SampleInfo]) -> list[Sample]:
    return [_sample(row, info) for row, info in zip(batch.to_pylist(), infos, strict=True)]


def _sample(row: Mapping[str, Any], info: SampleInfo) -> Sample:
    frames = decode_frames(dict(row))
    points = None
    if "landmarks" in row:
        points = follow(frames, np.asarray(row["landmarks"], np.float32))
    return Sample(info, frames, int(row["apex_index"]), points)


def shard_blocks(
    dataset: DatasetFolder,
    label_space: LabelSpace | None = None,
    *,
    template_database: str | None = None,
    weights: Mapping[str, float] | None = None,
) -> list[ShardBlock]:
    """Return the samples of a dataset.

    Args:
        dataset: A finished dataset.
        label_space: Required label space; any by default.
        template_database: Micro-expression database whose subjects are the template faces, if the
            faces are from one. By default templates are identified by their face source, and are
            no subjects of a clip database.
        weights: Relative probability of samples by AU source (real_mie, early_mae, expert); 1 for
            other sources. 0 excludes samples from training.

    Returns:
        One block per shard.

    Raises:
        ValueError: The dataset has another label space, a weight names no AU source, or a shard
            is damaged.
        FileNotFoundError: A shard is missing.
    """
    space = dataset.manifest["label_space"]
    if label_space is not None and tuple(space["classes"]) != label_space.classes:
        raise ValueError(
            f"{dataset.folder} is labelled in {space['name']!r} ({', '.join(space['classes'])}),"
            f" not in {label_space.name!r}; synthesize it with label_space={label_space.name},"
            f" or use label_space={space['name']} here"
        )
    weights = weights or {}
    unknown = set(weights) - {"real_mie", "early_mae", "expert"}
    if unknown or min(weights.values(), default=0.0) < 0:
        raise ValueError(
            f"weights {dict(weights)}: expected numbers from 0 on for real_mie, early_mae, expert"
        )
    name = f"{dataset.manifest['name']}@{dataset.manifest['fingerprint'][:8]}"
    counted = {
        source["description"]: [person_of(each, ANYONE) for each in source.get("measured_on", ())]
        for source in dataset.manifest["inputs"]["sources"]
    }
    blocks = []
    for shard, path in zip(dataset.manifest["shards"], dataset.intact_shards(), strict=True):
        try:
            rows = pq.read_table(path, columns=list(_ABOUT)).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(_damaged(path, str(error))) from None
        infos = tuple(
            replace(
                _info(name, row, template_database, counted.get(row["au_estimator"], ())),
                weight=weights.get(row["au_source"], 1.0),
            )
            for row in rows
        )
        content = hashlib.sha256(f"{shard['sha256']}/{FOLLOW_VERSION}".encode()).hexdigest()
        blocks.append(ShardBlock(path, shard["sha256"], content, infos))
    return blocks


def _info(
    dataset: str,
    row: Mapping[str, Any],
    template_database: str | None,
    counted_on: Iterable[Subject],
) -> SampleInfo:
    source = template_database or str(row["template"]).partition(":")[0]
    lineage: set[Subject] = {person_of(source, row["identity"]), *counted_on}
    if row["source_subject"]:
        lineage.add(person_of(row["source_dataset"], row["source_subject"]))
    return SampleInfo(
        key=f"{dataset}/{row['sample_id']}",
        label=row["label"],
        emotion=row["emotion"],
        database="miex",
        subject=row["identity"],
        lineage=frozenset(lineage),
        apex_rule=_SYNTHESIZED,
        au_source=row["au_source"],
    )
