"""One training in one process, or in several that share every batch."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from miex.datasets.device import choose_device


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of a training.

    Attributes:
        rank: 0 for the one that writes.
        count: How many there are.
        device: Where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    def start(cls, device: str) -> "Processes":
        """Joins the other processes, if `accelerate launch` or `torchrun` has started several.

        Args:
            device: auto, cpu, cuda, cuda:1, ...; of several processes on GPUs each has its own.

        Raises:
            ValueError: No such device here.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(0, 1, choose_device(device))
        # Imported here, since one process needs nothing of it.
        from accelerate import PartialState

        state = PartialState(cpu=choose_device(device).type == "cpu")
        return cls(state.process_index, state.num_processes, state.device)

    def share_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replaces each gradient by its mean over all processes."""
        if self.count == 1:
            return
        for parameter in parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count

    def share_buffers(self, buffers: Iterable[Tensor]) -> None:
        """Replaces each buffer of floating point (statistics, centres) by its mean over all.

        Each process has moved its own by its own share of the batch; those that are saved, and
        that every process goes on with, must be everybody's.
        """
        if self.count == 1:
            return
        for buffer in buffers:
            if buffer.is_floating_point():
                torch.distributed.all_reduce(buffer)
                buffer /= self.count

    def agree(self, decision: bool) -> bool:
        """What the first process has decided."""
        if self.count == 1:
            return decision
        decided = torch.tensor(int(decision), device=self.device)
        torch.distributed.broadcast(decided, 0)
        return bool(decided.item())
