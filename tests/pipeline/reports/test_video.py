"""Videos and animations: opened again, their frames are those of the samples."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.flows.cli import app
from miex.pipeline.reports.animation import animated_sheet, write_flip
from miex.pipeline.reports.video import HOLD_SECONDS, clip_of, write_mp4, write_videos


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def clips(make_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = make_dataset(tmp_path_factory.mktemp("clips") / "d", 2, frames=5, size=64)
    return folder


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_an_mp4_shows_the_frames_of_the_sample(clips: Path, tmp_path: Path) -> None:
    result = call("video", clips, "tiny-00000001", "-o", tmp_path, "--size", 128, "--loops", 2)
    assert result.exit_code == 0, result.output
    path = tmp_path / "tiny-00000001.mp4"
    assert result.stdout.strip() == str(path)
    row = DatasetFolder.open(clips).row("tiny-00000001")
    stored = decode_frames(row)
    expected = [cv2.resize(frame, (128, 128), interpolation=cv2.INTER_CUBIC) for frame in stored]
    with av.open(str(path)) as file:
        (stream,) = file.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        decoded = [(f.time, f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]
    # Each repetition, and the last frame once more.
    assert len(decoded) == 2 * 5 + 1
    for number, (_, frame) in enumerate(decoded):
        wanted = expected[number % 5] if number < 10 else expected[-1]
        assert psnr(frame, wanted) > 36
    # The frames differ from each other by more than the compression changes them.
    assert psnr(expected[0], expected[4]) < 33
    steps = np.diff([time for time, _ in decoded])
    assert steps[0] == pytest.approx(HOLD_SECONDS, abs=0.002)
    assert steps[1] == pytest.approx(1 / 30, abs=0.002)
    assert steps[4] == pytest.approx(HOLD_SECONDS, abs=0.002)
    # The index lies in front, so that a browser plays while it loads.
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_opencv_opens_the_mp4_as_well(clips: Path, tmp_path: Path) -> None:
    (path,) = write_videos(clips, ["tiny-00000000"], tmp_path, size=64, loops=1)
    capture = cv2.VideoCapture(str(path))
    found, frame = capture.read()
    capture.release()
    assert found
    row = DatasetFolder.open(clips).row("tiny-00000000")
    assert psnr(frame[..., ::-1], decode_frames(row)[0]) > 32


def test_an_animated_webp_is_lossless(clips: Path, tmp_path: Path) -> None:
    (path,) = write_videos(clips, ["tiny-00000002"], tmp_path, kind="webp", size=96)
    row = DatasetFolder.open(clips).row("tiny-00000002")
    expected, seconds = clip_of(row, 30, 96)
    with Image.open(path) as image:
        assert (image.n_frames, image.format, image.info["loop"]) == (5, "WEBP", 0)
        for number in range(5):
            image.seek(number)
            assert np.array_equal(np.asarray(image.convert("RGB")), expected[number])
            assert image.info["duration"] == round(1000 * seconds[number])


def test_a_gif_keeps_the_motion(clips: Path, tmp_path: Path) -> None:
    (path,) = write_videos(clips, ["tiny-00000002"], tmp_path, kind="gif", size=96)
    expected, _ = clip_of(DatasetFolder.open(clips).row("tiny-00000002"), 30, 96)
    with Image.open(path) as image:
        assert image.n_frames == 5
        for number in range(5):
            image.seek(number)
            assert psnr(np.asarray(image.convert("RGB")), expected[number]) > 30


def test_the_motion_stands_beside_the_face(clips: Path) -> None:
    row = DatasetFolder.open(clips).row("tiny-00000001")
    alone, _ = clip_of(row, 30, 64)
    beside, _ = clip_of(row, 30, 64, motion=True)
    assert beside.shape == (5, 64, 128, 3)
    assert np.array_equal(beside[:, :, :64], alone)
    assert np.ptp(beside[0, :, 64:]) > 100
    assert all(np.array_equal(beside[0, :, 64:], each[:, 64:]) for each in beside)


def test_an_animated_sheet_flips_the_faces_and_nothing_else(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    result = call("sheet", tiny_dataset, "--animate", "-o", tmp_path / "s.webp", "--samples", 4)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "s.webp") as image:
        assert image.n_frames == 2
        pages = []
        for number in range(2):
            image.seek(number)
            pages.append(np.asarray(image.convert("RGB")).astype(int))
    changed = np.abs(pages[1] - pages[0]).max(axis=2) > 60
    assert changed.any()
    # The header and the right half of the first card, where the motion is, stay as they are.
    assert not changed[:170].any()
    assert not changed[176:430, 48 + 262 : 48 + 518].any()


def test_the_flip_shows_onset_and_apex(clips: Path) -> None:
    path = write_flip(clips)
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"]) == (2, 0)
        assert image.size == (4 * 196 - 4, 2 * 196 - 4)
        first = np.asarray(image.convert("RGB")).astype(int)
        image.seek(1)
        assert np.abs(np.asarray(image.convert("RGB")) - first).max() > 60
    assert path.stat().st_size < 300_000
    again = path.read_bytes()
    assert write_flip(clips).read_bytes() == again


def test_what_does_not_fit_is_named(clips: Path, tmp_path: Path) -> None:
    result = call("video", clips, "tiny-00000999", "-o", tmp_path)
    assert result.exit_code == 2
    assert "has no sample 'tiny-00000999'" in result.stderr
    result = call("video", clips, "tiny-00000000", "-o", tmp_path, "--format", "avi")
    assert "--format avi: expected one of mp4, webp, gif, png" in result.stderr
    result = call("video", clips, "tiny-00000000", "-o", tmp_path, "--size", 97)
    assert "expected an even number" in result.stderr
    with pytest.raises(ValueError, match="needs even sides"):
        write_mp4(tmp_path / "x.mp4", np.zeros((1, 63, 64, 3), np.uint8), [1.0])
    with pytest.raises(ValueError, match=r"\.webp or \.gif"):
        animated_sheet(clips, tmp_path / "x.png", samples=1)
    assert list(tmp_path.iterdir()) == []
