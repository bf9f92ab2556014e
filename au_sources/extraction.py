"""Measure the AUs of clips for `real_mie` and `early_mae`, and report on every clip."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY, AUArray
from miex.au_sources.calibrated_estimator import CalibratedEstimator
from miex.au_sources.estimators.base import (
    AUEstimator,
    Landmarker,
    VideoEstimator,
    estimate_video,
)
from miex.au_sources.openface_folder import OpenFaceFolder
from miex.au_sources.pool import AUPair, AUPool
from miex.datasets.base import Rejection
from miex.datasets.clips.base import Clip, ClipReader
from miex.datasets.clips.frames import UnreadableFrame
from miex.datasets.config import FrozenConfig
from miex.datasets.files import whole_file
from miex.datasets.flags import Flag

OnClip = Callable[[int, int], None]
"""Progress: (clips done, clips in all)."""

ACCOUNT_SUFFIX = ".json"
"""The account of a pool lies beside it: ``pool.parquet`` and ``pool.json``."""


class ExtractionConfig(FrozenConfig):
    """How onset and apex AUs are read from the frames of a clip."""

    window: Annotated[int, Flag()] = Field(
        1,
        ge=1,
        le=99,
        description="odd number of neighbouring frames whose median is taken; 1 takes the frame "
        "alone, as MiE-X does",
    )
    relative: Annotated[bool, Flag()] = Field(
        False,
        description="take the change from the onset instead of absolute values: onset 0, apex "
        "max(0, apex - onset)",
    )
    min_change: Annotated[float, Flag()] = Field(
        0.0,
        ge=0,
        le=MAX_INTENSITY,
        description="leave out clips in which no AU changes by this much from onset to apex, 0-5 "
        "scale",
    )
    track: Annotated[bool, Flag()] = Field(
        False, description="keep the AUs of every frame from onset to apex"
    )

    @field_validator("window")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("has no middle frame: take an odd number")
        return value

    def wording(self) -> str:
        """Return the options that changed the reading of two frames, for provenance."""
        parts = [f"median of {self.window} frames"] if self.window > 1 else []
        parts += ["change from the onset"] if self.relative else []
        return "".join(f"; {part}" for part in parts)


@dataclass(frozen=True, slots=True)
class Course:
    """The AUs of some frames of a clip.

    Attributes:
        numbers: Numbers of the measured frames, ascending.
        aus: ``float32 (N, 17)``, 0 to 5, NaN where not measured.
        valid: ``bool (N,)``, whether the frame shows a face.
        there: Numbers of all frames there are around the clip, ascending: what neighbours are
            counted in.
    """

    numbers: NDArray[np.int64]
    aus: AUArray
    valid: NDArray[np.bool_]
    there: NDArray[np.int64]

    def at(self, number: int, window: int) -> AUArray | None:
        """Return the median of the AUs of a frame and its neighbours, among those that show a face.

        Args:
            number: The frame in the middle.
            window: How many frames; fewer at the ends of the clip.

        Returns:
            ``(17,)``, or None if none of them shows a face.
        """
        chosen = np.isin(self.numbers, neighbours(self.there, number, window)) & self.valid
        return np.median(self.aus[chosen], axis=0) if chosen.any() else None


def neighbours(there: NDArray[np.int64], number: int, window: int) -> NDArray[np.int64]:
    """Return the numbers of the frames in a window around a frame."""
    at = int(np.searchsorted(there, number))
    half = window // 2
    return there[max(0, at - half) : at + half + 1]


def measure(
    clip: Clip,
    numbers: Iterable[int],
    window: int,
    estimator: AUEstimator,
    landmarker: Landmarker | None,
) -> Course:
    """Estimate the AUs of some frames and of their neighbours.

    A `VideoEstimator` is given every frame of the clip, because it measures each against the rest.

    Args:
        clip: With its frames.
        numbers: Which frames.
        window: How many frames around each.
        estimator: Measures.
        landmarker: For estimators that need landmarks.

    Raises:
        ValueError: The clip was opened without frames, or a frame cannot be read.
    """
    own = clip.numbers()
    there = np.array(own if clip.frames is None else clip.frames.numbers, dtype=np.int64)
    wanted = {int(n) for number in numbers for n in neighbours(there, number, window)}
    # A calibrated estimator takes videos whether or not the one inside does.
    inner = estimator.estimator if isinstance(estimator, CalibratedEstimator) else estimator
    if isinstance(inner, VideoEstimator):
        wanted |= set(own)
    ordered = sorted(wanted)
    estimates = estimate_video(estimator, clip.images(ordered), landmarker)
    return Course(np.array(ordered, dtype=np.int64), estimates.aus, estimates.valid, there)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The AUs of the frames of one clip, measured when they are asked for, or read from a file.

    Attributes:
        clip: The clip.
        numbers: Numbers of the frames from the onset to the apex, or to the offset where no apex
            is known, ascending.
        at: Returns the AUs of some frames and of their neighbours.
    """

    clip: Clip
    numbers: Sequence[int]
    at: Callable[[Iterable[int]], Course]


