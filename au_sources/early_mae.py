"""Extract AUs of early macro-expressions, the second source of MiE-X.

Liu et al., ECCV 2022, section 4.2. A macro-expression begins like a micro-expression: the onset is
the first frame of a clip of n frames, the apex a frame drawn from floor(n * alpha1) to floor(n *
alpha2).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from miex.au_sources.action_units import AU_NUMBERS
from miex.au_sources.estimators.base import AUEstimator, Landmarker
from miex.au_sources.extraction import (
    Course,
    Extraction,
    ExtractionConfig,
    OnClip,
    extract_clips,
    make_pair,
    open_measurement,
    seeded,
    written,
)
from miex.au_sources.openface_folder import OpenFaceFolder
from miex.au_sources.pool import AUPair
from miex.datasets.base import Rejection
from miex.datasets.clips.base import Clip, ClipReader
from miex.datasets.flags import Flag

_ALPHA = (1 / 4, 1 / 2)
"""Shares of the way to the macro apex between which MiE-X's released code draws the apex; it also
tried (0.1, 0.3) and (0.2, 0.4)."""

_SMOOTHING = 5
"""Frames of the running median that removes single outliers before a search; it leaves a steady
rise as it is."""

_RISE_LEVELS = (0.2, 0.6)
"""Shares of the whole rise through which the straight line of a found expression is laid. Rest and
hold, which a video may show for as long as it likes, then have no say; nor has the slow end of the
rise, which the early frames are not to be measured by."""

_MIN_RISE = 1.0
"""Rise along the expression below which a video shows none, in AU intensity: one AU alone at its
lowest visible level, A."""

_ROUNDING = 1e-6

_BLINK = AU_NUMBERS.index(45)


class EarlyMaeConfig(ExtractionConfig):
    """Which early frame is taken, and how its AUs are read."""

    alpha: Annotated[tuple[float, float], Flag()] = Field(
        _ALPHA,
        description="with early_mae: the apex is drawn between these shares of the frames up to "
        "the apex of the macro-expression",
    )
    draws: Annotated[int | None, Flag()] = Field(
        None,
        ge=1,
        description="with early_mae: number of different apex frames of a clip, at most; by "
        "default all frames of the window, so that every sample draws its apex anew, as in MiE-X",
    )
    seed: Annotated[int, Flag()] = Field(
        0,
        ge=0,
        lt=2**63,
        description="with early_mae or facs: seed of everything that is drawn at random",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "EarlyMaeConfig":
        low, high = self.alpha
        if not 0 <= low <= high <= 1:
            raise ValueError(f"alpha must be 0 <= alpha1 <= alpha2 <= 1, not ({low}, {high})")
        return self


def window(n: int, alpha: tuple[float, float]) -> range:
    """Return the frames of a macro clip that may be the apex, counted from 0, the onset.

    Args:
        n: Frames from the onset to the macro apex, both counted.
        alpha: Ends of the window, both included, as shares of n.

    Returns:
        floor(n * alpha1) to floor(n * alpha2), without the onset itself. Empty if nothing is left,
        or if the only frame left is the macro apex, which is not early.
    """
    first, last = (floor(n * share) for share in alpha)
    frames = range(max(1, min(first, n - 1)), min(last, n - 1) + 1)
    return range(0) if alpha[1] < 1 and frames == range(n - 1, n) else frames


@dataclass(frozen=True, slots=True)
class Rise:
    """An expression that was found in a video.

    Attributes:
        onset: Row of the frame at which it begins.
        apex: Row of the frame at which it is reached.
        size: From rest to the maximum along the expression, AU intensity.
    """

    onset: int
    apex: int
    size: float


def find_rise(aus: NDArray[np.float32], valid: NDArray[np.bool_]) -> Rise | None:
    """Find the neutral onset and the apex of the strongest expression of a video.

    The rule: smooth each AU over the frames with a face by a running median of `_SMOOTHING` frames.
    The expression is the direction in which the AUs vary most (first principal component, pointing
    to more intensity), and its course the AUs projected onto it: a smile in a long noisy video
    stands out there, not in the sum of all AUs. AU45 takes no part, a blink is no expression. The
    rise leads from the minimum before the maximum up to the maximum. A straight line through the
    point where it last leaves the lower of `_RISE_LEVELS` and the point where it then reaches the
    upper one (between frames, by interpolation) meets rest at the onset and the full height at the
    apex, both rounded down to a frame.

    Args:
        aus: ``(N, 17)``, 0 to 5; NaN where not measured.
        valid: ``(N,)``, whether there is a face.

    Returns:
        None if fewer than two frames show a face or the rise is below `_MIN_RISE`.
    """
    rows = np.flatnonzero(valid)
    if len(rows) < 2:
        return None
    known = np.nan_to_num(np.delete(aus[rows], _BLINK, axis=1)).astype(np.float64)
    smooth = _running_median(known, _SMOOTHING)
    _, _, directions = np.linalg.svd(smooth - smooth.mean(axis=0), full_matrices=False)
    direction = directions[0] * (1.0 if directions[0].sum() >= 0 else -1.0)
    course = smooth @ direction
    top = int(np.argmax(course))
    base = float(course[: top + 1].min())
    size = float(course[top]) - base
    if size < _MIN_RISE:
        return None
    low, high = (base + level * size for level in _RISE_LEVELS)
    last_low = int(np.flatnonzero(course[:top] <= low)[-1])
    first_high = last_low + int(np.argmax(course[last_low : top + 1] >= high))
    leaves, reaches = _crossing(course, last_low + 1, low), _crossing(course, first_high, high)
    pace = (reaches - leaves) / (_RISE_LEVELS[1] - _RISE_LEVELS[0])
    # A rise that begins exactly at a frame must not lose it to rounding.
    onset = max(0, floor(leaves - _RISE_LEVELS[0] * pace + _ROUNDING))
    apex = min(
        len(rows) - 1, max(floor(leaves + (1 - _RISE_LEVELS[0]) * pace + _ROUNDING), first_high)
    )
    return Rise(int(rows[onset]), int(rows[apex]), size)


def _crossing(course: NDArray[np.float64], at: int, level: float) -> float:
    """Return the position between two frames at which the curve crosses a level."""
    before, after = float(course[at - 1]), float(course[at])
    return at - (after - level) / (after - before)


def _running_median(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the running median ``(N, F)`` of ``(N, F)``; windows are shorter at both ends."""
    half = size // 2
    windows = (values[max(0, at - half) : at + half + 1] for at in range(len(values)))
    return np.stack([np.median(window, axis=0) for window in windows])


