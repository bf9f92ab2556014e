"""Dual-ATME: two small Inception branches, on the flow of the face and of its puzzle.

Ablations of the paper, as changes of the config:

| table | row | change |
|---|---|---|
| 1 | HARS alone | ``branches="puzzle", attention="none"`` |
| 1 | HARS with attention | ``branches="puzzle", attention="puzzle"`` |
| 1 | AARS alone | ``branches="face"`` |
| 1 | HARS with attention, and AARS | ``attention="both"`` |
| 4 | eyebrows or cheeks, with nose or mouth | ``upper="cheeks"``, ``lower="nose"`` |
| 4 | full face | ``puzzle=False`` |
| 5 | lambda | ``similarity_weight=0`` to ``0.1`` |
| 6 | cross-entropy | ``classification="cross_entropy"`` |
| 6 | weighted cross-entropy | the same with ``class_weights=(0.2857, 0.1329, 0.1695)`` |
| 6 | SGD | ``training={"optimizer": "sgd", ...}`` |
"""

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    RecognizerConfig,
    ToySize,
    batch_accuracy,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.hars import (
    DualRegion,
    DualRegionConfig,
    Lower,
    Upper,
)
from miex.pipeline.recognition.representations.optical_flow import FlowMethod
from miex.pipeline.recognition.sample import MIN_SIDE

_FILTERS = (6, 12)
"""Channels of each path of the first and the second Inception block (section 3.3.1)."""

_PATHS = 4
_REDUCED = 6
"""Channels before the 3x3 and 5x5 filters, in both blocks of the authors' code."""

_INPUT_SCALE = (1.0, 1.0, 10.0)
"""Factors of u, v and strain. The strain is about a tenth of the flow; the inputs of the authors
are images in which all three use the range of a byte."""


class DualAtmeConfig(RecognizerConfig):
    """Parameters of `DualAtme`; the defaults are the paper's, but for `flow_side` and `flip`."""

    training: Hyperparameters = Hyperparameters(
        optimizer="adam",
        learning_rate=1e-3,
        betas=(0.5, 0.999),
        epochs=60,
        batch_size=128,
        schedule="cosine",
    )
    side: int = Field(28, ge=4, multiple_of=4, description="side of the inputs, pixels")
    flow_side: int = Field(
        128, ge=MIN_SIDE, multiple_of=2, description="of face and puzzle for the flow, pixels"
    )
    method: FlowMethod = "tvl1"
    upper: Upper = "brows"
    lower: Lower = "mouth"
    puzzle: bool = Field(True, description="lower branch looks at the puzzle, else at the face too")
    branches: Literal["both", "face", "puzzle"] = "both"
    attention: Literal["none", "face", "puzzle", "both", "shared"] = Field(
        "face", description="branches with a CBAM; shared: one for both, as in the authors' code"
    )
    reduction: int = Field(16, ge=1, le=48, description="of the channel attention (code)")
    spatial_kernel: int = Field(3, ge=1, description="of the spatial attention, odd (code)")
    hidden: int = Field(1024, ge=1, description="units between the two layers of the head (code)")
    dropout: float = Field(0.5, ge=0, lt=1)
    similarity_weight: float = Field(0.01, ge=0, description="lambda of the joint loss")
    classification: Literal["focal", "cross_entropy"] = "focal"
    focal_gamma: float = Field(2.0, ge=0, description="of the authors' code")
    class_weights: tuple[float, ...] | None = Field(None, description="one for each class")
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring in training")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.spatial_kernel % 2 == 0:
            raise ValueError(f"spatial_kernel is {self.spatial_kernel}, expected an odd number")
        if self.branches != "both" and self.attention not in ("none", self.branches):
            raise ValueError(
                f"attention is {self.attention!r}, and there is only the branch {self.branches!r};"
                f" take {self.branches!r} or 'none'"
            )
        if self.class_weights and not min(self.class_weights) > 0:
            raise ValueError(f"class_weights are {self.class_weights}, expected numbers above 0")
        return self


