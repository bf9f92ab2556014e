"""Configure the execution of a training; PyTorch is imported when it is used."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.datasets.trackers import TrackerName, tracker_names
from miex.pipeline.recognition.order import Balance

if TYPE_CHECKING:
    import torch


class RunConfig(FrozenConfig):
    """Execution of a training; hyperparameters of the paper are in the recognizer's config."""

    seed: Annotated[int, Flag()] = Field(0, ge=0, lt=2**63, description="training seed")
    balance: Annotated[Balance, Flag()] = Field(
        "none",
        description="classes draws all classes with equal probability, none each sample once",
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="device: auto, cpu, cuda, cuda:1, ..."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="auto is bf16 on an accelerator that supports it, else fp32; a CPU with AMX"
        " trains large networks three times as fast with bf16",
    )
    checkpoint_seconds: float = Field(
        60.0, gt=0, description="interval at which the state is written"
    )
    log: Annotated[tuple[TrackerName, ...], Flag(choices=tracker_names)] = Field(
        (), description="trackers that get the losses, besides metrics.jsonl (extra: loggers)"
    )


def computed_by(run: RunConfig) -> str:
    """Return the kind of device and the precision of a training, as ``cuda, bf16``.

    Raises:
        ValueError: This machine has no such device.
    """
    from miex.datasets.device import choose_device

    device = choose_device(run.device)
    return f"{device.type}, {'bf16' if computes_bf16(run.precision, device) else 'fp32'}"


def computes_bf16(precision: str, device: "torch.device") -> bool:
    """Return whether a training with this precision (`RunConfig.precision`) uses bf16."""
    if precision != "auto":
        return precision == "bf16"
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
