"""Samples of real clips: one block per person, cropped like synthesized faces.

Every frame of a clip is cropped by the landmarks of its onset, with the convention of
`miex.pipeline.faces.crop`, so that motion in the sample is motion in the clip.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from miex.datasets.base import Rejection
from miex.datasets.clips.base import Clip, ClipReader, clip_database_names
from miex.datasets.clips.flow_images import FlowImage
from miex.datasets.clips.frames import UnreadableFrame
from miex.datasets.config import FrozenConfig
from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.crop import Points, crop_transform, cut, transform_points
from miex.pipeline.faces.detection import Box, DlibDetector, FaceDetector
from miex.pipeline.recognition.frame_choice import chosen_frames, early_frame, largest_motion
from miex.pipeline.recognition.landmarks import FOLLOW_VERSION, follow
from miex.pipeline.recognition.sample import (
    MIN_SIDE,
    NO_FRAMES,
    ClipFrames,
    Sample,
    SampleInfo,
    Subject,
    person_of,
)

VERSION = 1
"""Version of the samples; increased when the same clips give other samples."""

LARGEST_MOTION = "found here: frame of the largest motion of brows, nose and mouth"
"""`SampleInfo.apex_rule` of clips without an annotated apex; see `largest_motion`."""

EARLY = "early frame of a macro-expression, drawn between {:g} and {:g} of the way to its apex"
"""`SampleInfo.apex_rule` of clips of macro-expressions that stand for micro-expressions."""

OnClip = Callable[[int, int], None]
"""Called with (finished clips, all clips)."""

_FACE = FaceConfig()


class ClipSampleConfig(FrozenConfig):
    """Frames, size and landmarks of samples from clips."""

    size: int = Field(_FACE.size, ge=MIN_SIDE, le=512, description="side of the frames, pixels")
    eye_distance: float = Field(
        _FACE.eye_distance, ge=0.15, le=0.5, description="as in FaceConfig, a share of the side"
    )
    eye_height: float = Field(
        _FACE.eye_height, ge=0.2, le=0.6, description="as in FaceConfig, a share of the side"
    )
    frames: Literal["pair", "to_apex", "to_offset"] | None = Field(
        None,
        description="frames of the clip; by default those that the recognizer needs, see "
        "ClipFrames",
    )
    most: int | None = Field(
        None,
        ge=3,
        description="longer sequences are thinned evenly; onset, apex and last frame stay; what "
        "the recognizer takes by default",
    )
    apex: Literal["annotated", "spotted"] = Field(
        "annotated",
        description="spotted looks for it in every clip, as must be done where nobody annotates; "
        "scores with annotated apexes are what perfect spotting would give",
    )
    macro: Literal["apex", "early"] = Field(
        "apex",
        description="of clips of macro-expression databases: early takes one frame early on the way"
        " to the apex, as MiE-X trains on CK+",
    )
    alpha: tuple[float, float] = Field(
        (1 / 4, 1 / 2),
        description="of macro=early: the frame is drawn between these shares of the frames from the"
        " onset to the apex",
    )
    missing_apex: Literal["largest_motion", "refuse"] = Field(
        "largest_motion", description="of clips whose apex nobody states"
    )
    landmarks: Literal["followed", "detected"] = Field(
        "followed",
        description="landmarks behind the onset: carried along the optical flow, as those of "
        "synthesized samples are; or dlib's in every frame, whose noise is as large as a "
        "micro-expression",
    )

    def chosen(self, frames: ClipFrames) -> "ClipSampleConfig":
        """Return the config with the frames that a recognizer needs, if none were chosen."""
        return self.model_copy(
            update={"frames": self.frames or frames.which, "most": self.most or frames.most}
        )


@dataclass(frozen=True, slots=True)
class _Onset:
    """Face in the onset.

    Attributes:
        box: Its box, in pixels of the clip.
        landmarks: ``(68, 2)``, pixels of the crop.
        matrix: Maps the clip to the crop, see `crop_transform`.
    """

    box: Box
    landmarks: NDArray[np.float32]
    matrix: Points


@dataclass(frozen=True, slots=True)
class _Take:
    """Frames that are taken from a clip.

    Attributes:
        info: Facts about the sample.
        clip: The clip.
        numbers: Numbers of the frames, the onset first; empty for published flow.
        apex_index: Index of the apex in `numbers`.
        face: The face in the onset; None for published flow.
        digest: Hash of the decoded frames, or of the flow image.
    """

    info: SampleInfo
    clip: Clip
    numbers: Sequence[int]
    apex_index: int
    face: _Onset | None
    digest: str


class _LeftOut(Exception):
    """A clip does not become a sample; the message is the reason."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ClipBlock:
    """The clips of one person; see `SampleBlock`.

    Attributes:
        content: Hash of the decoded frames, their numbers, and everything else that decides what
            becomes of them.
        infos: One for each clip.
    """

    content: str
    infos: Sequence[SampleInfo]
    _takes: Sequence[_Take] = field(repr=False)
    _config: ClipSampleConfig = field(repr=False)
    _detector: FaceDetector = field(repr=False)

    def load(self, landmarks: bool) -> Iterator[Sample]:
        """See `SampleBlock.load`."""
        for take in self._takes:
            yield _sample(take, self._config, self._detector, landmarks)


