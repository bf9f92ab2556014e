"""MMNet: motion by a network with continuous attention, and position from the onset.

Li, Sui, Zhu and Zhao (IJCAI 2022). Sizes, and details that the paper does not state, are those of
the authors' program (github.com/muse1998/MMNet, commit 330551f), except for its first convolution,
whose two groups do not divide three channels, so that it cannot run.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from timm.models.vision_transformer import Block
from torch import Generator, Tensor, nn
from torch.nn import functional

from miex.pipeline.recognition.recognizers import _augment
from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    RecognizerConfig,
    ToySize,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.frames import MAX_SIDE, FramePair, FramesConfig
from miex.pipeline.recognition.sample import MIN_SIDE

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and deviation of the authors' normalisation, for RGB in 0-1."""

_HALVINGS = 4
"""Factor by which the first convolution and three of the four blocks reduce the image."""


class MMNetConfig(RecognizerConfig):
    """Parameters of `MMNet`; the defaults are those of the authors' program."""

    training: Hyperparameters = Hyperparameters(
        optimizer="adamw",
        learning_rate=8e-4,
        weight_decay=0.7,
        epochs=100,
        batch_size=34,
        schedule="step",
        step_epochs=1,
        step_factor=0.987,
    )
    stored: int = Field(128, ge=MIN_SIDE, le=MAX_SIDE, description="of the stored frames, pixels")
    side: int = Field(224, ge=32, multiple_of=16, description="that the network sees, pixels")
    margin: int = Field(
        4, ge=0, description="training shifts the image by up to so many pixels, or less"
    )
    rotation: float = Field(4.0, ge=0, lt=180, description="largest angle in training, degrees")
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring in training")
    stem: int = Field(180, ge=2, description="channels of the first convolution")
    channels: tuple[int, int, int, int] = Field(
        (128, 128, 256, 512), description="of the four blocks; the last one is also the tokens'"
    )
    depth: int = Field(3, ge=0, description="transformer blocks on the onset; 0: no such branch")
    heads: int = Field(4, ge=1, description="of their attention")
    drop_path: float = Field(0.3, ge=0, lt=1, description="of the last transformer block")
    continuous: bool = Field(True, description="each attention map is multiplied by the one before")


@register_recognizer("mmnet")
class MMNet(Recognizer):
    """Muscle motion-guided network.

    The input of the main branch is apex minus onset; each of its blocks weights positions by an
    attention map that continues that of the block before. The other branch applies a small vision
    transformer to the onset at 14 x 14 pixels; it is added before the classifier and supplies the
    position of the motion on the face.
    """

    name = "mmnet"
    title = "MMNet"
    paper = (
        "Li, Sui, Zhu, Zhao: MMNet: Muscle Motion-Guided Network for Micro-Expression Recognition."
        " IJCAI 2022"
    )
    citation = "Li et al., IJCAI 2022"
    year = 2022
    looks_at = "apex minus onset, and onset, 128 px stored, 224 px seen"
    toy = ToySize(
        {
            "stored": 64,
            "side": 64,
            "margin": 0,
            "rotation": 0,
            "flip": 0,
            "stem": 16,
            "channels": (16, 16, 32, 32),
            "drop_path": 0,
            "depth": 1,
        },
        {"epochs": 12, "learning_rate": 3e-3, "batch_size": 16, "weight_decay": 0},
    )
    Config: ClassVar[type[MMNetConfig]] = MMNetConfig
    class_layers = ("head",)
    config: MMNetConfig
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: MMNetConfig, classes: int) -> None:
        super().__init__(config, classes)
        widths = (config.channels[0], *config.channels)
        self.stem = nn.Sequential(
            _unit(3, config.stem, 3, stride=2), _unit(config.stem, widths[0], 3)
        )
        self.blocks = nn.ModuleList(
            _AttentionBlock(before, after, stride=1 if number == 0 else 2)
            for number, (before, after) in enumerate(pairwise(widths))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        grid = config.side // 2**_HALVINGS
        last = config.channels[-1]
        self.place = _Place(config, grid, last) if config.depth else None
        self.head = nn.Linear(last * grid**2, classes)
        for name, values in (("mean", _MEAN), ("deviation", _DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    @property
    def representation(self) -> FramePair:
        """Onset and apex frame."""
        return FramePair(FramesConfig(side=self.config.stored))

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Augment onset and apex alike by mirroring, rotation and shifts."""
        config = self.config
        pair = torch.stack((inputs["onset"], inputs["apex"]), 1)
        views = _augment.random_view(
            _augment.as_float(pair),
            config.side,
            generator,
            resized=config.side + 2 * config.margin,
            degrees=config.rotation,
            flip=config.flip,
        )
        onset, apex = views.unbind(1)
        return {"onset": onset, "apex": apex}

    def forward(self, inputs: Inputs) -> Tensor:
        """Return logits ``(B, classes)`` of stored or augmented frames."""
        pair = torch.stack((inputs["onset"], inputs["apex"]), 1)
        if pair.dtype == torch.uint8:
            resized = self.config.side + 2 * self.config.margin
            pair = _augment.centre_view(_augment.as_float(pair), self.config.side, resized=resized)
        onset, apex = ((pair - self.mean) / self.deviation).unbind(1)
        maps, attention = self.stem(apex - onset), None
        for block in self.blocks:
            maps, attention = block(maps, attention if self.config.continuous else None)
        if self.place is not None:
            maps = maps + self.place(onset)
        logits: Tensor = self.head(maps.flatten(1))
        return logits


def _unit(channels: int, features: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, features, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(features),
        nn.ReLU(),
    )


class _AttentionBlock(nn.Module):
    """Two convolutions with a shortcut, and attention that continues that of the block before.

    The map is computed from the mean and the maximum over the channels, and multiplied by the
    downscaled map of the block before, so that unimportant positions stay unimportant.
    """

    def __init__(self, channels: int, features: int, stride: int) -> None:
        super().__init__()
        self.first = _unit(channels, features, 3, stride)
        self.second = nn.Sequential(
            nn.Conv2d(features, features, 1, bias=False), nn.BatchNorm2d(features)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != features:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, features, 1, stride, bias=False), nn.BatchNorm2d(features)
            )
        self.attend = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, maps: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        found = functional.relu(self.second(self.first(maps)) + self.shortcut(maps))
        pooled = torch.cat([found.mean(1, keepdim=True), found.amax(1, keepdim=True)], 1)
        attention: Tensor = self.attend(pooled)
        if before is not None:
            if before.shape[-2:] != attention.shape[-2:]:
                before = functional.max_pool2d(before, 3, 2, 1)
            attention = attention * before
        return found * attention, attention


class _Place(nn.Module):
    """Transformer blocks on the onset, with one token per pixel of a small image."""

    def __init__(self, config: MMNetConfig, grid: int, features: int) -> None:
        super().__init__()
        self.grid = grid
        self.embed = nn.Conv2d(3, features, 1)
        self.positions = nn.Parameter(0.02 * torch.randn(1, grid**2, features))
        self.blocks = nn.Sequential(
            *(
                Block(features, config.heads, mlp_ratio=2.0, qkv_bias=True, drop_path=float(drop))
                for drop in torch.linspace(0, config.drop_path, config.depth)
            )
        )
        self.norm = nn.LayerNorm(features)

    def forward(self, onset: Tensor) -> Tensor:
        small = functional.interpolate(
            onset, (self.grid, self.grid), mode="bilinear", align_corners=False, antialias=True
        )
        tokens = self.embed(small).flatten(2).transpose(1, 2) + self.positions
        tokens = self.norm(self.blocks(tokens))
        placed: Tensor = tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return placed
