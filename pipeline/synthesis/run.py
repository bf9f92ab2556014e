"""Renders the shards of a dataset and writes its manifest.

Any scheduler can drive it: `start` once, `render_shard` for every number in `pending` wherever
there is a core, `complete` once.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch

from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.synthesis.job import (
    Job,
    clear_state,
    finished_shard,
    planned,
    record_shard,
    reopen,
)
from miex.pipeline.synthesis.manifest import build_manifest, write_manifest
from miex.pipeline.synthesis.render import Rejection, Renderer
from miex.pipeline.synthesis.shard_files import ShardRecord, schema_with_metadata, write_shard

OnSamples = Callable[[int], None]
"""Progress of the rendering: samples that were finished since the last call."""


def render_shard(job: Job, number: int, on_samples: OnSamples | None = None) -> ShardRecord:
    """Renders one shard, unless it is finished already. Safe in any thread or process.

    Args:
        job: From `start`.
        number: Which shard.
        on_samples: Called with the number of samples that were finished since the last call.

    Raises:
        DiskFullError: The disk is full; the shard is not there then.
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

    record = write_shard(
        job.out,
        number,
        job.shards,
        indices,
        rows(),
        schema_with_metadata(job.config.canonical(), job.inputs.plan.label_space.classes),
        job.fingerprint,
    )
    record_shard(job, record)
    return record


def complete(job: Job) -> dict[str, Any]:
    """Write the manifest, once every shard is there.

    Returns:
        The manifest.

    Raises:
        ValueError: A shard is missing, or not one sample was accepted.
    """
    records = [finished_shard(job, number) for number in range(job.shards)]
    finished = [record for record in records if record is not None]
    if len(finished) < len(records):
        missing = [number for number, record in enumerate(records) if record is None]
        raise ValueError(f"{job.out}: shards {missing} are not rendered yet")
    if not any(record.rows for record in finished):
        reason = finished[0].rejections[0]
        raise ValueError(
            f"{job.out}: every sample was rejected, the first one for {reason.reason!r} "
            f"({reason.detail}); lower quality.min_motion_iod or raise the intensity"
        )
    manifest = build_manifest(job.out, job.fingerprint, job.inputs, finished)
    write_manifest(job.out, manifest)
    clear_state(job)
    return manifest


def redraw(out: Path, sample_id: str) -> dict[str, Any] | Rejection:
    """Makes one row of a dataset again, alone, from its seed and number.

    Raises:
        KeyError: The dataset has no such sample.
        FileNotFoundError, ValueError: See `reopen`.
    """
    job = reopen(out)
    index = job.inputs.plan.index_of(sample_id)
    return next(iter(_renderer(job).rows(range(index, index + 1))))


_local = threading.local()


def _renderer(job: Job) -> Renderer:
    """Return the renderer of a job, kept for the next shard in the same thread."""
    inputs = job.inputs
    if getattr(_local, "inputs", None) is not inputs:
        # One thread each: shards are the unit of parallelism, and sums must not depend on how
        # many threads a library splits them over.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        _local.renderer = Renderer(inputs, DlibDetector(FaceConfig()).embed)
        _local.inputs = inputs
    renderer: Renderer = _local.renderer
    return renderer
