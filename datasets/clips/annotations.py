"""Make clips from annotations: corrections, order of the frame numbers, and frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from miex.datasets.base import Rejection
from miex.datasets.clips.base import ApexRule, Clip, Repair, middle_frame, origin_of
from miex.datasets.clips.corrections import Correction
from miex.datasets.clips.frames import FrameFolder, Frames
from miex.datasets.labels import Emotion

_MAX_SHIFT = 3
"""Largest shift, in frames, of an onset or apex without an image to the nearest existing frame:
15 ms at 200 frames per second, a tenth of the median of 32 frames from onset to apex."""


IGNORED_IMAGES = "images with names of another form beside the frames were ignored"


@dataclass(frozen=True, slots=True)
class Annotation:
    """Annotation of one expression in a database, before any check.

    Attributes:
        subject: `Clip.subject`.
        clip: `Clip.clip`.
        emotion: Emotion of the annotation.
        emotion_text: Emotion as the database writes it.
        onset: Frame number.
        apex: Frame number; None where the database has none.
        offset: Frame number.
        where: `Clip.annotation`.
        aus: AU coding as written.
        objective_class: 1 to 7.
        apex_rule: Origin of `apex`, if there is one.
        fps: Frames per second, where it differs from that of the database.
        frames: Frames, where the annotation was made from them.
        notes: Peculiarities.
    """

    subject: str
    clip: str
    emotion: Emotion
    emotion_text: str
    onset: int
    apex: int | None
    offset: int
    where: str
    aus: str | None = None
    objective_class: int | None = None
    apex_rule: ApexRule = ApexRule.ANNOTATED
    fps: float | None = None
    frames: Frames | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Located:
    """Frames of an annotation, and a note on their place or an empty text."""

    frames: Frames
    note: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Reason why an annotation does not become a clip; see `Rejection`."""

    reason: str
    detail: str


_Locate = Callable[[Annotation], Located | None]
"""Function that finds the frames of an annotation; None if there are none."""


class ClipBuilder:
    """Make clips from annotations, and record what is changed and left out.

    Args:
        database: Name of the database.
        fps: Frames per second of the database.
        locate: Finds frames; None makes clips without frames.
        corrections: Corrections by (subject, clip).

    Attributes:
        clips: Usable clips.
        repairs: Replaced values.
        rejections: Clips that were left out.
    """

    def __init__(
        self,
        database: str,
        fps: float | None,
        locate: _Locate | None,
        corrections: Mapping[tuple[str, str], Sequence[Correction]],
    ) -> None:
        self.clips: list[Clip] = []
        self.repairs: list[Repair] = []
        self.rejections: list[Rejection] = []
        self._database = database
        self._fps = fps
        self._locate = locate
        self._corrections = corrections
        self._seen: dict[tuple[str, str], str] = {}

    def add(self, annotation: Annotation) -> None:
        """Add the clip of an annotation, or its rejection.

        Raises:
            ValueError: A correction expects another value.
        """
        key = (annotation.subject, annotation.clip)
        if key in self._seen:
            detail = f"{annotation.where}: the clip stands in {self._seen[key]} already"
            self.reject(annotation, "listed_twice", detail)
            return
        self._seen[key] = annotation.where
        annotation, fixed = _corrected(annotation, self._corrections.get(key, ()))
        if annotation.frames is None and self._locate is not None:
            try:
                located = self._locate(annotation)
            except ValueError as error:
                self.reject(annotation, "unusable_frames", f"{annotation.where}: {error}")
                return
            if located is None or not located.frames.numbers:
                self.reject(annotation, "no_frames", f"{annotation.where}: no frames are there")
                return
            annotation = _with_frames(annotation, located)
        frames = annotation.frames
        numbers = None if frames is None else frames.numbers
        settled = _settle(annotation, numbers)
        if isinstance(settled, Problem):
            self.reject(annotation, settled.reason, f"{annotation.where}: {settled.detail}")
            return
        changes = [*fixed, *_changes(annotation, settled)]
        origin = origin_of(self._database, *key)
        self.repairs += [Repair(origin, *change, annotation.where) for change in changes]
        notes = [change[3] for change in changes]
        if isinstance(frames, FrameFolder) and frames.ignored:
            notes.append(IGNORED_IMAGES)
        self.clips.append(self._clip(settled, notes))

    def unused_corrections(self) -> list[tuple[str, str]]:
        """Return every (subject, clip) of the corrections that is not among the annotations."""
        return sorted(set(self._corrections) - set(self._seen))

    def reject(self, annotation: Annotation, reason: str, detail: str) -> None:
        """Leave a clip out."""
        origin = origin_of(self._database, annotation.subject, annotation.clip)
        self.rejections.append(Rejection(origin, reason, detail))

    def _clip(self, settled: Annotation, changes: Sequence[str]) -> Clip:
        notes = list(dict.fromkeys([*settled.notes, *changes]))
        if settled.apex == settled.onset:
            notes.append("the apex is the onset")
        return Clip(
            database=self._database,
            subject=settled.subject,
            clip=settled.clip,
            emotion=settled.emotion,
            emotion_text=settled.emotion_text,
            onset=settled.onset,
            apex=settled.apex,
            offset=settled.offset,
            apex_rule=settled.apex_rule,
            aus=settled.aus,
            fps=settled.fps or self._fps,
            objective_class=settled.objective_class,
            frames=settled.frames,
            annotation=settled.where,
            notes=tuple(notes),
        )


