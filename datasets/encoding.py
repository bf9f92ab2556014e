"""Encode frames for the shards; docs/image_formats.md has the measurements of the settings."""

import io
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from miex.datasets.config import FrozenConfig
from miex.datasets.flags import Flag

# Run-length encoding after the Paeth filter: smaller than level 9 of zlib, ten times as fast.
_PNG = (
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_PAETH,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
)
# Method 1 takes 3.5 times as long as method 0 for 17 % less; OpenCV cannot choose the method.
_WEBP_METHOD = 0


class ImageConfig(FrozenConfig):
    """Encoding of frames; docs/image_formats.md has the measurements of the defaults."""

    format: Annotated[Literal["png", "webp", "jpeg"], Flag("image_format")] = Field(
        "webp", description="format of the frames; png and webp are lossless, jpeg is not"
    )
    quality: int = Field(95, ge=1, le=100, description="quality of jpeg; other formats ignore it")


def encode_frame(frame: NDArray[np.uint8], config: ImageConfig) -> bytes:
    """Encode one frame; equal frames give equal bytes.

    Args:
        frame: ``uint8 (H, W, 3)`` RGB.
        config: Format, and the quality for JPEG. PNG and WebP are lossless; JPEG keeps the full
            resolution of the colour channels (4:4:4).

    Returns:
        The bytes of an image file.

    Raises:
        ValueError: `frame` is no 8-bit RGB image.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(f"expected a frame uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
    if config.format == "webp":
        buffer = io.BytesIO()
        Image.fromarray(frame).save(
            buffer, "WEBP", lossless=True, quality=0, method=_WEBP_METHOD, exact=True
        )
        return buffer.getvalue()
    if config.format == "png":
        return _opencv(frame, ".png", _PNG)
    jpeg = (
        cv2.IMWRITE_JPEG_QUALITY,
        config.quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    return _opencv(frame, ".jpg", jpeg)


def _opencv(frame: NDArray[np.uint8], extension: str, parameters: tuple[int, ...]) -> bytes:
    encoded = cv2.imencode(extension, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), parameters)[1]
    return bytes(encoded)
