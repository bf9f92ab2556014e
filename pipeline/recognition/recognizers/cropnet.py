"""CropNet: a ReXNet on ten overlapping views of a residual sum.

Decisions where the paper is silent or contradicts itself:

- **Backbone.** The paper names ReXNet (Han et al., Rethinking Channel Dimensions for Efficient
  Model Design, CVPR 2021) without its width, and says 7.6 million parameters. ReXNet-1.0 has 4.8
  million, of which 1.3 belong to its 1000-way layer; ReXNet-1.3 has 7.56. The paper's features go
  "through the Convolutional Layer, Batch Normalization Layer, Adaptive Pooling Layer, and Fully
  Connected Layer", which is the head of ReXNet itself, so that a view has 1000 features; that layer
  has random initial weights in any case.
  With position embeddings (9,000) and the last layer (10,000 to 3) that makes 7.60 million.
- **Position embedding.** The operator of eq. 8 is lost; "the same dimension" reads as a sum.
  The deviation is the root of the variance .2.
- **Training.** AdamP and label smoothing are named without values, epochs and batch not at all.
- Residual sums are computed at the size of the stored frames and scaled to 320 px, in this order:
  the paper crops faces of any size and states 320 px only for the input of the network.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from miex.pipeline.recognition.recognizers import _augment
from miex.pipeline.recognition.recognizers._pretrained import timm_backbone
from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    RecognizerConfig,
    ToySize,
    batch_accuracy,
    register_recognizer,
)
from miex.pipeline.recognition.representations import cgpo
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.flow_image import FlowImage, FlowImageConfig
from miex.pipeline.recognition.representations.residual_sums import (
    ResidualSum,
    ResidualSumConfig,
)
from miex.pipeline.recognition.sample import MIN_SIDE, ClipFrames

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet, for which the ReXNet of timm was trained."""


class CropNetConfig(RecognizerConfig):
    """Parameters of CropNet; the defaults are the paper's, except for the decisions above."""

    weights: str = Field("auto", description="auto, imagenet, random, or a file of the backbone")
    backbone: str = Field("rexnet_130", description="timm's name of it")
    input: Literal["ars", "rrs", "difference", "tvl1", "farneback"] = Field(
        "ars", description="residual sum, flow (both as in table 4) or difference"
    )
    key_frames: int = Field(5, ge=1, description="frames of a residual sum (figure 5)")
    rigid_motion: Literal["keep", "remove"] = Field(
        "keep", description="remove: of a residual sum, without shift, turn and growth of the head"
    )
    stored: int = Field(128, ge=MIN_SIDE, description="side of the stored image, pixels")
    side: int = Field(320, ge=2 * MIN_SIDE, multiple_of=2, description="of the face, pixels")
    views: Literal["cgpo", "whole"] = Field(
        "cgpo", description="the whole face and its tiles, or the whole face alone"
    )
    overlap: float = Field(0.3, ge=0, lt=1, description="of neighbouring tiles (paper: alpha)")
    position_embedding: bool = True
    features: int = Field(1000, ge=1, description="of a view")
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    jitter: float = Field(
        0.8, ge=0, le=1, description="of brightness, contrast and saturation in training"
    )
    hue: float = Field(0.5, ge=0, le=0.5, description="largest turn of the hue in training")
    grey: float = Field(0.2, ge=0, le=1, description="probability of no colour in training")
    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring in training")
    rotation: float = Field(15.0, ge=0, lt=180, description="largest angle in training, degrees")
    training: Hyperparameters = Hyperparameters(
        optimizer="adamp", learning_rate=1e-3, epochs=60, batch_size=32
    )