def extract(
    reader: ClipReader,
    estimator: AUEstimator | OpenFaceFolder,
    config: EarlyMaeConfig | None = None,
    landmarker: Landmarker | None = None,
    on_clip: OnClip | None = None,
) -> Extraction:
    """Draw early apex frames of every macro clip and measure them.

    Where the database knows the macro apex (CK+ and Oulu-CASIA end at it), n counts the frames
    from the first to it. Without an annotated apex (free videos), onset and apex are found in the
    estimated AUs first, see `find_rise`. Every clip gives a pair for each frame of
    its window, or for `config.draws` of them; or a rejection: ``too_short``, ``no_face``,
    ``no_expression``, ``unreadable_frame``; and each draw a pair or ``no_face_at_onset``,
    ``no_face_at_apex``, ``small_change``.

    Args:
        reader: A database opened with frames; with OpenFace's CSVs it may be opened without.
        estimator: Measures the AUs, or the CSVs of OpenFace that hold them.
        config: Window, number of draws, seed; denoising, relative or absolute values.
        landmarker: For estimators that need landmarks.
        on_clip: Called before the first clip and after each.

    Raises:
        ValueError: The database was opened without frames.
    """
    reading = config or EarlyMaeConfig()

    def one_clip(clip: Clip, counted: Counter[str]) -> Sequence[AUPair | Rejection]:
        results = _extract_clip(clip, estimator, reading, landmarker)
        has_pairs = any(isinstance(result, AUPair) for result in results)
        if reading.draws is not None:
            fewer = has_pairs and len(results) < reading.draws
            counted["clips with fewer frames than draws"] += fewer
        counted["clips whose onset and apex were found"] += has_pairs and clip.apex is None
        return results

    settings = {
        "source": "early_mae",
        "estimator": written(estimator),
        "config": reading.model_dump(mode="json"),
    }
    return extract_clips(reader, one_clip, settings, on_clip)


def _extract_clip(
    clip: Clip,
    estimator: AUEstimator | OpenFaceFolder,
    config: EarlyMaeConfig,
    landmarker: Landmarker | None,
) -> Sequence[AUPair | Rejection]:
    measurement = open_measurement(clip, estimator, config.window, landmarker)
    if isinstance(measurement, Rejection):
        return [measurement]
    course: Course | None = None
    numbers = list(measurement.numbers)
    where = str(clip.apex_rule)
    if clip.apex is None:
        course = measurement.at(numbers)
        located = _locate(clip, course)
        if isinstance(located, Rejection):
            return [located]
        numbers, where = located, "found along its strongest change"
    early = window(len(numbers), config.alpha)
    if not early:
        low, high = config.alpha
        detail = f"{len(numbers)} frames to the macro apex leave none between {low:g} and {high:g}"
        return [Rejection(clip.origin, "too_short", detail)]
    places: Sequence[int] = early
    if config.draws is not None:
        # A permutation, so that more draws keep the first ones.
        order = seeded(config.seed, *clip.key).permutation(len(early))[: config.draws]
        places = [early[int(place)] for place in order]
    apexes = [numbers[place] for place in places]
    if course is None:
        wanted = {*apexes, numbers[0]}
        if config.track:
            wanted |= {number for number in numbers if number <= max(apexes)}
        course = measurement.at(wanted)
    low, high = config.alpha
    provenance = (
        f"{written(estimator)}; early frame, {low:g} to {high:g} of the way to the macro apex "
        f"({where}){config.wording()}"
    )
    return [
        make_pair(clip, course, numbers[0], apex, config, source="early_mae", estimator=provenance)
        for apex in apexes
    ]


def _locate(clip: Clip, course: Course) -> list[int] | Rejection:
    """Return numbers of the frames from the found onset to the found apex."""
    own = (course.numbers >= clip.onset) & (course.numbers <= clip.offset)
    valid = course.valid[own]
    if np.count_nonzero(valid) < 2:
        detail = f"a face in {np.count_nonzero(valid)} of {len(valid)} frames"
        return Rejection(clip.origin, "no_face", detail)
    rise = find_rise(course.aus[own], valid)
    if rise is None:
        detail = f"no rise of {_MIN_RISE:g} in {len(valid)} frames"
        return Rejection(clip.origin, "no_expression", detail)
    found: list[int] = course.numbers[own][rise.onset : rise.apex + 1].tolist()
    return found
