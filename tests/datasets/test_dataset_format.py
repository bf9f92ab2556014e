import io

import numpy as np
import pytest
from PIL import Image

from miex.datasets.dataset_format import decode_frames

FRAME = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)


def encoded(format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(FRAME).save(buffer, format_, **options)
    return buffer.getvalue()


def row(*frames: bytes) -> dict[str, object]:
    return {"sample_id": "miex-7", "frames": [{"bytes": each, "path": "x"} for each in frames]}


def test_every_format_is_decoded_as_pillow_does() -> None:
    files = [
        encoded("WEBP", lossless=True),
        encoded("PNG"),
        encoded("JPEG", quality=95),
        encoded("WEBP", quality=80),
    ]
    frames = decode_frames(row(*files))
    assert np.array_equal(frames[0], FRAME)
    for file, frame in zip(files, frames, strict=True):
        assert np.array_equal(frame, np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


@pytest.mark.parametrize("format_", ["WEBP", "PNG", "JPEG"])
def test_a_truncated_frame_is_named(format_: str) -> None:
    whole = encoded(format_)
    for length in (0, 8, len(whole) // 2):
        with pytest.raises(ValueError, match=r"sample miex-7: frame 1 cannot be decoded"):
            decode_frames(row(whole, whole[:length]))
