"""Where a network computes."""

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
