"""Frames of a clip: a folder of images, or a part of a video; decoded when they are used."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.deep_images import depth_of, to_8_bits
from miex.datasets.images import IMAGE_SUFFIXES, UnusablePhotograph, bit_depth, read_frame
from miex.datasets.paths import is_utf8, open_regular

Frame = NDArray[np.uint8]
"""``uint8 (H, W, 3)`` RGB."""

_NUMBERED = re.compile(
    rf"(.*?)(\d{{1,18}})\.({'|'.join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))})$",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
"""The number of a frame is the last part of its name, with any prefix and padding:
``img46.jpg``, ``reg_img46.jpg``, ``006_05562.jpg``, ``image559740.bmp``, ``000.jpeg``."""

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""Suffixes, lower case, of the files that readers take for videos."""


_GREY_16 = int.from_bytes(b"Y1\0\x10", "little")
"""FFmpeg's tag of the pixel format gray16le."""

_MAX_FPS = 10_000
"""Largest plausible number of frames per second in the header of a video."""


class UnreadableFrame(ValueError):
    """A listed frame is missing or cannot be decoded; the message names the file."""


class Frames(Protocol):
    """Frames by number, as the database counts them."""

    @property
    def numbers(self) -> Sequence[int]:
        """Numbers of the existing frames, ascending."""
        ...

    def images(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """Decode frames, one at a time.

        Args:
            numbers: Frame numbers, ascending.

        Yields:
            ``uint8 (H, W, 3)`` RGB, in the order of `numbers`.

        Raises:
            UnreadableFrame: A frame is missing or cannot be decoded; the message names the file.
        """
        ...


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """Frames that are image files of one folder.

    Attributes:
        folder: The folder.
        files: File name by frame number, ascending.
        ignored: Number of numbered images with names of another form, such as crops.
    """

    folder: Path
    files: Mapping[int, str]
    ignored: int = 0

    @property
    def numbers(self) -> Sequence[int]:
        """See `Frames.numbers`."""
        return list(self.files)

    def path(self, number: int) -> Path:
        """Return the file of a frame.

        Raises:
            UnreadableFrame: No such frame.
        """
        if number not in self.files:
            raise UnreadableFrame(
                f"{self.folder}: no frame {number}; there are {_span(self.numbers)}"
            )
        return self.folder / self.files[number]

    def images(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """See `Frames.images`."""
        for number in numbers:
            path = self.path(number)
            try:
                yield read_frame(path, _depth(self.folder, tuple(self.files.values())))
            except UnusablePhotograph as error:
                raise UnreadableFrame(f"{path} cannot be decoded as an image ({error})") from None

    def renumbered(self, first: int) -> "FrameFolder":
        """Return the same files in their order, counted from `first`."""
        files = dict(enumerate(self.files.values(), start=first))
        return FrameFolder(self.folder, files, self.ignored)


_DEPTH_FRAMES = 256
"""Number of frames from which the bit depth of a clip is determined, evenly spaced."""


@lru_cache(maxsize=4096)
def _depth(folder: Path, files: tuple[str, ...]) -> int | None:
    step = -(-len(files) // _DEPTH_FRAMES)
    return bit_depth(folder / name for name in files[::step])


@dataclass(frozen=True, slots=True)
class VideoFrames:
    """Frames of a video file, counted from 1 as OpenFace counts them.

    A part of a video is decoded from the start, since seeking is not exact in many formats.

    Attributes:
        path: The video.
        count: Number of frames that can be decoded from the start.
        fps: Frames per second in its header; None if it states none.
        stated: Number of frames in its header; a trimmed or damaged video has fewer.
        depth: Significant bits of 16-bit grey, of which cameras often use the low ones; None for
            all other videos, which are scaled from the bit depth of their format.
    """

    path: Path
    count: int
    fps: float | None = field(default=None, compare=False)
    stated: int = field(default=0, compare=False)
    depth: int | None = field(default=None, compare=False)

    @classmethod
    def open(cls, path: Path) -> "VideoFrames":
        """Count the frames of a video by decoding it.

        Raises:
            ValueError: The path is no regular file, no video, or a video that cannot be decoded.
        """
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
        return _open_video(path, status.st_size, status.st_mtime_ns)

    @property
    def note(self) -> str:
        """Peculiarity of the video; empty for most."""
        if self.stated in (0, self.count):
            return ""
        return f"the video states {self.stated} frames, {self.count} can be decoded"

    @property
    def numbers(self) -> Sequence[int]:
        """See `Frames.numbers`."""
        return range(1, self.count + 1)

    def images(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """See `Frames.images`."""
        video = cv2.VideoCapture(str(self.path))
        if self.depth is not None:
            video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        at = 0
        try:
            for number in numbers:
                if number <= at:
                    raise ValueError(f"{self.path}: frame {number} after {at}, expected ascending")
                while at < number and video.grab():
                    at += 1
                there, image = video.retrieve() if at == number else (False, None)
                if not there or image is None:
                    raise UnreadableFrame(
                        f"{self.path}: frame {number} cannot be decoded; the video ends after {at}"
                    )
                if self.depth is not None:
                    grey = to_8_bits(np.asarray(image, np.uint16), self.depth)
                    yield np.asarray(grey.convert("RGB"), dtype=np.uint8)
                else:
                    yield np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        finally:
            video.release()


@lru_cache(maxsize=4096)
def _open_video(path: Path, _size: int, _modified: int) -> VideoFrames:
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise ValueError(f"{path} is no video that can be decoded here")
        stated, fps = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)
        deep = int(video.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) == _GREY_16
        if deep:
            video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        count = brightest = 0
        while video.grab():
            count += 1
            if deep:
                brightest = max(brightest, int(video.retrieve()[1].max()))
    finally:
        video.release()
    if not count:
        raise ValueError(f"{path}: no frame of the video can be decoded")
    usable = np.isfinite(fps) and 0 < fps < _MAX_FPS
    depth = depth_of(brightest) if deep else None
    return VideoFrames(path, count, float(fps) if usable else None, max(stated, 0), depth)


def index_frames(folder: Path, names: Collection[str] | None = None) -> FrameFolder:
    """List the numbered images of a folder by number; links are followed.

    Hidden files (``.DS_Store``, ``._img1.jpg``) and files that are no numbered image are ignored.
    If the names have several forms (``img1.jpg`` and ``crop_img1.jpg``), those of the most frequent
    form are used, and the others are counted as ignored.

    Args:
        folder: The folder.
        names: Use only these files.

    Raises:
        ValueError: The folder cannot be read, or two files have the same number and neither form
            of their names is more frequent.
    """
    matches: list[re.Match[str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                match = _NUMBERED.match(entry.name)
                if match is None or entry.name.startswith(".") or not is_utf8(entry.name):
                    continue
                if names is None or entry.name in names:
                    matches.append(match)
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror or error})") from None
    kept = _of_one_kind(matches, lambda match: match[1].casefold())
    if len({int(match[2]) for match in kept}) < len(kept):
        kept = _of_one_kind(kept, lambda match: (match[1].casefold(), match[3].casefold()))
    found: dict[int, str] = {}
    for match in kept:
        number = int(match[2])
        if number in found:
            raise ValueError(
                f"{folder}: {found[number]} and {match.string} are both frame {number}; keep one "
                "of them, or give a folder of one kind of images"
            )
        found[number] = match.string
    return FrameFolder(folder, dict(sorted(found.items())), len(matches) - len(kept))


def _of_one_kind(
    matches: list[re.Match[str]], kind: Callable[[re.Match[str]], object]
) -> list[re.Match[str]]:
    """Return the files of the form that more than half have; all if there is no such form."""
    counts = Counter(map(kind, matches))
    if not counts:
        return matches
    commonest, count = counts.most_common(1)[0]
    if 2 * count <= len(matches):
        return matches
    return [match for match in matches if kind(match) == commonest]


def _span(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} from {numbers[0]} to {numbers[-1]}" if numbers else "none"
