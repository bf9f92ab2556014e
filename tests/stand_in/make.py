"""Render the stand-in: micro-expression clips for tests, independent of the generators of miex.

    python tests/stand_in/make.py --shared ../shared --out out/stand_in
    miex clips "clip_table:out/stand_in?name=stand_in"

The clips are NOT REAL and must never be called real. Geometry and motion come from a 3-D face
model. The skin comes from photographs of LFW that are not used elsewhere (`lineage.py`). AUs and
emotions come from clips of CAS(ME)3 that are excluded from training (`lineage.py`). The timing
follows published percentiles (`performance.py`). `performance.py` also states in which respect the
clips are related to the generators.

The reader `clip_table` opens `clip_table.csv` and the frames. `RENDERED.md` marks the folder as not
real. `lineage.csv` lists the photograph and the CAS(ME)3 subject of each clip. `lfw_kept_out.txt`,
`casme3_stand_in.txt` and `casme3_training.txt` are the lists of both separation rules.
`left_out.csv` lists the clips of CAS(ME)3 that are not rendered, with reasons. On one machine, the
same seed gives the same pixels.
"""

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from actor import Actor, Light
from face_fit import Fit, fit_face
from face_model import FaceModel
from lineage import by_rank, drives_stand_in, kept_out
from numpy.typing import NDArray
from performance import (
    FPS,
    Take,
    draw_temperament,
    drifted,
    play,
    playable,
    start_pose,
)

from miex.datasets.clips.base import Clip, open_clips
from miex.datasets.labels import LABEL_SPACES
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.crop import eye_centre_distance, mouth_opening
from miex.pipeline.faces.detection import DlibDetector

NOTE_FILE = "RENDERED.md"

EYE_DISTANCE = 0.22
"""Eye distance as a share of the side: 53 of 240 pixels, for a face of about 130 pixels."""

JPEG_QUALITY = 95

MAX_ERROR, MAX_TURN, MAX_OPENING, MIN_EYES = 0.055, 12.0, 0.045, 36.0
"""Limits for texture photographs: error of the fit in eye distances, pitch and yaw in degrees, gap
of the lips in eye distances, and eye distance in pixels."""

UNSUITABLE = {
    "Adrien_Brody": "tinted glasses",
    "Bernice_Wong": "the fit places the mouth wrongly",
    "Grace_Dodd": "an infant",
    "Jodie_Kidd": "flowers in front of the face",
    "Juan_Pablo_Montoya": "sunglasses",
    "Juan_Valencia_Osorio": "a hand in front of the mouth",
    "Kim_Ryong-sung": "resembles another name, with which the split of LFW puts it into training",
    "Makhdoom_Amin_Fahim": "a microphone in front of the face",
    "Melchor_Cob_Castro": "a hand at the mouth",
    "Mireya_Moscoso": "sunglasses, a microphone in front of the face",
}
"""Identities that meet all limits but cannot be textures: nine found by inspecting the first sixty
textures, and one that would not be held out (see `lineage.py`)."""


@dataclass(frozen=True, slots=True)
class Texture:
    """A photograph that is the texture of an actor."""

    identity: str
    file: str
    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    fit: Fit


@dataclass(frozen=True, slots=True)
class Part:
    """A subject of CAS(ME)3 and its clips, whose AUs an actor shows."""

    au_subject: str
    clips: Sequence[Clip]


def find_textures(model: FaceModel, shared: Path, count: int) -> Iterator[Texture]:
    """Yield the first identities, by rank, with a photograph that meets the limits.

    Raises:
        ValueError: There are fewer than `count`.
    """
    lfw, legend = shared / "data" / "lfw", shared / "data" / "lfw_emotion_labels" / "legend.csv"
    with legend.open(encoding="utf-8", newline="") as file:
        neutral = {row["image"] for row in csv.DictReader(file) if row["emotion"] == "neutral"}
    detector = DlibDetector(FaceConfig(cnn=False))
    found = 0
    names = {path.name for path in lfw.iterdir() if kept_out(path.name)} - UNSUITABLE.keys()
    for identity in by_rank(names):
        for path in sorted((lfw / identity).glob("*.jpg")):
            if found == count:
                return
            texture = _texture(model, detector, path) if path.name in neutral else None
            if texture is not None:
                found += 1
                yield texture
                break
    if found < count:
        raise ValueError(f"only {found} identities have a texture, {count} requested")


