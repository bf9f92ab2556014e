"""Motion-guided GANimation: a warp moves the face, a small network adds its appearance.

`miex.generators.warp` moves the pixels of the photograph; the network gets that frame and adds
furrows, bulging cheeks and the inside of an opening mouth, with the attention of GANimation
 (Pumarola et al., ECCV 2018): ``attention * warped + (1 - attention) * colour``. The place
of an AU is learnt on a chart of the face (`miex.generators._warp_chart`): each AU has maps of
shading and of features, which are read at the place on the chart that each pixel shows. The shading
multiplies the warped colours like an expression ratio image (Liu, Shan and Zhang,
"Expressive expression mapping with ratio images", SIGGRAPH 2001).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from miex.au_sources.action_units import AU_COUNT, AU_NAMES
from miex.generators._warp_chart import CHART_SIDE
from miex.generators.ganimation.network import Rendering, blend

SIZE_STEP = 8
"""Image sides are multiples of this: the network halves an image three times."""

_FEATURES = 7
"""Number of feature maps of each AU on the chart, in addition to its shading."""

INVERSION_STEPS = 4
"""Fixed-point steps that invert the field; the motion is larger than that of `warp`."""

_GAINS = {
    "AU01": 1.4, "AU02": 1.8, "AU04": 3.0, "AU05": 4.0, "AU06": 0.85, "AU07": 4.0, "AU09": 0.7,
    "AU10": 1.0, "AU12": 0.93, "AU14": 1.55, "AU15": 1.5, "AU17": 1.85, "AU20": 0.7, "AU23": 0.75,
    "AU25": 1.1, "AU26": 0.9, "AU45": 1.7,
}  # fmt: skip
"""Motion of the face by an AU relative to `warp`. `warp` is linear with the full range of a 3-D
model at intensity 5, and AUs differ in their motion: at intensity 2 AU05 .09, AU45 .18,
AU07 .23, AU04 .58, AU12 1.9, AU26 2.8 pixels of a frame of 128. AUs of little motion get
larger gains. Chosen on validation identities from the derivative of fidelity and of KID to each
gain: larger where the estimate follows the AU better and the realism does not fall (AU02, AU04,
AU07, AU15, AU45), smaller where the realism falls (AU01, AU06, AU09, AU12, AU20, AU25)."""

_PAINTED = ("AU04", "AU06", "AU09", "AU10", "AU12", "AU17", "AU25", "AU26")
"""AUs with furrows, folds, bulges or an opening mouth. For the others the network painted nothing
realistic; for AU01 a dark spot on the forehead."""

_BROAD, _STRONGEST = 13, 0.5
"""Side of the box filter that is subtracted from the painted shades, in pixels of a frame of 128
(about a third of the inter-ocular distance), and the largest shade (range -1 to 1)."""

_SHADING_LIMIT = 0.7
"""Natural logarithm of the largest shading, a factor of 2."""

_ONSET = 0.1
"""Sum of the changes (intensity / 5) at which the painting reaches two thirds: half an intensity.
Without a requested change nothing is painted."""


class Motion(NamedTuple):
    """Input of the network from the warp, for N frames.

    Attributes:
        warped: ``(N, 3, S, S)`` RGB, -1 to 1, faces moved by `warp`.
        chart: ``(N, S, S, 2)``, the place on the chart that each pixel shows, -1 to 1.
        window: ``(N, 1, S, S)``, 1 in the face, 0 where nothing may change.
    """

    warped: Tensor
    chart: Tensor
    window: Tensor


class GuidedGANimation(nn.Module):
    """Motion-guided network; about 1 % of the multiply-adds of GANimation at 128 x 128 pixels.

    A U-Net on cells of 2 x 2 pixels without normalisation. Before training its output is exactly
    the warped face: the maps of the AUs and the head of the colours are zero.

    Args:
        width: Channels C at half the resolution; 2 C at a quarter, 4 C at an eighth.

    Attributes:
        gain: ``(17,)``, factors of the changes for `warp`.
        painted: ``(17,)``, 1 for AUs that are painted, 0 for AUs that only move.
    """

    gain: Tensor
    painted: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        c = width
        self.register_buffer("gain", motion_gain())
        self.register_buffer("painted", _painted_aus())
        self.maps = nn.Parameter(torch.zeros(AU_COUNT, 1 + _FEATURES, CHART_SIDE, CHART_SIDE))
        cells = 4 * (3 + 1 + _FEATURES)
        self.stem = nn.Conv2d(cells, c, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in ((c, 2 * c), (2 * c, 4 * c))
        )
        self.film = nn.Linear(AU_COUNT, 2 * 4 * c)
        self.deep = nn.ModuleList(nn.Conv2d(4 * c, 4 * c, 3, padding=1) for _ in range(2))
        self.up = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1) for i, o in ((4 * c + 2 * c, 2 * c), (2 * c + c, c))
        )
        self.colour = nn.Conv2d(c, 12, 3, padding=1)
        self.attention = nn.Conv2d(c, 4, 3, padding=1)

    def paint_in(self, dtype: torch.dtype) -> None:
        """Set the precision of the convolutions; maps and colours stay float32."""
        for part in self.children():
            part.to(dtype)

    def forward(self, motion: Motion, condition: Tensor) -> Rendering:
        """Add the appearance of the changed AUs to warped faces.

        Args:
            motion: The warped faces.
            condition: ``(N, 17)``, change of each AU, intensity / 5, -1 to 1.
        """
        condition = condition * self.painted
        guide = self._guide(motion.chart, condition)
        warped = motion.warped
        shading = _SHADING_LIMIT * torch.tanh(guide[:, :1] / _SHADING_LIMIT)
        lit = ((warped + 1) * shading.exp() - 1).clamp(-1, 1)
        x = F.pixel_unshuffle(torch.cat([lit, guide], 1), 2)
        x = x.to(self.stem.weight.dtype, memory_format=torch.channels_last)
        painted, attention = self._paint(x, condition)
        colour = (lit + _furrows(painted.to(lit.dtype))).clamp(-1, 1)
        asked = 1 - torch.exp(-condition.abs().sum(1) / _ONSET)[:, None, None, None]
        share = motion.window * asked * torch.sigmoid(attention.to(lit.dtype))
        return Rendering(blend(warped, colour, 1 - share), colour, 1 - share)

    def _guide(self, chart: Tensor, condition: Tensor) -> Tensor:
        """Return the weighted maps of the AUs on the faces, ``(N, 8, S, S)``."""
        maps = torch.einsum("nu,uchw->nchw", condition, self.maps)
        return F.grid_sample(maps, chart, padding_mode="border", align_corners=False)

    def _paint(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return shades to add ``(N, 3, S, S)``, see `_furrows`, and logits of their opacity."""
        skips = [F.silu(self.stem(x))]
        for layer in self.down:
            skips.append(F.silu(layer(skips[-1])))
        deep = skips.pop()
        modulation = self.film(condition.to(self.film.weight.dtype))
        scale, shift = modulation[:, :, None, None].chunk(2, 1)
        deep = F.silu(deep * (1 + scale) + shift)
        for layer in self.deep:
            deep = deep + F.silu(layer(deep))
        for layer in self.up:
            enlarged = F.interpolate(deep, scale_factor=2.0, mode="nearest")
            deep = F.silu(layer(torch.cat([enlarged, skips.pop()], 1)))
        painted = F.pixel_shuffle(self.colour(deep), 2)
        return painted, F.pixel_shuffle(self.attention(deep), 2)


