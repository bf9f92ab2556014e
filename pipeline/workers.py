"""Distribution of work over processes and threads; no worker outlives its parent process."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any, TypeVar

_Job = TypeVar("_Job")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

OnStage = Callable[[str, int, int], None]
"""Progress callback: (name of the stage, done, in total)."""


def stage_reporter(on_stage: OnStage | None, stage: str) -> Callable[[int, int], None]:
    """Return a callback (done, in total) that reports the progress of one stage."""

    def report(done: int, total: int) -> None:
        if on_stage:
            on_stage(stage, done, total)

    return report


_progress: Any = None


def cores() -> int:
    """Return the number of cores that this process may use.

    In a container or under a CPU affinity mask this can be less than the machine has.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(
    work: Callable[[_Job, int, Callable[[int], None] | None], Any],
    job: _Job,
    numbers: Sequence[int],
    *,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Call ``work(job, number, report)`` for every number, in several processes.

    Args:
        work: A function at the top level of a module. The counts that it passes to `report` are
            forwarded to `on_progress`.
        job: First argument of every call; it must be picklable.
        numbers: Second argument, one call per number.
        workers: Number of processes, all cores by default; with 1 no process is started.
        on_progress: Called in this process with each reported count.

    Raises:
        RuntimeError: A worker process was killed, in most cases because memory ran out.
        Exception: The first exception that `work` raises; calls that have not started are
            cancelled.
    """
    count = min(workers or cores(), len(numbers))
    if count <= 1:
        for number in numbers:
            work(job, number, on_progress)
        return
    context = multiprocessing.get_context("forkserver")
    _start_server(work.__module__)
    queue = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(queue, on_progress), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(count, context, initializer=_enter, initargs=(queue,))
    try:
        tasks = [pool.submit(_call, work, job, number) for number in numbers]
        for task in as_completed(tasks):
            task.result()
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process was killed, probably because memory ran out. Finished shards are "
            "kept: run the same command again with fewer workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        queue.put(None)
        listener.join()


def start_server(module: str, workers: int | None = None) -> None:
    """Start the process from which `map_in_processes` forks its workers, unless it runs already.

    It imports the module once, so that the workers need not and share its memory pages. Started at
    the beginning of a command it does so while this process imports the same. Nothing happens
    where processes cannot be forked, or with one worker.

    Args:
        module: The module of the function that the workers call, without `miex.`.
        workers: Number of processes, all cores by default.
    """
    if "forkserver" in multiprocessing.get_all_start_methods() and (workers or cores()) > 1:
        _start_server(f"miex.{module}")


def _start_server(module: str) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload([module])
    forkserver.ensure_running()


def _call(work: Callable[..., Any], job: Any, number: int) -> None:
    work(job, number, _progress)


def _enter(queue: Any) -> None:
    global _progress
    _progress = queue.put
    leave_with_parent()


def leave_with_parent() -> None:
    """End this worker process when its parent process ends, even if the parent was killed."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _listen(queue: Any, on_progress: Callable[[int], None] | None) -> None:
    while (count := queue.get()) is not None:
        if on_progress:
            on_progress(count)


def map_in_threads(
    work: Callable[[_Item], _Result], items: Sequence[_Item], workers: int
) -> Iterator[_Result]:
    """Call `work` for every item in threads and yield the results in the order of the items."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(work, items)
