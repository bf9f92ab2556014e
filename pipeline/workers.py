"""Spreads shards over processes; no process outlives the one that started it."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Job = TypeVar("Job")
Item = TypeVar("Item")
Result = TypeVar("Result")

_progress: Any = None


def cores() -> int:
    """Cores that this process may use; inside a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(
    work: Callable[[Job, int, Callable[[int], None] | None], Any],
    job: Job,
    numbers: Sequence[int],
    *,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Calls ``work(job, number, report)`` for every number.

    Args:
        work: A function of a module; what it passes to `report` arrives at `on_progress`.
        job: Picklable.
        numbers: One call each.
        workers: Processes, all cores by default; with 1 everything runs in this process.
        on_progress: Called in this process.

    Raises:
        RuntimeError: A worker was killed from outside, mostly for want of memory.
        Exception: What `work` raises; calls that have not begun by then are dropped.
    """
    count = min(workers or cores(), len(numbers))
    if count <= 1:
        for number in numbers:
            work(job, number, on_progress)
        return
    context = multiprocessing.get_context("forkserver")
    # Imported once and forked: workers share those pages instead of holding a copy each.
    context.set_forkserver_preload([work.__module__])
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
            "a worker process was killed, probably for want of memory; start the same command "
            "again with fewer workers, finished shards are kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        queue.put(None)
        listener.join()


def _call(work: Callable[..., Any], job: Any, number: int) -> None:
    work(job, number, _progress)


def _enter(queue: Any) -> None:
    global _progress
    _progress = queue.put
    leave_with_parent()


def leave_with_parent() -> None:
    """Lets this worker process end when the one that started it is gone, even by SIGKILL."""
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
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """Calls `work` for every item in threads; results come in the order of the items."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from pool.map(work, items)
