"""A dataset at an S3-compatible address, rendered by separate workers in different folders.

Everything runs on this machine: the store (moto), a Dask scheduler and two workers.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from store import free_port

from miex.datasets import storage
from miex.pipeline.clusters import kind_of, map_on_cluster
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.verify import verify


class Cluster:
    """A Dask scheduler and two workers, each a process in a folder of its own."""

    def __init__(self, start: Callable[..., subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._port = free_port()
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.scheduler = self.start_scheduler()
        self.workers = [self.start_worker("one"), self.start_worker("two")]

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        host = ("--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")
        return self._start("scheduler", "distributed.cli.dask_scheduler", *host)

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        return self._start(
            name,
            "distributed.cli.dask_worker",
            self.address,
            "--nthreads=1",
            "--no-dashboard",
            "--name",
            f"{name}-{time.time_ns()}",
            "--death-timeout=120",
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def stored(folder: Path) -> dict[str, bytes]:
    """Return the shards, the manifest and the card of a dataset."""
    return {
        name: storage.read_bytes(folder / name)
        for name in storage.sizes(folder)
        if name.startswith("data/") or name in ("manifest.json", "README.md")
    }


@pytest.mark.slow
def test_a_cluster_writes_the_same_dataset_to_a_store(
    bucket: str,
    start: Callable[..., subprocess.Popen[bytes]],
    sample_table: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("distributed")
    storage.store(sample_table, f"{bucket}/faces.parquet")
    config = SynthesisConfig(
        faces=f"{bucket}/faces.parquet", identities=4, samples=240, rows_per_shard=8
    )
    synthesize(config, tmp_path / "local", workers=1)

    cluster = Cluster(start)
    done: list[int] = []
    disturbed: list[str] = []

    def on_samples(count: int) -> None:
        done.append(count)
        if sum(done) >= 40 and not disturbed:
            kill(cluster.workers[0])
            disturbed.append("worker")
            cluster.workers.append(cluster.start_worker("three"))
        if sum(done) >= 120 and len(disturbed) == 1:
            kill(cluster.scheduler)
            disturbed.append("scheduler")
            threading.Timer(3, cluster.start_scheduler).start()
            for name in ("four", "five"):
                threading.Timer(4, cluster.start_worker, [name]).start()

    out = Path(f"{bucket}/miex")
    synthesize(config, out, cluster=cluster.address, on_samples=on_samples)
    assert disturbed == ["worker", "scheduler"]
    assert sum(done) == 240
    assert stored(out) == stored(tmp_path / "local")
    assert not any(name.startswith(".miex") for name in storage.sizes(out))
    assert verify(out, workers=1) == []


@pytest.mark.slow
def test_errors_of_workers_are_raised_here(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    pytest.importorskip("distributed")
    cluster = Cluster(start)
    with pytest.raises(TypeError, match="unsupported operand"):
        map_on_cluster(pow, "text", [1, 2], "dask", cluster.address)
    done: list[int] = []
    map_on_cluster(pow, 2, range(5), "dask", cluster.address, on_done=done.append)
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_a_folder_that_is_not_shared_is_named(
    sample_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*_: Any, on_done: Callable[[int], None], **__: Any) -> None:
        on_done(0)

    monkeypatch.setattr("miex.pipeline.make_dataset.map_on_cluster", elsewhere)
    config = SynthesisConfig(faces=str(sample_table), identities=1, samples=2)
    with pytest.raises(ValueError, match=r"shard 0, but it is not here: .*s3://BUCKET"):
        synthesize(config, tmp_path / "data", cluster="tcp://host:8786")


def test_ray_gets_every_number_and_its_errors_are_raised_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stand-in for Ray: what is called of it, and what it raises."""

    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        cause = ValueError("wrong")

    def remote(**options: Any) -> Any:
        assert options == {"max_retries": 3}
        return lambda function: SimpleNamespace(
            remote=lambda *given: SimpleNamespace(future=lambda: future_of(function, given))
        )

    def future_of(function: Callable[..., None], given: Any) -> Future[None]:
        future: Future[None] = Future()
        if given[1] == "lost":
            future.set_exception(RayError("no answer"))
        elif given[1] == "wrong":
            future.set_exception(RayTaskError())
        else:
            future.set_result(function(*given))
        return future

    addresses: list[str] = []
    stand_in = SimpleNamespace(
        init=lambda address, logging_level: addresses.append(address) or nullcontext(),
        remote=remote,
        exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError),
    )
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.setattr("miex.pipeline.clusters._PATIENCE", 0)
    done: list[int] = []
    map_on_cluster(pow, 2, range(5), "ray", "ray://host:10001", on_done=done.append)
    assert sorted(done) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="wrong"):
        map_on_cluster(pow, "wrong", [1], "ray", "ray://host:10001")
    with pytest.raises(ConnectionError, match=r"no Ray cluster answers at ray://host:10001"):
        map_on_cluster(pow, "lost", [1], "ray", "ray://host:10001")
    assert set(addresses) == {"ray://host:10001"}


@pytest.mark.parametrize(
    ("address", "kind"),
    [("tcp://host:8786", "dask"), ("tls://host:8786", "dask"), ("ray://host:10001", "ray")],
)
def test_an_address_says_which_cluster_it_is(address: str, kind: str) -> None:
    assert kind_of(address) == kind


def test_an_address_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cluster 'host:1': expected .*tcp://HOST:8786"):
        kind_of("host:1")


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("miex.pipeline.clusters._PATIENCE", 0)
    monkeypatch.setattr("miex.pipeline.clusters._TIMEOUT", 1)
    with pytest.raises(ConnectionError, match=r"no Dask cluster answers at tcp://127\.0\.0\.1:9"):
        map_on_cluster(pow, 2, [1], "dask", "tcp://127.0.0.1:9")
