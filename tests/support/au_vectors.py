"""AU vectors for tests."""

import numpy as np

from miex.au_sources.action_units import AU_NAMES


def aus(**intensities: float) -> np.ndarray:
    """One vector ``(1, 17)`` with the given intensities, `AU12=2.0`, and 0 elsewhere."""
    vector = np.zeros((1, 17), np.float32)
    for name, value in intensities.items():
        vector[0, AU_NAMES.index(name)] = value
    return vector
