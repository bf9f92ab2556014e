"""DTSCNN: two shallow 3-D networks on one flow sequence at two time scales.

Peng, Wang, Chen, Liu and Fu resample clips to 64 and to 128 frames of flow, one stream each, so
that databases of different frame rates can be mixed. MiE-X trains it on ten frames per sample.

- One flow sequence is stored, and each stream resamples it to its own length. With 129 frames
  (128 flows) this is the paper's version: the stream of 128 uses every flow, that of 64 every
  second one. With ten frames, the default, it is the variant of MiE-X. Flow is taken from the
  onset, not from frame to frame; see `FlowSequence`.
- A stream has four convolutions and poolings, shallow against overfitting as the paper has it. Its
  kernels follow a published re-implementation of the 64 stream for cognitive load (16 kernels of
  8 x 3 x 3 with stride 4 x 2 x 2, then 32, 64 and 128; time ends at one step); the first kernel and
  its stride grow with the time scale, so that both streams see a clip in sixteen steps.
- The paper concatenates the streams' features for a linear SVM; here a linear layer is trained
  with them, as MiE-X's end-to-end variant needs. Batch normalisation and dropout were added.
"""

from typing import ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    RecognizerConfig,
    ToySize,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.flow_sequence import (
    FlowSequence,
    FlowSequenceConfig,
)
from miex.pipeline.recognition.sample import ClipFrames

_STEPS = 16
"""Number of time steps after the first convolution, at both scales."""

_FILTERS = (16, 32, 64, 128)


class DTSCNNConfig(RecognizerConfig):
    """Parameters of DTSCNN; ``flow: {frames: 129}`` is the paper's input, 10 is MiE-X's."""

    flow: FlowSequenceConfig = FlowSequenceConfig()
    time_scales: tuple[int, ...] = Field(
        (64, 128), min_length=1, description="flows that each stream sees; one for an ablation"
    )
    features: int = Field(512, ge=1, description="of a stream")
    dropout: float = Field(0.5, ge=0, lt=1)
    training: Hyperparameters = Hyperparameters(
        learning_rate=1e-4,
        weight_decay=5e-4,
        epochs=80,
        batch_size=32,
        schedule="linear_second_half",
        gradient_clip=1.0,
    )

    @field_validator("flow")
    @classmethod
    def _side_halves(cls, flow: FlowSequenceConfig) -> FlowSequenceConfig:
        if flow.side % 32:
            raise ValueError(
                f"side is {flow.side}, expected a multiple of 32: it is halved 5 times"
            )
        return flow

    @field_validator("time_scales")
    @classmethod
    def _scales_divide(cls, scales: tuple[int, ...]) -> tuple[int, ...]:
        for scale in scales:
            if scale < 2 * _STEPS or scale % (2 * _STEPS):
                raise ValueError(f"time scale {scale}, expected a multiple of {2 * _STEPS}")
        return scales


@register_recognizer("dtscnn")
class DTSCNN(Recognizer):
    """Stream for each time scale, and one layer on all features."""

    name: ClassVar[str] = "dtscnn"
    title = "DTSCNN"
    paper: ClassVar[str] = (
        "Peng et al., Dual Temporal Scale Convolutional Neural Network for Micro-Expression"
        " Recognition, Frontiers in Psychology, 2017"
    )
    citation = "Peng et al., Front. Psychol. 2017, as in MiE-X"
    year = 2017
    looks_at = "flow from the onset to each frame, 64 px, two time scales"
    toy = ToySize(
        {
            "flow": {"frames": 4, "flow_side": 64, "side": 32, "method": "farneback"},
            "time_scales": [32, 64],
            "features": 32,
        },
        {"epochs": 8, "learning_rate": 3e-3, "batch_size": 16},
    )
    Config: ClassVar[type[DTSCNNConfig]] = DTSCNNConfig
    clip_frames = ClipFrames("to_apex", most=129)
    class_layers: ClassVar[tuple[str, ...]] = ("classifier.",)
    config: DTSCNNConfig

    def __init__(self, config: DTSCNNConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.streams = nn.ModuleList(
            _Stream(scale, config.flow.side, config.features) for scale in config.time_scales
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(len(self.streams) * config.features, classes)

    @property
    def representation(self) -> FlowSequence:
        """The flow from the onset to each frame."""
        return FlowSequence(self.config.flow)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return logits ``(B, classes)`` of flow sequences ``(B, T, 2, S, S)`` of any length T."""
        flow = inputs["flow"].float().transpose(1, 2)
        features = torch.cat([stream(flow) for stream in self.streams], 1)
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


class _Stream(nn.Module):
    """Stream from flow at one time scale to features.

    Args:
        scale: Number of flows to which a sequence is resampled.
        side: Side of a flow, pixels.
        features: Number of features.
    """

    def __init__(self, scale: int, side: int, features: int) -> None:
        super().__init__()
        self.scale = scale
        stride = scale // _STEPS
        first, second, third, fourth = _FILTERS
        self.maps = nn.Sequential(
            *_convolution(2, first, 2 * stride, stride=(stride, 2, 2), padding=stride // 2),
            nn.MaxPool3d((1, 2, 2)),
            *_convolution(first, second, 3, padding=1),
            nn.MaxPool3d(2),
            *_convolution(second, third, 3, padding=1),
            nn.MaxPool3d(2),
            *_convolution(third, fourth, 4, padding=0),
            nn.MaxPool3d((1, 2, 2)),
        )
        self.project = nn.Sequential(
            nn.Flatten(), nn.Linear(fourth * (side // 32) ** 2, features), nn.ReLU()
        )

    def forward(self, flow: Tensor) -> Tensor:
        """Map flow ``(B, 2, T, S, S)`` to features ``(B, features)``."""
        features: Tensor = self.project(self.maps(resample(flow, self.scale)))
        return features


def _convolution(
    channels: int,
    filters: int,
    steps: int,
    *,
    padding: int,
    stride: tuple[int, int, int] = (1, 1, 1),
) -> tuple[nn.Module, ...]:
    """Create a convolution over `steps` time steps and 3 x 3 pixels."""
    convolution = nn.Conv3d(
        channels, filters, (steps, 3, 3), stride=stride, padding=(padding, 1, 1), bias=False
    )
    return convolution, nn.BatchNorm3d(filters), nn.ReLU()


def resample(flow: Tensor, count: int) -> Tensor:
    """Resample a batch of flow sequences linearly in time, from zero motion at the onset.

    `flow_sequence.over_time` does the same for one sequence.

    Args:
        flow: ``(B, 2, T, H, W)``, from the onset to T frames at equal steps.
        count: New length.

    Returns:
        ``(B, 2, count, H, W)``.
    """
    if flow.shape[2] == count:
        return flow
    size = (count + 1, *flow.shape[-2:])
    started = functional.pad(flow, (0, 0, 0, 0, 1, 0))
    return functional.interpolate(started, size, mode="trilinear", align_corners=True)[:, :, 1:]
