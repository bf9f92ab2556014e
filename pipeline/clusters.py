"""Distribution of work over a Dask or Ray cluster, a running one or one of this machine.

The functions run in the workers of the cluster, which need miex and access to the addresses in
the job, but neither Prefect nor its server. Work of a lost worker is started again by the cluster;
if the scheduler itself restarts, what is not finished is submitted to it again.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, TypeVar

from miex.datasets.extras import how_to_install
from miex.pipeline.workers import cores

ClusterKind = Literal["dask", "ray"]

_Job = TypeVar("_Job")
_Submit = Callable[..., "Future[None]"]

_IN_FLIGHT = 1000
"""Most calls that wait in the cluster at a time."""

_PATIENCE = 300.0
"""Seconds without any finished call after which an unreachable cluster is given up."""

_TIMEOUT = 30.0
"""Seconds that a Dask scheduler has to answer."""

_log = logging.getLogger("miex")


class LostCluster(ConnectionError):
    """The connection to the cluster was lost; what was submitted is not known to be finished."""


def kind_of(address: str) -> ClusterKind:
    """Return which kind of cluster an address belongs to.

    Args:
        address: ``tcp://HOST:PORT`` (or ``tls://``) of a Dask scheduler, ``ray://HOST:PORT``.

    Raises:
        ValueError: The address does not say it.
    """
    scheme = address.partition("://")[0]
    if scheme in ("tcp", "tls", "ucx", "ws", "wss"):
        return "dask"
    if scheme == "ray":
        return "ray"
    raise ValueError(
        f"cluster {address!r}: expected the address of a Dask scheduler (tcp://HOST:8786) or of a"
        " Ray cluster (ray://HOST:10001)"
    )


def map_on_cluster(
    work: Callable[[_Job, int, None], Any],
    job: _Job,
    numbers: Sequence[int],
    kind: ClusterKind,
    address: str | None = None,
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] | None = None,
) -> None:
    """Call ``work(job, number, None)`` for every number, in the workers of a cluster.

    Args:
        work: A function at the top level of a module, which may be called again for a number that
            it has finished.
        job: First argument of every call; it must be picklable.
        numbers: Second argument, one call per number.
        kind: ``dask`` or ``ray``.
        address: Address of a running cluster; None starts one on this machine.
        workers: Number of processes of a cluster on this machine, all cores by default.
        on_done: Called in this process with each number that is finished.

    Raises:
        ImportError: The package of the cluster is not installed; the message names the extra.
        ConnectionError: No cluster answers at the address.
        RuntimeError: A call ended several workers, in most cases because memory ran out.
        Exception: The first exception that `work` raises; what has not started is cancelled.
    """
    left = list(numbers)
    last = time.monotonic()
    while left:
        try:
            with _connected(kind, address, workers or cores()) as submit:
                for number in _finished(submit, work, job, left):
                    left.remove(number)
                    last = time.monotonic()
                    if on_done:
                        on_done(number)
        except LostCluster as error:
            if address is None or time.monotonic() - last > _PATIENCE:
                raise ConnectionError(
                    f"no {kind.capitalize()} cluster answers at {address or 'this machine'} "
                    f"({error}); check the address, or start the cluster. What is finished is"
                    " kept: the same command continues"
                ) from None
            _log.warning("%s; waiting for the cluster at %s", error, address)
            time.sleep(2)


def _finished(
    submit: _Submit, work: Callable[..., Any], job: Any, numbers: Sequence[int]
) -> Iterator[int]:
    """Submit a call for every number, `_IN_FLIGHT` at a time, and yield those that are finished."""
    waiting: dict[Future[None], int] = {}
    todo = iter(list(numbers))
    try:
        while True:
            for number in todo:
                waiting[submit(_call, work, job, number)] = number
                if len(waiting) >= _IN_FLIGHT:
                    break
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                number = waiting.pop(future)
                try:
                    future.result()
                except CancelledError:
                    raise LostCluster("the cluster has dropped what was submitted") from None
                yield number
    finally:
        for future in waiting:
            future.cancel()


def _call(work: Callable[..., Any], job: Any, number: int) -> None:
    work(job, number, None)


def _connected(
    kind: ClusterKind, address: str | None, workers: int
) -> AbstractContextManager[_Submit]:
    try:
        return (_dask if kind == "dask" else _ray)(address, workers)
    except ImportError as error:
        raise ImportError(
            f"{kind} needs a package that is not installed ({error}); {how_to_install(kind)}"
        ) from None


def _dask(address: str | None, workers: int) -> AbstractContextManager[_Submit]:
    from distributed import Client, KilledWorker

    connected: Any = Client

    @contextmanager
    def connect() -> Iterator[_Submit]:
        local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        try:
            client = connected(address, timeout=_TIMEOUT) if address else connected(**local)
        except OSError as error:
            raise LostCluster(_brief(error)) from None
        with client:
            try:
                yield client.get_executor(pure=False).submit
            except KilledWorker as error:
                raise RuntimeError(
                    f"a shard ended several workers of the cluster, probably because memory ran"
                    f" out ({_brief(error)}). Finished shards are kept: run the same command again"
                    " with workers that have more memory"
                ) from None
            except OSError as error:
                if type(error).__module__.startswith("distributed"):
                    raise LostCluster(_brief(error)) from None
                raise

    return connect()


def _ray(address: str | None, workers: int) -> AbstractContextManager[_Submit]:
    import ray

    @contextmanager
    def connect() -> Iterator[_Submit]:
        local = {"num_cpus": workers, "include_dashboard": False, "log_to_driver": False}
        given: dict[str, Any] = {"address": address} if address else local
        try:
            context = ray.init(**given, logging_level=logging.ERROR)
        except (OSError, RuntimeError) as error:
            raise LostCluster(_brief(error)) from None
        remote = ray.remote(max_retries=3)(_call)
        with context:
            try:
                yield lambda _, *arguments: remote.remote(*arguments).future()
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except (ray.exceptions.RayError, ConnectionError) as error:
                raise LostCluster(_brief(error)) from None

    return connect()


def _brief(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
