"""Splits a face set by who is shown: nobody is on both sides, not even under two names."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from miex.pipeline.faces.selection import near_pairs


def same_person_groups(
    identities: Sequence[str], embeddings: NDArray[np.float32], limit: float
) -> tuple[tuple[str, ...], ...]:
    """Names whose photographs look like one person, also by way of a third name.

    Args:
        identities: Who is shown in each of N photographs.
        embeddings: ``float32 (N, D)``.
        limit: Euclidean distance below which two photographs show one person.

    Returns:
        Groups of two names and more, each in alphabetical order.
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
    """Assigns every identity to a split, from the seed and the names alone.

    Identities are ranked by a hash of seed and name, so that another photograph, or another order,
    changes nothing, and another identity moves at most those at the edge of a split.

    Args:
        identities: All names.
        groups: Names that must not be torn apart; a group stands where its first name stands.
        sizes: Identities of each split but the rest, filled in this order. A group that would
            overfill a split goes to the next one.
        rest: The split of all others.
        seed: Another seed gives another split.

    Raises:
        ValueError: Nobody would be left for the rest.
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
            f"{len(names)} identities cannot be split into {wanted} and the rest for {rest}; give "
            "photographs of more people"
        )
    return split_of