def _texture(model: FaceModel, detector: DlibDetector, path: Path) -> Texture | None:
    image = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
    boxes = detector.find(image)
    if not boxes:
        return None
    landmarks = detector.landmarks(image, max(boxes, key=lambda box: box[2] - box[0]))
    if eye_centre_distance(landmarks) < MIN_EYES or mouth_opening(landmarks) > MAX_OPENING:
        return None
    fit = fit_face(model, landmarks)
    if fit.error > MAX_ERROR or np.abs(np.degrees(fit.pose.turn[:2])).max() > MAX_TURN:
        return None
    return Texture(path.parent.name, path.name, image, landmarks, fit)


def cast_parts(
    sheet: Sequence[Clip], subjects: int, clips: int
) -> tuple[list[Part], list[tuple[str, str]]]:
    """Choose the subjects of CAS(ME)3 to render, those with the most usable clips first.

    If a subject has more than `clips` clips, they are taken from its classes in turn, so that rare
    classes are kept.

    Args:
        sheet: Clips of CAS(ME)3 part A.
        subjects: Number of subjects.
        clips: Largest number of clips per subject.

    Returns:
        The chosen subjects, and every other clip of the stand-in's half with the reason.
    """
    space = LABEL_SPACES["three_class"]
    left_out: list[tuple[str, str]] = []
    usable: dict[str, dict[int, list[Clip]]] = {}
    for clip in sheet:
        if not drives_stand_in(clip.subject):
            continue
        label = space.label(clip.emotion)
        if label is None:
            left_out.append((clip.origin, f"{clip.emotion} belongs to no class of {space.name}"))
        elif not playable(clip.aus):
            left_out.append((clip.origin, f"AUs {clip.aus}: none has an expression shape"))
        else:
            usable.setdefault(clip.subject, {}).setdefault(label, []).append(clip)
    sizes = {subject: sum(map(len, found.values())) for subject, found in usable.items()}
    order = sorted(usable, key=lambda subject: (-sizes[subject], subject))
    parts = [Part(subject, _in_turn(usable[subject])[:clips]) for subject in order[:subjects]]
    for subject in order:
        chosen = {clip.key for part in parts if part.au_subject == subject for clip in part.clips}
        reason = "more clips than requested" if chosen else "more subjects than requested"
        rest = [clip for one in usable[subject].values() for clip in one if clip.key not in chosen]
        left_out += [(clip.origin, reason) for clip in rest]
    return parts, left_out


def _in_turn(classes: dict[int, list[Clip]]) -> list[Clip]:
    rounds = max(map(len, classes.values()))
    lists = [classes[label] for label in sorted(classes, key=lambda label: len(classes[label]))]
    return [one[number] for number in range(rounds) for one in lists if number < len(one)]


