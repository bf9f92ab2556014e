"""Opens photographs from anywhere without trusting them.

Whatever a file holds, `open_photograph` returns upright 8-bit RGB or raises `UnusablePhotograph`
with a reason to count by. The size is read from the header before a pixel is decoded.
"""

import hashlib
import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from miex.datasets.faces.base import IMAGE_FORMATS

MIN_SIDE = 32
"""Pixels; no face that could be used fits into less."""

MAX_MEGAPIXELS = 170.0
"""Above this Pillow itself refuses (twice its `MAX_IMAGE_PIXELS`)."""

BACKDROP = 128
"""Grey behind transparent pixels: neither a white halo nor a black one around a cut-out face."""

_ORIENTATION = 0x0112
_TRANSPOSED = (5, 6, 7, 8)


class UnusablePhotograph(ValueError):
    """A file that cannot serve as a photograph.

    Attributes:
        reason: ``missing``, ``not_an_image``, ``unreadable``, ``too_small`` or ``too_large``.
        detail: What is wrong with it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class OpenedPhotograph:
    """A decoded photograph.

    Attributes:
        pixels: ``uint8 (H, W, 3)`` RGB, upright.
        scale: Pixels of `pixels` for one pixel of the file; below 1 where it was shrunk.
        sha256: Hash of the file, hexadecimal.
    """

    pixels: NDArray[np.uint8]
    scale: float
    sha256: str


def open_photograph(path: Path, max_megapixels: float, max_side: int) -> OpenedPhotograph:
    """Decodes a photograph to upright 8-bit RGB.

    The EXIF orientation is applied. CMYK goes through the embedded colour profile where there is
    one, 16-bit grey is scaled to 8 bits, transparency is laid on mid grey (`BACKDROP`).

    Args:
        path: The file.
        max_megapixels: Larger images are refused before decoding, at most `MAX_MEGAPIXELS`.
        max_side: Larger images are shrunk to this long side, pixels.

    Raises:
        UnusablePhotograph: Missing, no image, damaged, smaller than `MIN_SIDE`, or too large.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            pixels, scale = _decode(file, max_megapixels, max_side)
    except UnusablePhotograph:
        raise
    except FileNotFoundError as error:
        raise UnusablePhotograph("missing", "the file is not there") from error
    except UnidentifiedImageError as error:
        expected = ", ".join(IMAGE_FORMATS)
        raise UnusablePhotograph("not_an_image", f"none of {expected}") from error
    except Image.DecompressionBombError as error:
        raise UnusablePhotograph("too_large", f"more than {max_megapixels:g} megapixels") from error
    # Decoders raise nearly every built-in exception on a damaged file (SyntaxError, IndexError,
    # struct.error ...), and one damaged file must not end a run over a million.
    except Exception as error:
        raise UnusablePhotograph("unreadable", f"{type(error).__name__}: {error}") from error
    return OpenedPhotograph(pixels, scale, digest)


def _decode(
    file: io.BufferedReader, max_megapixels: float, max_side: int
) -> tuple[NDArray[np.uint8], float]:
    with warnings.catch_warnings():
        # Pillow warns of large images; here the limit is the caller's.
        warnings.simplefilter("ignore")
        image: Image.Image = Image.open(file, formats=IMAGE_FORMATS)
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            raise UnusablePhotograph(
                "too_large", f"{width} x {height} pixels, limit {max_megapixels:g} megapixels"
            )
        if min(width, height) < MIN_SIDE:
            raise UnusablePhotograph(
                "too_small", f"{width} x {height} pixels, at least {MIN_SIDE} are needed"
            )
        # A JPEG is decoded at half, quarter or eighth size where that still suffices.
        image.draft(None, (max_side, max_side))
        image.load()
        orientation = _orientation(image)
        image = _to_rgb(image, max_side)
        if orientation != 1:
            image = _upright(image, orientation)
    long_side = image.height if (height > width) != (orientation in _TRANSPOSED) else image.width
    return np.asarray(image, dtype=np.uint8), long_side / max(width, height)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, struct.error, OSError):
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    # The conversion to RGB may have dropped the tag, so it is set on a bare copy.
    image.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image, max_side: int) -> Image.Image:
    """Shrinks to `max_side` and converts to RGB, in the order that needs the least memory."""
    if image.mode.startswith("I") or image.mode == "F":
        return _shrink(_grey_from_deep(image), max_side).convert("RGB")
    if image.mode == "CMYK":
        return _rgb_from_cmyk(_shrink(image, max_side))
    if image.has_transparency_data:
        image = _shrink(image.convert("RGBA"), max_side)
        backdrop = Image.new("RGBA", image.size, (BACKDROP, BACKDROP, BACKDROP, 255))
        return Image.alpha_composite(backdrop, image).convert("RGB")
    if image.mode in ("RGB", "L"):
        return _shrink(image, max_side).convert("RGB")
    return _shrink(image.convert("RGB"), max_side)


def _shrink(image: Image.Image, max_side: int) -> Image.Image:
    factor = max_side / max(image.size)
    if factor >= 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _grey_from_deep(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits: 65535 becomes 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UnusablePhotograph(
            "unreadable",
            f"{image.mode} pixels from {values.min()} to {values.max()}, expected 16-bit grey",
        )
    return Image.fromarray((values // 257).astype(np.uint8))


def _rgb_from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
