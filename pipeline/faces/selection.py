"""Selection of the faces of a table: remove duplicates, keep the best templates per identity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miex.datasets.base import Rejection
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.near import near_pairs


@dataclass(frozen=True, slots=True)
class Candidates:
    """Columns of the N faces that met every threshold of `judge`.

    Attributes:
        identities: Names of the identities, N strings.
        origins: Origins of the photographs, N strings.
        embeddings: Identity embeddings, ``float32 (N, 128)``.
        hashes: Values of `perceptual_hash`, ``uint8 (N, 32)``.
        costs: Values of `template_cost`, ``float64 (N,)``.
        method: How near faces are found, see `search_method`.
    """

    identities: Sequence[str]
    origins: Sequence[str]
    embeddings: NDArray[np.float32]
    hashes: NDArray[np.uint8]
    costs: NDArray[np.float64]
    method: str = "exact"


def select(candidates: Candidates, config: FaceConfig) -> tuple[list[int], list[Rejection]]:
    """Select the faces of the table.

    Three rules are applied in order: duplicate photographs are removed, each identity keeps
    `FaceConfig.templates_per_identity` faces, and identities that show the same person are
    reduced to one. Each rule keeps the face with the lower template cost, or the earlier one if
    the costs are equal.

    Returns:
        Rows to keep, ascending, and a rejection for every other row.
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
    """Yield pairs (better row, worse row, distance) below `limit`, ordered by the better row."""
    for i, j, distance in near_pairs(candidates.embeddings[order], limit, candidates.method):
        yield int(order[i]), int(order[j]), distance


def _differing_bits(hashes: NDArray[np.uint8], first: int, second: int) -> int:
    return int(np.unpackbits(hashes[first] ^ hashes[second]).sum())