@register_recognizer("cropnet")
class CropNet(Recognizer):
    """ReXNet on all views, with position embeddings, and one layer on all features."""

    name: ClassVar[str] = "cropnet"
    title = "CropNet"
    paper: ClassVar[str] = (
        "Zhao et al., Micro-Expression Recognition Based on Pixel Residual Sum and Cropped Gaussian"
        " Pyramid, Frontiers in Neurorobotics, 2021"
    )
    citation = "Zhao et al., Front. Neurorobot. 2021"
    year = 2021
    looks_at = "residual sum of five key frames, in ten views of 160 px"
    toy = ToySize(
        {
            "weights": "random",
            "backbone": "test_efficientnet",
            "stored": 64,
            "side": 64,
            "overlap": 0.0,
            "features": 32,
            "jitter": 0,
            "hue": 0,
            "grey": 0,
            "flip": 0,
            "rotation": 0,
        },
        {"epochs": 8, "learning_rate": 3e-3, "batch_size": 16},
    )
    Config: ClassVar[type[CropNetConfig]] = CropNetConfig
    clip_frames = ClipFrames("to_offset", most=1000)
    class_layers: ClassVar[tuple[str, ...]] = ("classifier.",)
    config: CropNetConfig
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: CropNetConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.backbone, self.weights, pooled = timm_backbone(config.backbone, config.weights)
        self.project = nn.Linear(pooled, config.features)
        tiles = 0
        if config.views == "cgpo":
            tiles = len(cgpo.tile_starts(config.side, config.overlap)) ** 2
        # N(0, .2), before eq. 8; the whole face has no position.
        self.position = (
            nn.Parameter(0.2**0.5 * torch.randn(tiles, config.features))
            if config.position_embedding and tiles
            else None
        )
        self.classifier = nn.Linear((1 + tiles) * config.features, classes)
        shape = (3, 1, 1)
        self.register_buffer("mean", torch.tensor(_MEAN).view(shape), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(shape), persistent=False)

    @property
    def representation(self) -> ResidualSum | FlowImage:
        """The residual sum, or an input for comparison."""
        kind, side = self.config.input, self.config.stored
        if kind == "tvl1" or kind == "farneback":
            return FlowImage(FlowImageConfig(method=kind, side=side))
        config = ResidualSumConfig(
            kind=kind,
            key_frames=self.config.key_frames,
            side=side,
            rigid_motion=self.config.rigid_motion,
        )
        return ResidualSum(config)

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Augment colours, grey, mirroring and rotation (sec. 3.2.1) of a residual sum.

        Flow is not changed: its colours are directions, which augmentation would falsify.
        """
        config = self.config
        if isinstance(self.representation, FlowImage):
            return inputs
        images = _augment.colour_jitter(
            _augment.as_float(inputs["image"])[:, None],
            generator,
            brightness=config.jitter,
            contrast=config.jitter,
            saturation=config.jitter,
            hue=config.hue,
        )
        images = _augment.random_grey(images, generator, config.grey)
        images = _augment.random_view(
            images, config.side, generator, degrees=config.rotation, flip=config.flip
        )
        return {"image": images[:, 0]}

    def forward(self, inputs: Inputs) -> Tensor:
        """Return logits ``(B, classes)`` of stored or augmented images."""
        views = self._views(inputs["image"])
        pooled = self.backbone(views.flatten(0, 1))
        features: Tensor = self.project(pooled).unflatten(0, views.shape[:2])
        if self.position is not None:
            features = torch.cat((features[:, :1], features[:, 1:] + self.position), 1)
        logits: Tensor = self.classifier(features.flatten(1))
        return logits

    def loss(self, inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        """Compute the cross-entropy with smoothed labels."""
        smoothing = self.config.label_smoothing
        logits = self(inputs)
        return {
            "loss": functional.cross_entropy(logits, labels, label_smoothing=smoothing),
            "accuracy": batch_accuracy(logits, labels),
        }

    def _views(self, images: Tensor) -> Tensor:
        """Return the input of the backbone, ``(B, V, 3, side / 2, side / 2)``."""
        images = _augment.as_float(images)
        if images.shape[-1] != self.config.side:
            images = _augment.centre_view(images[:, None], self.config.side)[:, 0]
        images = (images - self.mean) / self.deviation
        if self.config.views == "whole":
            return cgpo.pyramid_down(images)[:, None]
        return cgpo.views(images, self.config.overlap)