class InceptionBlock(nn.Module):
    """Inception block (section 3.3.1, figure 4) with the pooled path of the authors' code.

    Four paths of `filters` channels: 1x1; 1x1 then 3x3; 1x1 then 5x5; 3x3 maximum then 1x1. Each
    convolution is followed by batch normalisation and ReLU. ``(B, C, H, W)`` to
    ``(B, 4 filters, H, W)``.

    Args:
        channels: C.
        filters: Channels of each path.
    """

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            [
                _convolution(channels, filters, 1),
                nn.Sequential(
                    _convolution(channels, _REDUCED, 1), _convolution(_REDUCED, filters, 3)
                ),
                nn.Sequential(
                    _convolution(channels, _REDUCED, 1), _convolution(_REDUCED, filters, 5)
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(channels, filters, 1)),
            ]
        )

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([path(features) for path in self.paths], dim=1)


def _convolution(channels: int, filters: int, kernel: int) -> nn.Sequential:
    # No bias, which batch normalisation would remove.
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


class BiInception(nn.Sequential):
    """Two Inception blocks with max pooling: 3 x 28 x 28, 24 x 14 x 14, 48 x 7 x 7."""

    def __init__(self) -> None:
        first, second = _FILTERS
        super().__init__(
            InceptionBlock(3, first),
            nn.MaxPool2d(2),
            InceptionBlock(_PATHS * first, second),
            nn.MaxPool2d(2),
        )


class Cbam(nn.Module):
    """Convolutional block attention (Woo et al., ECCV 2018; section 3.3.2): channels, then space.

    ``(B, C, H, W)`` to the same shape. The channels have one hidden layer, as in Woo et al. and the
    authors' code; the paper speaks of two.

    Args:
        channels: C.
        reduction: The channel attention has C / reduction hidden units.
        kernel: Kernel size of the spatial attention.
    """

    def __init__(self, channels: int, reduction: int, kernel: int) -> None:
        super().__init__()
        middle = max(channels // reduction, 1)
        self.channel = nn.Sequential(
            nn.Linear(channels, middle), nn.ReLU(inplace=True), nn.Linear(middle, channels)
        )
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        channel = self.channel(features.amax(dim=(2, 3))) + self.channel(features.mean(dim=(2, 3)))
        features = features * channel.sigmoid()[:, :, None, None]
        pooled = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], dim=1)
        spatial: Tensor = self.spatial(pooled)
        return features * spatial.sigmoid()


def focal_loss(
    logits: Tensor, labels: Tensor, gamma: float, weights: Tensor | None = None
) -> Tensor:
    """Return the focal loss (Lin et al., ICCV 2017, eq. 5); the cross-entropy if gamma is 0.

    Args:
        logits: ``(B, C)``.
        labels: ``int64 (B,)``.
        gamma: Exponent that reduces the weight of well classified samples.
        weights: ``(C,)``, weights of the classes; 1 by default.

    Returns:
        ``mean(-w_y (1 - p_y)^gamma log p_y)``; with weights a mean weighted by w_y, as the
        cross-entropy of PyTorch.
    """
    chosen = logits.float().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    # At p = 1 the slope of a power with an exponent below 1 is infinite.
    losses = -((1 - chosen.exp()).clamp_min(1e-6) ** gamma) * chosen
    if weights is None:
        return losses.mean()
    return (losses * weights[labels]).sum() / weights[labels].sum()


