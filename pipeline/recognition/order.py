"""In which order samples are shown: a function of seed and epoch, of nothing that ran before."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from miex.pipeline.recognition.sample import SampleInfo

Balance = Literal["none", "classes"]
"""`classes` shows every class alike often, by drawing; `none` shows the samples as they are."""


def draw_weights(
    infos: Sequence[SampleInfo], balance: Balance, synthetic_share: float | None = None
) -> NDArray[np.float64] | None:
    """How likely each sample is drawn.

    Args:
        infos: The samples to train on, held-out ones gone already: a balance over all subjects
            would look at the test.
        balance: Whether classes are made even; among clips and among synthetic samples each, if
            there is a share.
        synthetic_share: How often a synthetic sample is drawn, 0 to 1, whatever their numbers;
            None leaves it to their numbers.

    Returns:
        ``(N,)`` probabilities, or None where all samples are alike and each is shown once.

    Raises:
        ValueError: No sample, or none with a weight.
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
    """The batches of one epoch.

    Args:
        count: Number of samples.
        batch_size: Samples in a batch; the last one of an epoch may have fewer, but never a
            single one for a process, over which no batch normalisation is possible: it joins the
            last but one.
        seed: Of the training.
        epoch: 0 the first.
        weights: `draw_weights`. With weights, samples are drawn with replacement.
        processes: How many share a batch.
        draws: Samples of an epoch where there are weights; `count` by default.

    Returns:
        Indices 0 to count - 1.
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
