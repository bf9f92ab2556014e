"""Dual-Inception: two streams of Inception blocks on the flow to the middle frame."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from miex.pipeline.recognition.recognizers._flow_baseline import (
    FlowBaseline,
    FlowBaselineConfig,
    flow_representation,
    scaled,
)
from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.flow_strain import FlowStrain
from miex.pipeline.recognition.representations.published_flow import PublishedFlow
from miex.pipeline.recognition.sample import ClipFrames


class DualInceptionConfig(FlowBaselineConfig):
    """Parameters of `DualInception`; the defaults are those of the authors' code."""

    training: Hyperparameters = Hyperparameters(
        optimizer="adam", learning_rate=1e-4, epochs=40, batch_size=3
    )
    target: Literal["apex", "middle"] = Field("middle", description="target frame of the flow")
    filters: tuple[int, int] = Field((6, 16), description="of each path of the two blocks")
    hidden: int = Field(1024, ge=1)


@register_recognizer("dual_inception")
class DualInception(FlowBaseline):
    """Dual-Inception network.

    u and v of the flow from the onset to the mid-position frame, 28 x 28 each, pass two
    separate Inception blocks with max pooling, are concatenated, and pass a layer of 1024 units:
    6.45 M parameters for three classes, as Off-TANet (Zhang et al., PRICAI 2021) states. This
    requires 16 filters in the second block, as in the authors' code
    (github.com/xly135846/MEGC2019); descriptions with 6 and 12 filters are of other networks with
    the same block, such as Dual-ATME.

    The authors' code repeats each component as three equal channels of an 8-bit image; here it is
    one channel. It selects the epoch that is best on the database of the test subject; here the
    last epoch is used.
    """

    name = "dual_inception"
    title = "Dual-Inception"
    paper = (
        "Zhou, Mao, Xue: Dual-Inception Network for Cross-Database Micro-Expression Recognition."
        " FG 2019"
    )
    citation = "Zhou et al., FG 2019"
    year = 2019
    looks_at = "flow to the middle frame, 28 px"
    Config: ClassVar[type[DualInceptionConfig]] = DualInceptionConfig
    clip_frames = ClipFrames("to_offset", most=65)
    config: DualInceptionConfig

    def __init__(self, config: DualInceptionConfig, classes: int) -> None:
        super().__init__(config, classes)
        first, second = config.filters
        self.streams = nn.ModuleList(
            nn.Sequential(
                _Inception(1, first),
                nn.MaxPool2d(2),
                _Inception(4 * first, second),
                nn.MaxPool2d(2),
            )
            for _ in range(2)
        )
        values = 2 * 4 * second * (config.side // 4) ** 2
        self.hidden = nn.Sequential(nn.Linear(values, config.hidden), nn.ReLU())
        self.head = nn.Linear(config.hidden, classes)

    @property
    def representation(self) -> FlowStrain | PublishedFlow:
        """``flow``, ``float16 (B, 2, side, side)``."""
        return flow_representation(self.config, strain=False, target=self.config.target)

    def forward(self, inputs: Inputs) -> Tensor:
        """See `Recognizer.forward`."""
        parts = torch.split(scaled(inputs["flow"], self.config), 1, dim=1)
        features = [stream(part) for stream, part in zip(self.streams, parts, strict=True)]
        logits: Tensor = self.head(self.hidden(torch.cat(features, dim=1).flatten(1)))
        return logits


class _Inception(nn.Module):
    """Four paths with equal numbers of filters: 1x1; 1x1, 3x3; 1x1, 5x5; 3x3 maximum, 1x1.

    Every convolution is followed by ReLU; there is no normalisation. ``(B, C, H, W)`` to
    ``(B, 4 filters, H, W)``.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            [
                _convolution(channels, filters, 1),
                nn.Sequential(
                    _convolution(channels, filters, 1), _convolution(filters, filters, 3)
                ),
                nn.Sequential(
                    _convolution(channels, filters, 1), _convolution(filters, filters, 5)
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(channels, filters, 1)),
            ]
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([path(features) for path in self.paths], dim=1)


def _convolution(channels: int, filters: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, filters, kernel, padding=kernel // 2), nn.ReLU())
