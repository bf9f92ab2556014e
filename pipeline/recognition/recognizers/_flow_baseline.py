"""Common input and augmentation of the recognizers of whole-face flow."""

from functools import lru_cache
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    RecognizerConfig,
    ToySize,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.flow_strain import FlowStrain, FlowStrainConfig
from miex.pipeline.recognition.representations.optical_flow import FlowMethod
from miex.pipeline.recognition.representations.published_flow import (
    Crop,
    PublishedFlow,
    PublishedFlowConfig,
    stretched,
)
from miex.pipeline.recognition.sample import MIN_SIDE

_STRAIN_GAIN = 10.0
"""Gain of the strain, chosen by this project: a strain of 0.1 occurs with a motion of about a
pixel, and with this gain u, v and strain have the same order of magnitude."""

_NOISE_SCALES = (0.45, 1.0, 2.0)
"""Standard deviations of the Gaussians that smooth white noise, in pixels of 28: at these scales
the published images have two to three times the energy of rendered ones."""

_FLOW_TOY = ToySize(
    {"flow_side": 64, "method": "dis"}, {"epochs": 15, "learning_rate": 3e-3, "batch_size": 16}
)
"""Toy size of these recognizers."""


class FlowBaselineConfig(RecognizerConfig):
    """Common parameters.

    Attributes:
        published_training: Default training on the form ``published``, chosen by this project,
            since the 800 epochs of several authors take hours for the 68 folds of MEGC2019.
        published_pre_training: The same for synthetic samples only. It is short, since what
            transfers to real clips is learnt within some tens of steps, and a longer training
            overfits to rendered samples (UF1 of STSTNet on real clips that it never
            trained on: .626 after 40 steps, .609 after 160, .544 after 800).
    """

    published_training: ClassVar[Hyperparameters] = Hyperparameters(
        optimizer="adam", learning_rate=1e-3, epochs=60, batch_size=32, schedule="cosine"
    )
    published_pre_training: ClassVar[Hyperparameters] = Hyperparameters(
        optimizer="adam",
        learning_rate=3e-3,
        epochs=60,
        batch_size=128,
        schedule="cosine",
        max_steps=40,
    )

    side: int = Field(28, ge=8, multiple_of=4, description="side of the inputs, pixels")
    flow_side: int = Field(
        128, ge=MIN_SIDE, description="side of the faces for the optical flow, pixels"
    )
    method: FlowMethod = "tvl1"
    form: Literal["auto", "face", "published"] = Field(
        "auto",
        description="face: flow of the face in the crop of miex; published: as published flow of"
        " real clips, cropped by eyes and mouth, each channel stretched; auto: published if the"
        " clips are, else face",
    )
    scaling: Literal["fixed", "image"] = Field(
        "fixed",
        description="scaling of the form face. fixed: motion in pixels, with size and sign;"
        " image: each channel of each sample stretched to 0-1, as the 8-bit flow images of the"
        " papers are",
    )
    crops: tuple[Crop, ...] = Field(
        PublishedFlowConfig().crops, description="crops of rendered samples in the form published"
    )
    crop_jitter: float = Field(
        PublishedFlowConfig().jitter,
        ge=0,
        le=0.2,
        description="random shift of these crops, as a share of the side",
    )
    rigid_motion: Literal["keep", "remove"] = Field(
        "keep",
        description="remove: flow without translation, rotation and scaling of the head, for"
        " samples with frames",
    )
    flip: float = Field(
        0.5, ge=0, le=1, description="probability of mirroring in training, in the form published"
    )
    noise: float = Field(
        0.25,
        ge=0,
        description="noise on u and v in training relative to their standard deviation, in the form"
        " published",
    )
    drift: float = Field(
        0.3,
        ge=0,
        description="head motion that is added to u and v in training relative to their standard"
        " deviation, in the form published",
    )

    @property
    def published(self) -> bool:
        """Whether the input has the form of published flow images."""
        return self.form == "published"


