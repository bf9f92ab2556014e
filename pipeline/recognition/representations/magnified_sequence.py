"""Sequence of UAMRN: one pair, magnified by every factor of a range (Wei et al. 2022, sec. 3.1).

Onset and apex of a sample are cached on disk (`frames.FramePair`), and the sequence is computed
from them on the device: 32 frames of 224 x 224 are 4.8 MB per sample, 217 GB for the 45,000 of
MiE-X. The pair takes a sixteenth, can be used for every method and range of factors, and is shared
with other recognizers. The frames are rounded to ``uint8``, as in a cache.
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
"""Number of frames of the sequence, L in table 1 of the paper."""

LOWEST, HIGHEST = 2.0, 13.0
"""Range of the factors in the paper's table 1, "[2:1:13]". With steps of one it would have
12 factors for the 32 frames of the same table; here evenly spaced factors cover the range."""

_PIXELS_ON_CPU = 2**18
"""Pixels per group of frames; groups that fit into the caches of the processor take half the time
of groups sixteen times larger."""

_PIXELS_ON_ACCELERATOR = 2**23
"""The same for an accelerator. The phases take about 100 bytes per pixel."""


def amplification_factors(
    length: int = LENGTH, lowest: float = LOWEST, highest: float = HIGHEST
) -> Tensor:
    """Return evenly spaced factors (alpha), ``float32 (length,)``, with both ends.

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
    """Magnify every pair by each of several factors; the common computation is done once.

    Args:
        onset: ``uint8 (B, 3, H, W)`` RGB.
        apex: The same for the apex.
        factors: alpha of every frame of the sequence, ``(L,)``, at least 0.
        method: See `magnification`.
        network: Network of the method ``learned``.

    Returns:
        ``uint8 (B, L, 3, H, W)``; ``[:, i]`` is ``magnify(onset, apex, factors[i], method)``.

    Raises:
        ValueError: Frames or factors have another type, shape or range, or ``learned`` has no
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
    """Compute the sequence of a pair, without learnt parameters.

    Args:
        factors: alpha of every frame, ``(L,)``.
        method: See `magnification`.
        checkpoint: Checkpoint of the network of Oh et al., for the method ``learned``.
        expect_weights: Creates the network without valid parameters if the file is missing; the
            checkpoint of a recognizer must be loaded before it is used.

    Attributes:
        said: The method, and the hash of its network if it has one, for results.

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
        """Map pairs ``uint8 (B, 3, H, W)`` to sequences ``uint8 (B, L, 3, H, W)``."""
        # Only training uses bf16; the frames must be the same.
        with torch.autocast(onset.device.type, enabled=False):
            return magnify_sequence(onset, apex, self.factors, self.method, self.network)
