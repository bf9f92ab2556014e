"""Annotated clips of expressions, and how to open the database that holds them.

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
    """Where the number of an apex frame comes from."""

    ANNOTATED = "annotated"
    CORRECTED = "corrected by a file of corrections"
    MIDDLE_FRAME = "middle frame: onset + (offset - onset) // 2"
    """The database has no apex, or none for this clip. Others round otherwise (half of the number
    of frames, half of the sum), which differs by one frame."""
    REPAIRED = "repaired: onset + (offset - onset) // 2"
    """The annotated apex lies outside of onset and offset, or beyond the frames that are there."""
    LAST_FRAME = "last frame"
    """The sequence ends at its peak (CK+, Oulu-CASIA)."""
    IN_FLOW = "in the published flow: its authors' choice of onset and apex"
    """The clip is published as flow from onset to apex; frame numbers are not."""
    NONE = "nobody says: to be found in the frames"
    """Videos and sequences that come without annotated frames."""


def middle_frame(onset: int, offset: int) -> int:
    """The apex where none is annotated, `ApexRule.MIDDLE_FRAME`."""
    return onset + (offset - onset) // 2


@dataclass(frozen=True, slots=True)
class Clip:
    """One annotated expression.

    Attributes:
        database: Name of the database; with `subject` and `clip` the key of the clip.
        subject: Who is shown, as the database names them (``sub01``, ``006``, ``s1``, ``spNO.1``).
        clip: Name of the clip, one of its kind for this subject. Where a database names videos and
            a video has several expressions, the name ends in the onset (``e_62``).
        emotion: What it is annotated with.
        emotion_text: The annotation as the database writes it.
        onset: Number of the onset frame, as the database counts.
        apex: Number of the apex frame; None where nobody knows it.
        offset: Number of the offset frame; the last frame of a sequence that ends at its peak.
        apex_rule: Where `apex` comes from.
        aus: The AU coding as the database writes it, for `parse_facs`; None where there is none.
        fps: Frames a second.
        objective_class: 1 to 7, the objective class of Davison et al. 2018.
        listed_label: Class in a challenge's own list of clips, an index of the label space
            `three_class`; None outside of such a list.
        frames: The images, None if the database was opened without.
        flow: Motion from onset to apex as an image, of clips that are published as that and have
            no frames.
        annotation: Where the annotation stands: ``coding.xlsx, row 12``.
        notes: What is peculiar, for people.
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
        """(database, subject, clip), the same for no other clip."""
        return (self.database, self.subject, self.clip)

    @property
    def origin(self) -> str:
        """The key as one text, ``casme2:sub01/EP02_01f``."""
        return origin_of(*self.key)

    def numbers(self, last: int | None = None) -> list[int]:
        """Numbers of the frames that are there, from the onset on.

        Args:
            last: Up to this frame, the offset by default.

        Raises:
            ValueError: The database was opened without frames.
        """
        end = self.offset if last is None else last
        return [number for number in self._opened().numbers if self.onset <= number <= end]

    def images(self, numbers: Iterable[int] | None = None) -> Iterator[Frame]:
        """Decodes frames, one at a time.

        Args:
            numbers: Which frames, ascending; from onset to offset by default.

        Returns:
            ``uint8 (H, W, 3)`` RGB, see `Frames.images`.

        Raises:
            ValueError: The database was opened without frames.
            UnreadableFrame: A frame cannot be read; the file is named.
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
    """The key of a clip as one text."""
    return f"{database}:{subject}/{clip}"


@dataclass(frozen=True, slots=True)
class Repair:
    """A value of an annotation that was replaced.

    Attributes:
        origin: `Clip.origin`.
        field: onset, apex, offset, ...
        old: What the database says, None where it says nothing.
        new: What is used instead.
        reason: Why, in few words to count by.
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
    """What a reader made of a database. `listed` is the number of clips and rejections together.

    Attributes:
        database: Its name.
        root: The folder that was opened.
        sheet: The annotation sheet, None where the annotation is in the names of folders.
        images: The folder of the frames, None if opened without.
        published: Number of clips that its authors state, None where they do not.
        listed: Clips in the sheet, or in the folders.
        clips: Clips that are handed out.
        frames: Frames of these clips that are there, from onset to offset.
        frames_missing: Frames between onset and offset that are not.
        apex_rules: Clips by `ApexRule`.
        emotions: Clips by emotion.
        subjects: Clips by subject.
        notes: Clips by what is peculiar about them.
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
    """A reader of a database of expressions. One file in `micro/` or `macro/` each.

    Attributes:
        name: Name of the database.
        licence: Under which terms it may be used, one line.
    """

    @property
    def name(self) -> str:
        """Name of the database."""
        ...

    @property
    def licence(self) -> str:
        """Terms, one line."""
        ...

    def clips(self) -> Sequence[Clip]:
        """Every usable clip, in an order that never depends on the file system.

        Raises:
            ValueError: The annotation is damaged; file, row and column are named. Or no clip is
                usable.
            FileNotFoundError: No sheet or no frames; the message lists the names looked for.
        """
        ...

    def report(self) -> ClipReport:
        """What was found, repaired and left out.

        Raises:
            ValueError: See `clips`.
            FileNotFoundError: See `clips`.
        """
        ...


def gives_flow(reader: ClipReader) -> bool:
    """Whether a reader's clips are published as flow images and have no frames.

    Such a reader has the attribute `gives_flow`; others need none.
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
"""Registers a factory under the name of its file."""


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
    """Opens a database.

    Args:
        text: ``NAME:PATH?KEY=VALUE&...``, for instance ``casme2:/data/CASME2`` or
            ``casme3:/data/casme3?part=C``; ``samples`` needs no path.
        frames: False reads annotations alone and needs no images. Databases whose annotation is
            in the names of folders (SMIC, Oulu-CASIA, MMEW macro) need them all the same.

    Raises:
        ValueError: No such database, no path, or an option that it does not know.
        FileNotFoundError: Nothing at that path.
    """
    name = text.partition(":")[0].partition("?")[0]
    if name not in clip_database_names():
        known = ", ".join(clip_database_names())
        raise ValueError(
            f"{text!r} names no database of clips; write NAME:PATH, where NAME is one of {known}"
        )
    return _DATABASES.find(name)(SourceSpec.parse(text), frames)
