"""Decode images of any origin: photographs and frames of clips.

For any content of a file, `open_photograph` and `read_frame` return upright 8-bit RGB or raise
`UnusablePhotograph` with a short reason. The size is read from the header before decoding. EXIF
orientation is applied, CMYK is converted by the embedded colour profile, transparent pixels become
mid grey, and images of 9 to 16 bits are scaled by their bit depth, never clipped.
"""

import hashlib
import io
import struct
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from miex.datasets.deep_images import (
    BACKDROP,
    BitDepth,
    brightest_value,
    common_depth,
    deep_values,
    depth_of,
    read_bit_depth,
    to_8_bits,
)
from miex.datasets.paths import SpecialFile, open_regular

Image.init()
IMAGE_FORMATS = tuple(
    name
    for name in ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
    if name in Image.OPEN
)
"""Formats of photographs and frames, by Pillow's names. Other formats that Pillow opens are no
photographs, and one of them (EPS) runs another program."""

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".ppm"}
    | {".tif", ".tiff", ".webp"}
)
"""Suffixes, lower case, of the files that readers take for images."""

_EXPECTED_IMAGES = (
    f"{', '.join(IMAGE_FORMATS)} (HEIC and HEIF of telephones cannot be decoded: convert them to "
    "JPEG or PNG)"
)
"""List of the supported formats for messages."""

_HEIC_SUFFIXES = (".heic", ".heif", ".hif")


def not_by_name(name: str) -> str:
    """Return why a file is not taken for an image by its name, for messages."""
    suffix = PurePath(name).suffix.lower()
    if name.startswith("."):
        return "hidden: its name begins with a dot"
    if suffix in _HEIC_SUFFIXES:
        return f"{suffix} (HEIC) cannot be decoded: convert it to JPEG or PNG"
    return f"its name ends in none of {' '.join(sorted(IMAGE_SUFFIXES))}"


MIN_SIDE = 32
"""Smallest side of an image, in pixels."""

MAX_MEGAPIXELS = 170.0
"""Upper limit of Pillow (twice its `MAX_IMAGE_PIXELS`)."""

_ORIENTATION = 0x0112
_TRANSPOSED = (5, 6, 7, 8)
_HEIC_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1")


