"""HTNet: transformers on four patches of a flow image, around the eyes and the lip corners.

After the authors' program (github.com/wangzhifengharrison/HTNet, commit 91cf4bd), which exchanges
rows and columns of the patches, so that each half of the face is a row of the input: left eye and
left lip corner above, right eye and right lip corner below.
"""

from typing import ClassVar

import torch
from pydantic import Field, model_validator
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

_LEVELS = 3
"""Levels of the hierarchy: 4 x 4 blocks of the image, then 2 x 2, then the whole image."""

_CENTRES = ((0.340, 0.395), (0.366, 0.790), (0.764, 0.390), (0.735, 0.795))
"""Left eye, left lip corner, right eye, right lip corner: x and y as shares of the side. The
authors detect them in each apex; if that fails, their program uses these values. Here they are used
for every sample, since published flow has no faces."""


class HTNetConfig(FlowBaselineConfig):
    """Parameters of `HTNet`; the defaults are those of the authors' program."""

    published_training: ClassVar[Hyperparameters] = Hyperparameters(
        optimizer="adam", learning_rate=1e-4, epochs=60, batch_size=32, schedule="cosine"
    )
    published_pre_training: ClassVar[Hyperparameters] = published_training.model_copy(
        update={"max_steps": 160}
    )
    training: Hyperparameters = Hyperparameters(
        optimizer="adam", learning_rate=5e-5, epochs=800, batch_size=256
    )
    side: int = Field(28, ge=16, multiple_of=4, description="side of the inputs, pixels")
    dim: int = Field(256, ge=2, description="features of a token on the first level, doubled twice")
    heads: int = Field(3, ge=1, description="of attention on the first level, doubled twice")
    depths: tuple[int, int, int] = Field((2, 2, 10), description="transformer blocks of each level")
    widening: int = Field(4, ge=1, description="hidden features of a block, times its features")
    dropout: float = Field(0.0, ge=0, lt=1)
    input_scale: float = Field(
        255.0, gt=0, description="of the form published: the authors' program feeds 0 to 255"
    )

    @model_validator(mode="after")
    def _fits(self) -> "HTNetConfig":
        if self.dim < self.heads:
            raise ValueError(f"dim is {self.dim}, fewer than the {self.heads} heads")
        if min(self.depths) < 1:
            raise ValueError(f"depths are {self.depths}, expected at least one block a level")
        return self


@register_recognizer("htnet")
class HTNet(FlowBaseline):
    """Hierarchical transformer network: 140 M parameters at full size."""

    name = "htnet"
    title = "HTNet"
    paper = (
        "Wang, Zhang, Luo, Sankaranarayana: HTNet for Micro-Expression Recognition."
        " Neurocomputing 602, 2024"
    )
    citation = "Wang et al., Neurocomputing 2024"
    year = 2024
    looks_at = "flow and strain around eyes and lip corners, 28 px"
    toy = ToySize(
        {"flow_side": 64, "method": "dis", "dim": 16, "depths": (1, 1, 1)},
        {"epochs": 25, "learning_rate": 3e-3, "batch_size": 16},
    )
    Config: ClassVar[type[HTNetConfig]] = HTNetConfig
    config: HTNetConfig

    def __init__(self, config: HTNetConfig, classes: int) -> None:
        super().__init__(config, classes)
        dims = [config.dim * 2**level for level in range(_LEVELS)]
        patch = config.side // 4
        self.embed = nn.Conv2d(3, dims[0], patch, stride=patch)
        self.levels = nn.ModuleList(
            nn.Sequential(
                *(
                    _Block(dim, config.heads * 2**level, config.widening, config.dropout)
                    for _ in range(config.depths[level])
                )
            )
            for level, dim in enumerate(dims)
        )
        # With one token per block, the position embedding of the program is one number per level.
        self.positions = nn.Parameter(torch.randn(_LEVELS))
        self.aggregate = nn.ModuleList(_Aggregation(dim) for dim in dims[:-1])
        self.norm = nn.LayerNorm(dims[-1])
        self.head = nn.Linear(dims[-1], classes)

    def forward(self, inputs: Inputs) -> Tensor:
        """See `Recognizer.forward`."""
        flow = scaled(inputs["flow"], self.config)
        if self.config.published:
            flow = flow * self.config.input_scale
        tokens = self.embed(_four_patches(flow)).movedim(1, -1)
        for level, blocks in enumerate(self.levels):
            tokens = blocks(tokens + self.positions[level])
            if level < _LEVELS - 1:
                tokens = self.aggregate[level](tokens)
        logits: Tensor = self.head(self.norm(tokens).mean((1, 2)))
        return logits


def _four_patches(flow: Tensor) -> Tensor:
    """Crop the four patches and combine them, each half of the face in a row.

    Args:
        flow: ``(B, C, S, S)``.

    Returns:
        ``(B, C, S, S)``: left eye, left lip corner; right eye, right lip corner. Each patch is
        S / 2 wide and stays inside the image.
    """
    side = flow.shape[-1]
    half = side // 2
    patches = []
    for x, y in _CENTRES:
        left, top = (min(max(int(at * side) - half // 2, 0), side - half) for at in (x, y))
        patches.append(flow[..., top : top + half, left : left + half])
    rows = [torch.cat(patches[:2], -1), torch.cat(patches[2:], -1)]
    return torch.cat(rows, -2)


class _Aggregation(nn.Module):
    """Convolution of 3 x 3 to twice the channels, layer normalisation, and max pooling.

    The convolution is computed as one matrix product, since libraries compute it slowly for images
    as small as 2 x 2: a training step of the defaults takes a fifth less time on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.norm = nn.LayerNorm(2 * channels)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, tokens: Tensor) -> Tensor:
        neighbours = functional.unfold(tokens.movedim(-1, 1), 3, padding=1).transpose(1, 2)
        weight, bias = self.convolution.weight.flatten(1), self.convolution.bias
        convolved = functional.linear(neighbours, weight, bias)
        normed = self.norm(convolved.reshape(*tokens.shape[:3], -1))
        pooled: Tensor = self.pool(normed.movedim(-1, 1)).movedim(1, -1)
        return pooled


class _Block(nn.Module):
    """Transformer block on blocks of one token each, as with the sizes of the authors.

    An image of 4 x 4 tokens has 4 x 4 blocks, one of 2 x 2 tokens 2 x 2: each block has one token,
    whose attention to itself is 1, so that only values pass. Queries and keys have no influence in
    the program either and are left out here. Tokens are ``(B, H, W, C)``, so that the program's
    convolutions of 1 x 1 are linear layers: a training step of the defaults takes a fifth of the
    time on a CPU.
    """

    def __init__(self, channels: int, heads: int, widening: int, dropout: float) -> None:
        super().__init__()
        inner = channels // heads * heads
        self.attention = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, inner, bias=False),
            nn.Linear(inner, channels),
            nn.Dropout(dropout),
        )
        self.dense = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, widening * channels),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(widening * channels, channels),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(tokens)
        after: Tensor = tokens + self.dense(tokens)
        return after
