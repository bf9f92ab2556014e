"""Preparation of a set of photographs into a face table.

The photographs are divided into chunks whose size depends only on the number of photographs.
Workers turn each chunk into a part file. The parts are then read in order, the faces to keep are
selected among all of them, and the table is written. The result therefore depends neither on the
number of workers nor on interruptions.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from miex.datasets.base import FaceQuality, FaceSource, Photograph, Rejection
from miex.datasets.files import remove_partial
from miex.datasets.image_tables import floats
from miex.datasets.locks import locked
from miex.datasets.storage import address_of, cache_folder, is_address, shown
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.faces.filters import template_cost
from miex.pipeline.faces.near import search_method
from miex.pipeline.faces.parts import (
    Chunk,
    DetectorFactory,
    PartSummary,
    finished_part,
    make_part,
    make_part_in_worker,
    start_worker,
)
from miex.pipeline.faces.rest import expressions_of, strongest
from miex.pipeline.faces.selection import Candidates, select
from miex.pipeline.faces.table import FaceTable, has_face_table, write_face_table
from miex.pipeline.faces.table_file import (
    FORMAT,
    QUALITIES,
    SCHEMA,
    TableNotes,
    count_by_reason,
)
from miex.pipeline.workers import cores

Progress = Callable[[int, int, dict[str, int]], None]
"""Progress callback: (photographs done, photographs in total, counts of ``kept`` and reasons)."""


def prepare_faces(
    source: FaceSource,
    out: Path,
    config: FaceConfig | None = None,
    workers: int | None = None,
    on_progress: Progress | None = None,
    detector: DetectorFactory = DlibDetector,
) -> FaceTable:
    """Prepare every photograph of a source, or resume an interrupted run.

    Finished parts are kept in the folder `OUT.parts`, or in the cache if `out` is an address, until
    the table is written. A table that was
    prepared from the same photographs with the same config and models is opened and returned. A
    second run that writes the same table waits until the first one has ended.

    Args:
        source: Reader of the photographs.
        out: The face table to write, or its address.
        config: Crop geometry and thresholds; the defaults of `FaceConfig` if None.
        workers: Number of processes; all cores by default. With 1, no process is started.
        on_progress: Called at the start, after each part and at the end.
        detector: Function or class that makes the detector in every worker process. It must be
            picklable, that is, defined at the top level of a module.

    Returns:
        The face table.

    Raises:
        ValueError: The source has no photograph, two of its photographs have the same origin, no
            photograph shows a usable face, `out` is no face table, or `out` was prepared from
            other photographs or with another config.
        FileNotFoundError: A model file is missing.
        RuntimeError: A worker process ended unexpectedly, or a part file is damaged.
        DiskFullError: The disk is full.
    """
    config = config or FaceConfig()
    workers = _worker_count(workers)
    photographs = source.photographs()
    if not photographs:
        raise ValueError(f"{source.name}: the source has no photographs; give another source")
    notes = _notes(source, photographs, config, detector(config).name)
    with locked(out):
        return _prepare_table(source, photographs, out, notes, workers, on_progress, detector)


def _prepare_table(
    source: FaceSource,
    photographs: Sequence[Photograph],
    out: Path,
    notes: TableNotes,
    workers: int,
    on_progress: Progress | None,
    detector: DetectorFactory,
) -> FaceTable:
    config = notes.config
    remove_partial(out.parent, out.name)
    if has_face_table(out):
        table = _existing(out, notes.fingerprint)
        # Parts remain if a run was killed after it had written the table.
        _remove_parts(out)
        return table
    chunks = _chunks(photographs, _parts_folder(out), notes.fingerprint)
    report = _Report(len(photographs), on_progress)
    report.begin()
    for chunk, summary in _prepare(chunks, config, detector, workers):
        report.add(len(chunk.photographs), summary)
    kept, rejections = _choose(chunks, config, len(photographs))
    rejections = [*source.skipped(), *rejections]
    if not kept:
        # A second attempt on the same photographs would have the same result.
        _remove_parts(out)
        raise ValueError(_nothing_left(source.name, len(photographs), rejections))
    write_face_table(out, _rows(chunks, kept), notes, rejections, len(kept))
    _remove_parts(out)
    report.finish(len(kept), rejections)
    return FaceTable.open(out)


class _Report:
    """Sums the counts of the parts and passes them to `on_progress`."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0
        self._counts: Counter[str] = Counter(kept=0)

    def begin(self) -> None:
        self._tell(dict(self._counts))

    def add(self, photographs: int, summary: PartSummary) -> None:
        self._done += photographs
        self._counts["kept"] += summary.candidates
        self._counts.update(count_by_reason(summary.rejections))
        self._tell(dict(self._counts))

    def finish(self, kept: int, rejections: Sequence[Rejection]) -> None:
        self._tell({"kept": kept, **count_by_reason(rejections)})

    def _tell(self, counts: dict[str, int]) -> None:
        if self._on_progress is not None:
            self._on_progress(self._done, self._total, counts)


