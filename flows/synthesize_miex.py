"""Define the Prefect flow `synthesize-miex`: from faces to a sharded micro-expression dataset.

    python flows/synthesize_miex.py run -p identities=10       # here and now
    python flows/synthesize_miex.py serve                      # then, in another shell:
    prefect deployment run synthesize-miex/local -p identities=9 --watch

A run that was killed resumes when it is started again with the same parameters: the finished shards
on disk decide what is left to render, not Prefect's cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from prefect import flow, unmapped
from prefect.client.orchestration import get_client
from prefect.futures import as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from miex.datasets.locks import locked
from miex.datasets.quantity import quantity
from miex.datasets.storage import absolute, address_of, shown
from miex.flows.artifacts import ProgressArtifact, publish
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.pipeline.clusters import ClusterKind, kind_of
from miex.pipeline.make_dataset import finish, render_on_cluster
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import Job, planned, start
from miex.pipeline.synthesis.records import pending
from miex.pipeline.synthesis.run import render_shard
from miex.pipeline.synthesis.source_notes import source_notes
from miex.pipeline.workers import cores

RunnerName = Literal["threads", "processes", "dask", "ray"]


@flow(name="synthesize-miex", log_prints=True)
@parameters_of(SynthesisConfig)
def synthesize_miex(
    config: SynthesisConfig,
    out: Path = Path("out/miex"),
    workers: int | None = None,
    task_runner: RunnerName = "processes",
    cluster: str | None = None,
) -> str:
    """Synthesize a dataset, or resume one that was interrupted.

    Args:
        config: Every flag of `SynthesisConfig`, as a parameter each.
        out: Folder of the dataset, or its address (s3://BUCKET/NAME).
        workers: Number of shards that are rendered at a time; one per core by default. A running
            cluster has workers of its own.
        task_runner: What renders them: threads or processes of this machine, or a Dask or Ray
            cluster (extras `miex[dask]`, `miex[ray]`). Ray was never run: its calls are tested
            against a stand-in only.
        cluster: Address of a running cluster: tcp://HOST:8786 of a Dask scheduler (tested),
            ray://HOST:10001 of Ray (never run). Without it, dask and ray start one on this machine.
            Its workers need no Prefect server.

    Returns:
        The dataset folder.
    """
    out = absolute(out)
    kind = cluster_kind(task_runner, cluster)
    with locked(out, print):
        job = prepare(config, out, workers)
        if kind is not None:
            render_in_cluster(job, kind, cluster, workers)
        else:
            with _shared_server():
                render_all.with_options(task_runner=create_task_runner(task_runner, workers))(job)
        manifest = complete(job)
    publish(out, manifest)
    return address_of(out)


def cluster_kind(task_runner: RunnerName, cluster: str | None) -> ClusterKind | None:
    """Return the kind of cluster that renders the shards, None for this machine's workers.

    Raises:
        ValueError: The address belongs to no cluster, or to another kind than the task runner.
    """
    named: ClusterKind | None = task_runner if task_runner in ("dask", "ray") else None
    if cluster is None or (named and "://" not in cluster):
        return named
    kind = kind_of(cluster)
    if named not in (None, kind):
        raise ValueError(
            f"task_runner={task_runner} and cluster={cluster} differ: this is an address of {kind}"
        )
    return kind


@retried
def render_in_cluster(
    job: Job, kind: ClusterKind, address: str | None, workers: int | None
) -> None:
    """Render every shard that is missing, in the workers of a cluster."""
    left = _announced(job)
    progress = ProgressArtifact("shards", "Samples written")
    done = job.samples - sum(len(planned(job, number)) for number in left)

    def on_samples(count: int) -> None:
        nonlocal done
        done += count
        progress.update(done, job.samples)

    render_on_cluster(job, left, kind, address, workers=workers, on_samples=on_samples)


def _announced(job: Job) -> list[int]:
    left = pending(job)
    print(
        f"shards finished before: {job.shards - len(left)} of {job.shards}, {len(left)} to render"
    )
    return left


@retried
def prepare(config: SynthesisConfig, out: Path, workers: int | None) -> Job:
    """Prepare the faces and plan the dataset."""
    progress = ProgressArtifact("faces", "Photographs examined")

    def on_faces(done: int, total: int, _rejected: dict[str, int]) -> None:
        progress.update(done, total)

    print("\n".join(source_notes(config)))
    job = start(config, out, workers=workers, on_faces=on_faces)
    print(
        f"{quantity(job.samples, 'sample')} in {quantity(job.shards, 'shard')} "
        f"will be written to {shown(job.out)}"
    )
    return job


@retried
def render(job: Job, shard: int) -> int:
    """Render one shard; a finished shard is only checked."""
    render_shard(job, shard)
    return shard


@flow(name="render-shards", validate_parameters=False, log_prints=True)
def render_all(job: Job) -> None:
    """Render every shard that is missing, several at a time."""
    left = _announced(job)
    progress = ProgressArtifact("shards", "Shards written")
    futures = render.map(unmapped(job), left)
    for done, future in enumerate(as_completed(list(futures)), job.shards - len(left) + 1):
        future.result()
        progress.update(done, job.shards)


@retried
def complete(job: Job) -> dict[str, Any]:
    """Write manifest, dataset card, contact sheet and report."""
    return finish(job)


@contextmanager
def _shared_server() -> Iterator[None]:
    """Let other processes report to the server of this one.

    Without a Prefect server every process that runs a task would start a temporary one of its
    own, seconds and 200 MB each, over the same database.
    """
    with get_client(sync_client=True) as client:
        address = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: address}):
        yield


def create_task_runner(name: RunnerName, workers: int | None) -> "TaskRunner[Any]":
    """Create the task runner that renders the shards.

    Args:
        name: ``threads`` or ``processes``; clusters need none.
        workers: Number of shards that are rendered at a time; one per core by default.
    """
    count = workers or cores()
    if name == "threads":
        return ThreadPoolTaskRunner(max_workers=count)
    return ProcessPoolTaskRunner(max_workers=count)


def main() -> None:
    """Run the console script `synthesize-miex`."""
    run_or_serve(synthesize_miex)


if __name__ == "__main__":
    main()
