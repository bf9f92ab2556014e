"""Choose and configure the device of a network."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


def choose_device(name: str) -> torch.device:
    """Return the device that the config names; `auto` is CUDA if available, else the CPU.

    Raises:
        ValueError: This machine has no such device.
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
    """Make CUDA deterministic: kernels chosen by shape, no atomics, full float32 precision."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, so that sums do not depend on their distribution over threads."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(number)


def seed_device(seed: int, device: torch.device) -> None:
    """Seed PyTorch's generators of the CPU and of the device.

    The numbers are those of `torch.manual_seed`, which without CUDA also formats the stack of calls
    each time, for an error message: 4 ms, a fifth of a training step of STSTNet.

    Args:
        seed: Below 2^63.
        device: The device of the network.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
