"""Files that a recognizer starts from: needed once, and not when its own checkpoint is loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_IN_CHECKPOINT = ContextVar("in_checkpoint", default=False)


@contextmanager
def everything_in_checkpoint() -> Iterator[None]:
    """Create recognizers whose every tensor will be loaded afterwards.

    Within the block a file that a recognizer starts from may be absent: what it held lies in the
    recognizer's checkpoint.
    """
    token = _IN_CHECKPOINT.set(True)
    try:
        yield
    finally:
        _IN_CHECKPOINT.reset(token)


def files_may_be_absent() -> bool:
    """Tell whether all tensors will be loaded from a checkpoint."""
    return _IN_CHECKPOINT.get()
