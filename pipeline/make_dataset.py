"""Synthesis of a complete dataset folder: samples, manifest, dataset card, sheet and report."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from miex.datasets.dataset_format import RUN_LOG
from miex.datasets.files import whole_file
from miex.datasets.locks import locked
from miex.datasets.storage import exists
from miex.pipeline.reports.animation import write_flip
from miex.pipeline.reports.card import dataset_card
from miex.pipeline.reports.report import write_report
from miex.pipeline.reports.sheet import contact_sheet
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import Job, OnFaces, planned, start
from miex.pipeline.synthesis.manifest import write_json
from miex.pipeline.synthesis.records import pending
from miex.pipeline.synthesis.run import OnSamples, complete, render_shard
from miex.pipeline.workers import OnStage, map_in_processes


def synthesize(
    config: SynthesisConfig,
    out: Path,
    *,
    workers: int | None = None,
    on_faces: OnFaces | None = None,
    on_start: Callable[[Job], None] | None = None,
    on_samples: OnSamples | None = None,
    on_stage: OnStage | None = None,
) -> dict[str, Any]:
    """Synthesize a dataset, or resume an interrupted run.

    A second run on the same folder waits until the first has ended.

    Args:
        config: Faces, AU sources, generator and size of the dataset.
        out: The dataset folder.
        workers: Number of processes; all cores by default. With 1, no process is started, and
            PyTorch and OpenCV are left at one thread in this process. The dataset does not depend
            on this number.
        on_faces: Progress of the face preparation: (done, total, counts by outcome).
        on_start: Called with the job when rendering starts.
        on_samples: Progress of the rendering: number of samples finished since the last call.
        on_stage: Progress of the contact sheet and the report.

    Returns:
        The manifest.

    Raises:
        ValueError: See `start` and `finish`.
        FileNotFoundError: See `start`.
        DiskFullError: The disk is full. Finished shards are kept, and the next run resumes.
    """
    with locked(out):
        job = _render(config, out, workers, on_faces, on_start, on_samples)
        return finish(job, on_stage)


def synthesize_as_stage(
    config: SynthesisConfig,
    out: Path,
    stage: str,
    *,
    workers: int | None = None,
    on_stage: OnStage | None = None,
) -> dict[str, Any]:
    """Synthesize a dataset as one stage of a longer run.

    Args:
        config: As for `synthesize`.
        out: As for `synthesize`.
        stage: Name of the stage, for progress.
        workers: As for `synthesize`.
        on_stage: Progress: stage, samples done, samples in all.

    Returns:
        The manifest.

    Raises:
        ValueError: See `synthesize`.
        FileNotFoundError: See `synthesize`.
        DiskFullError: See `synthesize`.
    """
    total = done = 0

    def on_start(job: Job) -> None:
        nonlocal total
        total = job.samples

    def on_samples(count: int) -> None:
        nonlocal done
        done += count
        if on_stage:
            on_stage(stage, done, total)

    return synthesize(config, out, workers=workers, on_start=on_start, on_samples=on_samples)


def _render(
    config: SynthesisConfig,
    out: Path,
    workers: int | None,
    on_faces: OnFaces | None,
    on_start: Callable[[Job], None] | None,
    on_samples: OnSamples | None,
) -> Job:
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
            "folder": str(Path.cwd()),
            "samples": left,
            "seconds": {"prepare": round(prepared - began, 2), "render": round(rendering, 2)},
            "samples_per_second": round(left / rendering, 1),
        }
        write_json(job.out / RUN_LOG, log)
    return job


def finish(job: Job, on_stage: OnStage | None = None) -> dict[str, Any]:
    """Write the manifest, the dataset card, the pictures of samples and the report.

    Args:
        job: A job of which every shard is rendered.
        on_stage: Progress callback; the stages are ``sheet``, ``frames`` and ``gallery``.

    Returns:
        The manifest.

    Raises:
        ValueError: A shard is missing, or no sample was accepted.
    """
    manifest = complete(job)
    if not exists(job.out / RUN_LOG):
        write_json(job.out / RUN_LOG, {"folder": str(Path.cwd())})
    write_card_and_report(job.out, manifest, on_stage)
    return manifest


def write_card_and_report(
    folder: Path, manifest: Mapping[str, Any], on_stage: OnStage | None = None
) -> None:
    """Write the dataset card, the contact sheet, `flip.webp` and the report of a dataset.

    Args:
        folder: The dataset folder.
        manifest: Its manifest.
        on_stage: Progress callback; the stages are ``sheet``, ``frames`` and ``gallery``.
    """
    with whole_file(folder / "README.md") as card:
        card.write_text(dataset_card(manifest), encoding="utf-8")
    contact_sheet(folder, on_stage=on_stage)
    write_flip(folder)
    write_report(folder, on_stage=on_stage)