def motion_gain() -> Tensor:
    """Return the gains of a new network relative to `warp` for each AU, ``(17,)``."""
    return torch.tensor([_GAINS[name] for name in AU_NAMES])


def _painted_aus() -> Tensor:
    """Return 1 for AUs that change the appearance beyond the geometry, ``(17,)``."""
    return torch.tensor([float(name in _PAINTED) for name in AU_NAMES])


def _furrows(painted: Tensor) -> Tensor:
    """Keep narrow grey structures, so that spots and hues cannot satisfy an AU reader.

    Args:
        painted: ``(N, 3, S, S)``; the mean over the colours is used.
    """
    shade = painted.mean(1, keepdim=True)
    broad = F.avg_pool2d(shade, _BROAD, stride=1, padding=_BROAD // 2, count_include_pad=False)
    return _STRONGEST * torch.tanh((shade - broad) / _STRONGEST)


def random_guided(seed: int, width: int) -> GuidedGANimation:
    """Return an untrained network, whose output is the warped face.

    Args:
        seed: Any integer of 64 bits; equal seeds give equal weights.
        width: See `GuidedGANimation`.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        network = GuidedGANimation(width)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 4 and not name.startswith(("maps", "colour")):
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            else:
                weight.zero_()
        nn.init.constant_(network.get_parameter("attention.bias"), 1.0)
    return network
