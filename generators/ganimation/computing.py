"""Threads and precision of the networks of `ganimation`."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch


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