_Change = tuple[str, int | str | None, int | str, str]
"""Field, old value, new value, reason."""


def _corrected(
    annotation: Annotation, corrections: Sequence[Correction]
) -> tuple[Annotation, list[_Change]]:
    changes: list[_Change] = []
    for entry in corrections:
        old = getattr(annotation, entry.field)
        if old != entry.old:
            raise ValueError(
                f"{annotation.where}: {entry.field} of {annotation.subject} {annotation.clip} is "
                f"{old!r}, but a correction ({entry.source}) replaces {entry.old!r} by "
                f"{entry.new!r}; this is another version of the annotation: give a file of "
                "corrections that fits it, or an empty one, with the option `corrections`"
            )
        rule = ApexRule.CORRECTED if entry.field == "apex" else annotation.apex_rule
        values: dict[str, Any] = {entry.field: entry.new, "apex_rule": rule}
        annotation = replace(annotation, **values)
        changes.append((entry.field, old, entry.new, f"corrected by {entry.source}"))
    return annotation, changes


def _with_frames(annotation: Annotation, located: Located) -> Annotation:
    """Add frames; files of a folder with only this clip may be renumbered from its onset."""
    frames = located.frames
    notes = [*annotation.notes, *filter(None, [located.note])]
    span = range(annotation.onset, annotation.offset + 1)
    if (
        isinstance(frames, FrameFolder)
        and len(frames.files) == len(span)
        and not any(number in span for number in frames.files)
    ):
        frames = frames.renumbered(annotation.onset)
        notes.append("the files of the folder are counted from the onset")
    return replace(annotation, frames=frames, notes=tuple(notes))


def _settle(annotation: Annotation, numbers: Sequence[int] | None) -> Annotation | Problem:
    """Correct frame numbers that are out of order or have no image."""
    ends = _ends(annotation, 0 if numbers is None else numbers[0])
    if ends is None:
        detail = f"onset {annotation.onset}, apex {annotation.apex}, offset {annotation.offset}"
        return Problem("not_in_order", f"{detail}: more than one of them is wrong")
    onset, offset = ends
    there: Sequence[int] | None = None
    if numbers is not None:
        there = [number for number in numbers if onset <= number <= offset]
        if not there:
            detail = f"none of the frames {onset} to {offset}"
            return Problem("no_frames", f"{detail}, only {numbers[0]} to {numbers[-1]}")
        if there[0] - onset > _MAX_SHIFT:
            return Problem("onset_missing", f"no frame {onset}, the next is {there[0]}")
        onset, offset = there[0], there[-1]
    apex = annotation.apex
    if apex is not None and there is not None and ends[0] <= apex <= ends[1]:
        nearest = _nearest(there, apex)
        if abs(nearest - apex) <= _MAX_SHIFT:
            apex = nearest
        elif onset <= apex <= offset:
            return Problem("apex_missing", f"no frame {apex}, the nearest is {nearest}")
    return _with_apex(replace(annotation, onset=onset, offset=offset), apex, there)


def _ends(annotation: Annotation, first: int) -> tuple[int, int] | None:
    """Return onset and offset in order; one wrong number is mirrored at the apex.

    Args:
        annotation: Annotation with any frame numbers.
        first: Smallest possible frame number.

    Returns:
        None if more than one number is wrong.
    """
    onset, apex, offset = annotation.onset, annotation.apex, annotation.offset
    if onset <= offset:
        return onset, offset
    if apex is not None and onset <= apex:
        return onset, 2 * apex - onset
    if apex is not None and apex <= offset:
        return max(2 * apex - offset, first), offset
    return None


def _with_apex(annotation: Annotation, apex: int | None, there: Sequence[int] | None) -> Annotation:
    """Return the annotation with a usable apex, the middle frame if it has none."""
    if apex is not None and annotation.onset <= apex <= annotation.offset:
        return replace(annotation, apex=apex)
    if apex is None and annotation.apex_rule is ApexRule.NONE:
        return annotation
    rule = ApexRule.MIDDLE_FRAME if apex is None else ApexRule.REPAIRED
    middle = middle_frame(annotation.onset, annotation.offset)
    if there is not None:
        middle = _nearest(there, middle)
    return replace(annotation, apex=middle, apex_rule=rule)


def _nearest(there: Sequence[int], wanted: int) -> int:
    return min(there, key=lambda number: (abs(number - wanted), number))


def _changes(before: Annotation, after: Annotation) -> list[_Change]:
    """Yield the values that `_settle` replaced; an apex that was not annotated is no repair."""
    ends_wrong = before.offset < before.onset
    reasons = {
        "onset": "onset after the offset: moved before the apex by the distance of the offset"
        if ends_wrong
        else "no image of the onset: next frame",
        "apex": "apex outside of onset and offset, or beyond the frames: middle frame"
        if after.apex_rule is ApexRule.REPAIRED
        else "no image of the apex: nearest frame",
        "offset": "offset before the onset: moved after the apex by the distance of the onset"
        if ends_wrong
        else "no image of the offset: last frame",
    }
    changes: list[_Change] = []
    for name, reason in reasons.items():
        old, new = getattr(before, name), getattr(after, name)
        if old is not None and old != new:
            changes.append((name, old, new, reason))
    return changes
