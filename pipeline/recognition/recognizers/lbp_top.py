"""LBP-TOP with a linear support vector machine: the baseline of MEGC2019."""

from pydantic import Field

from miex.pipeline.recognition.recognizers._linear_svm import LinearSvmConfig, LinearSvmRecognizer
from miex.pipeline.recognition.recognizers.base import ToySize, register_recognizer
from miex.pipeline.recognition.representations.lbp_top import LbpTop, LbpTopConfig
from miex.pipeline.recognition.sample import ClipFrames


class LbpTopRecognizerConfig(LinearSvmConfig):
    """Parameters of `LbpTopRecognizer`."""

    descriptor: LbpTopConfig = Field(LbpTopConfig(), description="of the histograms")


@register_recognizer("lbp_top")
class LbpTopRecognizer(LinearSvmRecognizer):
    """Local binary patterns on three orthogonal planes."""

    name = "lbp_top"
    title = "LBP-TOP"
    paper = (
        "Zhao, Pietikäinen: Dynamic Texture Recognition Using Local Binary Patterns with an"
        " Application to Facial Expressions, IEEE TPAMI 29(6), 2007; as the baseline of See, Yap,"
        " Li, Hong, Wang: MEGC 2019 - The Second Facial Micro-Expressions Grand Challenge, FG 2019"
    )
    citation = "Zhao and Pietikäinen, TPAMI 2007"
    year = 2007
    looks_at = "histograms of 25 blocks on three planes, 4,425 numbers"
    toy = ToySize({"descriptor": {"side": 64}})
    Config = LbpTopRecognizerConfig
    clip_frames = ClipFrames("to_offset")
    key = "histograms"
    config: LbpTopRecognizerConfig

    @property
    def representation(self) -> LbpTop:
        """``histograms``, ``float16 (B, 4425)`` by default."""
        return LbpTop(self.config.descriptor)