class FlowBaseline(Recognizer):
    """Base of the recognizers whose input is whole-face optical flow to one frame.

    Attributes:
        takes_strain: Whether strain is the third channel of the input, after u and v.
    """

    toy = _FLOW_TOY
    takes_flow_images = True
    takes_strain: ClassVar[bool] = True
    class_layers = ("head",)
    config: FlowBaselineConfig

    @property
    def representation(self) -> FlowStrain | PublishedFlow:
        """``flow``, ``float16 (B, 3, side, side)``; ``(B, 2, side, side)`` without strain."""
        return flow_representation(self.config, strain=self.takes_strain)

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Augment published flow, see `augmented`."""
        return augmented(inputs, self.config, generator)


def flow_representation(
    config: FlowBaselineConfig,
    *,
    strain: bool = True,
    target: Literal["apex", "middle"] = "apex",
) -> FlowStrain | PublishedFlow:
    """Return the representation of a recognizer of whole-face flow.

    Args:
        config: Parameters of the recognizer.
        strain: Whether strain is the third channel.
        target: Target frame of the flow; that of published flow is the apex.
    """
    if config.published:
        return PublishedFlow(
            PublishedFlowConfig(
                side=config.side,
                flow_side=config.flow_side,
                method=config.method,
                crops=config.crops,
                jitter=config.crop_jitter,
                rigid_motion=config.rigid_motion,
                strain=strain,
            )
        )
    return FlowStrain(
        FlowStrainConfig(
            side=config.side,
            flow_side=config.flow_side,
            method=config.method,
            target=target,
            strain=strain,
            rigid_motion=config.rigid_motion,
        )
    )


def scaled(flow: Tensor, config: FlowBaselineConfig) -> Tensor:
    """Return flow, and strain if there is any, scaled for the networks.

    Args:
        flow: ``(B, 2 or 3, S, S)`` from `flow_representation`.
        config: Form and scaling.

    Returns:
        ``float32`` of the same shape. A channel without any motion is 0.
    """
    flow = flow.float()
    if config.published:
        return flow
    if config.scaling == "image":
        return stretched(flow)
    gains = flow.new_tensor([1.0, 1.0, _STRAIN_GAIN])[: flow.shape[1]]
    return flow * gains[:, None, None]


def augmented(inputs: Inputs, config: FlowBaselineConfig, generator: Generator) -> Inputs:
    """Augment published flow.

    Each sample is mirrored or not (u changes its sign); noise of three scales and head motion
    (translation, rotation, scaling) are added to u and v, and the gradient of the noise to the
    strain, all relative to its standard deviations; then it is stretched again. The form ``face``
    is not changed.

    Args:
        inputs: ``flow`` from `flow_representation`.
        config: Kind and strength of the augmentation.
        generator: Random generator on the CPU.

    Returns:
        ``flow``, ``float32 (B, 2 or 3, S, S)``, 0-1.
    """
    if not config.published or not (config.flip or config.noise or config.drift):
        return inputs
    flow = inputs["flow"].float()
    device = flow.device
    count, side = len(flow), flow.shape[-1]
    mirrored = (torch.rand(count, generator=generator) < config.flip).to(device)
    sign = flow.new_tensor([-1.0, *([1.0] * (flow.shape[1] - 1))])[:, None, None]
    flow = torch.where(mirrored[:, None, None, None], flow.flip(-1) * sign, flow)
    motion, strain = flow[:, :2], flow[:, 2:]
    size = motion.flatten(1).view(count, 2, -1).std(-1).mean(1).clamp(min=1e-4).view(-1, 1, 1, 1)
    noise = (_noise(count, side, generator) * config.noise).to(device) * size
    head = (_head_motion(count, side, generator) * config.drift).to(device) * size
    if strain.shape[1]:
        ratio = strain.flatten(1).std(1).clamp(min=1e-4).view(-1, 1, 1, 1) / size
        right = functional.pad(noise.diff(dim=-1), (0, 1, 0, 0))
        down = functional.pad(noise.diff(dim=-2), (0, 0, 0, 1))
        slope = (right.square() + down.square()).sum(1, keepdim=True).sqrt() / 2
        strain = (strain.square() + (slope * ratio).square()).sqrt()
    return {"flow": stretched(torch.cat([motion + noise + head, strain], 1))}


def _noise(count: int, side: int, generator: Generator) -> Tensor:
    """Return noise of three scales ``(count, 2, side, side)``; its strength varies by sample."""
    total = torch.zeros(count, 2, side, side)
    for scale in _NOISE_SCALES:
        smooth = _smoothing(side, scale * side / 28)
        white = torch.randn(count, 2, side, side, generator=generator)
        total += smooth @ white @ smooth.T * torch.rand(count, 1, 1, 1, generator=generator)
    return total * 2 * torch.rand(count, 1, 1, 1, generator=generator)


@lru_cache
def _smoothing(side: int, sigma: float) -> Tensor:
    """Return a Gaussian filter of rows as a matrix ``(side, side)``, the border repeated.

    White noise that it filters along both axes keeps a mean square of 1.
    """
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1)
    weights = torch.exp(-at.square() / (2 * sigma**2))
    matrix = torch.zeros(side, side)
    for row in range(side):
        matrix[row].index_add_(0, (row + at).clamp(0, side - 1), weights / weights.sum())
    return matrix / matrix.square().sum(1).mean().sqrt()


def _head_motion(count: int, side: int, generator: Generator) -> Tensor:
    """Return translation, rotation and scaling about the centre, ``(count, 2, side, side)``."""
    right, down, turn, growth = torch.randn(4, count, 1, 1, generator=generator)
    at = torch.linspace(-1, 1, side)
    x, y = at.expand(side, side), at[:, None].expand(side, side)
    turn, growth = 0.4 * turn, 0.4 * growth
    return torch.stack([right + growth * x - turn * y, down + turn * x + growth * y], 1)
