"""Realism of rendered faces: KID and FID between rendered frames and photographs.

The features come from embeddings that need no download: dlib's face embedding, which represents
the identity but little of the texture, and histograms of local binary patterns, which represent
texture but not shape. MobileFaceNet and Inception are used if their files are given. Published
values use features of Inception. The values of this module can therefore be compared between
generators and with the floor of real faces, but not with published values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import feature

from miex.pipeline.assessment.config import SPLITS as SPLITS

_Array: TypeAlias = NDArray[np.float64]

Embed: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""Function (image ``uint8 (S, S, 3)`` RGB, landmarks ``(68, 2)``) -> features ``(D,)``."""


_local_binary_pattern: Any = feature.local_binary_pattern

_GRID = 4
_PATTERNS = 59
"""Bins per cell: 58 uniform patterns of 8 neighbours and one for the others (Ojala et al. 2002)."""


def texture(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return histograms of uniform local binary patterns in 4 x 4 cells of the crop.

    Ahonen, Hadid and Pietikäinen: Face Description with Local Binary Patterns, PAMI 2006. The
    square root of each histogram is taken, so that inner products are Bhattacharyya coefficients.

    Args:
        image: ``uint8 (S, S, 3)`` RGB.
        landmarks: Not used, since crops are aligned.

    Returns:
        ``float32 (944,)`` with a root mean square of 1, see `scaled`.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    patterns = _local_binary_pattern(grey, 8, 1, "nri_uniform").astype(np.int64)
    rows = np.arange(grey.shape[0]) * _GRID // grey.shape[0]
    columns = np.arange(grey.shape[1]) * _GRID // grey.shape[1]
    cells = rows[:, None] * _GRID + columns
    counts = np.bincount((cells * _PATTERNS + patterns).ravel(), minlength=_GRID**2 * _PATTERNS)
    histograms = counts.reshape(_GRID**2, _PATTERNS).astype(np.float64)
    return scaled(np.sqrt(histograms / histograms.sum(axis=1, keepdims=True)).ravel())


def scaled(features: NDArray[Any]) -> NDArray[np.float32]:
    """Scale features ``(D,)`` to a root mean square of 1.

    The cubic kernel of KID was designed for features of Inception, whose inner products are of the
    order of their dimension. With much smaller inner products the kernel would be nearly linear,
    and KID would only compare means.
    """
    length = float(np.sqrt(np.mean(np.square(features, dtype=np.float64))))
    return np.asarray(features / max(length, 1e-12), np.float32)


def kid(x: _Array, y: _Array) -> float:
    """Return the kernel inception distance (KID), the unbiased squared MMD, of two feature sets.

    The kernel is (x.y / d + 1)^3 (Bińkowski, Sutherland, Arbel and Gretton: Demystifying MMD GANs,
    ICLR 2018, section 4). The estimator is equation 3 of Gretton et al., JMLR 2012.

    Args:
        x: ``(N, D)``, at least two rows.
        y: ``(M, D)``, at least two rows.

    Returns:
        The distance. For two sets of one distribution its expectation is 0, and it can be negative.

    Raises:
        ValueError: A set has fewer than two rows, or the widths differ.
    """
    if min(len(x), len(y)) < 2 or x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"features of shape {x.shape} and {y.shape}, expected (N, D) and (M, D) with at least "
            "two rows each"
        )
    own = [
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (_kernel(x, x), _kernel(y, y))
    ]
    return float(own[0] + own[1] - 2 * _kernel(x, y).mean())


def _kernel(x: _Array, y: _Array) -> _Array:
    product: _Array = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    kernel: _Array = (product / x.shape[1] + 1) ** 3
    return kernel


