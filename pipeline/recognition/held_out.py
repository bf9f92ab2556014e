"""Hold test subjects out of training: refuse their samples, split clips by people."""

from collections.abc import Iterable, Sequence

import numpy as np

from miex.pipeline.recognition.sample import SampleInfo, Subject, with_anyone


def admit(infos: Sequence[SampleInfo], held_out: Iterable[Subject]) -> tuple[list[int], list[int]]:
    """Split samples into those that training may use and those that are refused.

    Args:
        infos: Real or synthetic samples.
        held_out: The held-out people.

    Returns:
        Indices of samples without held-out people in their lineage, and of the others.
    """
    people = with_anyone(held_out)
    kept: list[int] = []
    refused: list[int] = []
    for index, info in enumerate(infos):
        (kept if info.lineage.isdisjoint(people) else refused).append(index)
    return kept, refused


def require_disjoint(training: Iterable[SampleInfo], held_out: Iterable[Subject]) -> None:
    """Check directly before training that no held-out person is in the lineage of a sample.

    Raises:
        ValueError: There is such a sample; the message names it.
    """
    people = with_anyone(held_out)
    for info in training:
        shared = info.lineage & people
        if shared:
            database, subject = sorted(shared)[0]
            raise ValueError(
                f"leak: {info.key} would be trained on, and {database}:{subject} of its lineage is"
                " a test subject; split the samples with miex.pipeline.recognition.held_out.admit"
            )


def inner_split(
    infos: Sequence[SampleInfo], indices: Sequence[int], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Split training clips by people, for choosing an epoch without the test clips.

    Args:
        infos: All clips.
        indices: The training clips of a fold.
        share: Share of the people in the validation part.
        seed: Seed of the split.

    Returns:
        Indices of training and validation clips; no person is in both.

    Raises:
        ValueError: There are fewer than two people.
    """
    people = sorted({infos[index].person for index in indices})
    if len(people) < 2:
        raise ValueError("an epoch can only be chosen on clips of at least two people")
    count = min(max(1, round(share * len(people))), len(people) - 1)
    chosen = np.random.default_rng(seed).permutation(len(people))[:count]
    aside = {people[index] for index in chosen}
    return (
        [index for index in indices if infos[index].lineage.isdisjoint(aside)],
        [index for index in indices if infos[index].person in aside],
    )
