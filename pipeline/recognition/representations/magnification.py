"""Motion magnification of two frames: the motion from onset to apex times (1 + alpha).

The definition is that of Wadhwa et al., "Phase-based video motion processing", ACM Trans.
Graph. 32(4), 2013: of a frame I(P, t) = f(P + d(P, t)) with the displacement d make
f(P + (1 + alpha) d(P, t)); UAMRN (Wei et al., Entropy 24(9):1271, 2022) has it as eq. 1.
There are four methods:

- ``linear``: UAMRN's eq. 2, onset + (1 + alpha) |apex - onset|, where the paper says that |.|
  "represents the pixel-wise subtraction": a signed difference. It is the first-order Taylor
  expansion of the definition (Wu et al., "Eulerian video magnification", SIGGRAPH 2012), and
  valid while (1 + alpha) d is small relative to the texture; for larger motion it increases the
  contrast of edges instead of moving them. It is very fast.
- ``linear_absolute``: the same with |.| as the absolute value. Both sides of a moved edge become
  brighter in any direction, so that up and down look equal. For comparison only.
- ``phase``: changes the phases of a complex steerable pyramid (`_phase_magnification`), an Eulerian
  method with which texture really moves; fine texture with large motion is blurred. The default,
  since it needs no weights.
- ``learned``: the network of Oh et al., "Learning-based video motion magnification", ECCV 2018
  (`_learned_magnification`), which the paper uses. It needs a checkpoint.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from miex.pipeline.recognition.representations._learned_magnification import (
    MagnificationNetwork,
    learned_renderer,
)
from miex.pipeline.recognition.representations._phase_magnification import phase_renderer

Method = Literal["linear", "linear_absolute", "phase", "learned"]
"""Methods of magnification; see the module."""

Renderer = Callable[[Tensor], Tensor]
"""Maps factors ``(B, F)`` to frames ``float32 (B, F, 3, H, W)``, 0-255, not clipped."""


@torch.no_grad()
def magnify(
    onset: Tensor,
    apex: Tensor,
    factor: Tensor | float,
    method: Method = "phase",
    network: MagnificationNetwork | None = None,
) -> Tensor:
    """Magnify the motion from onset to apex.

    Args:
        onset: ``uint8 (B, 3, H, W)`` RGB.
        apex: The same for the apex.
        factor: alpha, at least 0, one for all or ``(B,)``. 0 gives the apex, 1 doubles its motion.
        method: See the module.
        network: Network of the method ``learned`` (see `load_magnification_network`).

    Returns:
        Magnified apexes, ``uint8 (B, 3, H, W)``.

    Raises:
        ValueError: Frames or factors have another type, shape or range, or ``learned`` has no
            network.
    """
    factors = torch.as_tensor(factor, dtype=torch.float32, device=onset.device)
    if factors.ndim == 0:
        factors = factors.expand(len(onset))
    if factors.shape != onset.shape[:1]:
        raise ValueError(
            f"factors are {tuple(factors.shape)}, expected one number or ({len(onset)},)"
        )
    require_factors(factors)
    return as_uint8(renderer(onset, apex, method, network)(factors[:, None]))[:, 0]


def renderer(
    onset: Tensor, apex: Tensor, method: Method, network: MagnificationNetwork | None = None
) -> Renderer:
    """Return a function for any number of factors, after the computation that they share.

    Args:
        onset: ``uint8 (B, 3, H, W)`` RGB.
        apex: The same for the apex.
        method: See the module.
        network: Network of the method ``learned``.

    Raises:
        ValueError: See `magnify`.
    """
    _require_pair(onset, apex)
    before, after = onset.float(), apex.float()
    match method:
        case "linear":
            return _linear_renderer(before, after - before)
        case "linear_absolute":
            return _linear_renderer(before, (after - before).abs())
        case "phase":
            return phase_renderer(before, after)
        case "learned":
            if network is None:
                raise ValueError(
                    "the method learned needs the network of Oh et al.: give the one that"
                    " load_magnification_network reads, or take the method phase"
                )
            return learned_renderer(before, after, network)
    raise ValueError(f"no magnification {method!r}; there are: {', '.join(get_args(Method))}")


def _linear_renderer(onset: Tensor, difference: Tensor) -> Renderer:
    return lambda factors: (
        onset[:, None] + (1 + factors[:, :, None, None, None]) * difference[:, None]
    )


def _require_pair(onset: Tensor, apex: Tensor) -> None:
    for name, frames in (("onset", onset), ("apex", apex)):
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
            raise ValueError(
                f"the {name} is {frames.dtype} {tuple(frames.shape)}, expected torch.uint8"
                " (B, 3, H, W) RGB"
            )
    if onset.shape != apex.shape:
        raise ValueError(
            f"the onset is {tuple(onset.shape)}, the apex {tuple(apex.shape)}: both must be cut"
            " and scaled alike"
        )


def require_factors(factors: Tensor) -> None:
    """Check that factors are finite and not negative.

    Raises:
        ValueError: There is a wrong factor; the message shows all of them.
    """
    if not bool((factors.isfinite() & (factors >= 0)).all()):
        raise ValueError(f"factors are {factors.tolist()}, expected finite and at least 0")


def as_uint8(frames: Tensor) -> Tensor:
    """Round and clip frames to ``uint8``, 0-255."""
    return frames.round().clamp(0, 255).to(torch.uint8)
