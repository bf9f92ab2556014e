"""Annotated clips of expressions, and the function that opens their databases.

A new database is one new file in `micro/` or `macro/` that registers a factory:

    @register_clips("name", Facts("what it holds", "Title", "name:FOLDER", ("sheet*.xlsx",)))
    def open_name(spec: SourceSpec, frames: bool) -> ClipReader: ...

Another installed package names such a factory in its entry points `miex.readers`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from miex.datasets.base import Rejection
from miex.datasets.clips.flow_images import FlowImage
from miex.datasets.clips.frames import Frame, Frames
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import Emotion
from miex.datasets.registry import Facts, Registry, modules_in


class ApexRule(StrEnum):
    """Origin of the number of an apex frame."""

    ANNOTATED = "annotated"
    CORRECTED = "corrected by a file of corrections"
    MIDDLE_FRAME = "middle frame: onset + (offset - onset) // 2"
    """The database has no apex, or none for this clip. Other definitions (half of the number of
    frames, half of the sum) differ by one frame."""
    REPAIRED = "repaired: onset + (offset - onset) // 2"
    """The annotated apex is not between onset and offset, or is beyond the existing frames."""
    LAST_FRAME = "last frame"
    """The sequence ends at its peak (CK+, Oulu-CASIA)."""
    IN_FLOW = "of the published flow: its authors' choice of onset and apex"
    """The clip is published as flow from onset to apex, without frame numbers."""
    NONE = "not annotated: to be found in the frames"
    """Videos and sequences without annotated frames."""


def middle_frame(onset: int, offset: int) -> int:
    """Return the middle frame, the apex by `ApexRule.MIDDLE_FRAME`."""
    return onset + (offset - onset) // 2


@dataclass(frozen=True, slots=True)
class Clip:
    """Annotated expression.

    Attributes:
        database: Name of the database; `database`, `subject` and `clip` identify the clip.
        subject: Subject, as the database names it (``sub01``, ``006``, ``s1``, ``spNO.1``).
        clip: Name of the clip, unique for the subject. If a database names videos and a video has
            several expressions, the name ends in the onset (``e_62``).
        emotion: Annotated emotion.
        emotion_text: Emotion as the database writes it.
        onset: Number of the onset frame, as the database counts.
        apex: Number of the apex frame; None if it is unknown.
        offset: Number of the offset frame; the last frame of a sequence that ends at its peak.
        apex_rule: Origin of `apex`.
        aus: AU coding as the database writes it, for `parse_facs`; None if there is none.
        fps: Frames per second.
        objective_class: 1 to 7, the objective class of Davison et al. 2018.
        listed_label: Class in a challenge's own list of clips, an index of the label space
            `three_class`; None for clips of no such list.
        frames: The images; None if the database was opened without frames.
        flow: Optical flow from onset to apex as an image, of clips that are published in this form
            and have no frames.
        annotation: Place of the annotation: ``coding.xlsx, row 12``.
        notes: Peculiarities, as text.
    """

    database: str
    subject: str
    clip: str
    emotion: Emotion
    emotion_text: str
    onset: int
    apex: int | None
    offset: int
    apex_rule: ApexRule
    aus: str | None = None
    fps: float | None = None
    objective_class: int | None = None
    listed_label: int | None = None
    frames: Frames | None = field(default=None, compare=False, repr=False)
    flow: FlowImage | None = field(default=None, compare=False, repr=False)
    annotation: str = ""
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """(database, subject, clip), unique for each clip."""
        return (self.database, self.subject, self.clip)

    @property
    def origin(self) -> str:
        """The key as one text, ``casme2:sub01/EP02_01f``."""
        return origin_of(*self.key)

    def numbers(self, last: int | None = None) -> list[int]:
        """Return the numbers of the existing frames from the onset on.

        Args:
            last: Last frame; the offset by default.

        Raises:
            ValueError: The database was opened without frames.
        """
        end = self.offset if last is None else last
        return [number for number in self._opened().numbers if self.onset <= number <= end]

    def images(self, numbers: Iterable[int] | None = None) -> Iterator[Frame]:
        """Decode frames, one at a time.

        Args:
            numbers: Frame numbers, ascending; from onset to offset by default.

        Returns:
            ``uint8 (H, W, 3)`` RGB, see `Frames.images`.

        Raises:
            ValueError: The database was opened without frames.
            UnreadableFrame: A frame cannot be read; the message names the file.
        """
        return self._opened().images(self.numbers() if numbers is None else numbers)

    def _opened(self) -> Frames:
        if self.flow is not None:
            raise ValueError(
                f"{self.origin} is published as optical flow ({self.flow.path.name}); it has no"
                " frames"
            )
        if self.frames is None:
            raise ValueError(
                f"{self.origin} was opened without frames; open the database with frames=True"
            )
        return self.frames


def origin_of(database: str, subject: str, clip: str) -> str:
    """Return the key of a clip as one text."""
    return f"{database}:{subject}/{clip}"


@dataclass(frozen=True, slots=True)
class Repair:
    """Value of an annotation that was replaced.

    Attributes:
        origin: `Clip.origin`.
        field: onset, apex, offset, ...
        old: Value of the database; None if it has none.
        new: Value that is used instead.
        reason: Short reason by which repairs are counted.
        annotation: `Clip.annotation`.
    """

    origin: str
    field: str
    old: int | str | None
    new: int | str
    reason: str
    annotation: str = ""


@dataclass(frozen=True, slots=True)
class ClipReport:
    """Account of a reader on a database; `listed` is the number of clips plus rejections.

    Attributes:
        database: Name of the database.
        root: The folder that was opened.
        sheet: The annotation sheet; None if the annotation is in the names of folders.
        images: The folder of the frames; None if opened without frames.
        published: Number of clips that the authors state; None if they state none.
        listed: Number of clips in the sheet, or in the folders.
        clips: Number of clips that are returned.
        frames: Number of existing frames of these clips, from onset to offset.
        frames_missing: Number of missing frames between onset and offset.
        apex_rules: Number of clips by `ApexRule`.
        emotions: Number of clips by emotion.
        subjects: Number of clips by subject.
        notes: Number of clips by peculiarity.
        repairs: Every value that was replaced.
        rejections: Every clip that was left out.
    """

    database: str
    root: str
    sheet: str | None
    images: str | None
    published: int | None
    listed: int
    clips: int
    frames: int
    frames_missing: int
    apex_rules: Mapping[str, int]
    emotions: Mapping[str, int]
    subjects: Mapping[str, int]
    notes: Mapping[str, int]
    repairs: tuple[Repair, ...]
    rejections: tuple[Rejection, ...]


class ClipReader(Protocol):
    """Reader of a database of expressions; one file in `micro/` or `macro/` each.

    Attributes:
        name: Name of the database.
        licence: Terms of use, one line.
    """

    @property
    def name(self) -> str:
        """Name of the database."""
        ...

    @property
    def licence(self) -> str:
        """Terms of use, one line."""
        ...

    def clips(self) -> Sequence[Clip]:
        """Return all usable clips, in an order independent of the file system.

        Raises:
            ValueError: The annotation is damaged (the message names file, row and column), or no
                clip is usable.
            FileNotFoundError: No sheet or no frames; the message lists the names looked for.
        """
        ...

    def report(self) -> ClipReport:
        """Return what was found, repaired and left out.

        Raises:
            ValueError: See `clips`.
            FileNotFoundError: See `clips`.
        """
        ...


def gives_flow(reader: ClipReader) -> bool:
    """Return whether the clips of a reader are published as flow images, without frames.

    Such a reader has the attribute `gives_flow`; others do not need it.
    """
    return bool(getattr(reader, "gives_flow", False))


Factory = Callable[[SourceSpec, bool], ClipReader]

_ROOMS = ("micro", "macro")


def _modules(rooms: Sequence[str] = _ROOMS) -> dict[str, str]:
    here = Path(__file__).parents[1]
    parts = (modules_in(f"miex.datasets.{room}", here / room) for room in rooms)
    return {name: module for part in parts for name, module in part.items()}


_DATABASES = Registry[Factory]("clip database", _modules, "miex.readers")

register_clips = _DATABASES.register
"""Register a factory under the name of its file."""


def clip_database_names(room: str | None = None) -> list[str]:
    """Return the names of all databases that can be read.

    Args:
        room: Only the readers of miex in this folder, `micro` or `macro`.
    """
    return _DATABASES.names() if room is None else sorted(_modules((room,)))


def clip_database_places() -> dict[str, str]:
    """Return the module or package of each reader, see `Registry.places`."""
    return _DATABASES.places()


def clip_database_facts(name: str, *, light: bool = False) -> Facts:
    """Return what is known about a database before it is opened.

    Raises:
        ValueError: See `Registry.find`.
    """
    return _DATABASES.facts(name, light=light)


def open_clips(text: str, *, frames: bool = True) -> ClipReader:
    """Open a database.

    Args:
        text: ``NAME:PATH?KEY=VALUE&...``, for instance ``casme2:/data/CASME2`` or
            ``casme3:/data/casme3?part=C``; ``samples`` needs no path.
        frames: False reads only the annotation and needs no images. Databases whose annotation is
            in the names of folders (SMIC, Oulu-CASIA, MMEW macro) need images in any case.

    Raises:
        ValueError: No such database, no path, or an unknown option.
        FileNotFoundError: Nothing at that path.
    """
    name = text.partition(":")[0].partition("?")[0]
    if name not in clip_database_names():
        known = ", ".join(clip_database_names())
        raise ValueError(
            f"{text!r} names no database of clips; write NAME:PATH, where NAME is one of {known}"
        )
    return _DATABASES.find(name)(SourceSpec.parse(text), frames)
