"""Frames survive the encoding: losslessly as PNG and WebP, nearly so as JPEG."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from miex.datasets.encoding import ImageConfig, encode_frame

FORMATS = ("png", "webp", "jpeg")


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """Smooth like skin, with colours that differ in every channel, and not square."""
    y, x = np.mgrid[0:96, 0:128].astype(np.float32)
    channels = [128 + 60 * np.sin(x / 17), 90 + 50 * np.cos(y / 13), 60 + x / 2 + y / 4]
    noise = np.random.default_rng(0).normal(0, 1.5, (96, 128, 3))
    return np.clip(np.stack(channels, -1) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["png", "webp"])
@pytest.mark.parametrize("size", [(96, 128), (1, 1), (3, 5), (512, 512)])
def test_lossless_formats_keep_every_pixel(frame, name, size):
    image = cv2.resize(frame, size[::-1])
    decoded = Image.open(io.BytesIO(encode_frame(image, ImageConfig(format=name))))
    assert decoded.format == name.upper()
    assert decoded.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(decoded), image)


@pytest.mark.parametrize("name", ["png", "webp"])
def test_lossless_formats_keep_noise_and_flat_colour(name):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for image in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        decoded = Image.open(io.BytesIO(encode_frame(image, ImageConfig(format=name))))
        np.testing.assert_array_equal(np.asarray(decoded.convert("RGB")), image)


def test_jpeg_keeps_channel_order_and_full_colour_resolution(frame):
    encoded = encode_frame(frame, ImageConfig(format="jpeg", quality=98))
    decoded = Image.open(io.BytesIO(encoded))
    assert decoded.format == "JPEG"
    sampling = {(h, v) for _, h, v, _ in decoded.layer}
    assert sampling == {(1, 1)}
    assert np.abs(np.asarray(decoded, np.int16) - frame).mean() < 1.5


def test_quality_decides_the_size_of_jpeg_alone(frame):
    def size(name, quality):
        return len(encode_frame(frame, ImageConfig(format=name, quality=quality)))

    assert size("jpeg", 75) < size("jpeg", 90) < size("jpeg", 98)
    assert size("png", 75) == size("png", 98)
    assert size("webp", 75) == size("webp", 98)


@pytest.mark.parametrize("name", FORMATS)
def test_equal_frames_give_equal_bytes(frame, name):
    config = ImageConfig(format=name)
    view = np.concatenate([frame, frame], axis=1)[:, : frame.shape[1]]
    assert not view.flags.c_contiguous
    assert encode_frame(frame, config) == encode_frame(frame.copy(), config)
    assert encode_frame(frame, config) == encode_frame(view, config)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_frame_is_refused(bad):
    with pytest.raises(ValueError, match="expected a frame uint8"):
        encode_frame(bad, ImageConfig())
