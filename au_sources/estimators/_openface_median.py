"""Compute the median of features over a video of any length in constant memory."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class HistogramMedian:
    """Median of each feature from a histogram of its values, as OpenFace keeps it.

    Args:
        features: How many.
        low: Lower edge of the first bin.
        high: Upper edge of the last bin; values beyond the edges count in the outermost bins.
        bins: How many; the median is exact to half a bin.
    """

    def __init__(self, features: int, low: float, high: float, bins: int) -> None:
        self._low = low
        self._width = (high - low) / bins
        self._counts = np.zeros((features, bins), np.int32)

    def add(self, values: NDArray[np.floating]) -> None:
        """Count values ``(N, features)``."""
        bins = self._counts.shape[1]
        found = np.clip((values - self._low) / self._width, 0, bins - 1).astype(np.intp)
        rows = np.arange(len(self._counts))
        # A frame at a time, because an index that occurs twice would count once.
        for frame in found:
            self._counts[rows, frame] += 1

    def median(self) -> Array:
        """Return ``(features,)``: the centre of the bin of the lower median; NaN without values."""
        total = int(self._counts[0].sum())
        if not total:
            return np.full(len(self._counts), np.nan)
        reached = self._counts.cumsum(axis=1) >= (total + 1) // 2
        middles: Array = self._low + (reached.argmax(axis=1) + 0.5) * self._width
        return middles
