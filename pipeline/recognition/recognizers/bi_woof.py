"""Bi-WOOF with a linear support vector machine."""

from pydantic import Field

from miex.pipeline.recognition.recognizers._linear_svm import LinearSvmConfig, LinearSvmRecognizer
from miex.pipeline.recognition.recognizers.base import ToySize, register_recognizer
from miex.pipeline.recognition.representations.bi_woof import BiWoof, BiWoofConfig


class BiWoofRecognizerConfig(LinearSvmConfig):
    """Parameters of `BiWoofRecognizer`."""

    descriptor: BiWoofConfig = Field(BiWoofConfig(), description="of the histograms")


@register_recognizer("bi_woof")
class BiWoofRecognizer(LinearSvmRecognizer):
    """Bi-weighted oriented optical flow."""

    name = "bi_woof"
    title = "Bi-WOOF"
    paper = (
        "Liong, See, Wong, Phan: Less is more: Micro-expression recognition from video using apex"
        " frame, Signal Processing: Image Communication 62, 2018"
    )
    citation = "Liong et al., SPIC 2018"
    year = 2018
    looks_at = "weighted histograms of flow in 25 blocks, 200 numbers"
    toy = ToySize({"descriptor": {"side": 64, "method": "dis"}})
    Config = BiWoofRecognizerConfig
    key = "bi_woof"
    config: BiWoofRecognizerConfig

    @property
    def representation(self) -> BiWoof:
        """``bi_woof``, ``float32 (B, 200)`` by default."""
        return BiWoof(self.config.descriptor)
