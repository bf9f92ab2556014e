"""In which order samples are shown: a function of seed and epoch, of nothing that ran before."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from miex.pipeline.recognition.sample import SampleInfo

Balance = Literal["none", "classes"]
"""`classes` shows every class alike often, by drawing; `none` shows the samples as they are."""


def draw_weights(infos: Sequence[SampleInfo], balance: Balance) -> NDArray[np.float64] | None:
    """How likely each sample is drawn.

    Args:
        infos: The samples to train on, held-out ones gone already: a balance over all subjects
            would look at the test.
        balance: Whether classes are made even.

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
    if balance == "classes":
        labels = np.array([info.label for info in infos])
        whole = np.bincount(labels, weights)
        weights = np.divide(weights, whole[labels], where=weights > 0, out=np.zeros_like(weights))
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

    Returns:
        Indices 0 to count - 1.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(count) if weights is None else rng.choice(count, count, p=weights)
    cuts = list(range(batch_size, count, batch_size))
    if cuts and count - cuts[-1] < 2 * processes:
        cuts.pop()
    return [part.astype(np.int64) for part in np.split(order, cuts)]
