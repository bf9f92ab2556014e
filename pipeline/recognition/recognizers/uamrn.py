"""UAMRN: a sequence of magnifications, sparse attention, and a loss weighted by uncertainty."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet

from miex.pipeline.recognition.recognizer_files import files_may_be_absent
from miex.pipeline.recognition.recognizers._pretrained import resnet18
from miex.pipeline.recognition.recognizers._sparse_attention import (
    SparseAttentionBlock,
    SparseSelfAttention,
)
from miex.pipeline.recognition.recognizers.base import (
    Hyperparameters,
    Recognizer,
    RecognizerConfig,
    ToySize,
    batch_accuracy,
    register_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs, resize
from miex.pipeline.recognition.representations.frames import MAX_SIDE, FramePair, FramesConfig
from miex.pipeline.recognition.representations.magnification import Method
from miex.pipeline.recognition.representations.magnified_sequence import (
    HIGHEST,
    LENGTH,
    LOWEST,
    MagnifiedSequence,
    amplification_factors,
)
from miex.pipeline.recognition.sample import MIN_SIDE

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and deviation of RGB in 0-1 for the ResNet-18 of torchvision."""


class UAMRNConfig(RecognizerConfig):
    """Parameters of UAMRN; the defaults are the paper's, if it states them.

    Ablations: `uncertainty` false (table 5), `attention` full (table 6); in addition
    `single_factor`, as the methods in sec. 4.4.2, and `magnification`.
    """

    training: Hyperparameters = Hyperparameters(
        learning_rate=2e-4,
        betas=(0.9, 0.999),
        epochs=40,
        batch_size=16,  # the paper is silent
        schedule="step",
        step_epochs=10,
        step_factor=0.1,
    )
    weights: str = Field("auto", description="of the ResNet-18; the paper's are of FER+")
    side: int = Field(224, ge=MIN_SIDE, description="of the frames that the network sees, pixels")
    stored_side: int = Field(
        224,
        ge=MIN_SIDE,
        le=MAX_SIDE,
        description="of the cached pair, pixels; synthesized faces have 128",
    )
    magnification: Literal["auto"] | Method = Field(
        "auto", description="auto is learned, the paper's, where its weights are given, else phase"
    )
    magnification_weights: Path | None = Field(
        None, description="checkpoint of the network of Oh et al."
    )
    length: int = Field(LENGTH, ge=1, description="L, frames of the sequence")
    factors: tuple[float, float] = Field((LOWEST, HIGHEST), description="lowest and highest alpha")
    single_factor: float | None = Field(
        None, ge=0, description="one frame of this alpha instead of the sequence"
    )
    stages: int = Field(3, ge=1, le=4, description="of the ResNet-18; the paper: the first few")
    model_size: int = Field(1024, ge=2, description="d_model")
    blocks: int = Field(3, ge=1, description="of attention")
    heads: int = Field(2, ge=1, description="n_h")
    attention: Literal["sparse", "full"] = "sparse"
    planes: int = Field(3, ge=1, le=16, description="n_p, hyper-planes; 2^n_p buckets")
    tables: int = Field(4, ge=1, description="n_t, hash tables")
    hidden_size: int = Field(1024, ge=1, description="of the dense layers; the paper is silent")
    dropout: float = Field(0.1, ge=0, lt=1, description="the paper is silent")
    uncertainty: bool = True
    uncertainty_scaling: Literal["mean", "standardised"] = Field(
        "mean",
        description="how a sample's uncertainty becomes its weight. mean: divided by its mean over"
        " the batch, as eqs. 8 and 9 have it, which leaves weights within a few per cent of 1;"
        " standardised: epistemic and aleatoric part each in its own deviations over the batch,"
        " exp of half their sum, divided by the mean, so that weights spread from .3 to 3",
    )
    passes: int = Field(10, ge=2, description="M, Monte-Carlo samples; the paper is silent")

    @model_validator(mode="after")
    def _fits(self) -> "UAMRNConfig":
        if self.model_size % 2 or self.model_size % self.heads:
            raise ValueError(
                f"model_size is {self.model_size}, expected an even number that {self.heads} heads"
                " divide"
            )
        amplification_factors(self.length, *self.factors)
        return self


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Uncertainty by Monte-Carlo dropout (eq. 8; after Kendall & Gal, NeurIPS 2017).

    Attributes:
        probabilities: Mean of the passes, ``(B, classes)``.
        epistemic: Variance of the logits between passes, summed over the classes, ``(B,)``.
        aleatoric: Mean of the predicted variances, summed over the classes, ``(B,)``.
    """

    probabilities: Tensor
    epistemic: Tensor
    aleatoric: Tensor


def epistemic_variance(logits: Tensor) -> Tensor:
    """Return the first two terms of eq. 8: the variance of passes, ``(M, B, C)`` to ``(B,)``.

    The mean of the squares minus the square of the mean, computed without cancellation and summed
    over the classes, so that a sample has one weight.
    """
    return logits.var(0, correction=0).sum(-1)


def aleatoric_variance(variances: Tensor) -> Tensor:
    """Return the last term of eq. 8: the mean predicted variance, ``(M, B, C)`` to ``(B,)``."""
    return variances.mean(0).sum(-1)


def sample_weights(
    epistemic: Tensor, aleatoric: Tensor, scaling: Literal["mean", "standardised"]
) -> Tensor:
    """Return the weight of every sample by its uncertainty, with mean 1 over the batch.

    Args:
        epistemic: ``(B,)``, see `epistemic_variance`.
        aleatoric: ``(B,)``, see `aleatoric_variance`.
        scaling: See `UAMRNConfig.uncertainty_scaling`.

    Returns:
        ``(B,)``, above 0.
    """
    if scaling == "mean":
        gamma = epistemic + aleatoric
        return gamma / gamma.mean()
    parts = [
        (each - each.mean()) / each.std(correction=0).clamp(min=1e-12)
        for each in (epistemic, aleatoric)
    ]
    gamma = (sum(parts, torch.zeros_like(epistemic)) / 2).clamp(-3, 3).exp()
    return gamma / gamma.mean()


def positional_encoding(length: int, size: int) -> Tensor:
    """Return sine and cosine of different frequencies (sec. 4.3), ``float32 (length, size)``."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    wave = position / 10000 ** (torch.arange(0, size, 2, dtype=torch.float64) / size)
    return torch.stack((wave.sin(), wave.cos()), -1).flatten(1).float()


