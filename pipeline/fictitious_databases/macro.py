"""Fictitious macro-expression databases and videos in the real layouts."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2

from miex.pipeline.fictitious_databases.artist import Artist, Frame, Take, write_image

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")

FRAMES = 8
"""Frames of a sequence from neutral to peak."""


def _sequence(subject: int, clip: str, emotion: str, aus: str = "", first: int = 1) -> Take:
    last = first + FRAMES - 1
    return Take(subject, clip, emotion, aus, first, last, last)


def write_ckplus(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """CK+: frames, emotion files, FACS files."""
    numbers = {"anger": 1, "contempt": 2, "disgust": 3, "fear": 4, "happiness": 5, "sadness": 6}
    # AU and intensity; 0 is present but not scored.
    facs = {
        "anger": [(4, 3), (7, 0), (23, 2)],
        "contempt": [(14, 2)],
        "disgust": [(9, 4), (17, 0)],
        "fear": [(1, 2), (4, 0), (20, 3)],
        "happiness": [(6, 0), (12, 4)],
        "sadness": [(1, 3), (4, 2), (15, 0)],
    }
    emotions = list(numbers)
    artist.plant("the last sequence of each subject has an empty emotion folder; .DS_Store files")
    for subject in range(1, subjects + 1):
        name = f"S{subject + 4:03}"
        for clip in range(1, clips + 1):
            sequence = f"{clip:03}"
            emotion = emotions[(subject + clip) % len(emotions)]
            text = "+".join(
                f"{au}{'ABCDE'[level - 1] if level else ''}" for au, level in facs[emotion]
            )
            take = _sequence(subject, sequence, emotion, text)
            stem = f"{name}_{sequence}_{take.apex:08}"
            images = folder / "cohn-kanade-images" / name / sequence
            for number, frame in artist.frames(take).items():
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
            artist.listed += 1
    (folder / "Emotion" / ".DS_Store").write_bytes(b"\0")


def write_oulu_casia(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """Oulu-CASIA: visible light, strong; one sequence of the near infrared in weak light."""
    base = folder / "PreProcess_Img"
    for subject in range(1, subjects + 1):
        for emotion in EMOTIONS[: max(clips, 1)]:
            place = base / "VL_Acropped" / "Strong" / f"P{subject:03}" / emotion.capitalize()
            take = _sequence(subject, emotion, emotion, first=0)
            for number, frame in artist.frames(take).items():
                write_image(place / f"{number:03}.jpeg", frame)
            artist.listed += 1
    infrared = base / "NI_Acropped" / "Weak" / "P001" / "Happiness"
    for number, frame in artist.frames(_sequence(1, "", "happiness", first=0)).items():
        write_image(infrared / f"{number:03}.jpeg", frame, grey=True)
    artist.plant("another condition, NI Weak, with one sequence")


def write_mmew_macro(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """MMEW, macro-expressions: loose images, one folder, one single image."""
    for subject in range(1, subjects + 1):
        for clip in range(1, clips + 1):
            emotion = EMOTIONS[(subject + clip) % len(EMOTIONS)]
            name = f"S{subject:02}-{clip:02}"
            place = folder / "Macro_Expression" / f"S{subject:02}" / emotion
            frames = artist.frames(_sequence(subject, name, emotion))
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
            artist.listed += 1
    artist.plant("S01-01 is a folder of frames; the last of each subject is a single image")


def write_video_folder(folder: Path, artist: Artist, subjects: int, clips: int) -> None:
    """Videos and a folder of frames, with a table of clips."""
    rows = [["path", "subject", "emotion", "clip", "onset", "apex", "offset", "aus", "fps"]]
    for subject in range(1, subjects + 1):
        video: list[Frame] = []
        path = f"videos/p{subject}.mp4"
        for clip in range(1, clips + 1):
            emotion = EMOTIONS[(subject + clip) % len(EMOTIONS)]
            take = _sequence(subject, f"c{clip}", emotion, first=len(video) + 1)
            take = replace(take, offset=take.offset + 4)
            video += artist.frames(take).values()
            numbers = [str(take.onset), str(take.apex) if clip > 1 else "", str(take.offset)]
            rows.append([path, f"p{subject}", emotion, take.clip, *numbers, "", ""])
        _write_video(folder / path, video)
    artist.plant("several clips in each video; the first of each has no apex")
    take = _sequence(1, "frames", "happiness")
    for number, frame in artist.frames(take).items():
        write_image(folder / "frames" / "p1" / f"shot_{number:04}.png", frame)
    rows.append(["frames/p1", "p1", "happiness", "", "", "", "", "12", "30"])
    artist.plant("frames/p1 is a folder of frames without onset, apex and offset")
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    artist.listed += len(rows) - 1


def _write_video(path: Path, frames: list[Frame], fps: float = 25.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    video = cv2.VideoWriter(str(path), code, fps, (width, height))
    if not video.isOpened():
        raise RuntimeError(f"this build of OpenCV cannot write {path}")
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    video.release()
