"""Scores of predictions, each under its own name.

The primary ones are those of MEGC 2019: counts are summed over all folds first, then every class
gets its F1 and its recall, and classes count alike (UF1, UAR). The mean of the scores of folds is
another number (52 of the challenge's 68 subjects lack a class), and is never called UF1 here.

A class without a single clip counts with F1 0 and recall 0, as in scikit-learn with
``zero_division=0``: it is neither skipped, which would flatter a method on an easy subset, nor
scored 1. Which classes that were is part of the scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]
"""Confusion matrix ``(C, C)``: rows are annotated classes, columns predicted ones."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a confusion matrix says.

    Attributes:
        uf1: Unweighted F1, the mean over classes (See et al., MEGC 2019), 0-1.
        uar: Unweighted average recall, 0-1.
        accuracy: Share of the clips that are right, 0-1; equal to the micro F1.
        weighted_f1: F1 of the classes weighted by their clips, 0-1: hides weak small classes.
        f1: F1 of each class.
        recall: Recall of each class.
        clips: Annotated clips of each class.
        absent: Classes without a clip; they count with 0.
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
    """A bootstrap interval.

    Attributes:
        low: 2.5th percentile.
        high: 97.5th percentile.
    """

    low: float
    high: float


def confusion(labels: ArrayLike, predictions: ArrayLike, classes: int) -> Counts:
    """Counts annotated against predicted classes.

    Args:
        labels: ``(N,)``, 0 to classes - 1.
        predictions: ``(N,)``, of the same clips in the same order.
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
    """Scores of a confusion matrix.

    F1 = 2 TP / (2 TP + FP + FN), recall = TP / (TP + FN), both 0 where the denominator is 0
    (See et al. 2019, section 4).

    Raises:
        ValueError: It holds no clip.
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
    """F1 of each class, ``(..., C)``."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    whole = counts.sum(-1) + counts.sum(-2)
    result = np.zeros(right.shape)
    np.divide(2 * right, whole, out=result, where=whole > 0)
    return result


def _recall(counts: Counts) -> NDArray[np.float64]:
    """Recall of each class, ``(..., C)``."""
    right, clips = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1)
    result = np.zeros(right.shape)
    np.divide(right, clips, out=result, where=clips > 0)
    return result


def bootstrap(
    counts_of_subjects: Sequence[Counts], *, draws: int = 2000, seed: int = 0
) -> Mapping[str, Interval]:
    """How far the scores depend on who happened to be recorded.

    Subjects are drawn with replacement, whole: the clips of one person are not independent.

    Args:
        counts_of_subjects: A confusion matrix for each subject.
        draws: How often the subjects are drawn.
        seed: Of the draws.

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
    """Scores of guessing every class alike often, the mean over many draws.

    Args:
        clips: Annotated clips of each class.
        draws: How many guesses are averaged.
        seed: Of the guesses.
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
