"""UAMRN's sequence: one pair, magnified by every factor of a range (Wei et al. 2022, sec. 3.1).

What is cached on disk of a sample is its onset and apex (`frames.FramePair`), and the sequence is
made of them on the recognizer's device: 32 frames of 224 x 224 are 4.8 MB a sample, 217 GB for the
45,000 of MiE-X, where the pair takes a sixteenth, serves every method and range of factors alike,
and is shared with the other recognizers that look at pairs. The frames are rounded to ``uint8``, as
they would come out of a cache.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from miex.pipeline.recognition.representations._learned_magnification import (
    MagnificationNetwork,
    load_magnification_network,
)
from miex.pipeline.recognition.representations.magnification import (
    Method,
    as_uint8,
    renderer,
    require_factors,
)

LENGTH = 32
"""Frames of the sequence, L in the paper's table 1."""

LOWEST, HIGHEST = 2.0, 13.0
"""Range of the factors in the paper's table 1, "[2:1:13]". Read as steps of one, as it is written,
it has 12 factors for the 32 frames of the same table; evenly spaced ones cover the same range."""

_PIXELS_ON_CPU = 2**18
"""Frames are made in groups of about this many pixels: groups that the caches hold take half the
time of groups sixteen times larger."""

_PIXELS_ON_ACCELERATOR = 2**23
"""Likewise; fills an accelerator with few calls. The phases take about 100 bytes a pixel."""


def amplification_factors(
    length: int = LENGTH, lowest: float = LOWEST, highest: float = HIGHEST
) -> Tensor:
    """Evenly spaced factors (alpha), ``float32 (length,)``, both ends included.

    Raises:
        ValueError: No frames, or no range of factors from 0 upwards.
    """
    if length < 1 or not 0 <= lowest <= highest < float("inf"):
        raise ValueError(
            f"{length} factors from {lowest} to {highest}; expected at least one, from 0 upwards"
        )
    return torch.linspace(lowest, highest, length)


@torch.no_grad()
def magnify_sequence(
    onset: Tensor,
    apex: Tensor,
    factors: Tensor,
    method: Method = "phase",
    network: MagnificationNetwork | None = None,
) -> Tensor:
    """Magnifies every pair by each of several factors; what they share is computed once.

    Args:
        onset: ``uint8 (B, 3, H, W)`` RGB.
        apex: Likewise.
        factors: alpha of every frame of the sequence, ``(L,)``, at least 0.
        method: See `magnification`.
        network: Of the method ``learned``.

    Returns:
        ``uint8 (B, L, 3, H, W)``; ``[:, i]`` is ``magnify(onset, apex, factors[i], method)``.

    Raises:
        ValueError: Frames or factors of another type, shape or range, or ``learned`` without a
            network.
    """
    factors = factors.to(onset.device, torch.float32)
    if factors.ndim != 1 or not len(factors):
        raise ValueError(f"factors are {tuple(factors.shape)}, expected (L,) with L at least 1")
    require_factors(factors)
    render = renderer(onset, apex, method, network)
    at_once = _PIXELS_ON_CPU if onset.device.type == "cpu" else _PIXELS_ON_ACCELERATOR
    group = max(1, at_once // (onset.numel() // 3))
    groups = (factors[first : first + group] for first in range(0, len(factors), group))
    parts = [as_uint8(render(each.expand(len(onset), -1))) for each in groups]
    return torch.cat(parts, 1)


class MagnifiedSequence(nn.Module):
    """A pair in, the sequence out; nothing in it is learnt.

    Args:
        factors: alpha of every frame, ``(L,)``.
        method: See `magnification`.
        checkpoint: Of the network of Oh et al., for the method ``learned``; where its file is gone,
            `expect_weights` says that a recognizer's own checkpoint will fill the network.
        expect_weights: Creates the network without parameters that mean anything if the file is
            not there; they must be loaded before it is used.

    Attributes:
        said: The method, and the hash of its network where it has one, for results.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The factors are out of range, the checkpoint cannot be used, or ``learned``
            has none.
    """

    factors: Tensor

    def __init__(
        self,
        factors: Tensor,
        method: Method,
        checkpoint: Path | None = None,
        *,
        expect_weights: bool = False,
    ) -> None:
        super().__init__()
        require_factors(factors)
        self.register_buffer("factors", factors, persistent=False)
        self.method = method
        self.network: MagnificationNetwork | None = None
        self.said = f"magnification {method}"
        if method == "learned":
            if checkpoint is None:
                raise ValueError(
                    "magnification learned needs the checkpoint of the network of Oh et al.; name"
                    " its file, or take the magnification phase, which needs none"
                )
            if expect_weights and not checkpoint.expanduser().is_file():
                self.network = MagnificationNetwork().eval().requires_grad_(False)
                return
            self.network, sha256 = load_magnification_network(checkpoint)
            self.said += f" ({checkpoint}: sha256 {sha256[:12]})"

    def forward(self, onset: Tensor, apex: Tensor) -> Tensor:
        """Pairs ``uint8 (B, 3, H, W)`` to sequences ``uint8 (B, L, 3, H, W)``."""
        # Training computes in bf16 where testing does not; the frames must be the same.
        with torch.autocast(onset.device.type, enabled=False):
            return magnify_sequence(onset, apex, self.factors, self.method, self.network)
