"""The Action Unit space of miex: 17 AUs, FACS intensities 0 to 5."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

AU_NUMBERS: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
"""FACS numbers of the 17 AUs, in the order of OpenFace's intensity columns (and of GANimation)."""

AU_NAMES: tuple[str, ...] = tuple(f"AU{number:02d}" for number in AU_NUMBERS)

AU_COUNT = len(AU_NUMBERS)

MAX_INTENSITY = 5.0
"""FACS intensity E, the maximum; 0 is absent. Not measured is NaN, never 0."""

AUArray: TypeAlias = NDArray[np.float32]
"""AU intensities, ``(..., 17)``, 0 to 5."""
