"""Synthesis of a complete dataset folder: samples, manifest, dataset card, sheet and report."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from miex.datasets.dataset_format import RUN_LOG
from miex.datasets.files import whole_file
from miex.datasets.locks import locked
from miex.datasets.storage import exists, is_address, staged
from miex.pipeline.clusters import ClusterKind, kind_of, map_on_cluster
from miex.pipeline.reports.animation import FLIP, write_flip
from miex.pipeline.reports.card import dataset_card
from miex.pipeline.reports.report import draw_gallery, write_report
from miex.pipeline.reports.sheet import contact_sheet
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import Job, OnFaces, planned, start
from miex.pipeline.synthesis.manifest import write_json
from miex.pipeline.synthesis.records import pending
from miex.pipeline.synthesis.run import OnSamples, complete, render_shard
from miex.pipeline.synthesis.shard_files import shard_path
from miex.pipeline.workers import OnStage, beside, map_in_processes


def synthesize(
    config: SynthesisConfig,
    out: Path,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    on_faces: OnFaces | None = None,
    on_start: Callable[[Job], None] | None = None,
    on_samples: OnSamples | None = None,
    on_stage: OnStage | None = None,
) -> dict[str, Any]:
    """Synthesize a dataset, or resume an interrupted run.

    A second run on the same folder waits until the first has ended. At an address, that holds for
    runs on one machine only; runs on several do the same work twice and write equal files.

    Args:
        config: Faces, AU sources, generator and size of the dataset.
        out: The dataset folder, or its address (``s3://BUCKET/KEY``).
        workers: Number of processes; all cores by default. With 1, no process is started, and
            PyTorch and OpenCV are left at one thread in this process. The dataset does not depend
            on this number.
        cluster: Address of a running Dask or Ray cluster that renders the shards, see
            `miex.pipeline.clusters.kind_of`; by default, processes of this machine do.
        on_faces: Progress of the face preparation: (done, total, counts by outcome).
        on_start: Called with the job when rendering starts.
        on_samples: Progress of the rendering: number of samples finished since the last call.
        on_stage: Progress of the contact sheet and the report.

    Returns:
        The manifest.

    Raises:
        ValueError: See `start` and `finish`.
        FileNotFoundError: See `start`.
        ConnectionError: No cluster answers at its address.
        DiskFullError: The disk is full. Finished shards are kept, and the next run resumes.
    """
    kind = None if cluster is None else kind_of(cluster)
    with locked(out):
        began = time.perf_counter()
        job = start(config, out, workers=workers, on_faces=on_faces)
        if on_start:
            on_start(job)
        prepared = time.perf_counter()
        todo = pending(job)
        left = sum(len(planned(job, number)) for number in todo)
        if on_samples and left < job.samples:
            on_samples(job.samples - left)
        if kind is None:
            map_in_processes(render_shard, job, todo, workers=workers, on_progress=on_samples)
        else:
            render_on_cluster(job, todo, kind, cluster, on_samples=on_samples)
        if todo:
            _log_run(job, left, prepared - began, time.perf_counter() - prepared)
        return finish(job, on_stage, workers)


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


def render_on_cluster(
    job: Job,
    numbers: Sequence[int],
    kind: ClusterKind,
    address: str | None,
    *,
    workers: int | None = None,
    on_samples: OnSamples | None = None,
) -> None:
    """Render shards in the workers of a Dask or Ray cluster.

    Args:
        job: The job.
        numbers: Numbers of the shards.
        kind: ``dask`` or ``ray``.
        address: Address of a running cluster; None starts one on this machine.
        workers: Number of processes of a cluster on this machine.
        on_samples: Progress: number of samples finished since the last call.

    Raises:
        ConnectionError: No cluster answers at the address.
        ValueError: The workers write to a folder that this machine does not see.
    """

    def on_done(number: int) -> None:
        if not is_address(job.out) and not (job.out / shard_path(number, job.shards)).is_file():
            raise ValueError(
                f"{job.out}: a worker of the cluster has rendered shard {number}, but it is not"
                " here: the folder is not shared between the machines. Give a folder that all of"
                " them see under this path, or an address such as s3://BUCKET/NAME"
            )
        if on_samples:
            on_samples(len(planned(job, number)))

    map_on_cluster(render_shard, job, numbers, kind, address, workers=workers, on_done=on_done)


def _log_run(job: Job, samples: int, prepare: float, render: float) -> None:
    log = {
        "folder": str(job.folder),
        "samples": samples,
        "seconds": {"prepare": round(prepare, 2), "render": round(render, 2)},
        "samples_per_second": round(samples / render, 1),
    }
    write_json(job.out / RUN_LOG, log)


def finish(job: Job, on_stage: OnStage | None = None, workers: int | None = None) -> dict[str, Any]:
    """Write the manifest, the dataset card, the pictures of samples and the report.

    Args:
        job: A job of which every shard is rendered.
        on_stage: Progress callback; the stages are ``sheet``, ``frames`` and ``gallery``.
        workers: Number of processes, all cores by default.

    Returns:
        The manifest.

    Raises:
        ValueError: A shard is missing, or no sample was accepted.
    """
    manifest = complete(job)
    if not exists(job.out / RUN_LOG):
        write_json(job.out / RUN_LOG, {"folder": str(job.folder)})
    write_card_and_report(job.out, manifest, on_stage, workers)
    return manifest


def write_card_and_report(
    folder: Path,
    manifest: Mapping[str, Any],
    on_stage: OnStage | None = None,
    workers: int | None = None,
) -> None:
    """Write the dataset card, the contact sheet, `flip.webp` and the report of a dataset.

    The pictures are drawn in other processes, where there are some, while this one examines the
    samples.

    Args:
        folder: The dataset folder, or its address.
        manifest: Its manifest.
        on_stage: Progress callback; the stages are ``sheet``, ``frames`` and ``gallery``.
        workers: Number of processes, all cores by default.
    """
    with staged(folder) as local, beside(workers, on_stage) as submit:
        with whole_file(local / "README.md") as card:
            card.write_text(dataset_card(manifest), encoding="utf-8")
        gallery = submit(draw_gallery, folder)
        pictures = submit(_draw_pictures, folder, local)
        write_report(
            folder, local / "report", workers=workers, gallery=gallery.result, on_stage=on_stage
        )
        pictures.result()


def _draw_pictures(folder: Path, local: Path, on_stage: OnStage | None) -> None:
    contact_sheet(folder, local / "sheet.png", on_stage=on_stage)
    write_flip(folder, local / FLIP)
