"""ApexME: a ResNet-18 on the apex only.

This is the recognizer that MiE-X calls ApexME. The one of Li, Huang and Zhao (Can Micro-Expression
Be Recognized Based on Single Apex Frame?, ICIP 2018), to which the name refers, is a VGG-16 on
motion-magnified apexes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Generator, Tensor

from miex.pipeline.recognition.recognizers import _miex
from miex.pipeline.recognition.recognizers.base import (
    IS_CLIP,
    Recognizer,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.frames import ApexFrame, FramesConfig


class ApexMEConfig(_miex.MiexConfig):
    """Parameters of ApexME; the defaults are MiE-X's."""


@register_recognizer("apex_me")
class ApexME(Recognizer):
    """ResNet-18 on the apex with a head of three layers."""

    name: ClassVar[str] = "apex_me"
    title = "ApexME"
    paper: ClassVar[str] = (
        "Liu et al., How to Synthesize a Large-Scale and Trainable Micro-Expression Dataset?,"
        " ECCV 2022"
    )
    citation = "Liu et al., ECCV 2022 (MiE-X)"
    year = 2022
    looks_at = "apex, 128 px stored, 224 px seen"
    from_random_weights = (
        "expect little: it sees the apex alone, in which a motion of a pixel is no larger than"
        " what differs between faces"
    )
    toy = _miex.TOY
    Config: ClassVar[type[ApexMEConfig]] = ApexMEConfig
    marks_clips = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "code": _miex.released(1e-4, 0.9),
    }
    class_layers: ClassVar[tuple[str, ...]] = ("head.6.",)
    config: ApexMEConfig

    def __init__(self, config: ApexMEConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.apex, features, self.weights = _miex.backbone(config)
        self.head = _miex.head(features, classes, config.dropout)

    @property
    def representation(self) -> ApexFrame:
        """The apex frame."""
        return ApexFrame(FramesConfig(side=self.config.side))

    def augment(self, inputs: Inputs, generator: Generator) -> Inputs:
        """Augment colours, rotation and crop; see `_miex.augmented`."""
        frames = inputs["apex"][:, None]
        apex = _miex.augmented(frames, self.config, generator, inputs.get(IS_CLIP))[:, 0]
        return {"apex": apex}

    def forward(self, inputs: Inputs) -> Tensor:
        """Return logits ``(B, classes)`` of stored or augmented apexes."""
        apex = _miex.prepared(inputs["apex"][:, None], self.config)[:, 0]
        logits: Tensor = self.head(self.apex(apex))
        return logits
