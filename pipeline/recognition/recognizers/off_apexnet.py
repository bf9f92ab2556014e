"""OFF-ApexNet: two LeNet-like streams, one on each component of the flow to the apex."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from miex.pipeline.recognition.recognizers._flow_baseline import (
    FlowBaseline,
    FlowBaselineConfig,
    scaled,
)
from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs


class OffApexNetConfig(FlowBaselineConfig):
    """Parameters of `OffApexNet`.

    The layers are the paper's. Its training could not be verified; the defaults are those of
    STSTNet by the same authors.
    """

    training: Hyperparameters = Hyperparameters(
        optimizer="adam", learning_rate=5e-5, epochs=800, batch_size=256
    )
    filters: tuple[int, int] = (6, 16)
    hidden: int = Field(1024, ge=1, description="units of each of the two hidden layers")
    dropout: float = Field(0.5, ge=0, lt=1, description="after each hidden layer")


@register_recognizer("off_apexnet")
class OffApexNet(FlowBaseline):
    """Optical Flow Features from Apex frame Network.

    u and v, 28 x 28 each, pass separate streams (5 x 5 convolution with 6 filters, pooling,
    5 x 5 with 16 filters, pooling), are concatenated, and pass two layers of 1024 units: 2.66 M
    parameters for three classes. The model of this name in MEB is another one: a single stack of
    3 x 3 convolutions on both components.
    """

    name = "off_apexnet"
    title = "OFF-ApexNet"
    paper = (
        "Gan, Liong, Yau, Huang, Tan: OFF-ApexNet on micro-expression recognition system. Signal"
        " Processing: Image Communication 74, 2019"
    )
    citation = "Gan et al., SPIC 2019"
    year = 2019
    looks_at = "flow, 28 px"
    Config: ClassVar[type[OffApexNetConfig]] = OffApexNetConfig
    takes_strain = False
    config: OffApexNetConfig

    def __init__(self, config: OffApexNetConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.streams = nn.ModuleList(_stream(config.filters) for _ in range(2))
        values = 2 * config.filters[1] * (config.side // 4) ** 2
        self.hidden = nn.Sequential(
            nn.Linear(values, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.head = nn.Linear(config.hidden, classes)

    def forward(self, inputs: Inputs) -> Tensor:
        """See `Recognizer.forward`."""
        parts = torch.split(scaled(inputs["flow"], self.config), 1, dim=1)
        features = [stream(part) for stream, part in zip(self.streams, parts, strict=True)]
        logits: Tensor = self.head(self.hidden(torch.cat(features, dim=1).flatten(1)))
        return logits


def _stream(filters: tuple[int, int]) -> nn.Sequential:
    first, second = filters
    return nn.Sequential(
        nn.Conv2d(1, first, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
