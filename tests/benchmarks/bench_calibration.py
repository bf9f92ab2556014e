"""Measure how well calibrated estimators reproduce OpenFace's intensities; write shipped maps.

    python tests/benchmarks/bench_estimators.py --only faces --pairs PAIRS.npz
    python tests/benchmarks/bench_calibration.py --pairs PAIRS.npz [--only faces ...] [--write]

`--write` replaces the neutral offset and the maps in `au_sources/tables`. By default, data are
searched in the folder `shared/data` beside the repository. Parts without data are skipped with a
message.
"""

import argparse
import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES
from miex.au_sources.calibration import SHIPPED, Calibration
from miex.au_sources.estimators.base import create_estimator, estimate_video, find_landmarks
from miex.au_sources.estimators.landmarks import (
    NEUTRAL_TABLE,
    LandmarkEstimator,
    neutral_offset,
    upright,
)
from miex.datasets.base import Face, FaceQuality
from miex.generators.base import GeneratorConfig, create_generator
from miex.pipeline.aus.extraction import dlib_landmarker
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import DlibDetector

sys.path.insert(0, str(Path(__file__).parent))
from bench_estimators import (
    AU12,
    FRONTAL,
    SHARED,
    correlation,
    read_image,
    read_video,
    replay,
    sample_videos,
)

PARTS = ("faces", "videos", "warped")
BLANK = np.zeros((1, 1, 3), np.uint8)
DATA = (
    "{count} photographs of Labeled Faces in the Wild (Huang et al. 2007, deep-funneled 2012), the "
    "first of each person; landmarks by dlib"
)
NEUTRAL_NOTE = """\
# Where landmark finders see the 68 iBUG landmarks of neutral faces, less where the neutral head of
# au_landmark_motion.csv has them in the fitted head pose: inter-ocular distances, x right and y
# down of the upright head. Mean over {count} photographs of as many people of Labeled Faces in the
# Wild (Huang, Ramesh, Berg and Learned-Miller 2007; deep-funneled, Huang, Mattar, Lee and
# Learned-Miller 2012), head turned by less than {frontal:g} degrees, labelled neutral in
# github.com/muxspace/facial_expressions (Apache-2.0); landmarks by dlib's 68-point model. Made by
# tests/benchmarks/bench_calibration.py.
landmark,dx,dy
"""


def write_neutral(pairs: dict[str, NDArray], labels: Path) -> None:
    """Write the mean landmark offset of neutral, frontal faces."""
    with labels.open(encoding="utf-8", newline="") as file:
        emotions = {row["image"].lower(): row["emotion"].lower() for row in csv.DictReader(file)}
    chosen = np.array(
        [emotions.get(Path(name).name.lower()) == "neutral" for name in pairs["files"]]
    )
    chosen &= pairs["valid"] & (np.abs(pairs["yaw"]) < FRONTAL)
    mean = upright(pairs["landmarks"][chosen]).residuals.mean(axis=0)
    rows = "".join(f"{number},{x:.4f},{y:.4f}\n" for number, (x, y) in enumerate(mean))
    NEUTRAL_TABLE.write_text(NEUTRAL_NOTE.format(count=chosen.sum(), frontal=FRONTAL) + rows)
    neutral_offset.cache_clear()


def beyond_smiles(a: NDArray, b: NDArray, smile: NDArray) -> float:
    """Return the partial correlation given the AU12 of the reference, which moves other AUs too."""
    rest = [values - np.polyval(np.polyfit(smile, values, 2), smile) for values in (a, b)]
    return correlation(*rest)


def faces(pairs: dict[str, NDArray], write: bool) -> None:
    valid = pairs["valid"]
    reference = pairs["openface_aus"][valid]
    people = [Path(str(name)).parent.name for name in pairs["files"][valid]]
    landmarks = LandmarkEstimator()
    measured = landmarks.estimate([BLANK] * int(valid.sum()), pairs["landmarks"][valid])
    candidates = {
        "mediapipe": (str(pairs["mediapipe_version"]), pairs["mediapipe_aus"][valid]),
        "landmarks": (landmarks.version, measured.aus),
    }
    for name, (version, estimates) in candidates.items():
        found = Calibration.fit(
            estimates,
            reference,
            people,
            estimator=(name, version),
            reference_name=("openface-models", str(pairs["openface_version"])),
            data=DATA.format(count=f"{valid.sum():,}"),
        )
        print(
            f"\n### {name}, {valid.sum()} faces, 10 folds by person\n\n| AU | correlation | beyond "
            "AU12 | R2 | mean error | mean error before | valid range | intensities | |\n"
            "|---|---|---|---|---|---|---|---|---|"
        )
        for au, column in enumerate(AU_NAMES):
            if column not in found.maps:
                print(f"| {column} | {found.left_out[column]} | | | | | | | |")
                continue
            one, x, y = found.maps[column], estimates[:, au], reference[:, au]
            beyond = beyond_smiles(one(x), y, reference[:, AU12])
            print(
                f"| {column} | {one.correlation:.2f} | {'' if au == AU12 else f'{beyond:.2f}'} | "
                f"{one.r2:.2f} | {one.mae:.2f} | {np.abs(x - y).mean():.2f} | "
                f"{one.lowest:.2f}-{one.highest:.2f} | "
                f"{one.knots[0][1]:.2f}-{one.knots[-1][1]:.2f} | {'weak' if one.weak else ''} |"
            )
        if write:
            found.write(SHIPPED / f"calibration_{name}.json")