def clip_blocks(
    readers: Sequence[ClipReader],
    label_space: LabelSpace,
    config: ClipSampleConfig | None = None,
    *,
    detector: FaceDetector | None = None,
    on_clip: OnClip | None = None,
) -> tuple[list[ClipBlock], list[Rejection]]:
    """Return the samples of clip databases.

    The frames that are used are decoded once here, so that what cannot be read is known before
    anything is trained; they are decoded again when they are loaded.

    Args:
        readers: Databases, opened with frames.
        label_space: Of the labels. A clip of a challenge's list keeps the class that it has there
            (`Clip.listed_label`) in the space that list is made for.
        config: Size, frames, landmarks.
        detector: Finds the face of each onset; dlib by default.
        on_clip: Called before the first clip and after each.

    Returns:
        One block for each (database, subject) with a usable clip, in the order of the readers; and
        every clip that was left out, those of the readers among them. Reasons of its own:
        ``listed_twice``, ``no_class``, ``single_frame``, ``no_apex``, ``apex_is_onset``,
        ``apex_missing``, ``no_early_frame``, ``no_face``, ``bad_landmarks``, ``unreadable_frame``.

    Raises:
        ValueError: A database was opened without frames, or its annotation is damaged.
        FileNotFoundError: A database, or a model of the detector, is not there.
    """
    config = (config or ClipSampleConfig()).chosen(ClipFrames())
    detector = detector or DlibDetector(_FACE)
    clips = [clip for reader in readers for clip in reader.clips()]
    rejections = [rejection for reader in readers for rejection in reader.report().rejections]
    people: dict[Subject, list[_Take]] = {}
    seen: set[tuple[str, str, str]] = set()
    if on_clip is not None:
        on_clip(0, len(clips))
    for done, clip in enumerate(clips, start=1):
        try:
            if clip.key in seen:
                raise _LeftOut("listed_twice", "another of the databases holds it already")
            seen.add(clip.key)
            take = _take(clip, label_space, config, detector)
            people.setdefault(take.info.person, []).append(take)
        except UnreadableFrame as error:
            rejections.append(Rejection(clip.origin, "unreadable_frame", str(error)))
        except _LeftOut as left:
            detail = f"{clip.annotation}: {left}" if clip.annotation else str(left)
            rejections.append(Rejection(clip.origin, left.reason, detail))
        if on_clip is not None:
            on_clip(done, len(clips))
    return [_block(takes, config, detector) for takes in people.values()], rejections


def _take(clip: Clip, space: LabelSpace, config: ClipSampleConfig, detector: FaceDetector) -> _Take:
    label = _label(clip, space)
    if clip.flow is not None:
        return _take_flow(clip, clip.flow, label, space)
    there = clip.numbers()
    early = config.macro == "early" and clip.database in clip_database_names("macro")
    if early:
        clip = _until_early(clip, there, config)
        there = clip.numbers()
    _require_motion(clip, there, config)
    face = _find_face(next(iter(clip.images(there[:1]))), config, detector)
    apex, rule = clip.apex, str(clip.apex_rule)
    if apex is None or (config.apex == "spotted" and not early):
        crops = (cut(image, face.matrix, config.size) for image in clip.images(there))
        apex, rule = there[largest_motion(crops, face.landmarks)], LARGEST_MOTION
    elif early:
        rule = EARLY.format(*config.alpha)
    assert config.frames is not None
    assert config.most is not None
    numbers = chosen_frames(there, apex, config.frames, config.most)
    info = _info(clip, label, space, rule)
    pixels = hashlib.sha256()
    for image in clip.images(numbers):
        pixels.update(repr(image.shape).encode())
        pixels.update(np.ascontiguousarray(image).data)
    return _Take(info, clip, numbers, numbers.index(apex), face, pixels.hexdigest())


