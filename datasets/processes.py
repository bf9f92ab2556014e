"""Training in one process, or in several that share every batch."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from miex.datasets.device import choose_device


@dataclass(frozen=True, slots=True)
class Processes:
    """Process of a training, and the number of its processes.

    Attributes:
        rank: Number of this process; process 0 writes files.
        count: Number of processes.
        device: Device of this process.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    def start(cls, device: str) -> "Processes":
        """Join the other processes, if `accelerate launch` or `torchrun` started several.

        Args:
            device: auto, cpu, cuda, cuda:1, ...; each of several processes has a GPU of its own.

        Raises:
            ValueError: This machine has no such device.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(0, 1, choose_device(device))
        # Imported here, since a single process does not need it.
        from accelerate import PartialState

        state = PartialState(cpu=choose_device(device).type == "cpu")
        return cls(state.process_index, state.num_processes, state.device)

    def share_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over all processes."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count

    def share_buffers(self, buffers: Iterable[Tensor]) -> None:
        """Replace each floating-point buffer (statistics, centres) by its mean over all processes.

        Each process updates its buffers from its own part of the batch; the saved ones must be
        those of the whole batch.
        """
        if self.count == 1:
            return
        for buffer in buffers:
            if buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer /= self.count

    def agree(self, decision: bool) -> bool:
        """Return the decision of the first process."""
        if self.count == 1:
            return decision
        decided = torch.tensor(int(decision), device=self.device)
        torch.distributed.broadcast(decided, 0)
        return bool(decided.item())