@register_recognizer("dual_atme")
class DualAtme(Recognizer):
    """Dual-branch attention network, sections 3.3 to 3.5 of the paper.

    The similarity loss is 1 - cos of the two branches' features (section 3.3.3); features of
    different samples are not separated, as section 3.1 mentions without an equation. The paper
    scales the features to -1..1 before; the authors' code and this one do not. The head has the
    batch normalisation and ReLU of the authors' code.
    """

    name = "dual_atme"
    title = "Dual-ATME"
    paper = (
        "Zhou, Huang, Li, Wang: Dual-ATME: Dual-Branch Attention Network for Micro-Expression"
        " Recognition, Entropy 25(3):460, 2023"
    )
    citation = "Zhou et al., Entropy 2023"
    year = 2023
    looks_at = "flow and strain of the face and of a puzzle of brows and mouth, 28 px; landmarks"
    toy = ToySize(
        {"flow_side": 64, "hidden": 64, "method": "dis"},
        {"epochs": 8, "learning_rate": 3e-3, "batch_size": 16},
    )
    Config = DualAtmeConfig
    class_layers: ClassVar[tuple[str, ...]] = ("output.",)
    config: DualAtmeConfig

    def __init__(self, config: DualAtmeConfig, classes: int) -> None:
        super().__init__(config, classes)
        weights = config.class_weights
        if weights is not None and len(weights) != classes:
            raise ValueError(
                f"dual_atme: {len(weights)} class_weights for {classes} classes; give one for each"
            )
        self.names = ("face", "puzzle") if config.branches == "both" else (config.branches,)
        channels = _PATHS * _FILTERS[-1]
        self.branches = nn.ModuleDict({name: BiInception() for name in self.names})
        attended = self.names if config.attention == "both" else (config.attention,)
        self.attention = nn.ModuleDict(
            {
                name: Cbam(channels, config.reduction, config.spatial_kernel)
                for name in attended
                if name in (*self.names, "shared")
            }
        )
        features = len(self.names) * channels * (config.side // 4) ** 2
        self.head = nn.Sequential(
            nn.Linear(features, config.hidden, bias=False),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
        )
        self.output = nn.Linear(config.hidden, classes)
        scale = torch.tensor(_INPUT_SCALE)[:, None, None]
        self.register_buffer("input_scale", scale, persistent=False)
        self.register_buffer(
            "class_weights", None if weights is None else torch.tensor(weights), persistent=False
        )
        self.input_scale: Tensor
        self.class_weights: Tensor | None

    @property
    def representation(self) -> DualRegion:
        """``face`` and ``puzzle``, each ``float16 (B, 3, side, side)``: u, v and strain."""
        config = self.config
        return DualRegion(
            DualRegionConfig(
                side=config.side,
                flow_side=config.flow_side,
                method=config.method,
                upper=config.upper,
                lower=config.lower,
            )
        )

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Mirror samples (section 4.2), with u, which points to the right, negated."""
        count = len(inputs["face"])
        mirrored = torch.rand(count, generator=generator) < self.config.flip
        mirrored = mirrored.to(inputs["face"].device)[:, None, None, None]
        sign = inputs["face"].new_tensor([-1, 1, 1])[:, None, None]
        return {
            name: torch.where(mirrored, motion.flip(-1) * sign, motion)
            for name, motion in inputs.items()
        }

    def features(self, inputs: Inputs) -> list[Tensor]:
        """Return features of each branch, ``(B, 48, side / 4, side / 4)``: V_e and V_p."""
        found = []
        for name in self.names:
            motion = inputs[name if self.config.puzzle else "face"].float() * self.input_scale
            features = self.branches[name](motion)
            for key in (name, "shared"):
                if key in self.attention:
                    features = self.attention[key](features)
            found.append(features)
        return found

    def forward(self, inputs: Inputs) -> Tensor:
        """See `Recognizer.forward`."""
        return self._classify(self.features(inputs))

    def _classify(self, features: list[Tensor]) -> Tensor:
        logits: Tensor = self.output(self.head(torch.cat(features, dim=1).flatten(1)))
        return logits

    def loss(self, inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        """Compute the focal loss plus lambda times the similarity loss (section 3.5)."""
        features = self.features(inputs)
        gamma = self.config.focal_gamma if self.config.classification == "focal" else 0.0
        logits = self._classify(features)
        classification = focal_loss(logits, labels, gamma, self.class_weights)
        accuracy = batch_accuracy(logits, labels)
        if len(features) < 2:
            return {"loss": classification, "accuracy": accuracy}
        face, puzzle = (branch.flatten(1).float() for branch in features)
        similarity = (1 - functional.cosine_similarity(face, puzzle)).mean()
        return {
            "loss": classification + self.config.similarity_weight * similarity,
            "accuracy": accuracy,
            "classification": classification,
            "similarity": similarity,
        }