def open_measurement(
    clip: Clip,
    measured_by: AUEstimator | OpenFaceFolder,
    window: int,
    landmarker: Landmarker | None,
) -> Measurement | Rejection:
    """Return access to the AUs of a clip, through an estimator or from recordings.

    Args:
        clip: With its frames, if an estimator measures.
        measured_by: Estimator, or recordings.
        window: How many frames around each.
        landmarker: For estimators that need landmarks.

    Raises:
        ValueError: The clip was opened without frames, or a recording is damaged.
    """
    if isinstance(measured_by, OpenFaceFolder):
        recorded = measured_by.read(clip)
        if isinstance(recorded, Rejection):
            return recorded
        course = Course(recorded.numbers, recorded.aus, recorded.valid, recorded.numbers)
        last = clip.offset if clip.apex is None else clip.apex
        own = course.numbers[(course.numbers >= clip.onset) & (course.numbers <= last)]
        return Measurement(clip, own.tolist(), lambda _: course)
    estimator = measured_by
    return Measurement(
        clip,
        clip.numbers(clip.apex),
        lambda numbers: measure(clip, numbers, window, estimator, landmarker),
    )


def make_pair(
    clip: Clip, course: Course, onset: int, apex: int, config: ExtractionConfig, **provenance: Any
) -> AUPair | Rejection:
    """Return the AU pair of a clip, given the AUs of its frames.

    Args:
        clip: Whose.
        course: Holds the frames between, too, if a track is wanted.
        onset: Number of the onset frame.
        apex: Number of the apex frame.
        config: How.
        provenance: `source` and `estimator` of the pair.

    Returns:
        The pair, or why there is none: ``no_face_at_onset``, ``no_face_at_apex``,
        ``small_change``.
    """
    ends = []
    for name, number in (("onset", onset), ("apex", apex)):
        aus = course.at(number, config.window)
        if aus is None:
            detail = f"no face in frame {number}" + (
                f" and its neighbours, {config.window} in all" if config.window > 1 else ""
            )
            return Rejection(clip.origin, f"no_face_at_{name}", detail)
        ends.append(aus)
    first, last = ends
    track = _track(course, onset, apex, first, last, config.window) if config.track else None
    if config.relative:
        base = first
        first, last = _change(base, base), _change(last, base)
        track = None if track is None else _change(track, base)
    change = np.abs(np.nan_to_num(last - first))
    if change.max() < config.min_change:
        return Rejection(
            clip.origin,
            "small_change",
            f"the largest change of an AU from frame {onset} to {apex} is {change.max():.2f}, "
            f"expected {config.min_change:g}",
        )
    return AUPair(
        onset=first,
        apex=last,
        track=track,
        emotion=clip.emotion,
        dataset=clip.database,
        subject=clip.subject,
        clip=clip.clip,
        onset_frame=onset,
        apex_frame=apex,
        **provenance,
    )


def _change(aus: AUArray, base: AUArray) -> AUArray:
    change: AUArray = np.maximum(aus - base, np.float32(0))
    return change


def _track(
    course: Course, onset: int, apex: int, first: AUArray, last: AUArray, window: int
) -> AUArray | None:
    """Return ``(apex - onset + 1, 17)``; frames without a face are interpolated."""
    if apex <= onset:
        return None
    knots, rows = [onset], [first]
    for number in course.there[(course.there > onset) & (course.there < apex)].tolist():
        aus = course.at(number, window)
        if aus is not None:
            knots.append(number)
            rows.append(aus)
    known = np.stack([*rows, last])
    times = np.arange(onset, apex + 1)
    columns = [np.interp(times, [*knots, apex], known[:, au]) for au in range(AU_COUNT)]
    track = np.stack(columns, axis=1).astype(np.float32)
    track[0], track[-1] = first, last
    return track