def fid(x: _Array, y: _Array) -> float:
    """Return the Fréchet distance of two feature sets under the assumption that both are Gaussian.

    Heusel et al.: GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, equation 6. The
    estimate is biased upwards, and more so for fewer rows. It can be compared only between sets of
    equal size.

    Args:
        x: ``(N, D)``, at least two rows.
        y: ``(M, D)``, at least two rows.
    """
    means = x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)
    # For centred rows X and Y divided by sqrt(n - 1), tr sqrt(X'X Y'Y) equals the sum of the
    # singular values of X Y', which avoids the square root of a D x D matrix.
    first, second = (
        (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
        for rows in (np.asarray(x, np.float64), np.asarray(y, np.float64))
    )
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(means @ means + (first**2).sum() + (second**2).sum() - 2 * cross)


@dataclass(frozen=True, slots=True, eq=False)
class Realism:
    """Distances of rendered frames from photographs of other identities.

    KID is estimated in two ways. The usual way divides the identities into random halves and
    compares frames rendered from one half with photographs of the other half. Its floor compares
    photographs with photographs on the same halves. Differences between identities then exceed the
    effect of rendering. The paired way compares every rendered frame with the photographs of all
    other identities, and differences between identities cancel.

    Attributes:
        kid: KID on halves, ``(splits,)``.
        floor: KID of photographs on the same halves, ``(splits,)``.
        fid: FID, mean over halves.
        fid_floor: FID of photographs, mean over halves.
        terms: ``(F, F)`` terms of the paired KID, see `paired_terms`; mean over draws of one frame
            per identity.
    """

    kid: _Array
    floor: _Array
    fid: float
    fid_floor: float
    terms: _Array


def paired_terms(rendered: _Array, real: _Array) -> _Array:
    """Return the terms of the paired KID of frames and the photographs they were rendered from.

    Let z_i = (x_i, y_i) be the rendered frame and the photograph of identity i. The mean of
    ``h(z_i, z_j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)`` over i != j is an
    unbiased estimate of the squared MMD, whether or not x_i depends on y_i (Gretton et al., JMLR
    2012, equation 4). No frame is compared with its own photograph.

    Args:
        rendered: Features of the rendered frames, ``(F, D)``.
        real: Features of the photographs, ``(F, D)``, in the same order.

    Returns:
        ``(F, F)`` values of h, which `paired_kid` averages.
    """
    cross = _kernel(rendered, real)
    return _kernel(rendered, rendered) + _kernel(real, real) - cross - cross.T


def paired_kid(terms: _Array) -> tuple[float, float]:
    """Return the paired KID and its standard error.

    The error is that of the delete-one jackknife over identities (Efron and Stein, Annals of
    Statistics 1981).

    Args:
        terms: ``(F, F)`` values of `paired_terms`, or the difference of two such matrices.
    """
    count = len(terms)
    rows = terms.sum(axis=1) - np.diag(terms)
    total = rows.sum()
    without = (total - 2 * rows) / ((count - 1) * (count - 2))
    variance = (count - 1) / count * ((without - without.mean()) ** 2).sum()
    return float(total / (count * (count - 1))), float(np.sqrt(variance))


def halves(identities: int, splits: int, seed: int) -> list[tuple[NDArray[np.int64], ...]]:
    """Draw random halves of the identities.

    Args:
        identities: Number of identities.
        splits: Number of draws.
        seed: Seed of the draws.

    Returns:
        For each draw the indices of the two halves: those to render from, and those whose
        photographs are used.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    orders = [rng.permutation(identities) for _ in range(splits)]
    middle = identities // 2
    return [(order[:middle], order[middle : 2 * middle]) for order in orders]


def measure_realism(rendered: _Array, real: _Array, seed: int, splits: int = SPLITS) -> Realism:
    """Compare rendered frames with photographs.

    Every draw uses one random rendered frame of each identity, so that all identities have equal
    weight. Equal seeds give equal halves and draws, so that generators can be compared.

    Args:
        rendered: Features of K frames of F identities, ``(F, K, D)``.
        real: Features of their photographs, ``(F, D)``.
        seed: Seed of the halves and draws.
        splits: Number of draws.

    Raises:
        ValueError: There are fewer than four identities.
    """
    people, frames = rendered.shape[:2]
    if people < 4:
        raise ValueError(
            f"{people} identities given, expected at least 4, because two halves are compared"
        )
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    found = []
    terms = np.zeros((people, people))
    for one, other in halves(people, splits, seed):
        drawn = rendered[np.arange(people), rng.integers(frames, size=people)]
        terms += paired_terms(drawn, real) / splits
        found.append(
            [
                kid(drawn[one], real[other]),
                kid(real[one], real[other]),
                fid(drawn[one], real[other]),
                fid(real[one], real[other]),
            ]
        )
    values = np.array(found)
    return Realism(values[:, 0], values[:, 1], values[:, 2].mean(), values[:, 3].mean(), terms)


def standard_error(values: _Array) -> float:
    """Return the standard error of a statistic from its values on random halves of the sample.

    By the delete-half jackknife (Shao and Wu, Annals of Statistics 1989), it equals the standard
    deviation over the halves.

    Args:
        values: Values on at least two halves, ``(splits,)``.
    """
    return float(np.std(values, ddof=1))
