"""Order of training samples, as a function of seed and epoch only."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from miex.pipeline.recognition.sample import SampleInfo

Balance = Literal["none", "classes"]
"""`classes` draws all classes with the same probability; `none` uses each sample once."""


def draw_weights(
    infos: Sequence[SampleInfo], balance: Balance, synthetic_share: float | None = None
) -> NDArray[np.float64] | None:
    """Return the probability of each sample.

    Args:
        infos: The training samples without held-out people, so that the balance does not depend on
            test clips.
        balance: Whether classes are balanced; separately among clips and among synthetic samples,
            if there is a share.
        synthetic_share: Probability of drawing a synthetic sample, 0-1; by default it follows from
            the numbers of samples.

    Returns:
        ``(N,)`` probabilities, or None if all are equal and each sample is used once.

    Raises:
        ValueError: There is no sample, or none with a weight.
    """
    if not infos:
        raise ValueError("there is no sample to train on")
    weights = np.array([info.weight for info in infos], np.float64)
    if not weights.sum():
        raise ValueError("every sample has weight 0; give one AU source a weight")
    labels = np.array([info.label for info in infos])
    groups = np.zeros(len(infos), np.int64)
    if synthetic_share is not None:
        groups = np.array([info.au_source is not None for info in infos], np.int64)
    for group in np.unique(groups):
        inside = groups == group
        own = np.where(inside, weights, 0.0)
        if balance == "classes":
            whole = np.bincount(labels, own)
            own = np.divide(own, whole[labels], where=own > 0, out=np.zeros_like(own))
        if synthetic_share is not None and own.sum():
            own *= (synthetic_share if group else 1 - synthetic_share) / own.sum()
        weights = np.where(inside, own, weights)
    if np.ptp(weights) == 0:
        return None
    weights /= weights.sum()
    return weights


def batches_of(
    count: int,
    batch_size: int,
    seed: int,
    epoch: int,
    weights: NDArray[np.float64] | None,
    processes: int = 1,
    draws: int | None = None,
) -> list[NDArray[np.int64]]:
    """Return the batches of one epoch.

    Args:
        count: Number of samples.
        batch_size: Samples per batch; the last batch of an epoch may have fewer. A last batch with
            one sample per process, which batch normalisation does not allow, is joined to the one
            before.
        seed: Seed of the training.
        epoch: Number of the epoch, from 0.
        weights: Result of `draw_weights`. With weights, samples are drawn with replacement.
        processes: Number of processes that share a batch.
        draws: Number of draws per epoch with weights; `count` by default.

    Returns:
        Batches of indices from 0 to count - 1.
    """
    rng = np.random.default_rng([seed, epoch])
    if weights is None:
        order = rng.permutation(count)
    else:
        count = draws or count
        order = rng.choice(len(weights), count, p=weights)
    cuts = list(range(batch_size, count, batch_size))
    if cuts and count - cuts[-1] < 2 * processes:
        cuts.pop()
    return [part.astype(np.int64) for part in np.split(order, cuts)]
