"""Clips of a dataset as MP4, animated WebP, animated GIF or single PNG images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.datasets.files import whole_file
from miex.datasets.paths import plain_name
from miex.pipeline.reports.full_frame import find_place, full_frames
from miex.pipeline.reports.motion_panel import flow_length, measure_flow, motion_panel

VideoFormat = Literal["mp4", "webp", "gif", "png"]

Frames = NDArray[np.uint8]
"""``uint8 (T, H, W, 3)`` RGB."""

HOLD_SECONDS = 0.6
"""Time for which onset and apex stand still: a change is seen best against a still image."""

_CRF = "12"
"""Constant rate factor of x264, 0 to 51; at 12, differences of micro-expressions survive."""


@dataclass(frozen=True, slots=True)
class WholePhotograph:
    """Where the whole photographs of a dataset are.

    Attributes:
        photographs: Source of the photographs, as for `miex faces`; that of the dataset by default.
        faces: Face table; that of the dataset by default.
    """

    photographs: str | None = None
    faces: Path | None = None


def video_format(name: str) -> VideoFormat:
    """Return a format by its name.

    Raises:
        ValueError: There is no such format.
    """
    for known in get_args(VideoFormat):
        if name == known:
            return cast(VideoFormat, known)
    raise ValueError(f"--format {name}: expected one of {', '.join(get_args(VideoFormat))}")


def write_videos(
    folder: Path,
    samples: Sequence[str],
    out: Path,
    *,
    kind: VideoFormat = "mp4",
    fps: float = 30.0,
    size: int = 384,
    loops: int = 3,
    motion: bool = False,
    whole: WholePhotograph | None = None,
) -> list[Path]:
    """Write a video of each sample.

    Args:
        folder: A finished dataset.
        samples: Ids of the samples.
        out: Folder of the videos, which are named after the samples.
        kind: Format: MP4 (H.264), animated WebP (lossless), GIF (256 colours), or one PNG a frame.
        fps: Frames per second between onset and apex; onset and apex are held.
        size: Side of the shown face in pixels, even.
        loops: Repetitions inside an MP4; WebP and GIF repeat for ever.
        motion: Whether the optical flow from onset to apex is shown on the right.
        whole: Show the face in its whole photograph; `size` and `motion` have no effect then.

    Returns:
        The files, in the order of `samples`.

    Raises:
        FileNotFoundError: The folder holds no finished dataset, or a photograph is missing.
        KeyError: The dataset has no such sample.
        ValueError: A frame cannot be decoded, or a number is out of range.
    """
    if size < 16 or size % 2:
        raise ValueError(f"size={size}: expected an even number of pixels, at least 16")
    dataset = DatasetFolder.open(folder)
    rows = [dataset.row(sample) for sample in samples]
    paths: list[Path] = []
    for row in rows:
        if whole:
            place = find_place(dataset, row, whole.photographs, whole.faces)
            frames, seconds = full_frames(dataset, row, place), _times(row, fps)
        else:
            frames, seconds = clip_of(row, fps, size, motion=motion)
        paths += _write(
            out / f"{plain_name(row['sample_id'], str(folder))}.{kind}", frames, seconds, loops
        )
    return paths


def _write(path: Path, frames: Frames, seconds: list[float], loops: int) -> list[Path]:
    if path.suffix == ".png":
        paths = [path.with_name(f"{path.stem}-{n:02d}.png") for n in range(len(frames))]
        for each, frame in zip(paths, frames, strict=True):
            with whole_file(each) as temporary:
                Image.fromarray(frame).save(temporary, "PNG")
        return paths
    if path.suffix == ".mp4":
        odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
        even = np.pad(frames, odd, mode="edge")
        write_mp4(path, np.concatenate([even] * loops), seconds * loops)
    else:
        write_animation(path, frames, seconds)
    return [path]


def _times(row: dict[str, Any], fps: float) -> list[float]:
    """Return for how many seconds each frame of a sample is shown."""
    count = len(row["frames"])
    held = {0, int(row["apex_index"]), count - 1}
    return [HOLD_SECONDS if number in held else 1 / fps for number in range(count)]


def clip_of(
    row: dict[str, Any], fps: float, size: int, *, motion: bool = False
) -> tuple[Frames, list[float]]:
    """Return the frames of a sample as they are shown, and how long each is shown.

    Args:
        row: Row of a dataset.
        fps: Frames per second of what lies between onset, apex and offset.
        size: Side of the face in pixels.
        motion: Whether a panel with the optical flow stands on the right.

    Returns:
        Frames ``(T, size, size, 3)``, twice as wide with motion, and T times in seconds.
    """
    frames = decode_frames(row)
    apex = int(row["apex_index"])
    shown = np.stack([_resized(frame, size) for frame in frames])
    if motion:
        flow = measure_flow(frames[0], frames[apex])
        scale = max(0.1, float(np.quantile(flow_length(flow), 0.995)))
        panel = np.asarray(motion_panel(frames[0], flow, scale, size).convert("RGB"), np.uint8)
        shown = np.concatenate([shown, np.broadcast_to(panel, shown.shape)], axis=2)
    return shown, _times(row, fps)


def write_mp4(path: Path, frames: Frames, seconds: Sequence[float]) -> None:
    """Write an MP4 in H.264 with 4:2:0 colour, which every browser plays.

    Args:
        path: The file.
        frames: ``(T, H, W, 3)``, H and W even.
        seconds: How long each frame is shown.

    Raises:
        DiskFullError: The disk is full.
        ValueError: H or W is odd.
    """
    import av

    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"frames of {width} x {height} pixels; H.264 needs even sides")
    clock = Fraction(1, 1000)
    with (
        whole_file(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as file,
    ):
        stream = file.add_stream("libx264", rate=30, options={"crf": _CRF, "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = clock
        # RGB is converted and marked as BT.709, limited range.
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 1
        stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        # The last frame is repeated: its own duration has no other mark in the stream.
        starts = np.cumsum([0.0, *seconds])
        for start, frame in zip(starts, [*frames, frames[-1]], strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture = picture.reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            picture.pts, picture.time_base = round(start * 1000), clock
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


def write_animation(
    path: Path, frames: Iterable[Frames], seconds: Sequence[float], *, quality: int | None = None
) -> None:
    """Write an animated WebP or GIF that repeats for ever.

    Args:
        path: The file, ``.webp`` or ``.gif``.
        frames: ``(H, W, 3)`` each.
        seconds: How long each frame is shown.
        quality: Of lossy WebP, 0 to 100; lossless by default.

    Raises:
        DiskFullError: The disk is full.
        ValueError: Another suffix.
    """
    images = [Image.fromarray(frame) for frame in frames]
    times = [round(each * 1000) for each in seconds]
    if path.suffix == ".webp":
        options: dict[str, Any] = {"lossless": quality is None, "quality": quality or 80}
        options |= {"method": 4, "minimize_size": False}
    elif path.suffix == ".gif":
        images = [image.quantize(256, dither=Image.Dither.NONE) for image in images]
        options = {"disposal": 1, "optimize": False}
    else:
        raise ValueError(f"{path}: expected a name that ends in .webp or .gif")
    with whole_file(path) as temporary:
        images[0].save(
            temporary,
            path.suffix[1:].upper(),
            save_all=True,
            append_images=images[1:],
            duration=times,
            loop=0,
            **options,
        )


def _resized(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    larger = size >= frame.shape[0]
    method = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
    return np.asarray(cv2.resize(frame, (size, size), interpolation=method), np.uint8)