@register_recognizer("uamrn")
class UAMRN(Recognizer):
    """Uncertainty-aware magnification-robust network.

    Decisions where the paper is silent or cannot be followed exactly:

    - Features are those of the ResNet-18 up to `stages`, averaged over the image, and a dense layer
      to d_model. After the blocks the sequence is averaged, and two dense layers give the logits
      and, through softplus, their variances.
    - The weight gamma (eq. 8) has no gradient, otherwise the network could lower its loss by
      predicting certainty; it is divided by its mean over the batch, otherwise it would act as a
      second learning rate.
    - Eq. 9 has the minus sign of a cross-entropy, which the available copy lacks.
    - The variances need a gradient, which gamma does not give. The Gaussian that sec. 3.3 states
      for the logits is therefore sampled in every pass, and p is the mean of the softmaxes, as in
      Kendall & Gal; without noise and dropout it is eq. 7.
    - The passes differ in their dropout, which is in the blocks: the features are computed once,
      and the hyper-planes are the same for all passes of a step.
    """

    name: ClassVar[str] = "uamrn"
    title = "UAMRN"
    paper: ClassVar[str] = (
        "Wei et al., Micro-Expression Recognition Using Uncertainty-Aware Magnification-Robust"
        " Networks, Entropy 24(9):1271, 2022"
    )
    citation = "Wei et al., Entropy 2022"
    year = 2022
    looks_at = "onset and apex, magnified by 32 factors, 224 px"
    toy = ToySize(
        {
            "weights": "random",
            "side": 32,
            "stored_side": 32,
            "magnification": "linear",
            "length": 4,
            "factors": (2, 8),
            "stages": 2,
            "model_size": 64,
            "hidden_size": 64,
            "blocks": 3,
            "passes": 2,
        },
        {"epochs": 8, "learning_rate": 2e-3, "batch_size": 10},
    )
    Config: ClassVar[type[UAMRNConfig]] = UAMRNConfig
    class_layers: ClassVar[tuple[str, ...]] = ("mean.", "variance.")
    config: UAMRNConfig
    image_mean: Tensor
    image_deviation: Tensor
    positions: Tensor

    def __init__(self, config: UAMRNConfig, classes: int) -> None:
        super().__init__(config, classes)
        size = config.model_size
        backbone, said = resnet18(config.weights)
        self.magnify = _magnified_sequence(config)
        self.weights = f"{said}; {self.magnify.said}"
        self.features = _first_stages(backbone, config.stages)
        self.project = nn.Linear(64 * 2 ** (config.stages - 1), size)
        self.blocks = nn.ModuleList(_block(config, seed) for seed in range(config.blocks))
        self.mean = nn.Linear(size, classes)
        if config.uncertainty:
            self.variance = nn.Linear(size, classes)
        length = len(self.magnify.factors)
        constants = {
            "positions": positional_encoding(length, size),
            "image_mean": torch.tensor(_IMAGENET_MEAN)[:, None, None] * 255,
            "image_deviation": torch.tensor(_IMAGENET_DEVIATION)[:, None, None] * 255,
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    @property
    def representation(self) -> FramePair:
        """Onset and apex; see `MagnifiedSequence` for the reason."""
        return FramePair(FramesConfig(side=self.config.stored_side))

    def sequence(self, inputs: Inputs) -> Tensor:
        """Return the magnified frames of the input, ``uint8 (B, L, 3, side, side)`` RGB."""
        onset, apex = (resize(inputs[name], self.config.side) for name in ("onset", "apex"))
        frames: Tensor = self.magnify(onset, apex)
        return frames

    def forward(self, inputs: Inputs) -> Tensor:
        """Return logits ``(B, classes)``; in training of one pass with dropout."""
        encoded, _ = self._encode(self._tokens(inputs), self.training)
        logits: Tensor = self.mean(encoded)
        return logits

    def loss(self, inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        """Compute the cross-entropy weighted by the uncertainty of every sample (eqs. 8 and 9).

        Args:
            inputs: Onset and apex.
            labels: ``int64 (B,)``.

        Returns:
            ``loss`` and ``accuracy``; with uncertainty also ``cross_entropy``, the same loss
            without weights, the batch's mean ``epistemic`` and ``aleatoric`` variance, and the
            ``weight_spread``, the standard deviation of the weights: near 0 the uncertainty does
            nothing.
        """
        if not self.config.uncertainty:
            return super().loss(inputs, labels)
        logits, variances = self._sample(self._tokens(inputs), self.training)
        noisy = logits + variances.sqrt() * torch.randn_like(logits)
        # log of the mean over the passes of softmax
        log_p = noisy.log_softmax(-1).logsumexp(0) - math.log(self.config.passes)
        each = functional.nll_loss(log_p, labels, reduction="none")
        epistemic = epistemic_variance(logits).detach()
        aleatoric = aleatoric_variance(variances).detach()
        gamma = sample_weights(epistemic, aleatoric, self.config.uncertainty_scaling)
        return {
            "loss": (gamma * each).mean(),
            "accuracy": batch_accuracy(log_p, labels),
            "cross_entropy": each.mean().detach(),
            "epistemic": epistemic.mean(),
            "aleatoric": aleatoric.mean(),
            "weight_spread": gamma.std(correction=0),
        }

    @torch.no_grad()
    def uncertainty(self, inputs: Inputs, seed: int = 0) -> Uncertainty:
        """Return the uncertainty by M passes with dropout; the same for the same seed.

        Args:
            inputs: Onset and apex.
            seed: Seed of the dropout.

        Raises:
            ValueError: The network was made without uncertainty.
        """
        if not self.config.uncertainty:
            raise ValueError("uamrn: made with uncertainty false, it predicts no variances")
        device = inputs["onset"].device
        was_training = self.training
        self.eval()
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(seed)
                logits, variances = self._sample(self._tokens(inputs), True)
        finally:
            self.train(was_training)
        return Uncertainty(
            logits.softmax(-1).mean(0), epistemic_variance(logits), aleatoric_variance(variances)
        )

    @torch.no_grad()
    def attention(self, inputs: Inputs) -> Tensor:
        """Return the attention matrices (fig. 4) of eval mode.

        Args:
            inputs: Onset and apex.

        Returns:
            ``float32 (B, blocks, heads, L, L)``, queries by keys; 0 without a common bucket.
        """
        was_training = self.training
        self.eval()
        try:
            _, weights = self._encode(self._tokens(inputs), False)
        finally:
            self.train(was_training)
        return torch.stack(weights, 1).float()

    def _tokens(self, inputs: Inputs) -> Tensor:
        """Return features of every frame with its position, ``(B, L, d_model)``."""
        frames = self.sequence(inputs)
        images = (frames.flatten(0, 1) - self.image_mean) / self.image_deviation
        features = self.project(self.features(images)).unflatten(0, frames.shape[:2])
        tokens: Tensor = features + self.positions
        return tokens

    def _encode(self, tokens: Tensor, drop: bool) -> tuple[Tensor, list[Tensor]]:
        """Map tokens ``(B, L, d_model)`` to ``(B, d_model)`` and the attention of every block."""
        weights = []
        for block in self.blocks:
            tokens, attention = block(tokens, drop)
            weights.append(attention)
        return tokens.mean(1), weights

    def _sample(self, tokens: Tensor, drop: bool) -> tuple[Tensor, Tensor]:
        """Return logits and variances of M passes, each ``float32 (M, B, classes)`` (eq. 7)."""
        passes = self.config.passes
        encoded, _ = self._encode(tokens.repeat(passes, 1, 1), drop)
        shape = (passes, len(tokens), self.classes)
        logits: Tensor = self.mean(encoded)
        variances = functional.softplus(self.variance(encoded).float())
        return logits.float().view(shape), variances.view(shape)


def _magnified_sequence(config: UAMRNConfig) -> MagnifiedSequence:
    method = config.magnification
    if method == "auto":
        method = "learned" if config.magnification_weights else "phase"
    if config.single_factor is not None:
        factors = torch.tensor([config.single_factor])
    else:
        factors = amplification_factors(config.length, *config.factors)
    return MagnifiedSequence(
        factors, method, config.magnification_weights, expect_weights=files_may_be_absent()
    )


def _first_stages(network: ResNet, stages: int) -> nn.Sequential:
    """Create the first stages of a ResNet with pooled features."""
    names = ["conv1", "bn1", "relu", "maxpool", *(f"layer{n}" for n in range(1, stages + 1))]
    layers = [network.get_submodule(name) for name in names]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _block(config: UAMRNConfig, seed: int) -> SparseAttentionBlock:
    attention = SparseSelfAttention(
        config.model_size,
        config.heads,
        planes=config.planes,
        tables=config.tables,
        sparse=config.attention == "sparse",
        seed=seed,
    )
    return SparseAttentionBlock(attention, config.model_size, config.hidden_size, config.dropout)
