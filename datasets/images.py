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
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

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

MIN_SIDE = 32
"""Smallest side of an image, in pixels."""

MAX_MEGAPIXELS = 170.0
"""Upper limit of Pillow (twice its `MAX_IMAGE_PIXELS`)."""

BACKDROP = 128
"""Grey value of transparent pixels; white or black would form an edge around a cut-out face."""

_BIT_DEPTHS = (8, 9, 10, 12, 14, 16)
"""Bit depths of cameras. Files of 16 bits per pixel often use fewer, the low bits."""

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
    """Return the common bit depth of the images of a clip, one of `_BIT_DEPTHS`.

    It is the smallest depth that contains the brightest pixel: 10-bit frames in files of 16 bits
    reach at most 1023.

    Args:
        paths: Frames of one clip. Reading stops at the first frame of 8 bits.

    Returns:
        None if the first readable frame has 8 bits per channel.
    """
    brightest: int | None = None
    for path in paths:
        try:
            with open_regular(path) as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image: Image.Image = Image.open(file, formats=IMAGE_FORMATS)
                if not _is_deep(image, file):
                    return None if brightest is None else _depth_of(brightest)
                stated = _stated_depth(image, file)
                if stated is not None:
                    return stated
                brightest = max(brightest or 0, int(_deep_values(image, file).max()))
        # A damaged frame raises any exception here; it is reported when it is decoded.
        except Exception:
            continue
    return None if brightest is None else _depth_of(brightest)


def _depth_of(brightest: int) -> int:
    return next((depth for depth in _BIT_DEPTHS if brightest < 1 << depth), 16)


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
        if _is_deep(image, file):
            depth = _stated_depth(image, file) or limits.depth
            image = _shrink(_from_deep(_deep_values(image, file), depth), limits.max_side)
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


def _orientation(image: Image.Image) -> int:
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


def _is_deep(image: Image.Image, file: io.BufferedReader) -> bool:
    """Return whether a channel has more than 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    # Pillow reads 16-bit colour as its upper 8 bits, which are nearly empty in 10-bit frames.
    if image.format == "PNG":
        return _begin(file, 32)[24] == 16
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, ()) if image.format == "TIFF" else ()
    return max(bits if isinstance(bits, tuple) else (bits,), default=8) > 8


def _begin(file: io.BufferedReader, count: int) -> bytes:
    """Return the first bytes of a file that is being read."""
    at = file.tell()
    file.seek(0)
    content = file.read(count)
    file.seek(at)
    return content


def _stated_depth(image: Image.Image, file: io.BufferedReader) -> int | None:
    """Return the number of significant bits that the file states; None if it states none.

    TIFF has MaxSampleValue, PNG the sBIT chunk; Pillow scales PPM and JPEG 2000 to 16 bits.
    """
    if image.format in ("PPM", "JPEG2000"):
        return 16
    if image.format == "TIFF":
        stated = getattr(image, "tag_v2", {}).get(281)
        value = stated[0] if isinstance(stated, tuple) and stated else stated
        return value.bit_length() if isinstance(value, int) and 255 < value <= 65535 else None
    if image.format == "PNG":
        _, mark, behind = _begin(file, 4096).partition(b"sBIT")
        return behind[0] if mark and behind and 8 <= behind[0] <= 16 else None
    return None


def _deep_values(image: Image.Image, file: io.BufferedReader) -> NDArray[np.uint16]:
    """Decode an image of more than 8 bits: ``uint16 (H, W)`` grey or ``(H, W, 3)`` RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise UnusablePhotograph(
                "unreadable",
                f"{image.mode} pixels from {values.min()} to {values.max()}, expected 16-bit grey",
            )
        return values.astype(np.uint16)
    # OpenCV returns the rest of a truncated file without an error; Pillow raises one.
    image.load()
    file.seek(0)
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(file.read(), np.uint8), flags)
    if decoded is None or decoded.dtype != np.uint16:
        raise UnusablePhotograph("unreadable", f"{image.mode} pixels of 16 bits cannot be decoded")
    if decoded.ndim == 2:
        return np.asarray(decoded, np.uint16)
    colours = decoded[..., 2::-1] if decoded.shape[2] >= 3 else decoded[..., 0]
    if decoded.shape[2] == 4:
        alpha = decoded[..., 3:].astype(np.float64) / 65535
        backdrop = BACKDROP / 255 * float((1 << _depth_of(int(colours.max()))) - 1)
        colours = np.rint(colours * alpha + backdrop * (1 - alpha))
    return np.ascontiguousarray(colours, np.uint16)


def _from_deep(values: NDArray[np.uint16], depth: int | None) -> Image.Image:
    """Scale pixels to 8 bits: the largest value of `depth` bits becomes 255."""
    brightest = int(values.max())
    depth = _depth_of(brightest) if depth is None else depth
    full = (1 << depth) - 1
    if brightest > full:
        raise UnusablePhotograph(
            "unreadable", f"a pixel of {brightest} among frames of {depth} bits (at most {full})"
        )
    # Both ways restore an 8-bit value that was widened (times 257, or shifted) exactly.
    scaled = values // 257 if depth == 16 else values >> (depth - 8)
    return Image.fromarray(scaled.astype(np.uint8))


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
