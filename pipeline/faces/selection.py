"""Which faces of a set stay: no photograph twice, no person twice, the best of each identity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import Rejection
from miex.pipeline.faces.config import FaceConfig

_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the selection needs to know of N faces that passed every filter of their own.

    Attributes:
        identities: Who is shown, N names.
        origins: N origins.
        embeddings: ``float32 (N, 128)``.
        hashes: ``uint8 (N, 32)``, `perceptual_hash`.
        costs: ``float64 (N,)``, `template_cost`.
    """

    identities: Sequence[str]
    origins: Sequence[str]
    embeddings: NDArray[np.float32]
    hashes: NDArray[np.uint8]
    costs: NDArray[np.float64]


def select(candidates: Candidates, config: FaceConfig) -> tuple[list[int], list[Rejection]]:
    """Chooses the faces of the table.

    Of two near-duplicates, of the photographs of one identity, and of two identities that are one
    person, the face with the lower template cost stays; on a tie the earlier one.

    Returns:
        Rows that stay, ascending, and a rejection for every other row.
    """
    order = np.argsort(candidates.costs, kind="stable")
    alive = np.ones(len(order), dtype=bool)
    rejections: list[Rejection] = []

    def reject(row: int, reason: str, detail: str) -> None:
        alive[row] = False
        rejections.append(Rejection(candidates.origins[row], reason, detail))

    for kept, row, distance in _near(candidates, order, config.duplicate_distance):
        if alive[kept] and alive[row]:
            bits = _differing_bits(candidates.hashes, kept, row)
            if bits <= config.duplicate_bits:
                origin = candidates.origins[kept]
                reject(row, "duplicate", f"{origin} again: distance {distance:.3f}, {bits} bits")

    templates: dict[str, list[int]] = {}
    for row in order[alive[order]].tolist():
        kept_rows = templates.setdefault(candidates.identities[row], [])
        if len(kept_rows) < config.templates_per_identity:
            kept_rows.append(row)
        else:
            best = candidates.origins[kept_rows[0]]
            reject(row, "not_the_template", f"cost {candidates.costs[row]:.2f}, better: {best}")

    for kept, row, distance in _near(candidates, order[alive[order]], config.same_person_distance):
        same_name = candidates.identities[kept] == candidates.identities[row]
        if alive[kept] and alive[row] and not same_name:
            origin = candidates.origins[kept]
            reject(row, "same_person", f"as {origin}: distance {distance:.3f}")
    return np.flatnonzero(alive).tolist(), rejections


def _near(
    candidates: Candidates, order: NDArray[np.int64], limit: float
) -> Iterator[tuple[int, int, float]]:
    """Pairs (better row, worse row, distance) nearer than `limit`, by the better one's rank."""
    for i, j, distance in near_pairs(candidates.embeddings[order], limit):
        yield int(order[i]), int(order[j]), distance


def near_pairs(embeddings: NDArray[np.float32], limit: float) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, distance) of N embeddings ``(N, D)`` nearer than `limit`, i < j, ascending."""
    # Squared distances are taken as |a|^2 + |b|^2 - 2ab in blocks: one matrix product each.
    vectors = embeddings.astype(np.float64)
    squares = (vectors**2).sum(axis=1)
    for start in range(0, len(vectors), _BLOCK):
        stop = min(start + _BLOCK, len(vectors))
        found: list[NDArray[np.int64]] = []
        for other in range(start, len(vectors), _BLOCK):
            end = min(other + _BLOCK, len(vectors))
            product = vectors[start:stop] @ vectors[other:end].T
            near = squares[start:stop, None] + squares[other:end] - 2 * product < limit**2
            pairs = np.argwhere(near) + np.array([start, other])
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
        pairs = np.concatenate(found)
        for i, j in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
            yield i, j, float(np.linalg.norm(vectors[i] - vectors[j]))


def _differing_bits(hashes: NDArray[np.uint8], first: int, second: int) -> int:
    return int(np.unpackbits(hashes[first] ^ hashes[second]).sum())
