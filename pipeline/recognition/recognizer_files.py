"""Files of initial weights, which are not needed when a checkpoint is loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_IN_CHECKPOINT = ContextVar("in_checkpoint", default=False)


@contextmanager
def everything_in_checkpoint() -> Iterator[None]:
    """Create recognizers whose every tensor will be loaded afterwards.

    Within the block a file of initial weights may be missing, since the checkpoint of the
    recognizer has all its content.
    """
    token = _IN_CHECKPOINT.set(True)
    try:
        yield
    finally:
        _IN_CHECKPOINT.reset(token)


def files_may_be_absent() -> bool:
    """Return whether all tensors will be loaded from a checkpoint."""
    return _IN_CHECKPOINT.get()
