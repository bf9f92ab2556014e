"""Measure the frames of a dataset in one pass: equal frames, foreign faces, PSNR and SSIM."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.dataset_format import DatasetFolder
from miex.pipeline.reports.selection import open_shard
from miex.pipeline.workers import cores

SCREENED, COMPARED = 50_000, 1_500
"""How many pairs are decoded, and for how many of them SSIM is computed, at most. Decoding a
lossless WebP of 128 pixels takes 0.2 ms and an SSIM 0.6 ms on one core: more would not end within
a minute. Which ones is drawn by a seed and stated in the report."""

_THUMBNAIL, _COARSE = 32, 16

_RADIUS, _SIGMA = 5, 1.5
"""Gaussian window of SSIM, pixels."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Measurements of the frames of N samples; NaN where a sample was not decoded.

    Attributes:
        onset_hash: ``uint64 (N,)`` hash of the encoded onset (BLAKE2b); 0 where there is none.
        equal: ``(N,)``, whether apex and onset are the same picture (encoded, or decoded).
        likeness: ``(N,)`` correlation of onset and apex, grey, at 32 by 32 pixels.
        psnr: ``(N,)`` of onset and apex, dB, over the three colours; infinite pairs are NaN.
        ssim: ``(N,)`` of onset and apex, grey, on `COMPARED` samples at most.
        onset_small: ``uint8 (N, 16, 16)``, the grey onset made small; zeros where not decoded.
        decoded: ``(N,)``, which samples were decoded.
        unreadable: Rows whose onset or apex is no readable image.
    """

    onset_hash: NDArray[np.uint64]
    equal: NDArray[np.bool_]
    likeness: NDArray[np.float64]
    psnr: NDArray[np.float64]
    ssim: NDArray[np.float64]
    onset_small: NDArray[np.uint8]
    decoded: NDArray[np.bool_]
    unreadable: list[int]


def inspect_pixels(
    dataset: DatasetFolder,
    *,
    screened: int = SCREENED,
    compared: int = COMPARED,
    seed: int = 0,
    workers: int | None = None,
    on_samples: Callable[[int, int], None] | None = None,
) -> Pixels:
    """Read every onset and apex frame once, in threads; memory holds one row group per thread.

    Args:
        dataset: What to look at.
        screened: How many pairs to decode at most.
        compared: Of how many of them to compute SSIM at most.
        seed: Chooses them.
        workers: Number of threads, at most 8; all cores by default.
        on_samples: Progress callback: (samples done, samples in total).

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: A shard is damaged.
    """
    count = len(dataset)
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    task = np.zeros(count, dtype=np.int8)
    task[order[:screened]] = 1
    task[order[: min(screened, compared)]] = 2
    found = Pixels(
        onset_hash=np.zeros(count, np.uint64),
        equal=np.zeros(count, bool),
        likeness=np.full(count, np.nan),
        psnr=np.full(count, np.nan),
        ssim=np.full(count, np.nan),
        onset_small=np.zeros((count, _COARSE, _COARSE), np.uint8),
        decoded=task > 0,
        unreadable=[],
    )
    # These threads use all cores; those of OpenCV and Arrow would compete with them.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(min(workers or cores(), 8)) as pool:
            parts = list(_parts(dataset))
            ends = [*(start for _, _, start in parts[1:]), count]
            done = pool.map(lambda part: _inspect(part, task, found), parts)
            for unreadable, end in zip(done, ends, strict=True):
                found.unreadable.extend(unreadable)
                if on_samples:
                    on_samples(end, count)
    finally:
        cv2.setNumThreads(threads)
    found.unreadable.sort()
    return found


def _parts(dataset: DatasetFolder) -> Iterator[tuple[Path, int, int]]:
    """Return (shard, row group, number of its first row)."""
    start = 0
    for path in dataset.intact_shards():
        with open_shard(path) as file:
            for group in range(file.num_row_groups):
                yield path, group, start
                start += file.metadata.row_group(group).num_rows


def _inspect(part: tuple[Path, int, int], task: NDArray[np.int8], found: Pixels) -> list[int]:
    """Fill in the rows of one row group; return the numbers of unreadable rows."""
    path, group, start = part
    with open_shard(path) as file:
        table = file.read_row_group(group, columns=["frames", "apex_index"], use_threads=False)
    frames = table["frames"].combine_chunks()
    encoded = frames.flatten().field("bytes").to_pylist()
    first = np.from_dlpack(frames.offsets) - int(frames.offsets[0].as_py())
    apexes = table["apex_index"].to_pylist()
    unreadable: list[int] = []
    # Samples of one template follow one another and mostly share their onset.
    onset_bytes, onset = b"", None
    for number, (begin, end) in enumerate(pairwise(first.tolist())):
        row, at = start + number, begin + apexes[number]
        if not begin <= at < end or not encoded[begin] or not encoded[at]:
            unreadable.append(row)
            continue
        found.onset_hash[row] = _digest(encoded[begin])
        found.equal[row] = encoded[begin] == encoded[at]
        if not task[row]:
            continue
        if encoded[begin] != onset_bytes:
            onset_bytes, onset = encoded[begin], _decode(encoded[begin])
        apex = onset if found.equal[row] else _decode(encoded[at])
        if onset is None or apex is None or onset.shape != apex.shape:
            unreadable.append(row)
            continue
        _compare(row, onset, apex, task[row] == 2, found)
    return unreadable


def _digest(encoded: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def _decode(encoded: bytes) -> NDArray[np.uint8] | None:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, dtype=np.uint8)


def _compare(
    row: int, onset: NDArray[np.uint8], apex: NDArray[np.uint8], fully: bool, found: Pixels
) -> None:
    squares = float(cv2.norm(onset, apex, cv2.NORM_L2SQR))
    found.equal[row] |= squares == 0
    if squares:
        found.psnr[row] = cv2.PSNR(onset, apex)
    grey = [
        np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        for image in (onset, apex)
    ]
    small = [_shrink(image, _THUMBNAIL) for image in grey]
    found.likeness[row] = correlation(small[0], small[1])
    found.onset_small[row] = _shrink(grey[0], _COARSE)
    if fully:
        found.ssim[row] = ssim(grey[0], grey[1])


def _shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the Pearson correlation of two grey images; 1 if both are flat, 0 if one is."""
    first, second = (image.astype(np.float32).ravel() for image in (a, b))
    first, second = first - first.mean(), second - second.mean()
    norms = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if not all(norms):
        return float(norms[0] == norms[1])
    return float(first @ second) / (norms[0] * norms[1])


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the mean SSIM of two grey images (Wang et al., IEEE TIP 13(4), 2004, equation 13).

    The Gaussian window has 11 pixels and a standard deviation of 1.5, as in section III.B.

    Args:
        a: ``uint8 (H, W)``, both sides above 10.
        b: The same shape.
    """
    # Single precision changes the result by some 1e-6, and takes half the time.
    one, other = a.astype(np.float32), b.astype(np.float32)
    planes = (one, other, one * one, other * other, one * other)
    mean_a, mean_b, square_a, square_b, product = (
        cv2.GaussianBlur(plane, (2 * _RADIUS + 1,) * 2, _SIGMA)[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
        for plane in planes
    )
    variance_a, variance_b = square_a - mean_a * mean_a, square_b - mean_b * mean_b
    covariance = product - mean_a * mean_b
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + first) * (2 * covariance + second)
    total = (mean_a * mean_a + mean_b * mean_b + first) * (variance_a + variance_b + second)
    return float((likeness / total).mean(dtype=np.float64))
