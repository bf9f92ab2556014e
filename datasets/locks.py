"""Lock each output, so that a second run waits and names the process that holds the lock.

The lock belongs to the kernel (`filelock`, flock) and ends with its process, so that a lock file
that a killed run left does not lock anything. The file names the process, and is removed at the
end.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from filelock import FileLock, Timeout

from miex.datasets.storage import address_of, is_address

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("miex")

_PATIENCE = 1.0
"""Seconds after which a waiting run reports what it waits for."""

_REMINDER = 300.0
"""Seconds between two such reports."""


_held = threading.local()
"""Locks that a thread holds: functions that a job calls on its own output do not wait for it."""


def locking(argument: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that it holds the lock of the output that an argument names."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            output = signature.bind(*args, **kwargs).arguments.get(argument)
            if output is None:
                return function(*args, **kwargs)
            with locked(Path(output)):
                return function(*args, **kwargs)

        return call

    return decorate


def lock_path(output: Path) -> Path:
    """Return the lock file of an output, a hidden file beside it.

    That of an address is in this machine's folder of temporary files: runs of two machines are not
    locked out of each other there. They write equal files, each atomically.
    """
    if is_address(output):
        name = hashlib.sha256(address_of(output).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"miex-{os.getuid()}" / f".{name}.lock"
    output = Path(os.path.abspath(output))
    return output.with_name(f".{output.name}.lock")


@contextmanager
def locked(output: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of an output while the block runs; wait while another process holds it.

    Args:
        output: The file or folder that is written.
        on_wait: Called with a message about the other process, at the start of the wait and
            repeatedly; logs a warning by default.

    Raises:
        OSError: The lock file cannot be written.
    """
    path = lock_path(output)
    held: set[Path] = _held.__dict__.setdefault("paths", set())
    # The first process of a training holds the lock for all.
    rank = os.environ.get("RANK", "0")
    if path in held or (rank.isdecimal() and int(rank) > 0):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    waited, patience = 0.0, _PATIENCE
    while True:
        try:
            lock.acquire(timeout=patience)
            break
        except Timeout:
            waited += patience
            patience = _REMINDER
            tell = on_wait or _log.warning
            tell(f"{output}: {_holder(path)} is writing it; waiting until it ends")
    held.add(path)
    try:
        path.write_text(json.dumps(_self()), encoding="utf-8")
        yield
    finally:
        held.discard(path)
        # Removed while the lock is held: a waiting run that opened the file notices and retries.
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def _self() -> dict[str, object]:
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": began}


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']}, since {who['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"
