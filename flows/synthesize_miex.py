"""The Prefect flow `synthesize-miex`: from real faces to a sharded micro-expression dataset.

    python flows/synthesize_miex.py run -p identities=10       # here and now
    python flows/synthesize_miex.py serve                      # then, in another shell:
    prefect deployment run synthesize-miex/local -p identities=100 --watch

A run that was killed goes on where it stopped when the same parameters are started again: the
finished shards on disk decide what is left, not Prefect's cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from prefect import flow, task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.futures import as_completed
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from miex.datasets.locks import locked
from miex.flows.artifacts import ProgressArtifact, publish
from miex.flows.entry import is_transient, run_or_serve
from miex.flows.overrides import chosen, configure
from miex.pipeline.make_dataset import finish
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import Job, pending, start
from miex.pipeline.synthesis.run import render_shard
from miex.pipeline.workers import cores

RunnerName = Literal["threads", "processes", "dask", "ray"]


@flow(name="synthesize-miex", log_prints=True)
def synthesize_miex(
    out: Path = Path("out/miex"),
    config: Path | None = None,
    name: str | None = None,
    faces: str | None = None,
    identities: int | None = None,
    samples: int | None = None,
    au_triplets: int | None = None,
    sources: list[str] | None = None,
    label_space: str | None = None,
    frames: int | None = None,
    seed: int | None = None,
    drift: bool | None = None,
    generator: str | None = None,
    checkpoint: Path | None = None,
    device: str | None = None,
    settings: dict[str, Any] | None = None,
    workers: int | None = None,
    task_runner: RunnerName = "processes",
) -> str:
    """Synthesizes a dataset, or finishes one that was interrupted.

    Args:
        out: Folder of the dataset.
        config: A YAML file with fields of `SynthesisConfig`; every parameter here wins over it.
        name: Prefix of the sample ids.
        faces: A face table, or a source to prepare: samples, folder:PATH, celeba:PATH,
            emotionnet:PATH.
        identities: How many identities take part; all by default.
        samples: How many samples in all; by default every identity gets every class from every
            AU source once.
        au_triplets: How many distinct (onset AUs, apex AUs, label) triplets in all.
        sources: AU sources, expert:TABLE or pool:FILE.parquet.
        label_space: Name of the label space.
        frames: Frames from onset to apex, both counted.
        seed: Seed of everything that is drawn.
        drift: Whether heads move a little between onset and apex, as in real clips.
        generator: Name of the generator.
        checkpoint: Weights of the generator.
        device: Where the generator runs: auto, cpu, cuda, ...
        settings: Any other field, nested ones with dots: {"quality.max_attempts": 9}.
        workers: How many shards are rendered at a time; one a core by default.
        task_runner: What renders them: threads or processes of this machine, or a Dask or Ray
            cluster (extras `miex[dask]`, `miex[ray]`).

    Returns:
        The dataset folder.
    """
    overrides = chosen(locals()) | (settings or {})
    with locked(out.resolve(), print):
        job = prepare(configure(config, overrides), out.resolve(), workers)
        with shared_server():
            render_all.with_options(task_runner=create_task_runner(task_runner, workers))(job)
        manifest = complete(job)
    publish(job.out, manifest)
    return str(job.out)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def prepare(config: SynthesisConfig, out: Path, workers: int | None) -> Job:
    """Validates the config, prepares the faces and plans the dataset."""
    progress = ProgressArtifact("faces", "Photographs looked at")

    def on_faces(done: int, total: int, _rejected: dict[str, int]) -> None:
        progress.update(done, total)

    job = start(config, out, workers=workers, on_faces=on_faces)
    print(f"{job.samples} samples in {job.shards} shards will lie in {job.out}")
    return job


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def render(job: Job, shard: int) -> int:
    """Renders one shard; a shard that is already there is only checked."""
    render_shard(job, shard)
    return shard


@flow(name="render-shards", validate_parameters=False, log_prints=True)
def render_all(job: Job) -> None:
    """Renders every shard that is not there yet, several at a time."""
    left = pending(job)
    print(f"{job.shards - len(left)} of {job.shards} shards are there, {len(left)} to render")
    progress = ProgressArtifact("shards", "Shards written")
    futures = render.map(unmapped(job), left)
    for done, future in enumerate(as_completed(list(futures)), job.shards - len(left) + 1):
        future.result()
        progress.update(done, job.shards)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=is_transient)
def complete(job: Job) -> dict[str, Any]:
    """Writes manifest, dataset card, contact sheet and report."""
    return finish(job)


@contextmanager
def shared_server() -> Iterator[None]:
    """Lets other processes report to the server of this one.

    Without a Prefect server every process that runs a task would start a temporary one of its
    own, seconds and 200 MB each, over the same database.
    """
    with get_client(sync_client=True) as client:
        address = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: address}):
        yield


def create_task_runner(name: RunnerName, workers: int | None) -> "TaskRunner[Any]":
    """Creates what renders the shards.

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
            f"install it with: pip install 'miex[{name}]'"
        ) from None


def main() -> None:
    """The console script `synthesize-miex`."""
    run_or_serve(synthesize_miex)


if __name__ == "__main__":
    main()
