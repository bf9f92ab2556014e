"""Motion between two frames as one number, from the displacements of their pixels."""

import numpy as np
from numpy.typing import NDArray

FAST_SHARE = 0.05
"""Share of the pixels, the fastest ones, over which the motion is averaged. An AU moves a small
part of the face only, so that a mean over all pixels would not detect it."""


def mean_of_fastest(lengths: NDArray[np.float32]) -> float:
    """Return the mean of the largest `FAST_SHARE` of the lengths ``(S, S)``, at least one."""
    count = max(1, int(lengths.size * FAST_SHARE))
    # Most pixels stand still, and a partition of equal values is slow.
    moving = lengths[lengths > 0]
    if moving.size > count:
        moving = np.partition(moving, -count)[-count:]
    fastest = np.zeros(count, np.float32)
    # Sorted, since the order in which a partition leaves them depends on the processor.
    fastest[count - moving.size :] = np.sort(moving)
    return float(fastest.mean(dtype=np.float64))


def visible_motion(
    source: NDArray[np.float32], frame: NDArray[np.uint8], photograph: NDArray[np.uint8]
) -> float:
    """Return the `mean_of_fastest` of the displacements of the pixels that change.

    Args:
        source: ``(S, S, 2)``, x and y of the position in the photograph that each pixel shows.
        frame: ``(3, S, S)``.
        photograph: ``(3, S, S)``.
    """
    side = source.shape[0]
    line = np.arange(side, dtype=np.float32)
    dx, dy = source[..., 0] - line, source[..., 1] - line[:, None]
    lengths = np.sqrt(dx * dx + dy * dy)
    return mean_of_fastest(np.where((frame != photograph).any(axis=0), lengths, np.float32(0)))
