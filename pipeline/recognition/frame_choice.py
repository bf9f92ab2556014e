"""Choose the frames of a real clip that a recognizer looks at."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from miex.datasets.clips.base import Clip
from miex.pipeline.recognition.landmarks import follow

_STILL = [27, 28, 29, 30, 36, 39, 42, 45]
"""Bridge of the nose and corners of the eyes: they move with the head."""

_MOVING = [*range(17, 27), *range(31, 36), *range(48, 68)]
"""Brows, wings of the nose, mouth; without the lids, which blink."""


def chosen_frames(
    there: Sequence[int], apex: int, frames: Literal["pair", "to_apex", "to_offset"], most: int
) -> list[int]:
    """Choose the frames of a clip that are used.

    Args:
        there: Numbers of its frames from onset to offset, ascending.
        apex: Number of the apex, one of them behind the first.
        frames: See `ClipSampleConfig`.
        most: How many at most; of more, those nearest to even steps are taken, and the inner one
            that is nearest to the apex gives way to it.

    Returns:
        Ascending, the onset first, the apex among them.
    """
    if frames == "pair":
        return [there[0], apex]
    used = [number for number in there if frames == "to_offset" or number <= apex]
    if len(used) <= most:
        return used
    places = np.linspace(0, len(used) - 1, most).round().astype(int)
    peak = used.index(apex)
    if peak != places[-1]:
        inner = places[1:-1]
        inner[np.abs(inner - peak).argmin()] = peak
    return [used[place] for place in places]


def largest_motion(frames: Iterable[NDArray[np.uint8]], landmarks: NDArray[np.float32]) -> int:
    """Find the apex of a clip.

    The rule: landmarks are carried from the onset to each frame along the optical flow (DIS, see
    `follow`), the mean motion of the bridge of the nose and the corners of the eyes is taken off,
    and the apex is where brows, wings of the nose and mouth have moved most, root mean square.

    Args:
        frames: ``uint8 (S, S, 3)`` RGB, at least two, the onset first.
        landmarks: ``(68, 2)`` of the onset, pixels.

    Returns:
        Index of the apex, from 1.
    """
    rest = iter(frames)
    onset = next(rest)
    sizes = []
    for frame in rest:
        motion = follow(np.stack([onset, frame]), landmarks)[1] - landmarks
        own = motion[_MOVING] - motion[_STILL].mean(0)
        sizes.append(float(np.square(own).mean()))
    return 1 + int(np.argmax(sizes))


def early_frame(clip: Clip, there: Sequence[int], alpha: tuple[float, float]) -> int | None:
    """Draw an early frame of a macro-expression, which stands for the apex of a micro-expression.

    Liu et al., ECCV 2022, section 4.2; of the clips of CK+ that the authors train on, the frame is
    not stated. It is drawn by the name of the clip alone, so that it is the same in every training.

    Args:
        clip: With an apex.
        there: Numbers of its frames, ascending, the onset first.
        alpha: Shares of the frames up to the apex between which it lies.

    Returns:
        Its number; None if no frame lies there.
    """
    # Imported here, since the estimation of AUs comes with it.
    from miex.au_sources.early_mae import window

    assert clip.apex is not None
    upto = [number for number in there if number <= clip.apex]
    rows = window(len(upto), alpha)
    if not rows:
        return None
    digest = hashlib.sha256(clip.origin.encode()).digest()
    return upto[rows[int.from_bytes(digest[:8], "big") % len(rows)]]
