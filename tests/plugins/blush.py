"""A generator that shows AUs as redness: for tests, it moves nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AUArray, require_aus
from miex.datasets.base import Face
from miex.datasets.registry import Facts
from miex.generators.base import Condition, FaceGenerator, GeneratorConfig, register_generator

Pixels = NDArray[np.uint8]


class Blush:
    """Reddens the face by ten grey levels for each unit of the summed AUs."""

    name = "blush"
    sha256: str | None = None
    max_intensity = 5.0
    condition: Condition = "change"

    def prepare(self, face: Face) -> Pixels:
        """See `FaceGenerator.prepare`."""
        if face.crop.shape[0] % 4:
            raise ValueError(f"{face.origin}: side {face.crop.shape[0]}, expected a multiple of 4")
        return face.crop

    def render(self, states: Sequence[Pixels], aus: AUArray) -> Pixels:
        """See `FaceGenerator.render`."""
        values = require_aus(aus, "aus")
        if values.shape[:-1] != (len(states),):
            raise ValueError(f"aus have shape {values.shape}, expected ({len(states)}, 17)")
        frames = np.stack(states).astype(np.float32)
        frames[..., 0] += 10 * values.sum(-1)[:, None, None]
        return np.clip(frames.round(), 0, 255).astype(np.uint8)


@register_generator("blush", Facts("shows AUs as redness: an example"))
def create_blush(config: GeneratorConfig) -> FaceGenerator[Pixels]:
    """Create the generator; it has no weights."""
    if config.checkpoint is not None:
        raise ValueError(f"generator 'blush' has no weights; leave out {config.checkpoint}")
    return Blush()