class UnusablePhotograph(ValueError):
    """A file that cannot be used as a photograph or frame.

    Attributes:
        reason: ``missing``, ``not_an_image``, ``unreadable``, ``too_small`` or ``too_large``.
        detail: Description of the error.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class OpenedPhotograph:
    """Decoded photograph.

    Attributes:
        pixels: ``uint8 (H, W, 3)`` RGB, upright.
        scale: Size of `pixels` relative to the file; below 1 if the image was downscaled.
        sha256: Hash of the file, hexadecimal.
    """

    pixels: NDArray[np.uint8]
    scale: float
    sha256: str


@dataclass(frozen=True, slots=True)
class _Limits:
    """Accepted side and area of an image, and its bit depth if known."""

    max_megapixels: float
    max_side: int
    min_side: int
    depth: int | None = None


def open_photograph(path: Path, max_megapixels: float, max_side: int) -> OpenedPhotograph:
    """Decode a photograph to upright 8-bit RGB.

    Args:
        path: The file.
        max_megapixels: Larger images are refused before decoding; at most `MAX_MEGAPIXELS`.
        max_side: Larger images are downscaled to this long side, in pixels.

    Raises:
        UnusablePhotograph: The file is missing, no image, damaged, smaller than `MIN_SIDE`, or too
            large.
    """
    pixels, scale, digest = _open(path, _Limits(max_megapixels, max_side, MIN_SIDE), hashed=True)
    return OpenedPhotograph(pixels, scale, digest)


def read_frame(path: Path, depth: int | None = None) -> NDArray[np.uint8]:
    """Decode a frame of a clip to upright 8-bit RGB at its own size.

    Args:
        path: The file.
        depth: Bit depth of images of more than 8 bits, the same for all frames of a clip (see
            `bit_depth`), so that their brightness agrees; by default that of the frame itself.

    Returns:
        ``uint8 (H, W, 3)`` RGB.

    Raises:
        UnusablePhotograph: The file is missing, no image, damaged, too large, or has values above
            `depth` bits.
    """
    return _open(path, _Limits(MAX_MEGAPIXELS, 1 << 30, 1, depth), hashed=False)[0]


def bit_depth(paths: Iterable[Path]) -> int | None:
    """Return the common bit depth of the images of a clip: 8, 9, 10, 12, 14, 16 or what they state.

    It is the smallest depth that contains the brightest pixel: 10-bit frames in files of 16 bits
    reach at most 1023.

    Args:
        paths: Frames of one clip. Reading stops at the first frame of 8 bits.

    Returns:
        None if the first readable frame has 8 bits per channel.
    """
    brightest: list[int] = []
    for path in paths:
        try:
            with open_regular(path) as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image: Image.Image = Image.open(file, formats=IMAGE_FORMATS)
                deep = read_bit_depth(image, file)
                if deep is None:
                    break
                if deep.depth is not None:
                    return deep.depth
                brightest.append(brightest_value(deep_values(image, file), deep))
        except MemoryError:
            raise
        # A damaged frame raises any exception here; it is reported when it is decoded.
        except Exception:
            continue
    return common_depth(brightest)


def _open(path: Path, limits: _Limits, *, hashed: bool) -> tuple[NDArray[np.uint8], float, str]:
    try:
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if hashed else ""
            file.seek(0)
            return (*_decode(file, limits), digest)
    except UnusablePhotograph:
        raise
    except FileNotFoundError as error:
        raise UnusablePhotograph("missing", "the file does not exist") from error
    except SpecialFile as error:
        raise UnusablePhotograph("unreadable", str(error)) from error
    except UnidentifiedImageError as error:
        raise UnusablePhotograph("not_an_image", _unidentified(path)) from error
    except Image.DecompressionBombError as error:
        limit = f"more than {limits.max_megapixels:g} megapixels"
        raise UnusablePhotograph("too_large", limit) from error
    except MemoryError as error:
        raise UnusablePhotograph("too_large", "not enough memory to decode it") from error
    # Decoders raise many kinds of exceptions for a damaged file (SyntaxError, IndexError,
    # struct.error ...), and one damaged file must not end a run over a million files.
    except Exception as error:
        raise UnusablePhotograph("unreadable", f"{type(error).__name__}: {error}") from error


def _unidentified(path: Path) -> str:
    with open_regular(path) as file:
        begin = file.read(12)
    if not begin:
        return "the file is empty"
    if begin[4:8] == b"ftyp" and begin[8:12] in _HEIC_BRANDS:
        return f"a HEIC image; expected {_EXPECTED_IMAGES}"
    return f"none of {_EXPECTED_IMAGES}"


def _decode(file: io.BufferedReader, limits: _Limits) -> tuple[NDArray[np.uint8], float]:
    with warnings.catch_warnings():
        # Pillow warns of large images; the caller sets the limit here.
        warnings.simplefilter("ignore")
        image: Image.Image = Image.open(file, formats=IMAGE_FORMATS)
        width, height = image.size
        if width * height > limits.max_megapixels * 1e6:
            raise UnusablePhotograph(
                "too_large",
                f"{width} x {height} pixels, limit {limits.max_megapixels:g} megapixels",
            )
        if min(width, height) < limits.min_side:
            raise UnusablePhotograph(
                "too_small", f"{width} x {height} pixels, at least {limits.min_side} are needed"
            )
        orientation = _orientation(image)
        deep = read_bit_depth(image, file)
        if deep is not None:
            image = _shrink(_from_deep(image, file, deep, limits.depth), limits.max_side)
            image = image.convert("RGB")
        else:
            # A JPEG is decoded at half, quarter or eighth size if that is large enough.
            image.draft(None, (limits.max_side, limits.max_side))
            image.load()
            image = _to_rgb(image, limits.max_side)
        if orientation != 1:
            image = _upright(image, orientation)
    long_side = image.height if (height > width) != (orientation in _TRANSPOSED) else image.width
    return np.asarray(image, dtype=np.uint8), long_side / max(width, height)


def _from_deep(
    image: Image.Image, file: io.BufferedReader, deep: BitDepth, common: int | None
) -> Image.Image:
    try:
        values = deep_values(image, file)
        depth = deep.depth or common or depth_of(brightest_value(values, deep))
        return to_8_bits(values, depth)
    except ValueError as error:
        raise UnusablePhotograph("unreadable", str(error)) from error


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        # Pillow and OpenCV turn it when they decode it.
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, struct.error, OSError):
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    # The conversion to RGB may have dropped the tag, so that it is set on a copy.
    image.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image, max_side: int) -> Image.Image:
    """Downscale to `max_side` and convert to RGB, in the order that needs less memory."""
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
