import io
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageCms

from miex.datasets.images import BACKDROP, UnusablePhotograph, open_photograph


def opened(path, max_megapixels=50.0, max_side=2048):
    return open_photograph(path, max_megapixels, max_side)


def reason(path, **limits) -> str:
    with pytest.raises(UnusablePhotograph) as caught:
        opened(path, **limits)
    assert caught.value.detail
    return caught.value.reason


@pytest.fixture
def gradient() -> np.ndarray:
    """Left dark, right bright; red on top, blue below."""
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30, :, 0] = np.linspace(0, 255, 80)
    image[30:, :, 2] = np.linspace(0, 255, 80)
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm"])
def test_lossless_formats_come_back_as_they_were(tmp_path, gradient, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(gradient).save(path, **options)
    result = opened(path)
    np.testing.assert_array_equal(result.pixels, gradient)
    assert result.scale == 1.0
    assert len(result.sha256) == 64


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, gradient, orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(gradient)
    if orientation in undo:
        image = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    result = opened(tmp_path / "a.png", max_side=40)
    assert result.pixels.shape == (30, 40, 3)
    assert result.scale == pytest.approx(0.5)
    np.testing.assert_array_equal(opened(tmp_path / "a.png").pixels, gradient)


def test_a_nonsense_orientation_is_ignored(tmp_path, gradient):
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(gradient).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(opened(tmp_path / "a.png").pixels, gradient)


def test_alpha_is_laid_on_grey(tmp_path):
    image = np.full((40, 40, 4), 255, np.uint8)
    image[:, 20:, 3] = 0
    Image.fromarray(image).save(tmp_path / "a.png")
    pixels = opened(tmp_path / "a.png").pixels
    assert (pixels[:, :20] == 255).all()
    assert (pixels[:, 20:] == BACKDROP).all()


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.paste(0, (0, 0, 10, 40))
    image.save(tmp_path / "a.png", transparency=0)
    pixels = opened(tmp_path / "a.png").pixels
    assert pixels[5, 5].tolist() == [BACKDROP] * 3
    assert pixels[5, 20].tolist() == [200, 10, 20]


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(64, axis=0)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = opened(tmp_path / "a.png").pixels
    assert pixels.shape == (64, 64, 3)
    np.testing.assert_allclose(pixels[0, :, 0], values[0] / 257, atol=1)


def test_grey_becomes_rgb(tmp_path):
    Image.new("L", (40, 40), 77).save(tmp_path / "a.jpg")
    assert (opened(tmp_path / "a.jpg").pixels == 77).all()


def test_one_bit_image(tmp_path):
    Image.new("1", (40, 40), 1).save(tmp_path / "a.png")
    assert (opened(tmp_path / "a.png").pixels == 255).all()


def test_cmyk_jpeg_is_not_inverted(tmp_path):
    red = Image.new("RGB", (40, 40), (220, 30, 30))
    red.convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    colour = opened(tmp_path / "a.jpg").pixels[20, 20]
    np.testing.assert_allclose(colour, (220, 30, 30), atol=6)


def test_cmyk_with_a_broken_profile_falls_back(tmp_path):
    image = Image.new("RGB", (40, 40), (220, 30, 30)).convert("CMYK")
    image.save(tmp_path / "a.jpg", quality=100, icc_profile=b"no profile at all")
    np.testing.assert_allclose(opened(tmp_path / "a.jpg").pixels[5, 5], (220, 30, 30), atol=6)
    # A profile of another colour space than the image's is no use either.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "b.jpg", quality=100, icc_profile=srgb)
    np.testing.assert_allclose(opened(tmp_path / "b.jpg").pixels[5, 5], (220, 30, 30), atol=6)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_large_images_are_shrunk(tmp_path, mode):
    suffix = "tiff" if mode == "CMYK" else "png"
    Image.new(mode, (600, 300)).save(tmp_path / f"a.{suffix}")
    result = opened(tmp_path / f"a.{suffix}", max_side=150)
    assert result.pixels.shape == (75, 150, 3)
    assert result.scale == pytest.approx(0.25)


def test_a_large_jpeg_is_decoded_small(tmp_path):
    Image.new("RGB", (1000, 500), (10, 200, 30)).save(tmp_path / "a.jpg")
    result = opened(tmp_path / "a.jpg", max_side=300)
    assert result.pixels.shape == (150, 300, 3)
    assert result.scale == pytest.approx(0.3)


def test_float_image_is_refused(tmp_path):
    Image.fromarray(np.random.default_rng(0).random((40, 40), np.float32)).save(tmp_path / "a.tiff")
    assert reason(tmp_path / "a.tiff") == "unreadable"


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    assert reason(tmp_path / "a.png") == "too_small"


def test_hundred_megapixels_are_refused_before_decoding(tmp_path):
    # The header says 10000 x 10000, and no pixel follows: decoding would fail as unreadable.
    whole = io.BytesIO()
    Image.new("1", (10000, 10000)).save(whole, "PNG")
    (tmp_path / "a.png").write_bytes(whole.getvalue()[:80])
    assert reason(tmp_path / "a.png") == "too_large"


def test_decompression_bomb(tmp_path):
    header = b"P6\n60000 60000\n255\n"
    (tmp_path / "a.ppm").write_bytes(header + b"0" * 100)
    assert reason(tmp_path / "a.ppm") == "too_large"


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp", "bmp"])
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason(path) in ("unreadable", "not_an_image")


def test_what_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    assert reason(tmp_path / "a.jpg") == "not_an_image"
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert reason(tmp_path / "empty.jpg") == "not_an_image"
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EOF\n")
    assert reason(tmp_path / "a.eps") == "not_an_image"


def test_missing_and_folder(tmp_path):
    assert reason(tmp_path / "nobody.jpg") == "missing"
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "folder.jpg") == "unreadable"


def test_noise_never_crashes(tmp_path):
    rng = np.random.default_rng(1)
    sound = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(sound, "JPEG")
    readable = 0
    for _ in range(60):
        damaged = bytearray(sound.getvalue())
        for position in rng.integers(0, len(damaged), 20):
            damaged[position] = rng.integers(256)
        (tmp_path / "a.jpg").write_bytes(bytes(damaged))
        with suppress(UnusablePhotograph):
            assert opened(tmp_path / "a.jpg").pixels.dtype == np.uint8
            readable += 1
    assert readable < 60
