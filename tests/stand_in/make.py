"""Renders the stand-in: a test bed of micro-expressions that shares nothing with our generators.

    python tests/stand_in/make.py --shared ../shared --out out/stand_in
    miex clips "clip_table:out/stand_in?name=stand_in"

NOT REAL, and never to be called real: geometry and motion come from a 3-D face model, skin from
photographs of LFW that are used nowhere else (`lineage.py`), AUs and emotions from clips of
CAS(ME)3 that are left out of training (`lineage.py`), timing from published percentiles
(`performance.py`). What is related to our generators all the same is said in `performance.py`.

Written are `clip_table.csv` and the frames, which the reader `clip_table` opens; `RENDERED.md`, the
mark; `lineage.csv`, who is behind each clip; `lfw_kept_out.txt`, `casme3_stand_in.txt` and
`casme3_training.txt`, the lists of both rules; `left_out.csv`, clips of CAS(ME)3 that are not
played, with reasons. The same seed gives the same pixels on one machine.
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
"""Distance of the eyes, a share of the frame's side: 53 of 240 pixels, a face of 130."""

JPEG_QUALITY = 95

MAX_ERROR, MAX_TURN, MAX_OPENING, MIN_EYES = 0.055, 12.0, 0.045, 36.0
"""Photographs that serve as textures: error of the fit in distances of the eyes, degrees of nod and
turn, gap of the lips in distances of the eyes, and distance of the eyes in pixels."""


UNSUITABLE = {
    "Adrien_Brody": "tinted glasses",
    "Bernice_Wong": "the fit has the mouth in the wrong place",
    "Grace_Dodd": "an infant",
    "Jodie_Kidd": "flowers before the face",
    "Juan_Pablo_Montoya": "sunglasses",
    "Juan_Valencia_Osorio": "a hand before the mouth",
    "Kim_Ryong-sung": "looks like a second name, with which the split of LFW puts it into training",
    "Makhdoom_Amin_Fahim": "a microphone before the face",
    "Melchor_Cob_Castro": "a hand at the mouth",
    "Mireya_Moscoso": "sunglasses, a microphone before the face",
}
"""Identities that pass every number and cannot be worn, found by looking at the first sixty; and
one who would not be held out (see `lineage.py`)."""


@dataclass(frozen=True, slots=True)
class Texture:
    """A photograph that an actor wears."""

    identity: str
    file: str
    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    fit: Fit


@dataclass(frozen=True, slots=True)
class Part:
    """Whom an actor plays: a subject of CAS(ME)3 with its clips."""

    au_subject: str
    clips: Sequence[Clip]


def find_textures(model: FaceModel, shared: Path, count: int) -> Iterator[Texture]:
    """The first identities, by rank, with a photograph that can be worn.

    Raises:
        ValueError: There are fewer.
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
        raise ValueError(f"only {found} identities have a texture, {count} were asked for")


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
    """Which subjects of CAS(ME)3 are played, those with the most usable clips first.

    Args:
        sheet: CAS(ME)3 part A.
        subjects: How many.
        clips: Of each at most.

    Of a subject with more than `clips`, they are taken from its classes in turn, so that a rare
    class stays.

    Returns:
        The parts, and every clip of the stand-in's half that is not played, with the reason.
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
        reason = "more clips than asked for" if chosen else "more subjects than asked for"
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
    """Renders the stand-in into an empty or new folder.

    Args:
        shared: The folder of research data.
        out: Where to.
        subjects: How many people, at most 45.
        clips: How many of each at most.
        size: Side of the frames, pixels.
        seed: Of everything that is drawn.

    Returns:
        Number of clips by class.

    Raises:
        ValueError: The folder holds something, or there are too few textures.
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
    # The table comes last: without it nothing opens the folder.
    _write_csv(out / "clip_table.csv", rows)
    return counts


def _act(
    model: FaceModel, texture: Texture, part: Part, out: Path, size: int, seed: int, number: int
) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """Renders the clips of one person; yields a row of the table and one of the lineage each."""
    rng = np.random.default_rng([seed, number])
    actor = Actor(model, texture.fit, texture.image, texture.landmarks)
    person = draw_temperament(rng)
    lamp = _draw_light(rng)
    subject = f"actor{number + 1:02}"
    for count, clip in enumerate(part.clips, start=1):
        # Each clip has randomness of its own: it stays the same if others are added.
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
    """Writes the frames of a clip.

    Returns:
        Largest motion of a landmark by the expression alone, in distances of the eyes.
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
    """Noise of the sensor: a constant part, and one that grows with the square root of light."""
    clean = np.clip(image, 0, 255)
    sigma = noise * np.sqrt(0.4 + 0.6 * clean / 255)
    noisy = clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _draw_light(rng: np.random.Generator) -> Light:
    """A lamp up to 50 degrees aside and from 10 below to 45 above the eyes."""
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

Nothing here was recorded. {subjects} computed actors, {sum(counts.values())} clips ({classes}),
seed {seed}.

- Geometry and motion: ICT-FaceKit (MIT), a 3-D face model.
- Skin: photographs of Labeled Faces in the Wild (research use). The people in them never made these
  expressions.
- AUs and emotions: the annotation sheet of CAS(ME)3 part A; none of its images. The actors are not
  its subjects.
- Made by `tests/stand_in/make.py` of miex. For comparing software with software; no result on it is
  a result on micro-expressions of people.

Train on nothing that is behind it: `lineage.csv` names the photograph and the subject of each clip.
The guard of the folds cannot see that: to it the subjects are (stand_in, actor01) and so on. A pool
of all of CAS(ME)3 holds the AUs of these very clips; these two commands keep them apart:

    # templates: a face table without these people
    python tests/stand_in/faces_without.py faces.parquet -o faces_without_stand_in.parquet
    # AUs: only the other half of CAS(ME)3
    miex extract-aus casme3:CASME3 -e facs -o casme3.parquet
    miex pool filter casme3.parquet $(sed 's/^/--subject /' casme3_training.txt) -o training.parquet
""",
        encoding="utf-8",
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Renders the stand-in.")
    parser.add_argument("--shared", type=Path, required=True, help="folder of research data")
    parser.add_argument("--out", type=Path, required=True, help="an empty or a new folder")
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--clips", type=int, default=10, help="of each subject, at most")
    parser.add_argument("--size", type=int, default=240, help="side of the frames, pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun, busy = time.perf_counter(), time.process_time()
    counts = make(**vars(options))
    wall, cpu = time.perf_counter() - begun, time.process_time() - busy
    print(f"{sum(counts.values())} clips {dict(counts)}: {wall:.0f} s, {cpu:.0f} s of one core")


if __name__ == "__main__":
    main()
