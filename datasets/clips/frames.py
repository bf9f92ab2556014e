"""The frames of a clip: a folder of images, or a part of a video. Nothing is decoded before use."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from miex.datasets.faces.base import IMAGE_FORMATS

Frame = NDArray[np.uint8]
"""``uint8 (H, W, 3)`` RGB."""

_NUMBERED = re.compile(r"(\d+)\.(?:jpe?g|png|bmp|tiff?|webp)$", re.IGNORECASE)
"""The number of a frame stands last in its name, whatever comes before and however it is padded:
``img46.jpg``, ``reg_img46.jpg``, ``006_05562.jpg``, ``image559740.bmp``, ``000.jpeg``."""

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
"""Endings, lower case, of the files that readers take for videos."""


class UnreadableFrame(ValueError):
    """A frame that is listed but not there, or that cannot be decoded; the file is named."""


class Frames(Protocol):
    """Frames by their number, as the database counts them."""

    @property
    def numbers(self) -> Sequence[int]:
        """Numbers of the frames that are there, ascending."""
        ...

    def images(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """Decodes frames, one at a time.

        Args:
            numbers: Which frames, ascending.

        Yields:
            ``uint8 (H, W, 3)`` RGB, in the order of `numbers`.

        Raises:
            UnreadableFrame: A frame is not there or cannot be decoded; the file is named.
        """
        ...


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """Frames that are image files of one folder.

    Attributes:
        folder: Where they lie.
        files: File name of each number, ascending.
    """

    folder: Path
    files: Mapping[int, str]

    @property
    def numbers(self) -> Sequence[int]:
        """See `Frames.numbers`."""
        return list(self.files)

    def path(self, number: int) -> Path:
        """The file of a frame.

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
            yield _decode(self.path(number))

    def renumbered(self, first: int) -> "FrameFolder":
        """The same files in their order, counted from `first`."""
        return FrameFolder(self.folder, dict(enumerate(self.files.values(), start=first)))


@dataclass(frozen=True, slots=True)
class VideoFrames:
    """Frames of a video file, counted from 1 as OpenFace counts them.

    A part of a video is found by decoding from the start: seeking misses frames in many formats.

    Attributes:
        path: The video.
        count: How many frames its container states.
        fps: Frames a second as its container states, None where it does not.
    """

    path: Path
    count: int
    fps: float | None = field(default=None, compare=False)

    @classmethod
    def open(cls, path: Path) -> "VideoFrames":
        """Reads what the container says.

        Raises:
            ValueError: No video, or none that can be decoded here.
        """
        video = cv2.VideoCapture(str(path))
        try:
            if not video.isOpened():
                raise ValueError(f"{path} is no video that can be decoded here")
            count, fps = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)
            if count <= 0:
                count = sum(1 for _ in iter(video.grab, False))
        finally:
            video.release()
        if not count:
            raise ValueError(f"{path}: the video has no frames")
        return cls(path, count, fps if fps > 0 else None)

    @property
    def numbers(self) -> Sequence[int]:
        """See `Frames.numbers`."""
        return range(1, self.count + 1)

    def images(self, numbers: Iterable[int]) -> Iterator[Frame]:
        """See `Frames.images`."""
        video = cv2.VideoCapture(str(self.path))
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
                        f"{self.path}: frame {number} cannot be decoded; the video states "
                        f"{self.count} frames and ends after {at}"
                    )
                yield np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        finally:
            video.release()


def index_frames(
    folder: Path, root: Path | None = None, names: Collection[str] | None = None
) -> FrameFolder:
    """Lists the numbered images of a folder, by number.

    Hidden files (``.DS_Store``, ``._img1.jpg``) and files that are no numbered image are ignored.

    Args:
        folder: Where they lie.
        root: Folder that no link may leave; the folder itself by default.
        names: Only these files.

    Raises:
        ValueError: Two files have one number, or a file is a link that leaves the root.
    """
    limit = (root or folder).resolve()
    found: dict[int, str] = {}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            match = _NUMBERED.search(entry.name)
            if match is None or entry.name.startswith("."):
                continue
            if names is not None and entry.name not in names:
                continue
            if entry.is_symlink():
                _refuse_outside(Path(entry.path), limit)
            number = int(match.group(1))
            if number in found:
                raise ValueError(
                    f"{folder}: {found[number]} and {entry.name} are both frame {number}; keep one "
                    "of them, or give a folder of one kind of images"
                )
            found[number] = entry.name
    return FrameFolder(folder, dict(sorted(found.items())))


def inside(root: Path, *names: str) -> Path | None:
    """The file or folder below a root that an annotation names.

    Upper and lower case are not told apart where there is only one candidate (CAS(ME)3 writes
    spNO and spNo).

    Args:
        root: Folder that the path may not leave.
        names: One name a level.

    Returns:
        The path, None if there is nothing.

    Raises:
        ValueError: A name that is no plain name, or a link, leads out of the root.
    """
    path = root
    for name in names:
        if name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
            raise ValueError(
                f"the path {'/'.join(names)!r} leaves {root}: {name!r} is no plain name of a file "
                "or folder"
            )
        below = _child(path, name)
        if below is None:
            return None
        path = below
    _refuse_outside(path, root.resolve())
    return path


def _child(folder: Path, name: str) -> Path | None:
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact if exact.exists() else None
    alike = [entry for entry in os.listdir(folder) if entry.casefold() == name.casefold()]
    return folder / alike[0] if len(alike) == 1 else None


def _refuse_outside(path: Path, limit: Path) -> None:
    target = path.resolve()
    if not target.is_relative_to(limit):
        raise ValueError(
            f"{path} is a link that leaves {limit}; give the folder it leads to ({target.parent}) "
            "itself, for instance with the option `images`"
        )


def _decode(path: Path) -> Frame:
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            return np.asarray(upright.convert("RGB"), dtype=np.uint8)
    # Pillow's decoders raise many kinds of errors for damaged files.
    except Exception as error:
        raise UnreadableFrame(f"{path} cannot be decoded as an image ({error})") from None


def _span(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} from {numbers[0]} to {numbers[-1]}" if numbers else "none"