def _worker_count(workers: int | None) -> int:
    if workers is None:
        return cores()
    if workers < 1:
        raise ValueError(f"workers: {workers} given; expected at least 1, or None for all cores")
    return workers


def _notes(
    source: FaceSource, photographs: Sequence[Photograph], config: FaceConfig, detector: str
) -> TableNotes:
    """Return the metadata of the table to be written.

    Raises:
        ValueError: Two photographs have the same origin.
    """
    digest = hashlib.sha256()
    search = search_method(len(photographs))
    if search != "exact":
        detector = f"{detector}; near faces by {search}"
    digest.update(json.dumps([FORMAT, detector, config.record()]).encode())
    seen: set[str] = set()
    licences = {source.name: source.licence}
    for photograph in photographs:
        if photograph.origin in seen:
            raise ValueError(
                f"{source.name}: two photographs have the origin {photograph.origin}; origins must "
                "be distinct"
            )
        seen.add(photograph.origin)
        if photograph.licence is not None:
            licences[photograph.origin] = photograph.licence
        size = photograph.path.stat().st_size if photograph.path.is_file() else None
        item = [photograph.identity, photograph.origin, photograph.region, size]
        digest.update(json.dumps(item).encode())
    return TableNotes(source.name, licences, config, detector, len(photographs), digest.hexdigest())


def _existing(out: Path, fingerprint: str) -> FaceTable:
    table = FaceTable.open(out)
    if table.notes.fingerprint != fingerprint:
        raise ValueError(
            f"{shown(out)} already exists and was prepared from {table.notes.source!r} with other "
            "photographs, another config or other models. Give another output path, or delete the "
            "file to prepare the faces again"
        )
    return table


def _parts_folder(out: Path) -> Path:
    if is_address(out):
        return cache_folder() / "faces" / hashlib.sha256(address_of(out).encode()).hexdigest()[:20]
    return out.with_name(f"{out.name}.parts")