@dataclass(frozen=True, slots=True)
class Extraction:
    """AU pairs of a database, and a report on every clip that gave none.

    Attributes:
        pool: The pairs; may be empty.
        rejections: Every clip that was left out, also those that the reader left out.
        counts: Whatever was counted, by name.
        settings: How it was made: database, estimator, config. For the file beside the pool.
    """

    pool: AUPool
    rejections: tuple[Rejection, ...]
    counts: Mapping[str, int]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, int]:
        """Return how often each reason of a rejection occurs, the most frequent first."""
        return dict(Counter(rejection.reason for rejection in self.rejections).most_common())

    def write(self, path: Path) -> Path:
        """Write the pool and, beside it, its report as JSON.

        Args:
            path: The pool, ending in .parquet.

        Returns:
            The account: rejections, counts, settings, hash of the pool.

        Raises:
            ValueError: Another ending, or no clip gave a pair.
            OSError: A file cannot be written; nothing half-written stays.
        """
        if path.suffix != ".parquet":
            raise ValueError(f"{path}: an AU pool ends in .parquet")
        if not len(self.pool):
            found = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
            most = next(iter(self.reasons), None)
            details = [each.detail for each in self.rejections if each.reason == most]
            first = f"; {details[0]}" if details else ""
            raise ValueError(f"{path}: no clip gave AUs ({found or 'there were none'}{first})")
        self.pool.write(path)
        account = path.with_suffix(ACCOUNT_SUFFIX)
        content = {
            "pool_sha256": self.pool.sha256,
            "counts": dict(self.counts),
            "reasons": self.reasons,
            "settings": dict(self.settings),
            "rejections": [asdict(rejection) for rejection in self.rejections],
        }
        with whole_file(account) as temporary:
            text = json.dumps(content, indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        return account


def extract_clips(
    reader: ClipReader,
    one_clip: Callable[[Clip, Counter[str]], Sequence[AUPair | Rejection]],
    settings: Mapping[str, Any],
    on_clip: OnClip | None = None,
) -> Extraction:
    """Process the clips of a database; record pairs or a rejection for every clip.

    A clip with a frame that cannot be decoded is rejected as ``unreadable_frame``.

    Args:
        reader: The database.
        one_clip: Gives the pairs of a clip, or why there are none; counts by name whatever else is
            to be counted.
        settings: Source, estimator and config, for `Extraction.settings`.
        on_clip: Called before the first clip and after each.

    Raises:
        ValueError: The database was opened without frames, and `one_clip` looks at them.
    """
    clips = reader.clips()
    pairs: list[AUPair] = []
    rejections = list(reader.report().rejections)
    counted: Counter[str] = Counter()
    if on_clip is not None:
        on_clip(0, len(clips))
    for done, clip in enumerate(clips, start=1):
        try:
            results = one_clip(clip, counted)
        except UnreadableFrame as error:
            results = [Rejection(clip.origin, "unreadable_frame", str(error))]
        pairs += [result for result in results if isinstance(result, AUPair)]
        rejections += [result for result in results if isinstance(result, Rejection)]
        if on_clip is not None:
            on_clip(done, len(clips))
    pool = AUPool.from_pairs(pairs, licence=reader.licence)
    counts = {
        "clips": len(clips),
        "pairs": len(pairs),
        "clips with pairs": len({(p.dataset, p.subject, p.clip) for p in pairs}),
        "distinct pairs": pool.distinct,
        "left out": len(rejections),
        "pairs without change": int(np.count_nonzero(~pool.moves)) if pairs else 0,
        **dict(sorted(counted.items())),
    }
    return Extraction(pool, tuple(rejections), counts, {"database": reader.name, **settings})


def seeded(seed: int, *key: str) -> np.random.Generator:
    """Return the random generator of a clip; it depends on the seed and the clip's key only."""
    digest = hashlib.sha256("\0".join(key).encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def written(estimator: AUEstimator | OpenFaceFolder) -> str:
    """Return an estimator as provenance names it."""
    scale = "" if estimator.scale == "intensity" else f", {estimator.scale}"
    return f"{estimator.name} ({estimator.version}{scale})"
