"""Where a network computes."""

from contextlib import AbstractContextManager, nullcontext

import torch


def choose_device(name: str) -> torch.device:
    """The device that the config names; `auto` is CUDA where there is one, else the CPU.

    Raises:
        ValueError: No such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {name!r} cannot be used here ({reason}); expected auto, cpu, cuda, cuda:1, ..."
        ) from None
    return device


def exact_kernels(device: torch.device) -> AbstractContextManager[None]:
    """On CUDA: kernels chosen by shape alone, no atomics, and float32 that is float32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
