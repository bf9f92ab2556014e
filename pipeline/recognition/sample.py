"""Samples of recognizers: one expression, from a real clip or a synthesized dataset."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Subject = tuple[str, str]
"""(database, subject), since subject 01 of two databases is two people."""

_SAME_PEOPLE = {"mmew_macro": "mmew"}
"""Databases with the same people and names as another one: MMEW recorded macro- and
micro-expressions of its subjects (Ben et al. 2022)."""


def person_of(database: str, subject: str) -> Subject:
    """Return the key of a person, the same in all databases with the same people."""
    return (_SAME_PEOPLE.get(database, database), subject)


ANYONE = "*"
"""Represents all subjects of a database, for statistics that were counted on its clips."""


def with_anyone(people: Iterable[Subject]) -> frozenset[Subject]:
    """Return people with `ANYONE` of each of their databases."""
    people = frozenset(people)
    return people | {(database, ANYONE) for database, _ in people}


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """Frames of a real clip that a recognizer needs.

    Attributes:
        which: Onset and apex; or all from the onset to the apex, or to the offset.
        most: Largest number of frames; longer sequences are subsampled evenly, with onset, apex and
            last frame.
    """

    which: Literal["pair", "to_apex", "to_offset"] = "pair"
    most: int = 32


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """Facts about a sample without its pixels, from which folds are made.

    Attributes:
        key: Unique key: ``casme2:sub01/EP02_01f`` or ``DATASET/miex-00000042``.
        label: Index of `emotion` in the label space.
        emotion: Name of the class.
        database: Its database; ``miex`` for synthesized samples.
        subject: Person who is shown, as `database` names them; the identity of the template for
            synthesized samples. `database` and `subject` identify a person.
        lineage: All people who contributed to the sample: the person who is shown, and the person
            whose Action Units are used; `ANYONE` of a database on whose clips probabilities of
            Action Units were counted. A fold that tests one of them refuses the sample.
        apex_rule: Origin of the apex (`ApexRule`), ``synthesized`` for synthesized samples.
        au_source: real_mie, early_mae or expert; None for real clips.
        weight: Relative probability of the sample in training.
        aus: Annotated Action Units of a real clip, for `parse_facs`; None if there are none. They
            are used by a baseline, not by recognizers.
    """

    key: str
    label: int
    emotion: str
    database: str
    subject: str
    lineage: frozenset[Subject]
    apex_rule: str
    au_source: str | None = None
    weight: float = 1.0
    aus: str | None = None

    @property
    def person(self) -> Subject:
        """Key of the person who is shown."""
        return person_of(self.database, self.subject)


@dataclass(frozen=True, slots=True)
class Sample:
    """Expression with its pixels.

    Attributes:
        info: Facts about the sample.
        frames: ``uint8 (T, S, S, 3)`` RGB, T at least 2, the first one the onset, all with the crop
            of the onset.
        apex_index: Index of the apex in `frames`, 1 to T - 1.
        landmarks: ``float32 (T, 68, 2)``, x and y in pixels of the frames, iBUG 300-W order; NaN
            in frames without a face. None if they were not detected.
        flow: ``uint8 (S, S, 3)``, u, v and strain from onset to apex, each stretched to 0-255, of
            a clip that is published as flow; `frames` is then ``(0, 0, 0, 3)``. None otherwise.
    """

    info: SampleInfo
    frames: NDArray[np.uint8]
    apex_index: int
    landmarks: NDArray[np.float32] | None = None
    flow: NDArray[np.uint8] | None = None

    @property
    def onset(self) -> NDArray[np.uint8]:
        """``uint8 (S, S, 3)`` RGB."""
        onset: NDArray[np.uint8] = self.frames[0]
        return onset

    @property
    def apex(self) -> NDArray[np.uint8]:
        """``uint8 (S, S, 3)`` RGB."""
        apex: NDArray[np.uint8] = self.frames[self.apex_index]
        return apex


NO_FRAMES = np.zeros((0, 0, 0, 3), np.uint8)
"""`Sample.frames` of a clip that is published as flow."""

MIN_SIDE = 28
"""Smallest side of a frame, in pixels."""


def require_usable(
    sample: Sample,
    *,
    landmarks: Literal["none", "onset", "pair"] = "none",
    side: int | None = None,
) -> None:
    """Check that a representation of a sample can be computed.

    Args:
        sample: The sample.
        landmarks: Frames that must have landmarks.
        side: Required side of the frames; any from `MIN_SIDE` on by default.

    Raises:
        ValueError: The sample is unusable; the message names sample, error and remedy.
    """
    key, frames = sample.info.key, sample.frames
    if sample.flow is not None:
        raise ValueError(
            f"{key}: is published as optical flow of the whole face and has no frames; take a"
            " recognizer of whole-face flow (`miex recognizers` lists them), or open the database"
            " itself"
        )
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(
            f"{key}: frames are {frames.dtype} {frames.shape}, expected uint8 (T, S, S, 3) RGB;"
            " convert grey or float images first"
        )
    count, height, width, _ = frames.shape
    if count < 2:
        raise ValueError(
            f"{key}: a clip of {count} frame has no motion; onset and apex are needed. Leave the"
            " clip out, or check its onset and offset"
        )
    if not 1 <= sample.apex_index < count:
        raise ValueError(
            f"{key}: apex_index is {sample.apex_index}, expected 1 to {count - 1}; an apex on the"
            " onset is a label without motion"
        )
    if height != width or height < MIN_SIDE or (side is not None and height != side):
        wanted = f"{side} x {side}" if side is not None else f"square, at least {MIN_SIDE}"
        raise ValueError(
            f"{key}: frames are {height} x {width} pixels, expected {wanted}; cut and scale the"
            " face first (miex.pipeline.recognition.clip_samples does)"
        )
    if landmarks != "none":
        _require_landmarks(sample, apex=landmarks == "pair")


def _require_landmarks(sample: Sample, *, apex: bool) -> None:
    key, points = sample.info.key, sample.landmarks
    if points is None:
        raise ValueError(
            f"{key}: no landmarks, and this representation needs them; open the samples with"
            " landmarks=True"
        )
    expected = (len(sample.frames), 68, 2)
    if points.shape != expected:
        raise ValueError(f"{key}: landmarks are {points.shape}, expected {expected}")
    for name, index in (("onset", 0), ("apex", sample.apex_index))[: 1 + apex]:
        if not np.isfinite(points[index]).all():
            raise ValueError(
                f"{key}: the landmarks of the {name} are not finite: no face was found in this"
                " frame; leave the clip out or give landmarks of your own"
            )


class SampleBlock(Protocol):
    """Samples that are read and cached together: one shard, or the clips of one subject.

    Attributes:
        content: Hash of everything that determines their pixels, hexadecimal, by which cached
            representations are found.
        infos: Facts about the samples, in the order of `load`.
    """

    @property
    def content(self) -> str:
        """See the class."""
        ...

    @property
    def infos(self) -> Sequence[SampleInfo]:
        """See the class."""
        ...

    def load(self, landmarks: bool) -> Iterator[Sample]:
        """Decode the samples one at a time, in the order of `infos`.

        Args:
            landmarks: Whether every frame must have landmarks.

        Raises:
            ValueError: A frame cannot be decoded; the message names sample and frame.
        """
        ...
