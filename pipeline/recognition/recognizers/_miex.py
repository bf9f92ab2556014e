"""Common parts of MiE-X's two recognizers of images: preparation of the frames, head, training.

Liu et al., How to Synthesize a Large-Scale and Trainable Micro-Expression Dataset?, ECCV 2022. The
hyperparameters, which the paper leaves to its supplement, are those of its released code, except
for two errors: the code augments test images, too, and augments onset and apex differently.
"""

from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from miex.pipeline.recognition.recognizers import _augment
from miex.pipeline.recognition.recognizers._pretrained import resnet18, timm_backbone
from miex.pipeline.recognition.recognizers.base import Hyperparameters, RecognizerConfig, ToySize
from miex.pipeline.recognition.representations.frames import MAX_SIDE
from miex.pipeline.recognition.sample import MIN_SIDE

_RESNET_FEATURES = 512

_HIDDEN = (128, 32)
"""Widths of the two hidden layers of the head."""

TOY = ToySize(
    {
        "weights": "random",
        "backbone": "test_efficientnet",
        "side": 64,
        "resized": 50,
        "crop": 48,
        "rotation": 0,
        "jitter": 0,
        "dropout": 0,
    },
    {"epochs": 20, "learning_rate": 2e-3, "batch_size": 10},
)
"""Toy size of both recognizers."""


class MiexConfig(RecognizerConfig):
    """Common parameters of Branches and ApexME."""

    backbone: str = Field(
        "resnet18", description="of torchvision; or timm's name of another convolutional one"
    )
    weights: str = Field("auto", description="auto, imagenet, random, or a file of the backbone")
    side: int = Field(128, ge=MIN_SIDE, le=MAX_SIDE, description="of the stored frames, pixels")
    resized: int = Field(256, ge=MIN_SIDE, description="side before cropping, pixels")
    crop: int = Field(224, ge=MIN_SIDE, description="side that the network sees, pixels")
    rotation: float = Field(10.0, ge=0, lt=180, description="largest angle in training, degrees")
    rotation_of_clips: float | None = Field(
        None, ge=0, lt=180, description="of real clips; as of synthesized samples by default"
    )
    jitter: float = Field(
        0.2, ge=0, le=0.5, description="of brightness, contrast, saturation and hue in training"
    )
    dropout: float = Field(0.5, ge=0, lt=1)
    part_pooling: bool = Field(
        False,
        description="pool the upper and the lower half of the face apart, as Liu et al. 2019, from"
        " which Branches has its name; MiE-X pools the face as a whole",
    )
    training: Hyperparameters = Hyperparameters(
        learning_rate=1e-4,
        weight_decay=5e-4,
        epochs=80,
        batch_size=32,
        schedule="linear_second_half",
        gradient_clip=1.0,
    )
    fine_tuning: Hyperparameters = Hyperparameters(
        learning_rate=1e-4,
        weight_decay=5e-4,
        epochs=80,
        batch_size=32,
        schedule="step",
        step_epochs=10,
        step_factor=0.8,
        gradient_clip=1.0,
    )

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop > self.resized:
            raise ValueError(
                f"crop is {self.crop} px, more than the {self.resized} px that it is cut from;"
                " raise resized or lower crop"
            )
        return self


_CODE = Hyperparameters(
    learning_rate=1e-4,
    weight_decay=5e-4,
    batch_size=32,
    schedule="linear_second_half",
    gradient_clip=1.0,
    gradient_clip_of="each_network",
)


def released(fine_tuning_rate: float, fine_tuning_factor: float) -> dict[str, Any]:
    """Return training as in the released code of MiE-X, liuyvchi/MiE-X@15705f3.

    ``train_fold_nov.py`` trains on clips for 40 epochs and 40 in which the rate falls;
    ``train_fold_simu_nov.py`` on MiE-X alone for 20 and 10 at 1e-5; ``train_fold_simu_fineT.py``
    pretrains for 10 and 10. Gradients are clipped for each network, and clips are not rotated. For
    how many epochs it fine-tunes is not known here; the 80 are the paper's.

    Args:
        fine_tuning_rate: Learning rate of the first ten epochs of fine-tuning.
        fine_tuning_factor: By which it is multiplied every ten epochs.
    """
    stages: dict[str, dict[str, Any]] = {
        "training": {"epochs": 80},
        "alone": {"epochs": 30, "learning_rate": 1e-5, "constant_share": 2 / 3},
        "pre_training": {"epochs": 20},
        "fine_tuning": {
            "epochs": 80,
            "learning_rate": fine_tuning_rate,
            "schedule": "step",
            "step_epochs": 10,
            "step_factor": fine_tuning_factor,
        },
    }
    own = {name: _CODE.model_dump() | changes for name, changes in stages.items()}
    return {**own, "rotation_of_clips": 0.0}


def augmented(
    frames: Tensor, config: MiexConfig, generator: Generator, clips: Tensor | None = None
) -> Tensor:
    """Augment frames for training.

    Args:
        frames: ``uint8 (B, T, 3, side, side)`` RGB.
        config: Kind and strength of the augmentation.
        generator: Random generator on the CPU.
        clips: ``bool (B,)``, which samples are real clips; `MiexConfig.rotation_of_clips`.

    Returns:
        ``float32 (B, T, 3, crop, crop)``, 0 to 1. Colours are changed before upscaling, on a third
        of the pixels, which is equivalent except for contrast.
    """
    jitter = config.jitter
    images = _augment.colour_jitter(
        _augment.as_float(frames),
        generator,
        brightness=jitter,
        contrast=jitter,
        saturation=jitter,
        hue=jitter,
    )
    degrees = torch.full((len(images),), config.rotation)
    if clips is not None and config.rotation_of_clips is not None:
        degrees[clips.cpu()] = config.rotation_of_clips
    return _augment.random_view(
        images, config.crop, generator, resized=config.resized, degrees=degrees
    )


def prepared(frames: Tensor, config: MiexConfig) -> Tensor:
    """Return the input of a network from stored or augmented frames.

    Args:
        frames: Stored ``uint8 (B, T, 3, side, side)``, of which the centre is used, or augmented
            ``float (B, T, 3, crop, crop)``.
        config: Sizes.

    Returns:
        ``float32 (B, T, 3, crop, crop)``, -1 to 1, normalised with mean and deviation .5.
    """
    if frames.dtype == torch.uint8:
        frames = _augment.centre_view(
            _augment.as_float(frames), config.crop, resized=config.resized
        )
    return frames * 2 - 1


def backbone(config: MiexConfig) -> tuple[nn.Module, int, str]:
    """Create a backbone with pooled features of the whole face or of its two halves.

    Returns:
        The backbone, ``(B, 3, crop, crop)`` to ``(B, features)``; the number of features; its
        initial weights.
    """
    # The last map of a 224 px image has 7 rows; the middle one belongs to both halves.
    parts = 2 if config.part_pooling else 1
    pool = nn.AdaptiveAvgPool2d((parts, 1))
    if config.backbone == "resnet18":
        network, said = resnet18(config.weights)
        network.avgpool = pool
        return network, _RESNET_FEATURES * parts, said
    maps, said, features = timm_backbone(config.backbone, config.weights, pooled=False)
    return nn.Sequential(maps, pool, nn.Flatten()), features * parts, said


def head(features: int, classes: int, dropout: float) -> nn.Sequential:
    """Create the head: FC 128, FC 32, FC classes with ReLU and dropout, Xavier initialisation."""
    first, second = _HIDDEN
    layers = nn.Sequential(
        nn.Linear(features, first),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(second, classes),
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return layers
