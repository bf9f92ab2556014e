"""Clips that are published as optical flow: one small flow image instead of frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miex.datasets.clips.frames import UnreadableFrame

SMALLEST, LARGEST = 16, 256
"""Smallest and largest side of a flow image, in pixels; the published ones have 28."""


@dataclass(frozen=True, slots=True)
class FlowImage:
    """Flow from onset to apex as an 8-bit RGB image: u (to the right), v (down) and strain.

    Each channel was stretched to 0-255 by its smallest and largest value, so that the unit and the
    zero of the motion are lost.

    Attributes:
        path: The file.
    """

    path: Path

    def read(self) -> NDArray[np.uint8]:
        """Decode the image.

        Returns:
            ``uint8 (S, S, 3)``: u, v and strain.

        Raises:
            UnreadableFrame: The file is missing, cannot be decoded, or is no square of three
                channels; the message names it.
        """
        try:
            with Image.open(self.path) as image:
                mode, size = image.mode, image.size
                pixels = np.asarray(image)
        except (OSError, ValueError, SyntaxError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnreadableFrame(f"{self.path}: cannot be decoded ({reason})") from None
        if mode != "RGB" or size[0] != size[1] or not SMALLEST <= size[0] <= LARGEST:
            raise UnreadableFrame(
                f"{self.path}: {mode} {size[0]} x {size[1]}, expected an RGB square of"
                f" {SMALLEST} to {LARGEST} pixels: u, v and strain"
            )
        return pixels
