"""Split of a face set by identity: no person is in two splits, not even under two names."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from miex.pipeline.faces.near import near_pairs


def same_person_groups(
    identities: Sequence[str], embeddings: NDArray[np.float32], limit: float
) -> tuple[tuple[str, ...], ...]:
    """Group the names that probably belong to one person.

    Two names are in one group if the embedding distance between photographs of both is below the
    limit, or if a chain of such pairs connects them.

    Args:
        identities: Identity of each of N photographs.
        embeddings: ``float32 (N, D)``.
        limit: Euclidean distance below which two photographs count as one person.

    Returns:
        Groups of at least two names, each in alphabetical order.
    """
    leader = {name: name for name in identities}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = name = leader[leader[name]]
        return name

    for i, j, _ in near_pairs(embeddings, limit):
        first, second = sorted((find(identities[i]), find(identities[j])))
        leader[second] = first
    groups: dict[str, list[str]] = {}
    for name in sorted(leader):
        groups.setdefault(find(name), []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def split_identities(
    identities: Iterable[str],
    groups: Sequence[Sequence[str]],
    sizes: Mapping[str, int],
    rest: str,
    seed: int,
) -> dict[str, str]:
    """Assign every identity to a split, depending on the seed and the names only.

    Identities are ranked by a hash of seed and name. Additional photographs or another order do not
    change the split, and an additional identity moves at most the identities at the end of a split.

    Args:
        identities: All names.
        groups: Names that must be in one split; a group is ranked by its first name.
        sizes: Number of identities of each split except the last, filled in this order. A group
            that does not fit into a split is put into the next one.
        rest: Name of the last split, which holds all remaining identities.
        seed: Seed of the split.

    Returns:
        The split of every name.

    Raises:
        ValueError: No identity is left for the last split.
    """
    names = set(identities)
    together = {name: tuple(group) for group in groups for name in group}
    units = {together.get(name, (name,)) for name in names}
    ranked = sorted(units, key=lambda unit: hashlib.sha256(f"{seed} {unit[0]}".encode()).digest())
    room = dict(sizes)
    split_of: dict[str, str] = {}
    for unit in ranked:
        split = next((name for name, free in room.items() if len(unit) <= free), rest)
        if split != rest:
            room[split] -= len(unit)
        split_of.update(dict.fromkeys(unit, split))
    if rest not in split_of.values():
        wanted = ", ".join(f"{size} for {name}" for name, size in sizes.items())
        raise ValueError(
            f"{len(names)} identities cannot be split into {wanted} and at least one for {rest}; "
            "give photographs of more people"
        )
    return split_of