def _until_early(clip: Clip, there: Sequence[int], config: ClipSampleConfig) -> Clip:
    """Return a macro-expression that ends at an early frame."""
    if clip.apex is None:
        raise _LeftOut("no_apex", "macro=early needs the apex of the macro-expression")
    number = early_frame(clip, there, config.alpha)
    if number is None:
        raise _LeftOut("no_early_frame", f"frames {there[0]} to {clip.apex} have no early one")
    return replace(clip, apex=number, offset=number)


def _take_flow(clip: Clip, flow: FlowImage, label: int, space: LabelSpace) -> _Take:
    digest = hashlib.sha256(flow.read().tobytes()).hexdigest()
    return _Take(_info(clip, label, space, str(clip.apex_rule)), clip, (), 0, None, digest)


def _info(clip: Clip, label: int, space: LabelSpace, apex_rule: str) -> SampleInfo:
    return SampleInfo(
        key=clip.origin,
        label=label,
        emotion=space.classes[label],
        database=clip.database,
        subject=clip.subject,
        lineage=frozenset({person_of(clip.database, clip.subject)}),
        apex_rule=apex_rule,
        aus=clip.aus,
    )


def _label(clip: Clip, space: LabelSpace) -> int:
    listed = clip.listed_label if space == LABEL_SPACES["three_class"] else None
    label = space.label(clip.emotion) if listed is None else listed
    if label is None:
        raise _LeftOut("no_class", f"{clip.emotion} belongs to no class of {space.name}")
    return label


def _require_motion(clip: Clip, there: Sequence[int], config: ClipSampleConfig) -> None:
    if len(there) < 2:
        raise _LeftOut(
            "single_frame", f"{len(there)} frame from {clip.onset} to {clip.offset}: no motion"
        )
    if clip.apex is None and config.missing_apex == "refuse":
        raise _LeftOut(
            "no_apex", "no apex is annotated; missing_apex=largest_motion searches for it"
        )
    if config.apex == "spotted":
        return
    if clip.apex == there[0]:
        raise _LeftOut("apex_is_onset", f"onset and apex are both frame {there[0]}")
    if clip.apex is not None and clip.apex not in there:
        raise _LeftOut("apex_missing", f"no frame {clip.apex} from {there[0]} to {there[-1]}")


def _find_face(
    onset: NDArray[np.uint8], config: ClipSampleConfig, detector: FaceDetector
) -> _Onset:
    boxes = detector.find(onset)
    if not boxes:
        raise _LeftOut("no_face", "no detector found a face in the onset")
    box = max(boxes, key=lambda box: box[2] - box[0])
    points = detector.landmarks(onset, box)
    try:
        matrix = crop_transform(points, config.size, config.eye_distance, config.eye_height)
    except ValueError as error:
        raise _LeftOut("bad_landmarks", str(error)) from None
    return _Onset(box, transform_points(matrix, points), matrix)


def _block(takes: Sequence[_Take], config: ClipSampleConfig, detector: FaceDetector) -> ClipBlock:
    # Landmarks depend on the pixels of the onset and the detector, pixels never on labels.
    decides = [
        [VERSION, FOLLOW_VERSION, detector.name, config.model_dump(mode="json")],
        *([take.info.key, list(take.numbers), take.apex_index, take.digest] for take in takes),
    ]
    content = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    return ClipBlock(content, tuple(take.info for take in takes), takes, config, detector)


def _sample(
    take: _Take, config: ClipSampleConfig, detector: FaceDetector, landmarks: bool
) -> Sample:
    face = take.face
    if face is None:
        assert take.clip.flow is not None
        return Sample(take.info, NO_FRAMES, 0, flow=take.clip.flow.read())
    crops: list[NDArray[np.uint8]] = []
    points = [face.landmarks]
    try:
        for image in take.clip.images(take.numbers):
            if landmarks and config.landmarks == "detected" and crops:
                points.append(_detect(image, face, detector))
            crops.append(cut(image, face.matrix, config.size))
    except UnreadableFrame as error:
        raise ValueError(f"{take.info.key}: {error}; it could be read before") from None
    frames = np.stack(crops)
    if not landmarks:
        return Sample(take.info, frames, take.apex_index)
    found = np.stack(points) if config.landmarks == "detected" else follow(frames, face.landmarks)
    return Sample(take.info, frames, take.apex_index, found)


def _detect(image: NDArray[np.uint8], face: _Onset, detector: FaceDetector) -> NDArray[np.float32]:
    """Return landmarks of a later frame in pixels of the crop, NaN without a face.

    They are detected in the box of the onset: a new box, which detectors place on a coarse grid,
    would shift all of them.
    """
    if not detector.find(image):
        return np.full((68, 2), np.nan, np.float32)
    return transform_points(face.matrix, detector.landmarks(image, face.box))
