"""Images of more than 8 bits in every container: the brightness that the camera meant."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from miex.datasets.images import BACKDROP, bit_depth, read_frame

GREY = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
RGB = np.stack([GREY, GREY[:, ::-1], np.full_like(GREY, 100)], -1)


def chunk(kind, content):
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png16(path, values, extra=b""):
    """Write 16-bit grey as PNG with additional chunks."""
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def tiff(path, content, bits, photometric, orientation=1, channels=1):
    """Write uncompressed pixels of 64 x 48 as a little-endian TIFF."""
    tags = {256: 64, 257: 48, 258: bits, 259: 1, 262: photometric, 273: 0, 274: orientation}
    tags |= {277: channels, 278: 48, 279: len(content)}
    behind = 8 + 2 + 12 * len(tags) + 4
    out = b"II" + struct.pack("<HIH", 42, 8, len(tags))
    for tag, value in sorted(tags.items()):
        value = behind + 8 if tag == 273 else value
        if tag == 258 and channels == 3:
            out += struct.pack("<HHII", tag, 3, 3, behind)
        else:
            out += struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value)
    path.write_bytes(out + struct.pack("<IHHHH", 0, bits, bits, bits, 0) + content)
    return path


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "ppm"])
def test_low_bits_of_a_16_bit_file_fill_the_range(tmp_path, bits, suffix):
    colour = np.stack([RGB[..., i].astype(np.uint16) << (bits - 8) for i in (2, 1, 0)], -1)
    path = tmp_path / f"a.{suffix}"
    if suffix == "ppm":
        path.write_bytes(
            b"P6\n# a camera\n64 48\n65535\n" + colour[..., ::-1].astype(">u2").tobytes()
        )
    else:
        cv2.imwrite(str(path), colour)
    assert np.abs(read_frame(path).astype(int) - RGB).max() <= 1
    assert bit_depth([path]) == bits


@pytest.mark.parametrize("bits", [9, 10, 12])
def test_pgm_states_its_largest_value(tmp_path, bits):
    path = tmp_path / "a.pgm"
    values = (GREY.astype(np.uint16) << (bits - 8)) // 4
    path.write_bytes(b"P5\n64 48\n%d\n" % ((1 << bits) - 1) + values.astype(">u2").tobytes())
    assert np.abs(read_frame(path)[..., 0].astype(int) - GREY // 4).max() <= 1


def test_packed_bits_of_a_tiff_are_its_depth(tmp_path):
    dark = (GREY.astype(np.uint16) << 4) // 8
    first, second = dark.ravel()[0::2], dark.ravel()[1::2]
    packed = np.stack([first >> 4, ((first & 15) << 4) | (second >> 8), second & 255], -1)
    path = tiff(tmp_path / "a.tif", packed.astype(np.uint8).tobytes(), 12, 1)
    assert bit_depth([path]) == 12
    assert np.array_equal(read_frame(path)[..., 0], dark >> 4)


def test_a_tiff_whose_zero_is_white(tmp_path):
    inverted = (65535 - GREY.astype(np.uint16) * 257).astype("<u2").tobytes()
    assert np.array_equal(read_frame(tiff(tmp_path / "a.tif", inverted, 16, 0))[..., 0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (8, 3), (16, 1), (16, 3)])
def test_a_tiff_is_turned_once(tmp_path, orientation, bits, channels):
    pixels = RGB if channels == 3 else GREY
    content = (pixels.astype("<u2") * 257 if bits == 16 else pixels).tobytes()
    path = tiff(tmp_path / "a.tif", content, bits, 2 if channels == 3 else 1, orientation, channels)
    upright = {
        1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud,
        5: lambda x: np.rot90(np.fliplr(x)), 6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(np.fliplr(x), -1), 8: np.rot90,
    }[orientation](np.broadcast_to(pixels.reshape(48, 64, channels), (48, 64, 3)))  # fmt: skip
    assert np.array_equal(read_frame(path), upright)


def test_a_16_bit_png_is_turned(tmp_path):
    orientation = Image.Exif()
    orientation[0x0112] = 6
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "a.png", exif=orientation)
    assert np.array_equal(read_frame(tmp_path / "a.png")[..., 0], np.rot90(GREY, -1))


@pytest.mark.parametrize("shift", [2, 8])
def test_significant_bits_may_be_the_low_or_the_high_ones(tmp_path, shift):
    path = png16(tmp_path / "a.png", GREY.astype(np.uint16) << shift, chunk(b"sBIT", b"\x0a"))
    assert np.abs(read_frame(path)[..., 0].astype(int) - GREY).max() <= 1


def test_a_transparent_grey_value(tmp_path):
    path = png16(tmp_path / "a.png", GREY.astype(np.uint16) * 257, chunk(b"tRNS", b"\0\0"))
    wanted = np.where(GREY == 0, BACKDROP, GREY)
    assert np.array_equal(read_frame(path)[..., 0], wanted)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)), "F pixels"),
        (Image.fromarray(np.full((48, 64), 70_000, np.int32)), "I pixels from 70000"),
    ],
)
def test_pixels_without_a_known_range_are_refused(tmp_path, image, message):
    image.save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"{message}.*expected 16-bit grey"):
        read_frame(tmp_path / "a.tif")
