"""STSTNet: three shallow convolutions on flow and strain, 1,683 parameters."""

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


class STSTNetConfig(FlowBaselineConfig):
    """Parameters of `STSTNet`; the defaults are those of the authors' PyTorch code."""

    training: Hyperparameters = Hyperparameters(
        optimizer="adam", learning_rate=5e-5, epochs=800, batch_size=256
    )
    filters: tuple[int, ...] = Field((3, 5, 8), min_length=1, description="of each stream")
    dropout: float = Field(0.5, ge=0, lt=1)


@register_recognizer("ststnet")
class STSTNet(FlowBaseline):
    """Shallow Triple Stream Three-dimensional CNN.

    Three streams with 3, 5 and 8 filters of 3 x 3 have the same 28 x 28 x 3 input of u, v and
    strain; each is max-pooled to 10 x 10, all 16 maps are average-pooled to 5 x 5, and the 400
    values are the input of one linear layer. The order within a stream (convolution with a padding
    of 2, ReLU, batch normalisation, pooling, dropout) is that of the authors' PyTorch code.

    Two properties of that code are left out: it does not shuffle, and its inputs are 8-bit images
    read with OpenCV (0-255, in the order strain, v, u), scaled per sample; `scaling="image"` does
    the latter in floating point.
    """

    name = "ststnet"
    title = "STSTNet"
    paper = (
        "Liong, Gan, See, Khor, Huang: Shallow Triple Stream Three-dimensional CNN (STSTNet) for"
        " Micro-expression Recognition. FG 2019"
    )
    citation = "Liong et al., FG 2019"
    year = 2019
    looks_at = "flow and strain, 28 px"
    Config: ClassVar[type[STSTNetConfig]] = STSTNetConfig
    config: STSTNetConfig

    def __init__(self, config: STSTNetConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, count, 3, padding=2),
                nn.ReLU(),
                nn.BatchNorm2d(count),
                nn.MaxPool2d(3, stride=3, padding=1),
                nn.Dropout(config.dropout),
            )
            for count in config.filters
        )
        self.pool = nn.AvgPool2d(2)
        # A convolution with padding 2 adds 2 pixels, pooling has padding 1 and stride 3.
        pooled = ((config.side + 2 + 2 - 3) // 3 + 1) // 2
        self.head = nn.Linear(sum(config.filters) * pooled**2, classes)

    def forward(self, inputs: Inputs) -> Tensor:
        """See `Recognizer.forward`."""
        flow = scaled(inputs["flow"], self.config)
        features = self.pool(torch.cat([stream(flow) for stream in self.streams], dim=1))
        logits: Tensor = self.head(features.flatten(1))
        return logits