def videos(files: list[Path], openface: Path) -> None:
    """Compare the AU12 of `landmarks` with OpenFace's regressors over the frames of each smile."""
    reference = create_estimator(f"openface-models:{openface}")
    maps = Calibration.read(SHIPPED / "calibration_landmarks.json")
    print(
        "| video | frames | mean face | own rest (found) | own rest (first frame) | AU12 at most: "
        "openface-models | mean face, calibrated | own rest (found) |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for file in files:
        frames = list(read_video(file))
        points = find_landmarks(frames, dlib_landmarker())
        wanted = reference.estimate(frames, points).aus[:, AU12]
        single = LandmarkEstimator().estimate(frames, points).aus
        personal = create_estimator("landmarks", person_calibration=True)
        rest = estimate_video(personal, frames, replay(points)).aus
        first = LandmarkEstimator(points[0]).estimate(frames, points).aus
        found = [f"{correlation(one[:, AU12], wanted):.3f}" for one in (single, rest, first)]
        most = [np.nanmax(one[..., AU12]) for one in (maps.apply(single), rest)]
        peaks = " | ".join(f"{peak:.2f}" for peak in (np.nanmax(wanted), *most))
        print(f"| {file.name} | {len(frames)} | {' | '.join(found)} | {peaks} |", flush=True)


def warped(files: list[Path], level: float) -> None:
    """Measure each AU that `warp` renders alone, in landmarks that dlib finds in the frames."""
    generator = create_generator(GeneratorConfig(name="warp", device="cpu"))
    detector = DlibDetector(FaceConfig(cnn=False))
    requested = np.vstack([np.zeros(AU_COUNT), level * np.eye(AU_COUNT)]).astype(np.float32)
    parts = []
    for file in files:
        image = cv2.resize(read_image(file), (256, 256))
        for box in detector.find(image)[:1]:
            landmarks = detector.landmarks(image, box)
            nothing = FaceQuality(0.0, 0.0, 0.0, 0.0, 0.0)
            face = Face(image, landmarks, "", str(file), "", nothing, np.zeros(128, np.float32))
            frames = list(generator.render([generator.prepare(face)] * len(requested), requested))
            points = np.stack([detector.landmarks(frame, box) for frame in frames])
            parts.append(LandmarkEstimator(points[0]).estimate(frames[1:], points[1:]).aus)
    found = np.stack(parts)
    print(
        f"{len(found)} photographs, intensity {level:g}, against the photograph itself\n\n"
        "| AU | found | strongest in | mean of the others |\n|---|---|---|---|"
    )
    for au, name in enumerate(AU_NAMES):
        if np.isnan(found[0, au, au]):
            print(f"| {name} | not measured | | |")
            continue
        own, others = found[:, au, au], np.delete(found[:, au], au, axis=1)
        strongest = (np.nanmax(others, axis=1) < own).mean()
        print(f"| {name} | {own.mean():.2f} | {strongest:.0%} | {np.nanmean(others):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--pairs", type=Path, default=Path("pairs.npz"), help="file written by bench_estimators"
    )
    parser.add_argument("--labels", type=Path, default=SHARED / "lfw_emotion_labels/legend.csv")
    parser.add_argument("--openface", type=Path, default=SHARED / "openface_au")
    parser.add_argument("--photographs", type=Path, default=SHARED / "lfw")
    parser.add_argument("--videos", type=Path, nargs="+", default=sample_videos())
    parser.add_argument("--write", action="store_true", help="replace the tables that miex ships")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for part in arguments.only:
        print(f"\n## {part}\n", flush=True)
        if part == "faces" and arguments.pairs.is_file():
            pairs = dict(np.load(arguments.pairs))
            if arguments.write and arguments.labels.is_file():
                write_neutral(pairs, arguments.labels)
            faces(pairs, arguments.write)
        elif part == "videos" and arguments.videos and arguments.openface.is_dir():
            videos(arguments.videos, arguments.openface)
        elif part == "warped" and arguments.pairs.is_file() and arguments.photographs.is_dir():
            pairs = dict(np.load(arguments.pairs))
            frontal = pairs["files"][pairs["valid"] & (np.abs(pairs["yaw"]) < FRONTAL)]
            warped([arguments.photographs / str(name) for name in frontal[:40]], level=2.0)
        else:
            print("skipped: data or weights for this part were not found")


if __name__ == "__main__":
    main()
