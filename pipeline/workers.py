"""Distribution of work over processes and threads; no worker outlives its parent process."""

import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import forkserver
from typing import Any, TypeVar

_Job = TypeVar("_Job")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt` (malloc.h)."""

OnStage = Callable[[str, int, int], None]
"""Progress callback: (name of the stage, done, in total)."""


def stage_reporter(on_stage: OnStage | None, stage: str) -> Callable[[int, int], None]:
    """Return a callback (done, in total) that reports the progress of one stage."""

    def report(done: int, total: int) -> None:
        if on_stage:
            on_stage(stage, done, total)

    return report


_progress: Any = None
_server_runs = False


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
    keep_freed_memory()
    if count <= 1:
        for number in numbers:
            work(job, number, on_progress)
        return
    context = multiprocessing.get_context("forkserver")
    _start_server(work.__module__)
    with _listening(context, on_progress) as queue:
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


@contextmanager
def _listening(context: Any, on_message: Callable[[Any], None] | None) -> Iterator[Any]:
    """Yield a queue; a thread passes what processes put into it to `on_message`."""
    queue = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(queue, on_message), daemon=True)
    listener.start()
    try:
        yield queue
    finally:
        queue.put(None)
        listener.join()


def start_server(*modules: str, workers: int | None = None) -> None:
    """Start the process from which `map_in_processes` forks its workers, unless it runs already.

    It imports the modules once, so that the workers need not and share its memory pages. Started at
    the beginning of a command it does so while this process imports the same. Nothing happens
    where processes cannot be forked, or with one worker.

    Args:
        modules: Modules, without `miex.`: that of the function that the workers call, and that of
            the command, which each worker would import otherwise.
        workers: Number of processes, all cores by default.
    """
    if "forkserver" in multiprocessing.get_all_start_methods() and (workers or cores()) > 1:
        _start_server(*(f"miex.{module}" for module in modules))


def _start_server(*modules: str) -> None:
    global _server_runs
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    forkserver.ensure_running()
    _server_runs = True


_Submit = Callable[..., "Future[Any]"]
"""Function (work, arguments...) that returns the future of ``work(arguments..., on_stage)``."""


@contextmanager
def beside(workers: int | None, on_stage: OnStage | None = None) -> Iterator[_Submit]:
    """Run calls in further processes while this one goes on, if it has such processes already.

    The processes are forked from that of `start_server` or `map_in_processes`. Where it does not
    run, or with one worker, each call is made when it is submitted: starting it would take longer.

    Args:
        workers: Number of further processes, all cores by default; this one is expected to wait
            for them in the end.
        on_stage: Called in this process with the progress that the calls report.

    Yields:
        A function that submits ``work(*arguments, on_stage)``, with `work` at the top level of a
        module and picklable arguments, and returns its future.
    """
    count = workers or cores()
    if count < 2 or not _server_runs:
        yield partial(_at_once, on_stage)
        return
    context = multiprocessing.get_context("forkserver")
    with _listening(context, lambda stage: on_stage(*stage) if on_stage else None) as queue:
        pool = ProcessPoolExecutor(count, context, initializer=_enter, initargs=(queue,))
        try:
            yield lambda work, *arguments: pool.submit(_call_stage, work, *arguments)
        except BrokenProcessPool:
            raise RuntimeError(
                "a worker process was killed, probably because memory ran out. Finished files are "
                "kept: run the same command again with fewer workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _at_once(
    on_stage: OnStage | None, work: Callable[..., _Result], *arguments: Any
) -> "Future[_Result]":
    done: Future[_Result] = Future()
    done.set_result(work(*arguments, on_stage))
    return done


def _call_stage(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments, lambda *stage: _progress(stage))


def _call(work: Callable[..., Any], job: Any, number: int) -> None:
    work(job, number, _progress)


def _enter(queue: Any) -> None:
    global _progress
    _progress = queue.put
    keep_freed_memory()
    leave_with_parent()


def keep_freed_memory() -> None:
    """Let this process reuse freed memory instead of returning it to the system, up to 64 MiB.

    By default glibc maps every array of some hundred kilobytes anew, and the system clears its
    pages: a fifth of the time in which `warp` prepares a face. Elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(AttributeError, OSError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_MMAP_THRESHOLD, 1 << 24)
        allocator.mallopt(_TRIM_THRESHOLD, 1 << 26)


def leave_with_parent() -> None:
    """End this worker process when its parent process ends, even if the parent was killed."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _listen(queue: Any, on_message: Callable[[Any], None] | None) -> None:
    while (message := queue.get()) is not None:
        if on_message:
            on_message(message)


def map_in_threads(
    work: Callable[[_Item], _Result], items: Sequence[_Item], workers: int
) -> Iterator[_Result]:
    """Call `work` for every item in threads and yield the results in the order of the items."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(work, items)
