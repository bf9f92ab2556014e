"""Threads and precision of the networks of `ganimation`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import numpy as np
import torch

_State = TypeVar("_State")
_Frames = TypeVar("_Frames", torch.Tensor, np.ndarray)


def threads_that_compute_alone(count: int) -> ThreadPoolExecutor:
    """Return a pool of threads in which PyTorch uses one thread each.

    `torch.set_num_threads` affects the calling thread and threads that start later, so that all
    threads of the pool are started here before the number of the caller is restored.
    """

    def alone() -> None:
        torch.get_num_threads()  # the first call in a thread sets it to the number for all
        torch.set_num_threads(1)

    number = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "ganimation", initializer=alone)
    started = Barrier(count + 1)
    for _ in range(count):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(number)
    return pool


def render_batches(
    render: Callable[[list[_State], Any], _Frames],
    states: list[_State],
    values: Any,
    size: int,
    threads: ThreadPoolExecutor | None,
) -> list[_Frames]:
    """Render N frames: one by one in threads if there are any, else in batches of one size.

    The last batch is filled with copies of the last row, so that every batch has the shape for
    which kernels were chosen or compiled; their frames are dropped.

    Args:
        render: Renders a batch: states and a tensor or an array with one row for each.
        states: N prepared faces.
        values: ``(N, ...)``, tensor or array, one row for each state.
        size: Rows of a batch.
        threads: Threads that render one frame each.

    Returns:
        Frames of every batch, in the order of the states.
    """
    if threads is not None:
        return list(threads.map(render, ([state] for state in states), values[:, None]))
    batches = []
    for start in range(0, len(states), size):
        filled = np.minimum(np.arange(start, start + size), len(states) - 1)
        batch = render([states[i] for i in filled], values[filled])
        batches.append(batch[: len(states) - start])
    return batches


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return float32 or bfloat16; `auto` is bfloat16 if the device supports it in hardware."""
    if precision == "auto":
        return torch.bfloat16 if _multiplies_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False
