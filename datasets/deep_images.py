"""Images of 9 to 16 bits per channel: their bit depth, their pixels, and their scaling to 8 bits.

Files of 16 bits per pixel often hold fewer, in the low bits. The bit depth is what the file states,
otherwise the smallest depth of cameras that contains the brightest pixel of a clip.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BACKDROP = 128
"""Grey value of transparent pixels; white or black would form an edge around a cut-out face."""

_BIT_DEPTHS = (8, 9, 10, 12, 14, 16)
"""Bit depths of cameras. Files of 16 bits per pixel often use fewer, the low bits."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE = 258, 262, 281
"""Tags of TIFF."""

_WHITE_IS_ZERO = 0
_COMMENT = re.compile(rb"#[^\n]*\n")


@dataclass(frozen=True, slots=True)
class BitDepth:
    """Bit depth of an image of more than 8 bits per channel, as its header states it.

    Attributes:
        depth: Number of significant bits, None if the header does not state it.
        hint: Number of significant bits that some writers put in the low bits and others, as the
            standard of PNG asks, in the high bits; None if the header does not state it.
    """

    depth: int | None = None
    hint: int | None = None


def read_bit_depth(image: Image.Image, file: io.BufferedReader) -> BitDepth | None:
    """Return what the header says of an image of more than 8 bits per channel, None for others.

    Args:
        image: The opened image, not yet decoded.
        file: Its file; the position is kept.
    """
    grey = image.mode.startswith("I") or image.mode == "F"
    begin = _begin(file, 4096)
    match image.format:
        case "PNG":
            # Pillow reads 16-bit colour as its upper 8 bits, which are nearly empty in 10-bit
            # frames.
            return _png(begin) if grey or begin[24] == 16 else None
        case "TIFF":
            return _tiff(image) if grey or max(_bits(image)) > 8 else None
        case "JPEG2000":
            precision = _jpeg2000_precision(begin)
            return BitDepth(precision if precision < 16 else None) if precision > 8 else None
        case "PPM":
            return _ppm(begin, grey)
    return BitDepth() if grey else None


def _begin(file: io.BufferedReader, count: int) -> bytes:
    at = file.tell()
    file.seek(0)
    content = file.read(count)
    file.seek(at)
    return content


def _png(begin: bytes) -> BitDepth:
    _, mark, behind = begin.partition(b"sBIT")
    stated = behind[0] if mark and behind and 8 <= behind[0] < 16 else None
    return BitDepth(hint=stated)


def _bits(image: Image.Image) -> tuple[int, ...]:
    bits = _tag(image, _BITS_PER_SAMPLE)
    return bits if isinstance(bits, tuple) and bits else (bits if isinstance(bits, int) else 8,)


def _tag(image: Image.Image, number: int) -> object:
    return getattr(image, "tag_v2", {}).get(number)


def _tiff(image: Image.Image) -> BitDepth:
    stated = _tag(image, _MAX_SAMPLE_VALUE)
    value = stated[0] if isinstance(stated, tuple) and stated else stated
    if isinstance(value, int) and 255 < value <= 65535:
        return BitDepth(value.bit_length())
    packed = max(_bits(image))
    return BitDepth(packed if 8 < packed < 16 else None)


def _jpeg2000_precision(begin: bytes) -> int:
    """Return the bits per channel in the marker segment SIZ (ISO 15444-1, A.5.1)."""
    at = begin.find(b"\xff\x4f\xff\x51")
    return (begin[at + 42] & 0x7F) + 1 if 0 <= at < len(begin) - 42 else 8


def _ppm(begin: bytes, grey: bool) -> BitDepth | None:
    # Magic number, width, height, largest value.
    header = _COMMENT.sub(b" ", begin).split(maxsplit=4)
    if len(header) > 3 and header[3] == b"65535":
        return BitDepth()
    # Pillow scales to the largest value in the header: grey to 16 bits, colour to 8.
    return BitDepth(16) if grey else None


def brightest_value(values: NDArray[np.uint16], deep: BitDepth) -> int:
    """Return the brightest pixel, at least the largest value of the depth that a header hints at.

    Values beyond a hint say that the significant bits are the high ones, as in the standard.
    """
    brightest = int(values.max())
    if deep.hint is None:
        return brightest
    full = (1 << deep.hint) - 1
    return full if brightest <= full else 65535


def depth_of(brightest: int) -> int:
    """Return the smallest bit depth of cameras that contains a pixel."""
    return next((depth for depth in _BIT_DEPTHS if brightest < 1 << depth), 16)


def deep_values(image: Image.Image, file: io.BufferedReader) -> NDArray[np.uint16]:
    """Decode an image of more than 8 bits: ``uint16 (H, W)`` grey or ``(H, W, 3)`` RGB.

    Transparent pixels become `BACKDROP`.

    Raises:
        ValueError: The pixels are no whole numbers from 0 to 65535, or cannot be decoded.
    """
    if image.format != "JPEG2000" and (image.mode.startswith("I") or image.mode == "F"):
        return _grey(image)
    # OpenCV returns the rest of a truncated file without an error; Pillow raises one.
    image.load()
    file.seek(0)
    decoded = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError(f"{image.mode} pixels of 16 bits cannot be decoded")
    if decoded.ndim == 2:
        return np.asarray(decoded, np.uint16)
    colours = decoded[..., 2::-1] if decoded.shape[2] >= 3 else decoded[..., 0]
    if decoded.shape[2] == 4:
        alpha = decoded[..., 3:] / 65535
        colours = np.rint(colours * alpha + _backdrop(int(colours.max())) * (1 - alpha))
    return np.ascontiguousarray(colours, np.uint16)


def _backdrop(brightest: int) -> float:
    return BACKDROP / 255 * ((1 << depth_of(brightest)) - 1)


def _grey(image: Image.Image) -> NDArray[np.uint16]:
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(
            f"{image.mode} pixels from {pixels.min()} to {pixels.max()}, expected 16-bit grey"
        )
    values = pixels.astype(np.uint16)
    if image.format == "TIFF" and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        bits = max(_bits(image))
        return np.asarray(((1 << bits) - 1) - values, np.uint16)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = round(_backdrop(int(values.max())))
    return values


def to_8_bits(values: NDArray[np.uint16], depth: int) -> Image.Image:
    """Scale pixels to 8 bits: the largest value of `depth` bits becomes 255.

    Raises:
        ValueError: A pixel has more bits.
    """
    full, brightest = (1 << depth) - 1, int(values.max())
    if brightest > full:
        raise ValueError(f"a pixel of {brightest} among frames of {depth} bits (at most {full})")
    # Both ways restore an 8-bit value that was widened (times 257, or shifted) exactly.
    scaled = values // 257 if depth == 16 else values >> (depth - 8)
    return Image.fromarray(scaled.astype(np.uint8))


def common_depth(brightest: Iterable[int]) -> int | None:
    """Return the bit depth of a clip from the brightest pixel of each frame, None for none."""
    return max(map(depth_of, brightest), default=None)
