"""Branches: a ResNet-18 for the onset, another for the apex.

This is the recognizer that MiE-X calls Branches. The one of Liu, Du, Zheng and Gedeon (A Neural
Micro-Expression Recognizer, FG 2019), to which the name refers, applies one network to optical
flow and pools its two halves (`MiexConfig.part_pooling`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from miex.pipeline.recognition.recognizers import _miex
from miex.pipeline.recognition.recognizers.base import (
    IS_CLIP,
    Recognizer,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.frames import FramePair, FramesConfig


class BranchesConfig(_miex.MiexConfig):
    """Parameters of Branches; the defaults are MiE-X's."""

    fusion: Literal["late", "early"] = Field(
        "late",
        description="late: onset and apex meet as pooled features, as in MiE-X; early: the apex's"
        " network sees apex minus onset, so that motion is there before appearance is pooled",
    )
    difference_gain: float = Field(
        4.0, gt=0, description="of early fusion: the difference is multiplied by it"
    )


@register_recognizer("branches")
class Branches(Recognizer):
    """Two ResNet-18s on onset and apex, concatenated, with a head of three layers."""

    name: ClassVar[str] = "branches"
    title = "Branches"
    paper: ClassVar[str] = (
        "Liu et al., How to Synthesize a Large-Scale and Trainable Micro-Expression Dataset?,"
        " ECCV 2022"
    )
    citation = "Liu et al., ECCV 2022 (MiE-X)"
    year = 2022
    looks_at = "onset and apex, 128 px stored, 224 px seen"
    from_random_weights = (
        "expect chance: both networks pool appearance before onset and apex meet. With"
        " evaluation.config.fusion=early it has a training accuracy of .99 in place of .26 after 40"
        " steps on 840 clear samples"
    )
    toy = replace(_miex.TOY, training={**_miex.TOY.training, "epochs": 12})
    Config: ClassVar[type[BranchesConfig]] = BranchesConfig
    marks_clips = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "code": _miex.released(8e-5, 0.8),
    }
    class_layers: ClassVar[tuple[str, ...]] = ("head.6.",)
    config: BranchesConfig

    def __init__(self, config: BranchesConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.onset, features, self.weights = _miex.backbone(config)
        self.apex, _, _ = _miex.backbone(config)
        self.head = _miex.head(2 * features, classes, config.dropout)

    @property
    def representation(self) -> FramePair:
        """Onset and apex frame."""
        return FramePair(FramesConfig(side=self.config.side))

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Augment onset and apex alike in colours, rotation and crop; see `_miex.augmented`."""
        pair = torch.stack((inputs["onset"], inputs["apex"]), 1)
        onset, apex = _miex.augmented(pair, self.config, generator, inputs.get(IS_CLIP)).unbind(1)
        return {"onset": onset, "apex": apex}

    def forward(self, inputs: Inputs) -> Tensor:
        """Return logits ``(B, classes)`` of stored or augmented frames."""
        pair = torch.stack((inputs["onset"], inputs["apex"]), 1)
        onset, apex = _miex.prepared(pair, self.config).unbind(1)
        if self.config.fusion == "early":
            apex = (apex - onset) * self.config.difference_gain
        features = torch.cat((self.onset(onset), self.apex(apex)), 1)
        logits: Tensor = self.head(features)
        return logits
