"""Let a long computation finish its step before Ctrl-C ends it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Delay the first Ctrl-C, so that the caller can save a consistent state.

    Outside the main thread, and where Ctrl-C is ignored or handled by others, nothing is changed.

    Yields:
        A function that returns whether Ctrl-C was pressed. The caller asks it between two steps,
        saves, and leaves the block, which then raises `KeyboardInterrupt`. A second Ctrl-C raises
        it at once.
    """
    pressed = False

    def remember(number: int, frame: Any) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt
