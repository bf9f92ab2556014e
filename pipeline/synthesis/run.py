"""The main job: faces and AU sources in, a finished dataset folder out.

`synthesize` does all of it. Its four steps are public so that any scheduler can drive them:
`start` once, `render_shard` for every number in `pending` wherever there is a core, `finish` once.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch

from miex.datasets.files import whole_file
from miex.datasets.miex import RUN_LOG
from miex.pipeline.reports.card import dataset_card
from miex.pipeline.reports.report import write_report
from miex.pipeline.reports.sheet import contact_sheet
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.face_config import FaceConfig
from miex.pipeline.synthesis.face_detection import DlibDetector
from miex.pipeline.synthesis.job import (
    Job,
    OnFaces,
    clear_state,
    finished_shard,
    open_inputs,
    pending,
    planned,
    record_shard,
    reopen,
    start,
)
from miex.pipeline.synthesis.manifest import (
    build_manifest,
    describe_inputs,
    write_json,
    write_manifest,
)
from miex.pipeline.synthesis.plan import Plan
from miex.pipeline.synthesis.quality import open_reader
from miex.pipeline.synthesis.render import Rejection, Renderer
from miex.pipeline.synthesis.shards import ShardRecord, schema_with_metadata, write_shard
from miex.pipeline.synthesis.workers import map_in_processes

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
    _, renderer = _workshop(job)
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
        schema_with_metadata(job.config.canonical()),
        job.fingerprint,
    )
    record_shard(job, record)
    return record


def finish(job: Job) -> dict[str, Any]:
    """Writes the manifest, the dataset card, the contact sheet and the report.

    Returns:
        The manifest.

    Raises:
        ValueError: A shard is missing, or not one sample was accepted.
    """
    records = [finished_shard(job, number) for number in range(job.shards)]
    complete = [record for record in records if record is not None]
    if len(complete) < len(records):
        missing = [number for number, record in enumerate(records) if record is None]
        raise ValueError(f"{job.out}: shards {missing} are not rendered yet")
    if not any(record.rows for record in complete):
        reason = complete[0].rejections[0]
        raise ValueError(
            f"{job.out}: every sample was rejected, the first one for {reason.reason!r} "
            f"({reason.detail}); lower quality.min_motion_iod or raise the intensity"
        )
    plan, faces, sources, generator = open_inputs(job)
    inputs = describe_inputs(job.config, faces, sources, generator)
    manifest = build_manifest(job.out, job.config, job.fingerprint, inputs, plan, complete)
    write_manifest(job.out, manifest)
    clear_state(job)
    with whole_file(job.out / "README.md") as card:
        card.write_text(dataset_card(manifest), encoding="utf-8")
    contact_sheet(job.out)
    write_report(job.out)
    return manifest


def synthesize(
    config: SynthesisConfig,
    out: Path,
    *,
    workers: int | None = None,
    on_faces: OnFaces | None = None,
    on_start: Callable[[Job], None] | None = None,
    on_samples: OnSamples | None = None,
) -> dict[str, Any]:
    """Makes a dataset, or goes on with one that was interrupted.

    Args:
        config: What to make.
        out: The dataset folder.
        workers: Processes; all cores by default, 1 works in this process and leaves PyTorch and
            OpenCV at one thread there. The result does not depend on it.
        on_faces: Progress of the face preparation: (done, total, counts by outcome).
        on_start: Called with the job when rendering begins.
        on_samples: Progress of the rendering: samples finished since the last call.

    Returns:
        The manifest.

    Raises:
        ValueError: See `start` and `finish`.
        FileNotFoundError: See `start`.
        DiskFullError: The disk is full; finished shards stay, the next run goes on from them.
    """
    began = time.perf_counter()
    job = start(config, out, workers=workers, on_faces=on_faces)
    if on_start:
        on_start(job)
    prepared = time.perf_counter()
    todo = pending(job)
    left = sum(len(planned(job, number)) for number in todo)
    if on_samples and left < job.samples:
        on_samples(job.samples - left)
    map_in_processes(render_shard, job, todo, workers=workers, on_progress=on_samples)
    if todo:
        rendering = time.perf_counter() - prepared
        log = {
            "samples": left,
            "seconds": {"prepare": round(prepared - began, 2), "render": round(rendering, 2)},
            "samples_per_second": round(left / rendering, 1),
        }
        write_json(job.out / RUN_LOG, log)
    return finish(job)


def redraw(out: Path, sample_id: str) -> dict[str, Any] | Rejection:
    """Makes one row of a dataset again, alone, from its seed and number.

    Raises:
        KeyError: The dataset has no such sample.
        FileNotFoundError, ValueError: See `reopen`.
    """
    plan, renderer = _workshop(reopen(out))
    index = plan.index_of(sample_id)
    return next(iter(renderer.rows(range(index, index + 1))))


_local = threading.local()


def _workshop(job: Job) -> tuple[Plan, Renderer]:
    """Opened inputs and generator of a job, kept for the next shard in the same thread."""
    # Equal datasets may take their faces from different folders, one of which may be gone.
    key = job.fingerprint, job.faces
    if getattr(_local, "key", None) != key:
        # One thread each: shards are the unit of parallelism, and sums must not depend on how
        # many threads a library splits them over.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        plan, faces, sources, generator = open_inputs(job)
        _local.workshop = (
            plan,
            Renderer(
                job.config,
                plan,
                faces,
                sources,
                generator,
                DlibDetector(FaceConfig()).embed,
                open_reader(job.config.quality),
            ),
        )
        _local.key = key
    workshop: tuple[Plan, Renderer] = _local.workshop
    return workshop
