"""What a recognizer is shown: one expression, from a real clip or from a synthesized dataset."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Subject = tuple[str, str]
"""(database, subject): two databases both have a subject 01, and they are two people."""

_SAME_PEOPLE = {"mmew_macro": "mmew"}
"""Databases that show the people of another one under the same names: MMEW recorded macro- and
micro-expressions of its subjects (Ben et al. 2022)."""


def person_of(database: str, subject: str) -> Subject:
    """Key of a person, the same in all databases that show the same people."""
    return (_SAME_PEOPLE.get(database, database), subject)


ANYONE = "*"
"""Stands for every subject of a database: figures that were counted on its clips."""


def with_anyone(people: Iterable[Subject]) -> frozenset[Subject]:
    """People, and for each of their databases whatever was counted on its clips."""
    people = frozenset(people)
    return people | {(database, ANYONE) for database, _ in people}


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """Which frames of a real clip a recognizer looks at.

    Attributes:
        which: Onset and apex; or all from the onset to the apex, or to the offset.
        most: Longer sequences are thinned evenly to so many; onset, apex and last frame stay.
    """

    which: Literal["pair", "to_apex", "to_offset"] = "pair"
    most: int = 32


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """What is known about a sample without its pixels. Folds are made of these.

    Attributes:
        key: One of its kind: ``casme2:sub01/EP02_01f`` or ``DATASET/miex-00000042``.
        label: Index of `emotion` in the label space.
        emotion: Name of the class.
        database: Where it comes from; ``miex`` for synthesized samples.
        subject: Who is shown, as `database` names them; the template's identity for synthesized
            samples. With `database` the key of a person.
        lineage: Every person who is in the sample in some way: who is shown, and whose Action
            Units the face performs; `ANYONE` of a database on whose clips the odds of the Action
            Units were counted. A fold that tests on one of them refuses the sample.
        apex_rule: Where the apex comes from (`ApexRule`), ``synthesized`` for our samples.
        au_source: real_mie, early_mae or expert; None for real clips.
        weight: How often it is drawn in training relative to others.
        aus: The Action Units that annotators coded in a real clip, for `parse_facs`; None where
            nobody did. No recognizer sees them; a baseline does.
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
        """Key of who is shown."""
        return person_of(self.database, self.subject)


@dataclass(frozen=True, slots=True)
class Sample:
    """One expression with its pixels.

    Attributes:
        info: What it is.
        frames: ``uint8 (T, S, S, 3)`` RGB, T at least 2, the first one the onset, all cut alike by
            the onset's landmarks.
        apex_index: Index of the apex in `frames`, 1 to T - 1.
        landmarks: ``float32 (T, 68, 2)``, x and y in pixels of the frames, iBUG 300-W order; NaN
            in frames where no face was found. None where nobody looked.
        flow: ``uint8 (S, S, 3)``, u, v and strain from onset to apex, each stretched to 0-255, of
            a clip that is published as that; `frames` is then ``(0, 0, 0, 3)``. None elsewhere.
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
"""Smallest side of a frame that any recognizer takes, pixels."""


def require_usable(
    sample: Sample,
    *,
    landmarks: Literal["none", "onset", "pair"] = "none",
    side: int | None = None,
) -> None:
    """Refuses what no representation can be made of.

    Args:
        sample: To check.
        landmarks: Which frames need landmarks: those that a representation reads, no others.
        side: The side that the frames must have; any from `MIN_SIDE` on by default.

    Raises:
        ValueError: Names the sample, what is wrong with it, and the way out.
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
        content: Hash of everything that decides their pixels, hexadecimal: cached
            representations are found by it.
        infos: What they are, in the order of `load`.
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
        """Decodes the samples one at a time, in the order of `infos`.

        Args:
            landmarks: Whether they must come with landmarks in every frame.

        Raises:
            ValueError: A frame cannot be decoded; the sample and the frame are named.
        """
        ...