def make(
    shared: Path, out: Path, subjects: int = 40, clips: int = 10, size: int = 240, seed: int = 0
) -> Counter[str]:
    """Render the stand-in into an empty or new folder.

    Args:
        shared: The folder of research data.
        out: The folder to write.
        subjects: Number of subjects, at most 45.
        clips: Largest number of clips per subject.
        size: Side of the frames, pixels.
        seed: Seed of all random draws.

    Returns:
        Number of clips by class.

    Raises:
        ValueError: The folder is not empty, or there are too few textures.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; give an empty or a new folder")
    out.mkdir(parents=True, exist_ok=True)
    model = FaceModel.load(shared / "data" / "ict_facekit")
    sheet = open_clips(f"casme3:{shared / 'data' / 'casme3'}", frames=False).clips()
    parts, left_out = cast_parts(sheet, subjects, clips)
    rows, lineage = [], []
    for number, texture in enumerate(find_textures(model, shared, len(parts))):
        for row, record in _act(model, texture, parts[number], out, size, seed, number):
            rows.append(row)
            lineage.append(record)
        print(f"{number + 1}/{len(parts)} {texture.identity}: {len(parts[number].clips)} clips")
    _write_csv(out / "lineage.csv", lineage)
    _write_csv(out / "left_out.csv", [{"clip": c, "reason": r} for c, r in left_out])
    _write_lists(shared, sheet, out)
    space = LABEL_SPACES["three_class"]
    counts = Counter(space.merge[c.emotion] or "" for part in parts for c in part.clips)
    _write_note(out, seed, len(parts), counts)
    # The table is written last, since no reader opens the folder without it.
    _write_csv(out / "clip_table.csv", rows)
    return counts


def _act(
    model: FaceModel, texture: Texture, part: Part, out: Path, size: int, seed: int, number: int
) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """Render the clips of one actor, and yield its rows of the clip table and of the lineage."""
    rng = np.random.default_rng([seed, number])
    actor = Actor(model, texture.fit, texture.image, texture.landmarks)
    person = draw_temperament(rng)
    lamp = _draw_light(rng)
    subject = f"actor{number + 1:02}"
    for count, clip in enumerate(part.clips, start=1):
        # A random generator per clip keeps it unchanged if other clips are added.
        rng = np.random.default_rng([seed, number, count])
        take = play(model, playable(clip.aus), person, rng)
        name, onset = f"clip{count:02}", int(rng.integers(20, 400))
        folder = out / "frames" / subject / name
        motion = _render(actor, take, _jitter(lamp, rng), folder, size, onset, texture, rng)
        row: dict[str, object] = {
            "subject": subject,
            "clip": name,
            "emotion": str(clip.emotion),
            "onset": onset,
            "apex": onset + take.apex,
            "offset": onset + len(take.activation) - 1,
            "aus": clip.aus,
            "fps": f"{FPS:g}",
            "frames": folder.relative_to(out).as_posix(),
        }
        played = {f"AU{au}": round(5 * value, 2) for au, value in take.played.items()}
        yield (
            row,
            {
                **{key: row[key] for key in ("subject", "clip")},
                "texture_identity": texture.identity,
                "texture_file": texture.file,
                "au_database": "casme3",
                "au_subject": clip.subject,
                "au_clip": clip.clip,
                "played": json.dumps(played),
                "motion": f"{motion:.4f}",
            },
        )


def _render(
    actor: Actor,
    take: Take,
    light: Light,
    folder: Path,
    size: int,
    onset: int,
    texture: Texture,
    rng: np.random.Generator,
) -> float:
    """Write the frames of a clip.

    Returns:
        Largest motion of a landmark due to the expression, in eye distances.
    """
    folder.mkdir(parents=True)
    unit = EYE_DISTANCE * size
    scale = texture.fit.pose.scale * unit / eye_centre_distance(texture.landmarks)
    still = np.zeros(take.activation.shape[1])
    eyes = actor.eyes.astype(np.float64)
    start = start_pose(texture.fit.pose, scale, size, eyes, rng)
    exposure, noise = rng.uniform(0.85, 1.1), rng.uniform(0.8, 2.0)
    for frame, activation in enumerate(take.activation):
        pose = drifted(start, take, frame, unit)
        image = actor.render(activation, pose, start, light, size)
        image = _sensor(image * exposure * rng.normal(1, 0.002), noise, rng)
        path = folder / f"{onset + frame:05}.jpg"
        written = cv2.imwrite(
            str(path),
            cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        )
        if not written:
            raise OSError(f"{path} could not be written")
    before, after = (actor.landmarks(a, start) for a in (still, take.activation[take.apex]))
    return float(np.linalg.norm(after - before, axis=1).max()) / unit


def _sensor(
    image: NDArray[np.float32], noise: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Add sensor noise whose variance has a constant part and a part proportional to the light."""
    clean = np.clip(image, 0, 255)
    sigma = noise * np.sqrt(0.4 + 0.6 * clean / 255)
    noisy = clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _draw_light(rng: np.random.Generator) -> Light:
    """Draw a lamp at up to 50 degrees to the side, and 10 degrees below to 45 above the eyes."""
    aside, above = np.radians([rng.uniform(-50, 50), rng.uniform(-10, 45)])
    return _lamp(float(aside), float(above), rng.uniform(0.55, 0.85))


