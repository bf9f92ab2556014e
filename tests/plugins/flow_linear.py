"""One linear layer on small optical flow."""

from torch import Tensor, nn

from miex.pipeline.recognition.recognizers.base import (
    Recognizer,
    RecognizerConfig,
    ToySize,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs
from miex.pipeline.recognition.representations.flow_strain import FlowStrain, FlowStrainConfig


class FlowLinearConfig(RecognizerConfig):
    """Parameters of `FlowLinear`."""

    side: int = 14


@register_recognizer("flow_linear")
class FlowLinear(Recognizer):
    """A linear classifier of optical flow and strain."""

    name = "flow_linear"
    title = "FlowLinear"
    paper = "No paper: an example of 2026"
    citation = "example, 2026"
    year = 2026
    looks_at = "flow and strain, 14 px"
    toy = ToySize({"side": 16}, {"epochs": 20, "learning_rate": 1e-2, "batch_size": 16})
    Config = FlowLinearConfig
    class_layers = ("head.",)  # Parameters that depend on the classes.
    config: FlowLinearConfig

    def __init__(self, config: FlowLinearConfig, classes: int) -> None:
        super().__init__(config, classes)
        self.head = nn.Linear(3 * config.side**2, classes)

    @property
    def representation(self) -> FlowStrain:
        """``flow``, ``float16 (B, 3, side, side)``."""
        return FlowStrain(FlowStrainConfig(side=self.config.side, method="dis"))

    def forward(self, inputs: Inputs) -> Tensor:
        """Return logits ``(B, classes)``."""
        logits: Tensor = self.head(inputs["flow"].float().flatten(1))
        return logits
