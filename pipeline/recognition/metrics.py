"""Scores of predictions.

The primary scores are those of MEGC 2019: counts are summed over all folds, then F1 and recall are
computed per class and averaged without weights (UF1, UAR). The mean of the scores of folds is a
different number (52 of the 68 subjects of the challenge lack a class), and has another name here.

A class without clips has F1 0 and recall 0, as in scikit-learn with ``zero_division=0``: it is
neither skipped, which would favour an easy subset, nor scored 1. The scores list such classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]
"""Confusion matrix ``(C, C)``: rows are annotated classes, columns predicted ones."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a confusion matrix.

    Attributes:
        uf1: Unweighted F1, the mean over classes (See et al., MEGC 2019), 0-1.
        uar: Unweighted average recall, 0-1.
        accuracy: Share of correct clips, 0-1; equal to the micro F1.
        weighted_f1: F1 weighted by the clips of each class, 0-1; it hides weak small classes.
        f1: F1 of each class.
        recall: Recall of each class.
        clips: Number of annotated clips of each class.
        absent: Classes without clips, whose F1 and recall are 0.
    """

    uf1: float
    uar: float
    accuracy: float
    weighted_f1: float
    f1: tuple[float, ...]
    recall: tuple[float, ...]
    clips: tuple[int, ...]
    absent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """Bootstrap interval.

    Attributes:
        low: 2.5th percentile.
        high: 97.5th percentile.
    """

    low: float
    high: float


def confusion(labels: ArrayLike, predictions: ArrayLike, classes: int) -> Counts:
    """Return the confusion matrix of annotated and predicted classes.

    Args:
        labels: ``(N,)``, 0 to classes - 1.
        predictions: ``(N,)``, for the same clips in the same order.
        classes: Number of classes.

    Returns:
        ``int64 (classes, classes)``.

    Raises:
        ValueError: Different lengths, or a class out of range.
    """
    truth, guess = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise ValueError(
            f"labels {truth.shape} and predictions {guess.shape}: expected one prediction for"
            " each clip"
        )
    for name, values in (("label", truth), ("prediction", guess)):
        if len(values) and not 0 <= values.min() <= values.max() < classes:
            bad = values[(values < 0) | (values >= classes)][0]
            raise ValueError(f"a {name} is {bad}, expected 0 to {classes - 1}")
    counts = np.bincount(truth * classes + guess, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def scores(counts: Counts) -> Scores:
    """Return the scores of a confusion matrix.

    F1 = 2 TP / (2 TP + FP + FN), recall = TP / (TP + FN), both 0 where the denominator is 0
    (See et al. 2019, section 4).

    Raises:
        ValueError: The matrix has no clip.
    """
    if not counts.sum():
        raise ValueError("no clip was predicted: there is nothing to score")
    f1, recall = _f1(counts), _recall(counts)
    clips = counts.sum(1)
    return Scores(
        uf1=float(f1.mean()),
        uar=float(recall.mean()),
        accuracy=float(np.trace(counts) / counts.sum()),
        weighted_f1=float(f1 @ clips / clips.sum()),
        f1=tuple(f1.tolist()),
        recall=tuple(recall.tolist()),
        clips=tuple(clips.tolist()),
        absent=tuple(np.flatnonzero(clips == 0).tolist()),
    )


def _f1(counts: Counts) -> NDArray[np.float64]:
    """Return the F1 of each class, ``(..., C)``."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    whole = counts.sum(-1) + counts.sum(-2)
    result = np.zeros(right.shape)
    np.divide(2 * right, whole, out=result, where=whole > 0)
    return result


def _recall(counts: Counts) -> NDArray[np.float64]:
    """Return the recall of each class, ``(..., C)``."""
    right, clips = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)
    result = np.zeros(right.shape)
    np.divide(right, clips, out=result, where=clips > 0)
    return result


def bootstrap(
    counts_of_subjects: Sequence[Counts], *, draws: int = 2000, seed: int = 0
) -> Mapping[str, Interval]:
    """Return bootstrap intervals of the scores over subjects.

    Whole subjects are drawn with replacement, since the clips of one person are not independent.

    Args:
        counts_of_subjects: A confusion matrix for each subject.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        95 % intervals of ``uf1``, ``uar`` and ``accuracy``.
    """
    counts = np.stack(counts_of_subjects)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=draws)
    drawn = np.einsum("ds,sij->dij", times, counts)  # d draws, s subjects, i truth, j prediction
    total = drawn.sum((1, 2))
    values = {
        "uf1": _f1(drawn).mean(-1),
        "uar": _recall(drawn).mean(-1),
        "accuracy": np.trace(drawn, axis1=1, axis2=2) / np.maximum(total, 1),
    }
    return {
        name: Interval(*(float(q) for q in np.percentile(each, (2.5, 97.5))))
        for name, each in values.items()
    }


def chance(clips: Sequence[int], *, draws: int = 2000, seed: int = 0) -> Scores:
    """Return the mean scores of uniformly random predictions.

    Args:
        clips: Number of annotated clips of each class.
        draws: Number of random predictions that are averaged.
        seed: Seed of the predictions.
    """
    rng = np.random.default_rng(seed)
    size = len(clips)
    counts = np.stack(
        [rng.multinomial(count, np.full(size, 1 / size), size=draws) for count in clips], axis=1
    )
    f1, recall = _f1(counts), _recall(counts)
    total = np.asarray(clips, np.float64)
    return Scores(
        uf1=float(f1.mean()),
        uar=float(recall.mean()),
        accuracy=float(np.trace(counts, axis1=1, axis2=2).mean() / total.sum()),
        weighted_f1=float((f1 @ total).mean() / total.sum()),
        f1=tuple(f1.mean(0).tolist()),
        recall=tuple(recall.mean(0).tolist()),
        clips=tuple(int(count) for count in clips),
        absent=tuple(index for index, count in enumerate(clips) if not count),
    )
