"""Do rendered faces look like photographs? Distances between two sets of image features.

Features come from embeddings that are there without a download: dlib's face embedding (identity,
blind to much of what is wrong with texture) and histograms of local binary patterns (texture,
blind to shape). MobileFaceNet and Inception are used where a file of them is given. The numbers
are therefore not those of the literature, which has Inception's: compare generators with each
other and with the floor of real faces, never with published values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import feature

Array: TypeAlias = NDArray[np.float64]

Embed: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""(image ``uint8 (S, S, 3)`` RGB, landmarks ``(68, 2)``) -> features ``(D,)``."""

SPLITS = 50

_local_binary_pattern: Any = feature.local_binary_pattern

_GRID = 4
_PATTERNS = 59
"""Uniform patterns of 8 neighbours: 58 and one bin for the rest (Ojala et al., PAMI 2002)."""


def texture(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square roots of histograms of uniform local binary patterns in 4 x 4 cells of the crop.

    Ahonen, Hadid and Pietikäinen: Face Description with Local Binary Patterns, PAMI 2006; with
    the square roots (Hellinger), inner products are Bhattacharyya coefficients.

    Args:
        image: ``uint8 (S, S, 3)`` RGB.
        landmarks: Not looked at; crops are aligned.

    Returns:
        ``(944,)``, the root mean square is 1 (see `scaled`).
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
    """Features with a root mean square of 1.

    The kernel of KID was made for Inception's features, whose inner products are of the order of
    their dimension; smaller ones would leave it nearly linear, and KID a distance of means.
    """
    length = float(np.sqrt(np.mean(np.square(features, dtype=np.float64))))
    return np.asarray(features / max(length, 1e-12), np.float32)


def kid(x: Array, y: Array) -> float:
    """Kernel distance of two sets of features: the unbiased squared MMD.

    Bińkowski, Sutherland, Arbel and Gretton: Demystifying MMD GANs, ICLR 2018, section 4:
    kernel (x.y / d + 1)^3; estimator of Gretton et al., JMLR 2012, equation 3.

    Args:
        x: ``(N, D)``.
        y: ``(M, D)``.

    Returns:
        0 on average for two sets of one distribution; it may be below.

    Raises:
        ValueError: Fewer than two rows, or widths that differ.
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


def _kernel(x: Array, y: Array) -> Array:
    product: Array = np.asarray(x, np.float64) @ np.asarray(y, np.float64).T
    kernel: Array = (product / x.shape[1] + 1) ** 3
    return kernel


def fid(x: Array, y: Array) -> float:
    """Fréchet distance of two sets of features as if they were Gaussian.

    Heusel et al.: GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, equation 6. Biased
    upwards, the more so the fewer rows: compare at equal numbers only.

    Args:
        x: ``(N, D)``, at least two rows.
        y: ``(M, D)``, at least two rows.
    """
    means = x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)
    # With X and Y the centred rows over sqrt(n - 1), tr sqrt(X'X Y'Y) is the sum of the singular
    # values of X Y': no root of a D x D matrix, whose rank is at most N, is needed.
    first, second = (
        (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
        for rows in (np.asarray(x, np.float64), np.asarray(y, np.float64))
    )
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(means @ means + (first**2).sum() + (second**2).sum() - 2 * cross)


@dataclass(frozen=True, slots=True, eq=False)
class Realism:
    """Distances of rendered frames from photographs of other people.

    Two ways to the same quantity. The literature's: random halves of the people, frames rendered
    from one against photographs of the other; its floor is photographs against photographs on the
    same halves, and how people differ drowns what rendering does. Paired: every rendered frame
    against the photographs of all other people, but what a face has in common with its own
    photograph cancels.

    Attributes:
        kid: ``(splits,)`` on halves.
        floor: ``(splits,)``, KID of real faces on the same halves.
        fid: Mean over halves.
        fid_floor: Mean over halves.
        terms: ``(F, F)``, see `paired_terms`; mean over draws of a frame of each person.
    """

    kid: Array
    floor: Array
    fid: float
    fid_floor: float
    terms: Array


def paired_terms(rendered: Array, real: Array) -> Array:
    """The terms of KID for frames that were rendered from the photographs.

    Gretton et al., JMLR 2012, equation 4: with z = (rendered, real) of a person, the mean of
    ``h(z_i, z_j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)`` over i != j is unbiased
    for the same squared MMD, whether or not x_i depends on y_i. No frame meets its own photograph.

    Args:
        rendered: ``(F, D)``.
        real: ``(F, D)`` photographs that they were rendered from, row by row.

    Returns:
        ``(F, F)`` values of h; `paired_kid` averages them.
    """
    cross = _kernel(rendered, real)
    return _kernel(rendered, rendered) + _kernel(real, real) - cross - cross.T


def paired_kid(terms: Array) -> tuple[float, float]:
    """KID of `paired_terms` (or of a difference of such) and its standard error.

    The error is the delete-one jackknife over people (Efron and Stein, Annals of Statistics 1981).
    """
    count = len(terms)
    rows = terms.sum(axis=1) - np.diag(terms)
    total = rows.sum()
    without = (total - 2 * rows) / ((count - 1) * (count - 2))
    variance = (count - 1) / count * ((without - without.mean()) ** 2).sum()
    return float(total / (count * (count - 1))), float(np.sqrt(variance))


def halves(identities: int, splits: int, seed: int) -> list[tuple[NDArray[np.int64], ...]]:
    """Random halves of the identities, ``(rendered from, real)`` of each split."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    orders = [rng.permutation(identities) for _ in range(splits)]
    middle = identities // 2
    return [(order[:middle], order[middle : 2 * middle]) for order in orders]


def measure_realism(rendered: Array, real: Array, seed: int, splits: int = SPLITS) -> Realism:
    """Compares rendered frames with photographs.

    Every draw takes one rendered frame of each person at random, so that nobody counts twice.
    Equal seeds give equal halves and draws, for generators to be compared on the same ones.

    Args:
        rendered: ``(F, K, D)`` features of K frames of F people.
        real: ``(F, D)`` features of their photographs.
        seed: Of halves and draws.
        splits: How many draws.

    Raises:
        ValueError: Fewer than four people.
    """
    people, frames = rendered.shape[:2]
    if people < 4:
        raise ValueError(f"{people} people, expected at least 4: two halves of two")
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


def standard_error(values: Array) -> float:
    """Standard error of the full sample's statistic from its values on random halves.

    The delete-half jackknife (Shao and Wu, Annals of Statistics 1989): the deviation over halves,
    without a further factor.
    """
    return float(np.std(values, ddof=1))