def _jitter(light: Light, rng: np.random.Generator) -> Light:
    direction = light.direction + rng.normal(0, 0.05, 3)
    return Light(direction / np.linalg.norm(direction), light.ambient)


def _lamp(aside: float, above: float, ambient: float) -> Light:
    direction = [np.sin(aside) * np.cos(above), np.sin(above), np.cos(aside) * np.cos(above)]
    return Light(np.array(direction), ambient)


def _write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["clip", "reason"])
        writer.writeheader()
        writer.writerows(rows)


def _write_lists(shared: Path, sheet: Sequence[Clip], out: Path) -> None:
    people = list(dict.fromkeys(clip.subject for clip in sheet))
    names = sorted(path.name for path in (shared / "data" / "lfw").iterdir() if kept_out(path.name))
    for file, lines in (
        ("lfw_kept_out.txt", names),
        ("casme3_stand_in.txt", [f"casme3:{one}" for one in people if drives_stand_in(one)]),
        ("casme3_training.txt", [f"casme3:{one}" for one in people if not drives_stand_in(one)]),
    ):
        (out / file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_note(out: Path, seed: int, subjects: int, counts: Counter[str]) -> None:
    classes = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    (out / NOTE_FILE).write_text(
        f"""# Rendered micro-expressions: a stand-in, not a database

These clips were rendered, not recorded: {subjects} computed actors, {sum(counts.values())} clips
({classes}), seed {seed}.

- Geometry and motion: ICT-FaceKit (MIT), a 3-D face model.
- Skin: photographs of Labeled Faces in the Wild (research use). The people in them never made these
  expressions.
- AUs and emotions: the annotation sheet of CAS(ME)3 part A; none of its images. The actors are not
  its subjects.
- Made by `tests/stand_in/make.py` of miex. Use them to compare software with software; a result on
  them is not a result on micro-expressions of people.

Do not train on data from which they were made: `lineage.csv` lists the photograph and the subject
of each clip. The leakage check of the folds does not detect such data, since the subjects of the
stand-in are named (stand_in, actor01) and so on. A pool of all of CAS(ME)3 holds the AUs of these
clips. Two commands separate training data from them:

    # templates: a face table without these identities
    python tests/stand_in/faces_without.py faces.parquet -o faces_without_stand_in.parquet
    # AUs: the other half of CAS(ME)3
    miex extract-aus casme3:CASME3 -e facs -o casme3.parquet
    miex pool filter casme3.parquet $(sed 's/^/--subject /' casme3_training.txt) -o training.parquet
""",
        encoding="utf-8",
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Render the stand-in.")
    parser.add_argument("--shared", type=Path, required=True, help="folder of research data")
    parser.add_argument("--out", type=Path, required=True, help="an empty or new folder")
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--clips", type=int, default=10, help="largest number of clips per subject")
    parser.add_argument("--size", type=int, default=240, help="side of the frames, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun, busy = time.perf_counter(), time.process_time()
    counts = make(**vars(options))
    wall, cpu = time.perf_counter() - begun, time.process_time() - busy
    print(f"{sum(counts.values())} clips {dict(counts)}: {wall:.0f} s, processor time {cpu:.0f} s")


if __name__ == "__main__":
    main()
