"""Fictitious macro-expression databases and videos in the real layouts."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2

from miex.pipeline.fictitious_databases.clip_renderer import (
    ClipRenderer,
    ClipSpec,
    Frame,
    write_image,
)

_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")

_FRAMES = 8
"""Number of frames of a sequence from neutral to apex."""


def _sequence(subject: int, clip: str, emotion: str, aus: str = "", first: int = 1) -> ClipSpec:
    last = first + _FRAMES - 1
    return ClipSpec(subject, clip, emotion, aus, first, last, last)


def write_ckplus(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write CK+ with its frames, emotion files and FACS files."""
    numbers = {"anger": 1, "contempt": 2, "disgust": 3, "fear": 4, "happiness": 5}
    numbers |= {"sadness": 6, "surprise": 7}
    # Pairs of AU and intensity; intensity 0 means present, but not scored.
    facs = {
        "anger": [(4, 3), (7, 0), (23, 2)],
        "contempt": [(14, 2)],
        "disgust": [(9, 4), (17, 0)],
        "fear": [(1, 2), (4, 0), (20, 3)],
        "happiness": [(6, 0), (12, 4)],
        "sadness": [(1, 3), (4, 2), (15, 0)],
        "surprise": [(1, 3), (2, 0), (26, 3)],
    }
    emotions = list(numbers)
    renderer.note("the last sequence of each subject has an empty emotion folder; .DS_Store files")
    for subject in range(1, subjects + 1):
        name = f"S{subject + 4:03}"
        for clip in range(1, clips + 1):
            sequence = f"{clip:03}"
            emotion = emotions[(subject + clip) % len(emotions)]
            text = "+".join(
                f"{au}{'ABCDE'[level - 1] if level else ''}" for au, level in facs[emotion]
            )
            spec = _sequence(subject, sequence, emotion, text)
            stem = f"{name}_{sequence}_{spec.apex:08}"
            images = folder / "cohn-kanade-images" / name / sequence
            for number, frame in renderer.frames(spec).items():
                path = images / f"{name}_{sequence}_{number:08}.png"
                write_image(path, frame, grey=bool(subject % 2))
            (images / ".DS_Store").write_bytes(b"\0")
            label = folder / "Emotion" / name / sequence
            label.mkdir(parents=True)
            if clip < clips:
                value = f"   {numbers[emotion]:.7e}\n"
                (label / f"{stem}_emotion.txt").write_text(value, encoding="ascii")
            lines = "".join(f"   {au:.7e}   {level:.7e}\n" for au, level in facs[emotion])
            coding = folder / "FACS" / name / sequence
            coding.mkdir(parents=True)
            (coding / f"{stem}_facs.txt").write_text(lines, encoding="ascii")
            renderer.listed += 1
    (folder / "Emotion" / ".DS_Store").write_bytes(b"\0")


def write_oulu_casia(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write Oulu-CASIA in strong visible light, and one near-infrared sequence in weak light."""
    base = folder / "PreProcess_Img"
    for subject in range(1, subjects + 1):
        for emotion in _EMOTIONS[: max(clips, 1)]:
            place = base / "VL_Acropped" / "Strong" / f"P{subject:03}" / emotion.capitalize()
            spec = _sequence(subject, emotion, emotion, first=0)
            for number, frame in renderer.frames(spec).items():
                write_image(place / f"{number:03}.jpeg", frame)
            renderer.listed += 1
    infrared = base / "NI_Acropped" / "Weak" / "P001" / "Happiness"
    for number, frame in renderer.frames(_sequence(1, "", "happiness", first=0)).items():
        write_image(infrared / f"{number:03}.jpeg", frame, grey=True)
    renderer.note("another condition, NI Weak, with one sequence")


def write_mmew_macro(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write the macro-expressions of MMEW, as image files, one folder and one single image."""
    for subject in range(1, subjects + 1):
        for clip in range(1, clips + 1):
            emotion = _EMOTIONS[(subject + clip) % len(_EMOTIONS)]
            name = f"S{subject:02}-{clip:02}"
            place = folder / "Macro_Expression" / f"S{subject:02}" / emotion
            frames = renderer.frames(_sequence(subject, name, emotion))
            if clip == clips:
                frames = {1: frames[1]}
            for number, frame in frames.items():
                in_folder = subject == 1 and clip == 1
                path = (
                    place / name / f"{number}.jpg"
                    if in_folder
                    else place / f"{name}-{number:03}.jpg"
                )
                write_image(path, frame)
            renderer.listed += 1
    renderer.note("S01-01 is a folder of frames; the last of each subject is a single image")


def write_video_folder(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write videos and one folder of frames, with a table of clips."""
    rows = [["path", "subject", "emotion", "clip", "onset", "apex", "offset", "aus", "fps"]]
    for subject in range(1, subjects + 1):
        video: list[Frame] = []
        path = f"videos/p{subject}.mp4"
        for clip in range(1, clips + 1):
            emotion = _EMOTIONS[(subject + clip) % len(_EMOTIONS)]
            spec = _sequence(subject, f"c{clip}", emotion, first=len(video) + 1)
            spec = replace(spec, offset=spec.offset + 4)
            video += renderer.frames(spec).values()
            numbers = [str(spec.onset), str(spec.apex) if clip > 1 else "", str(spec.offset)]
            rows.append([path, f"p{subject}", emotion, spec.clip, *numbers, "", ""])
        _write_video(folder / path, video)
    renderer.note("several clips in each video; the first of each has no apex")
    spec = _sequence(1, "frames", "happiness")
    for number, frame in renderer.frames(spec).items():
        write_image(folder / "frames" / "p1" / f"shot_{number:04}.png", frame)
    rows.append(["frames/p1", "p1", "happiness", "", "", "", "", "12", "30"])
    renderer.note("frames/p1 is a folder of frames without onset, apex and offset")
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    renderer.listed += len(rows) - 1


def write_ravdess(folder: Path, renderer: ClipRenderer, subjects: int, clips: int) -> None:
    """Write RAVDESS: one video per recording, whose name is its annotation."""
    numbers = {"happiness": 3, "sadness": 4, "anger": 5, "fear": 6, "disgust": 7, "surprise": 8}
    for subject in range(1, subjects + 1):
        actor = folder / "Video_Speech" / f"Actor_{subject:02}"
        for clip in range(1, clips + 1):
            emotion = _EMOTIONS[(subject + clip) % len(_EMOTIONS)]
            name = f"01-{numbers[emotion]:02}-{1 + clip % 2:02}-01-01-{subject:02}"
            frames = list(renderer.frames(_sequence(subject, name, emotion)).values())
            _write_video(actor / f"01-{name}.mp4", frames)
            renderer.listed += 1
        # Neutral, and the same recording without sound: listed, but no clips.
        _write_video(actor / f"01-01-01-01-01-01-{subject:02}.mp4", frames[:2])
        _write_video(actor / f"02-{name}.mp4", frames)
        renderer.listed += 2
    renderer.note("each actor has a neutral recording, and one recording in two files")


def _write_video(path: Path, frames: list[Frame], fps: float = 25.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    video = cv2.VideoWriter(str(path), code, fps, (width, height))
    if not video.isOpened():
        raise RuntimeError(
            f"OpenCV cannot write {path}, because this build has no MPEG-4 encoder; install "
            "opencv-contrib-python-headless from the package index"
        )
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    video.release()
