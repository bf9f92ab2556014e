"""Noise and JPEG compression, which a camera and its recording add to a frame."""

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.pipeline.synthesis.config import SensorConfig


def recorded(
    image: NDArray[np.uint8], config: SensorConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Add noise and JPEG compression to a frame.

    The noise of a pixel is equal in the three channels, since video compression removes most of the
    colour noise.

    Args:
        image: ``uint8 (S, S, 3)`` RGB.
        config: Noise and JPEG quality.
        rng: Random generator of the noise.

    Returns:
        ``uint8 (S, S, 3)`` RGB.
    """
    if config.noise:
        noise = rng.normal(0, config.noise, (*image.shape[:2], 1))
        image = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    if config.jpeg is not None:
        parameters = (cv2.IMWRITE_JPEG_QUALITY, config.jpeg)
        encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1]
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        assert decoded is not None
        image = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    return image
