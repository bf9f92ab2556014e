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

from miex.datasets.extras import how_to_install
from miex.datasets.locks import locked
from miex.datasets.quantity import quantity
from miex.flows.artifacts import ProgressArtifact, publish
from miex.flows.entry import parameters_of, retried, run_or_serve
from miex.pipeline.make_dataset import finish
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import Job, start
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
) -> str:
    """Synthesize a dataset, or resume one that was interrupted.

    Args:
        config: Every flag of `SynthesisConfig`, as a parameter each.
        out: Folder of the dataset.
        workers: Number of shards that are rendered at a time; one per core by default.
        task_runner: What renders them: threads or processes of this machine, or a Dask or Ray
            cluster (extras `miex[dask]`, `miex[ray]`).

    Returns:
        The dataset folder.
    """
    with locked(out.resolve(), print):
        job = prepare(config, out.resolve(), workers)
        with _shared_server():
            render_all.with_options(task_runner=create_task_runner(task_runner, workers))(job)
        manifest = complete(job)
    publish(job.out, manifest)
    return str(job.out)


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
        f"will be written to {job.out}"
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
    left = pending(job)
    print(
        f"{job.shards - len(left)} of {quantity(job.shards, 'shard')} are finished, "
        f"{len(left)} to render"
    )
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

    Raises:
        ImportError: The package that the runner needs is not installed; the message names it.
    """
    count = workers or cores()
    if name == "threads":
        return ThreadPoolTaskRunner(max_workers=count)
    if name == "processes":
        return ProcessPoolTaskRunner(max_workers=count)
    try:
        if name == "dask":
            from prefect_dask.task_runners import DaskTaskRunner

            cluster = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None}
            dask: TaskRunner[Any] = DaskTaskRunner(cluster_kwargs=cluster)
            return dask
        from prefect_ray.task_runners import RayTaskRunner

        ray: TaskRunner[Any] = RayTaskRunner(init_kwargs={"num_cpus": count})
        return ray
    except ImportError as error:
        raise ImportError(
            f"task_runner={name!r} needs a package that is not installed ({error}); "
            f"{how_to_install(name)}"
        ) from None


def main() -> None:
    """Run the console script `synthesize-miex`."""
    run_or_serve(synthesize_miex)


if __name__ == "__main__":
    main()
