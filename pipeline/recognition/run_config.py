"""Configure how a training is run: what no paper states. Needs no torch until it computes."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag
from miex.datasets.trackers import TrackerName, tracker_names
from miex.pipeline.recognition.order import Balance

if TYPE_CHECKING:
    import torch


class RunConfig(FrozenConfig):
    """How a training is run; the paper's part is in the recognizer's own config."""

    seed: Annotated[int, Flag()] = Field(0, ge=0, lt=2**63, description="training seed")
    balance: Annotated[Balance, Flag()] = Field(
        "none",
        description="how samples are drawn: classes draws every class equally often, none as it is",
    )
    device: Annotated[str, Flag()] = Field(
        "auto", description="where to compute: auto, cpu, cuda, cuda:1, ..."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 on an accelerator that computes it, else fp32"
    )
    checkpoint_seconds: float = Field(60.0, gt=0, description="how often the state is written")
    log: Annotated[tuple[TrackerName, ...], Flag(choices=tracker_names)] = Field(
        (), description="trackers that get the losses, besides metrics.jsonl (extra: loggers)"
    )


def computed_by(run: RunConfig) -> str:
    """On what kind of device and in which precision a training computes, as ``cuda, bf16``.

    Raises:
        ValueError: No such device here.
    """
    from miex.datasets.device import choose_device

    device = choose_device(run.device)
    return f"{device.type}, {'bf16' if computes_bf16(run.precision, device) else 'fp32'}"


def computes_bf16(precision: str, device: "torch.device") -> bool:
    """Whether a training in such a precision (`RunConfig.precision`) computes in bf16."""
    if precision != "auto":
        return precision == "bf16"
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
