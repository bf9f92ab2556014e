"""What the baselines on small flow images have in common."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from miex.pipeline.recognition.recognizers.base import RecognizerConfig
from miex.pipeline.recognition.representations.optical_flow import FlowMethod
from miex.pipeline.recognition.sample import MIN_SIDE

STRAIN_GAIN = 10.0
"""A face moves a pixel where it is deformed by a tenth: with this gain, chosen by us, u, v and
strain are of one order of magnitude."""


class FlowBaselineConfig(RecognizerConfig):
    """Parameters of all of them."""

    side: int = Field(28, ge=8, multiple_of=4, description="of the inputs, pixels")
    flow_side: int = Field(128, ge=MIN_SIDE, description="of the faces for the flow, pixels")
    method: FlowMethod = "tvl1"
    scaling: Literal["fixed", "image"] = Field(
        "fixed",
        description="fixed: pixels of motion, so that size and sign count; image: each channel of"
        " each sample stretched to 0-1, as the 8-bit flow images of the papers are",
    )


def scaled(flow: Tensor, scaling: Literal["fixed", "image"]) -> Tensor:
    """Flow, and strain if it has any, as the networks take it.

    Args:
        flow: ``(B, 2 or 3, S, S)`` of `FlowStrain`.
        scaling: See `FlowBaselineConfig`.

    Returns:
        ``float32`` of the same shape. A channel without any motion is 0 in both.
    """
    flow = flow.float()
    if scaling == "image":
        low, high = flow.amin((-2, -1), keepdim=True), flow.amax((-2, -1), keepdim=True)
        return (flow - low) / (high - low).clamp(min=1e-6)
    gains = flow.new_tensor([1.0, 1.0, STRAIN_GAIN])[: flow.shape[1]]
    return flow * gains[:, None, None]