def _chunks(photographs: Sequence[Photograph], folder: Path, fingerprint: str) -> list[Chunk]:
    """Divide the photographs into chunks of 4 to 32, a multiple of 4, the batch of the embedding.

    Small chunks let a short list of photographs occupy every core, and limit what an interruption
    loses.
    """
    size = 4 * min(max(len(photographs) // 256, 1), 8)
    return [
        Chunk(
            folder / f"part-{start // size:06d}.parquet",
            fingerprint,
            tuple(photographs[start : start + size]),
        )
        for start in range(0, len(photographs), size)
    ]


def _prepare(
    chunks: Sequence[Chunk], config: FaceConfig, factory: DetectorFactory, workers: int
) -> Iterator[tuple[Chunk, PartSummary]]:
    """Yield every chunk with the summary of its part, those of an earlier run first."""
    remove_partial(chunks[0].path.parent)
    waiting: list[Chunk] = []
    for chunk in chunks:
        summary = finished_part(chunk)
        if summary is None:
            waiting.append(chunk)
        else:
            yield chunk, summary
    workers = min(workers, len(waiting))
    if workers <= 1:
        detector = factory(config)
        for chunk in waiting:
            yield chunk, make_part(chunk, config, detector)
        return
    # Processes are spawned: a fork would break the threads of the caller (Prefect, OpenCV).
    pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (config, factory))
    try:
        yield from zip(waiting, pool.map(make_part_in_worker, waiting), strict=True)
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process of the face preparation ended unexpectedly, most likely because "
            "memory ran out. Finished parts are kept: run the same command again with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _choose(
    chunks: Sequence[Chunk], config: FaceConfig, photographs: int
) -> tuple[list[int], list[Rejection]]:
    """Select the faces to keep among the candidates of all parts of so many photographs.

    Returns:
        Numbers of the kept candidates, counted over all parts from 0, and the rejections of the
        parts and of the selection.
    """
    columns = ["identity", "origin", "embedding", "hash", "landmarks", *QUALITIES]
    rejections: list[Rejection] = []
    tables = []
    for chunk in chunks:
        summary = finished_part(chunk)
        if summary is None:
            raise RuntimeError(
                f"the part file {chunk.path} was damaged or removed while the faces were prepared; "
                "run the same command again"
            )
        rejections += summary.rejections
        tables.append(_read(chunk, columns))
    table = pa.concat_tables(tables).combine_chunks()
    qualities = table.select(QUALITIES).to_pylist()
    candidates = Candidates(
        identities=table["identity"].to_pylist(),
        origins=table["origin"].to_pylist(),
        embeddings=floats(table["embedding"]).reshape(-1, 128),
        hashes=np.frombuffer(b"".join(table["hash"].to_pylist()), np.uint8).reshape(-1, 32),
        costs=np.array([template_cost(FaceQuality(**row)) for row in qualities], np.float64)
        + _rest_costs(table, config),
        method=search_method(photographs),
    )
    kept, not_chosen = select(candidates, config)
    return kept, rejections + not_chosen


def _rest_costs(table: pa.Table, config: FaceConfig) -> NDArray[np.float64]:
    """Return what the expressions of the candidates ``(N,)`` add to their template costs."""
    if not config.rest_weight or not len(table):
        return np.zeros(len(table))
    landmarks = floats(table["landmarks"]).reshape(-1, 68, 2)
    intensities, _ = strongest(expressions_of(landmarks))
    return config.rest_weight * intensities.astype(np.float64) ** 2


def _read(chunk: Chunk, columns: Sequence[str]) -> pa.Table:
    try:
        table = pq.read_table(chunk.path, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        chunk.path.unlink(missing_ok=True)
        raise RuntimeError(
            f"the part file {chunk.path} was damaged ({error}) and has been deleted; run the same "
            "command again"
        ) from None
    return table.replace_schema_metadata()


def _rows(chunks: Sequence[Chunk], kept: Sequence[int]) -> Iterator[pa.Table]:
    """Yield the rows to keep of each part."""
    chosen = np.asarray(kept, dtype=np.int64)
    start = 0
    for chunk in chunks:
        part = _read(chunk, SCHEMA.names)
        here = chosen[(chosen >= start) & (chosen < start + len(part))] - start
        start += len(part)
        yield part.take(here)


def _nothing_left(source: str, photographs: int, rejections: Sequence[Rejection]) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in count_by_reason(rejections).items())
    first = rejections[0]
    return (
        f"none of the {photographs} photographs of {source} shows a usable face ({counts}); for "
        f"example {first.origin}: {first.detail}. Give photographs that show one face each, or "
        "relax the thresholds of the face config"
    )


def _remove_parts(out: Path) -> None:
    folder = _parts_folder(out)
    remove_partial(folder)
    for part in folder.glob("part-*.parquet"):
        part.unlink(missing_ok=True)
    # The folder stays if it contains files that this module did not write.
    with suppress(OSError):
        folder.rmdir()
