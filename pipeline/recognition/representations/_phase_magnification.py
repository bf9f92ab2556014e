"""Phase-based magnification of two frames with a complex steerable pyramid.

After Wadhwa et al., "Phase-based video motion processing", ACM Trans. Graph. 32(4), 2013. A band of
the pyramid represents texture of one wavelength and orientation by complex numbers, whose phase is
its position; a displacement d across the stripes changes it by 2 pi d / wavelength. The change from
onset to apex is therefore added alpha times more. With two frames there is no filter over time.
Differences from the paper:

- The change of phase is measured on luma and applied to red, green and blue, so that noise of a
  channel does not separate the colours.
- It is averaged over a few pixels, weighted by the amplitudes, as in the paper, but as
  complex numbers: angle(mean(apex * conj(onset))), without jumps of the angle.
- In fine bands a displacement above half a wavelength turns the phase by more than pi. The
  missing multiple of 2 pi follows from the next coarser band, as in Meyer et al., "Phase-based
  frame interpolation for video", CVPR 2015.

The finest and the coarsest residual stay those of the apex.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

_ORIENTATIONS = 8
"""As in the half-octave pyramid of Wadhwa et al. 2013. With four, texture between two of them moves
about 10 % too little."""

_BANDWIDTH = 0.5
"""Octaves from one band to the next. With half an octave texture can move about twice as far as
with a whole one before its envelope limits the motion (Wadhwa et al. 2013)."""

_LONGEST = 4.0
"""Coarsest band: wavelengths that fit into the shorter side."""

_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


@dataclass(frozen=True, slots=True)
class _Band:
    """Filter of the pyramid, limited to the frequencies that it passes.

    Attributes:
        rows: Rows of the centred spectrum.
        columns: Columns of the centred spectrum.
        response: ``float32 (height, width)``, 0-1, zero on one side of a line through the origin.
    """

    rows: slice
    columns: slice
    response: Tensor


@dataclass(frozen=True, slots=True)
class _Pyramid:
    """Filters whose squares sum to 1 over both sides of the origin.

    Attributes:
        bands: By level, finest first, then orientation.
        residual: Square of the residual filter, ``float32 (height, width)``.
    """

    bands: tuple[tuple[_Band, ...], ...]
    residual: Tensor


def phase_renderer(onset: Tensor, apex: Tensor) -> Callable[[Tensor], Tensor]:
    """Measure the motion once, for any number of factors.

    Args:
        onset: ``float32 (B, 3, H, W)``, 0-255.
        apex: The same for the apex.

    Returns:
        A function: factors ``(B, F)`` to apexes ``float32 (B, F, 3, H, W)``, not clipped.
    """
    height, width = onset.shape[-2:]
    # The transform is periodic; padding separates opposite edges.
    margin_y, margin_x = height // 8, width // 8
    margin = (margin_x, margin_x, margin_y, margin_y)
    before = _spectrum(functional.pad(_luma(onset), margin, "reflect"))
    padded = functional.pad(apex, margin, "reflect")
    after, grey = _spectrum(padded), _spectrum(_luma(padded))
    pyramid = _pyramid(padded.shape[-2], padded.shape[-1], apex.device)
    turns = _phase_changes(before, grey, pyramid)
    coefficients = [[_analyse(after, band) for band in level] for level in pyramid.bands]

    def render(factors: Tensor) -> Tensor:
        total = (after * pyramid.residual)[:, None].repeat(1, factors.shape[1], 1, 1, 1)
        scale = factors[:, :, None, None, None]
        for level, level_turns, level_values in zip(
            pyramid.bands, turns, coefficients, strict=True
        ):
            for band, turn, values in zip(level, level_turns, level_values, strict=True):
                angle = scale * turn[:, None]
                moved = values[:, None] * torch.polar(torch.ones_like(angle), angle)
                back = torch.fft.fftshift(torch.fft.fft2(moved), dim=(-2, -1))
                # Twice, since the other side of the origin is the conjugate.
                total[..., band.rows, band.columns] += 2 * band.response * back
        image: Tensor = torch.fft.ifft2(torch.fft.ifftshift(total, dim=(-2, -1))).real
        return image[..., margin_y : margin_y + height, margin_x : margin_x + width]

    return render


def _phase_changes(onset: Tensor, apex: Tensor, pyramid: _Pyramid) -> list[list[Tensor]]:
    """Return the phase change from onset to apex in each band, radians, ``(B, 1, h, w)``."""
    changes: list[list[Tensor]] = []
    for level in reversed(pyramid.bands):
        current = []
        for index, band in enumerate(level):
            product = _analyse(apex, band) * _analyse(onset, band).conj()
            turn = _smooth(product).angle()
            if changes:
                coarse = functional.interpolate(
                    changes[-1][index], turn.shape[-2:], mode="bilinear", align_corners=False
                )
                expected = coarse * 2**_BANDWIDTH
                turn = turn + 2 * math.pi * ((expected - turn) / (2 * math.pi)).round()
            current.append(turn)
        changes.append(current)
    return changes[::-1]


def _analyse(spectrum: Tensor, band: _Band) -> Tensor:
    cut = spectrum[..., band.rows, band.columns] * band.response
    values: Tensor = torch.fft.ifft2(torch.fft.ifftshift(cut, dim=(-2, -1)))
    return values


def _smooth(values: Tensor) -> Tensor:
    """Smooth complex numbers ``(B, 1, h, w)`` by a weighted mean over 5 x 5 pixels."""
    parts = torch.cat((values.real, values.imag), 1)
    for _ in range(2):
        parts = functional.avg_pool2d(parts, 3, 1, 1, count_include_pad=False)
    return torch.complex(parts[:, :1], parts[:, 1:])


def _luma(images: Tensor) -> Tensor:
    weights = torch.tensor(_LUMA, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def _spectrum(images: Tensor) -> Tensor:
    spectrum: Tensor = torch.fft.fftshift(torch.fft.fft2(images), dim=(-2, -1))
    return spectrum


@lru_cache(maxsize=8)
def _pyramid(height: int, width: int, device: torch.device) -> _Pyramid:
    """Return polar-separable filters, raised cosines in the logarithm of the frequency.

    The angular part is that of Simoncelli & Freeman, "The steerable pyramid", ICIP 1995.
    """
    y = torch.fft.fftshift(torch.fft.fftfreq(height, dtype=torch.float64))
    x = torch.fft.fftshift(torch.fft.fftfreq(width, dtype=torch.float64))
    octave = torch.log2(torch.hypot(y[:, None], x[None, :]).clamp_min(1e-9) * 2)
    angle = torch.atan2(y[:, None], x[None, :])
    levels = int(math.log2(min(height, width) / 2 / _LONGEST) / _BANDWIDTH)
    power = _ORIENTATIONS - 1
    norm = 2**power * math.factorial(power) / math.sqrt(_ORIENTATIONS * math.factorial(2 * power))
    passed = torch.zeros_like(octave)
    bands = []
    for level in range(1, levels + 1):
        distance = ((octave + level * _BANDWIDTH) / _BANDWIDTH).abs().clamp_max(1)
        radial = torch.cos(math.pi / 2 * distance)
        passed += radial**2
        highest = 2 ** (-(level - 1) * _BANDWIDTH)
        rows, columns = _middle(height, highest), _middle(width, highest)
        oriented = []
        for number in range(_ORIENTATIONS):
            towards = torch.cos(angle - math.pi * number / _ORIENTATIONS).clamp_min(0)
            response = (radial * norm * towards**power)[rows, columns]
            oriented.append(_Band(rows, columns, response.float().to(device)))
        bands.append(tuple(oriented))
    return _Pyramid(tuple(bands), (1 - passed).float().to(device))


def _middle(size: int, share: float) -> slice:
    """Return the range of a centred spectrum from minus to plus a share of its half."""
    half = min(math.ceil(size / 2 * share) + 1, size // 2)
    return slice(size // 2 - half, size // 2 + half)
