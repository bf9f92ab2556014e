"""RCN: recurrent convolutions on flow and strain, with modules that have no parameters.

Xia, Peng, Khor, Feng and Zhao (IEEE TIP 29, 2020) reduce model and data size for the composite
database; besides the basic network they have variants with which Dual-ATME is compared. All are
after the authors' program (github.com/xiazhaoqiang/ParameterFreeRCNs-MicroExpressionRec) in MEB
(github.com/tvaranka/meb, commit 10497b0).
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from miex.pipeline.recognition.recognizers._flow_baseline import (
    FlowBaseline,
    FlowBaselineConfig,
    scaled,
)
from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    ToySize,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs

Variant = Literal["a", "s", "w", "c", "f"]


class RCNConfig(FlowBaselineConfig):
    """Parameters of `RCN`; the defaults are those of the authors' program."""

    training: Hyperparameters = Hyperparameters(
        optimizer="sgd",
        momentum=0.9,
        learning_rate=5e-4,
        epochs=100,
        batch_size=64,
        schedule="step",
        step_epochs=10,
        step_factor=0.5,
    )
    variant: Variant = Field(
        "a",
        description="a: attention by the classifier's weights; s: dense shortcuts; w: wide, three"
        " dilations; c: wide, then attention on the input and shortcuts in a cascade; f: all fused"
        " in one block",
    )
    side: int = Field(60, ge=24, multiple_of=4, description="side of the inputs, pixels")
    features: int = Field(64, ge=4, multiple_of=4, description="feature maps of each layer")
    pooled: int = Field(7, ge=1, description="side of the maps that the classifier sees")
    dropout: float = Field(0.5, ge=0, lt=1)


@register_recognizer("rcn")
class RCN(FlowBaseline):
    """Recurrent convolutional network and its variants.

    In RCN-F of the authors' program the second stream runs twice and the third never; here all
    three run, as in the paper.
    """

    name = "rcn"
    title = "RCN"
    paper = (
        "Xia, Peng, Khor, Feng, Zhao: Revealing the Invisible With Model and Data Shrinking for"
        " Composite-Database Micro-Expression Recognition. IEEE TIP 29, 2020"
    )
    citation = "Xia et al., IEEE TIP 2020"
    year = 2020
    looks_at = "flow and strain, 60 px"
    toy = ToySize(
        {"flow_side": 64, "method": "dis", "side": 28, "features": 16, "pooled": 5},
        {"epochs": 15, "learning_rate": 3e-3, "batch_size": 16},
    )
    Config: ClassVar[type[RCNConfig]] = RCNConfig
    config: RCNConfig

    def __init__(self, config: RCNConfig, classes: int) -> None:
        super().__init__(config, classes)
        width, dropout = config.features, config.dropout
        wide = config.variant in ("w", "c", "f")
        self.stem = _Wide(width, dropout) if wide else _Narrow(width, dropout)
        blocks = {"a": _Recurrent, "w": _Recurrent, "s": _Dense, "c": _Dense, "f": _Dense}
        self.block = blocks[config.variant](width, dropout)
        self.head = nn.Linear(width * config.pooled**2, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, inputs: Inputs) -> Tensor:
        """See `Recognizer.forward`."""
        flow = scaled(inputs["flow"], self.config)
        variant, side = self.config.variant, self.config.pooled
        maps = self.stem(flow)
        weights = self.head.weight.view(self.classes, -1, side, side)
        if variant == "c":
            # Channels of input and classifier maps differ, so that the mean weight is used.
            looked = functional.adaptive_avg_pool2d(flow, side)
            attention = _class_attention(looked, weights.mean(1, keepdim=True))
            maps = maps * functional.interpolate(attention, maps.shape[-2:])
        if variant in ("a", "f"):
            attention = _class_attention(functional.adaptive_avg_pool2d(maps, side), weights)
        if variant == "f":
            maps = self.block(maps, functional.interpolate(attention, maps.shape[-2:]))
        else:
            maps = self.block(maps)
        pooled = functional.adaptive_avg_pool2d(maps, side)
        if variant == "a":
            pooled = pooled * attention
        logits: Tensor = self.head(pooled.flatten(1))
        return logits


def _class_attention(maps: Tensor, weights: Tensor) -> Tensor:
    """Return class activation maps of the classifier, which need no other parameters.

    Args:
        maps: ``(B, C, S, S)``.
        weights: Weights of the classifier, ``(classes, C or 1, S, S)``.

    Returns:
        ``(B, 1, S, S)``, 0 to 1: mean of the stretched maps of all classes.
    """
    activation = (maps[:, None] * weights[None]).mean(2)
    low = activation.amin((-2, -1), keepdim=True)
    high = activation.amax((-2, -1), keepdim=True)
    return ((activation - low) / (high - low).clamp(min=1e-6)).mean(1, keepdim=True)


def _unit(channels: int, features: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, features, kernel, padding=kernel // 2),
        nn.BatchNorm2d(features),
        nn.ReLU(),
    )


class _Narrow(nn.Sequential):
    """Convolution of 5 x 5 without padding, and max pooling."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(3, features, 5),
            nn.BatchNorm2d(features),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
        )


class _Wide(nn.Module):
    """Three convolutions of 3 x 3 with dilations 1, 2 and 3 and stride 3."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        widths = (features // 2, features // 4, features // 4)
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, width, 3, stride=3, padding=dilation, dilation=dilation),
                nn.ReLU(),
                nn.BatchNorm2d(width),
                nn.Dropout(dropout),
            )
            for dilation, width in enumerate(widths, 1)
        )

    def forward(self, flow: Tensor) -> Tensor:
        return torch.cat([stream(flow) for stream in self.streams], 1)


class _Recurrent(nn.Module):
    """Convolution that is applied twice, each time to the input plus its previous output."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.first = _unit(features, features, 1)
        self.again = _unit(features, features, 3)
        self.smaller = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))

    def forward(self, maps: Tensor) -> Tensor:
        found = self.again(maps + self.first(maps))
        smaller: Tensor = self.smaller(self.again(maps + found))
        return smaller


class _Dense(nn.Module):
    """Convolution that is applied three times, each time to the sum of all previous maps."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.first = _unit(features, features, 1)
        self.again = _unit(features, features, 3)
        self.smaller = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))

    def forward(self, maps: Tensor, attention: Tensor | None = None) -> Tensor:
        found = self.first(maps)
        total = maps + (found if attention is None else found * attention)
        for _ in range(2):
            total = total + self.again(total)
        smaller: Tensor = self.smaller(self.again(total))
        return smaller
