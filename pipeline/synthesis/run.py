"""Rendering of the shards of a dataset, and its manifest.

A scheduler calls `start` once, `render_shard` for every number in `pending`, in any process, and
`complete` once.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch

from miex.datasets.storage import staged
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.synthesis.job import Job, planned, reopen
from miex.pipeline.synthesis.manifest import Origin, build_manifest, write_manifest
from miex.pipeline.synthesis.records import (
    clear_state,
    finished_manifest,
    finished_shard,
    record_shard,
    records,
    require_files,
)
from miex.pipeline.synthesis.render import Rejection, Renderer
from miex.pipeline.synthesis.shard_files import ShardRecord, schema_with_metadata, write_shard

OnSamples = Callable[[int], None]
"""Progress callback of the rendering: number of samples finished since the last call."""


def render_shard(job: Job, number: int, on_samples: OnSamples | None = None) -> ShardRecord:
    """Render one shard, unless it is finished already. Safe in any thread or process.

    Args:
        job: The job that `start` returned.
        number: Number of the shard, from 0.
        on_samples: Called with the number of samples finished since the last call.

    Returns:
        The record of the shard.

    Raises:
        DiskFullError: The disk is full; no part of the shard is left on disk.
    """
    record = finished_shard(job, number)
    if record is not None:
        if on_samples:
            on_samples(record.last - record.first + 1)
        return record
    renderer = _renderer(job)
    indices = planned(job, number)

    def rows() -> Any:
        for chunk in renderer.chunks(indices):
            yield from renderer.rows(chunk)
            if on_samples:
                on_samples(len(chunk))

    with staged(job.out) as folder:
        record = write_shard(
            folder,
            number,
            job.shards,
            indices,
            rows(),
            schema_with_metadata(job.config.canonical()),
            job.fingerprint,
            job.inputs.plan.spec_of,
        )
    record_shard(job, record)
    return record


def complete(job: Job) -> dict[str, Any]:
    """Write the manifest of a dataset whose shards are all finished.

    Returns:
        The manifest.

    Raises:
        ValueError: A shard is missing, or no sample was accepted.
    """
    manifest = finished_manifest(job)
    if manifest is not None:
        require_files(job, manifest)
    else:
        origin = Origin.of(job.inputs)
        manifest = build_manifest(job.out, job.fingerprint, origin, records(job), job.shards)
        write_manifest(job.out, manifest)
    clear_state(job)
    return manifest


def redraw(out: Path, sample_id: str) -> dict[str, Any] | Rejection:
    """Render one sample of a finished dataset again, from its seed and index.

    Args:
        out: The dataset folder.
        sample_id: Id of the sample.

    Returns:
        The row, or the rejection of the sample.

    Raises:
        KeyError: The dataset has no such sample.
        FileNotFoundError: See `reopen`.
        ValueError: See `reopen`.
    """
    job = reopen(out)
    index = job.inputs.plan.index_of(sample_id)
    return next(iter(_renderer(job).rows(range(index, index + 1))))


_local = threading.local()


def _renderer(job: Job) -> Renderer:
    """Return the renderer of a job; each thread keeps it for its next shard."""
    inputs = job.inputs
    if getattr(_local, "inputs", None) is not inputs:
        # Shards are rendered in parallel processes. Within one, a single thread keeps the order of
        # floating-point sums, and thus the dataset, independent of the machine.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        _local.renderer = Renderer(inputs, DlibDetector(FaceConfig()).embed)
        _local.inputs = inputs
    renderer: Renderer = _local.renderer
    return renderer
