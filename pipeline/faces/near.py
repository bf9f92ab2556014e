"""Pairs of faces whose identity embeddings are near each other.

Up to `EXACT_UP_TO` faces every pair is compared, which takes a time proportional to their square.
Above, an inverted file of faiss (the extra ``scale``) compares each face with those in the cells
around it; its distances are exact, but it may miss a pair at the border of two cells.
"""

import logging
from collections.abc import Iterator
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from miex.datasets.extras import how_to_install

EXACT_UP_TO = 100_000
"""Most faces of which every pair is compared: a minute on one core."""

_BLOCK = 2048

_CELLS_PROBED = 24
"""Cells that are searched for each face; docs/scale.md has the share of the pairs found."""

_log = logging.getLogger("miex")


def search_method(count: int) -> str:
    """Return how the near pairs of a number of faces are found: ``exact``, or faiss with version.

    A face table records it, because it can decide which of two similar faces is left out.
    """
    if count > EXACT_UP_TO:
        try:
            return f"faiss {metadata.version('faiss-cpu')}"
        except metadata.PackageNotFoundError:
            pass
    return "exact"


def near_pairs(
    embeddings: NDArray[np.float32], limit: float, method: str = "exact"
) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs of embeddings whose Euclidean distance is below a limit.

    Args:
        embeddings: ``float32 (N, D)``.
        limit: Largest distance, exclusive.
        method: What `search_method` returned; up to `EXACT_UP_TO` embeddings are always compared
            exactly.

    Yields:
        Rows i and j with i < j and their distance, in ascending order of (i, j).
    """
    if method == "exact" or len(embeddings) <= EXACT_UP_TO:
        if len(embeddings) > EXACT_UP_TO:
            hours = (len(embeddings) / EXACT_UP_TO) ** 2 / 60
            _log.warning(
                "every pair of %d faces is compared, which takes about %.1f hours; to search near"
                " ones only, %s",
                len(embeddings),
                hours,
                how_to_install("scale"),
            )
        blocks = _compared(embeddings, limit)
    else:
        blocks = iter([_searched(embeddings, limit)])
    for pairs in blocks:
        for i, j in pairs.tolist():
            distance = float(np.linalg.norm(embeddings[i].astype(float) - embeddings[j]))
            if distance < limit:
                yield i, j, distance


def _compared(embeddings: NDArray[np.float32], limit: float) -> Iterator[NDArray[np.int64]]:
    """Yield the near pairs ``(P, 2)`` of one block of rows after the other."""
    # |a - b|^2 = |a|^2 + |b|^2 - 2ab needs one matrix product per block of pairs.
    vectors = embeddings.astype(np.float64)
    squares = (vectors**2).sum(axis=1)
    for start in range(0, len(vectors), _BLOCK):
        stop = min(start + _BLOCK, len(vectors))
        found: list[NDArray[np.int64]] = []
        for other in range(start, len(vectors), _BLOCK):
            end = min(other + _BLOCK, len(vectors))
            product = vectors[start:stop] @ vectors[other:end].T
            near = squares[start:stop, None] + squares[other:end] - 2 * product < limit**2
            found.append(np.argwhere(near) + np.array([start, other]))
        yield _ordered(np.concatenate(found))


def _searched(embeddings: NDArray[np.float32], limit: float) -> NDArray[np.int64]:
    """Return the near pairs ``(P, 2)`` that an inverted file finds."""
    import faiss

    vectors = np.ascontiguousarray(embeddings, np.float32)
    count, width = vectors.shape
    cells = int(4 * count**0.5)
    # Faces as centres of the cells: k-means depends on the number of threads.
    centres = faiss.IndexFlatL2(width)
    centres.add(vectors[np.linspace(0, count - 1, cells).astype(int)])
    index = faiss.IndexIVFFlat(centres, width, cells)
    index.is_trained = True
    index.add(vectors)
    index.nprobe = _CELLS_PROBED
    found = []
    for start in range(0, count, _BLOCK):
        ends, _, others = index.range_search(vectors[start : start + _BLOCK], limit**2 * 1.0001)
        places: NDArray[np.int64] = np.arange(len(others))
        rows = np.searchsorted(ends.astype(np.int64), places, side="right") - 1 + start
        pairs = np.stack([rows, others], axis=1)
        # A pair that is found from one of its faces only counts too.
        found.append(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1))
    return _ordered(np.unique(np.concatenate(found), axis=0))


def _ordered(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs (i, j) with i < j, in ascending order."""
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
