"""An estimator that takes the brightness of an image for the intensity of AU12."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS
from miex.au_sources.estimators.base import (
    AUEstimator,
    Estimates,
    EstimatorOptions,
    Frame,
    Scale,
    register_estimator,
    require_images,
)
from miex.datasets.registry import Facts


class Brightness:
    """Measures AU12 alone; a black image has no face."""

    name = "brightness"
    version = "1"
    aus = (12,)
    scale: Scale = "uncalibrated"
    needs_landmarks = False

    def estimate(self, images: Sequence[Frame], landmarks: ArrayLike | None = None) -> Estimates:
        """See `AUEstimator.estimate`."""
        means = np.array([image.mean() for image in require_images(images)], np.float32)
        aus = np.full((len(means), AU_COUNT), np.nan, np.float32)
        aus[:, AU_NUMBERS.index(12)] = np.where(means > 0, means / 51, np.nan)
        return Estimates(aus, means > 0)


@register_estimator("brightness", Facts("the brightness of the image; uncalibrated, 1 AU"))
def create_brightness(options: EstimatorOptions) -> AUEstimator:
    """Create the estimator; it takes no model."""
    if options.model is not None:
        raise ValueError(f"brightness:{options.model}: this estimator takes no model")
    return Brightness()
