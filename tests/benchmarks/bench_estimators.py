"""Measure the agreement of the AU estimators with each other, and their speed.

    python tests/benchmarks/bench_estimators.py [--only videos faces speed] [--faces 2000]

By default, data are searched in the folder `shared/data` beside the repository. Parts without data
or without their package are skipped with a message. `--pairs FILE.npz` saves the estimates on the
photographs for bench_calibration.
"""

import argparse
import importlib.util
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_NAMES
from miex.au_sources.estimators.base import (
    AUEstimator,
    Estimates,
    Frame,
    Landmarker,
    create_estimator,
    estimate_video,
    find_landmarks,
    stream,
)
from miex.au_sources.estimators.mediapipe import MediaPipeEstimator
from miex.au_sources.face_motion import fit_pose
from miex.pipeline.aus.extraction import dlib_landmarker

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
AU12 = AU_NAMES.index("AU12")
FRONTAL = 15.0
"""Degrees of head turn up to which a face counts as frontal."""

WEAK = 0.4

NO_MODEL = ("landmarks",)
"""Estimators that need no model."""


def replay(landmarks: Sequence[NDArray[np.float32]]) -> Landmarker:
    """Return a landmarker that yields known landmarks in a cycle."""
    known = itertools.cycle(landmarks)

    def find(frame: Frame) -> NDArray[np.float32] | None:
        points = next(known)
        return points if np.isfinite(points).all() else None

    return find


def read_image(path: Path) -> Frame:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def read_video(path: Path) -> Iterator[Frame]:
    capture = cv2.VideoCapture(str(path))
    while (found := capture.read())[0]:
        yield np.asarray(cv2.cvtColor(found[1], cv2.COLOR_BGR2RGB), np.uint8)


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3 or a[known].std() == 0 or b[known].std() == 0:
        return float("nan")
    return float(np.corrcoef(a[known], b[known])[0, 1])


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the ranks of values; equal values get their mean rank, and NaN stays NaN."""
    found = np.full(len(values), np.nan)
    known = np.isfinite(values)
    _, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    found[known] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return found


def videos(files: Sequence[Path], openface: str, mediapipe: AUEstimator) -> None:
    """Compare the AU12 of both estimators over the frames of each smile."""
    static, personal = (
        create_estimator(openface, person_calibration=calibration) for calibration in (False, True)
    )
    print("| video | frames | AU12 static ~ mediapipe | AU12 person-calibrated ~ mediapipe |")
    print("|---|---|---|---|")
    for file in files:
        frames = list(read_video(file))
        landmarks = find_landmarks(frames, dlib_landmarker())
        reference = mediapipe.estimate(frames, landmarks)
        found = [
            estimate_video(estimator, frames, replay(landmarks)) for estimator in (static, personal)
        ]
        cells = [f"{correlation(one.aus[:, AU12], reference.aus[:, AU12]):.3f}" for one in found]
        print(f"| {file.name} | {len(frames)} | {' | '.join(cells)} |", flush=True)


def faces(
    folder: Path, count: int, openface: AUEstimator, mediapipe: MediaPipeEstimator, out: Path | None
) -> None:
    """Print the correlation per AU on photographs of different people."""
    people = sorted(path.parent for path in folder.glob("*/*_0001.jpg"))
    rng = np.random.default_rng(0)
    chosen = sorted(rng.choice(len(people), min(count, len(people)), replace=False).tolist())
    files = [people[index] / f"{people[index].name}_0001.jpg" for index in chosen]
    landmarker = dlib_landmarker()
    parts = []
    for first in range(0, len(files), 50):
        images = [read_image(file) for file in files[first : first + 50]]
        points = find_landmarks(images, landmarker)
        parts.append(
            (
                points,
                openface.estimate(images, points),
                mediapipe.estimate(images, points),
                mediapipe.blendshapes(images, points),
            )
        )
    points = np.concatenate([part[0] for part in parts])
    measured = Estimates.concatenate(part[1] for part in parts)
    compared = Estimates.concatenate(part[2] for part in parts)
    both = measured.valid & compared.valid
    poses = [fit_pose(one) if np.isfinite(one).all() else None for one in points]
    yaw = np.array([np.nan if pose is None else pose.yaw for pose in poses])
    pitch = np.array([np.nan if pose is None else pose.pitch for pose in poses])
    frontal = both & (np.abs(yaw) <= FRONTAL)
    print_table(measured, compared, both, frontal)
    if out:
        scores = [row for part in parts for row in part[3]]
        names = sorted(next(row for row in scores if row is not None))
        missing = dict.fromkeys(names, np.nan)
        np.savez_compressed(
            out,
            files=[str(file.relative_to(folder)) for file in files],
            landmarks=points,
            yaw=yaw,
            pitch=pitch,
            openface_aus=measured.aus,
            openface_version=openface.version,
            mediapipe_aus=compared.aus,
            mediapipe_version=mediapipe.version,
            valid=both,
            blendshape_names=names,
            blendshapes=[[(row or missing)[name] for name in names] for row in scores],
        )


def print_table(
    measured: Estimates,
    compared: Estimates,
    both: NDArray[np.bool_],
    frontal: NDArray[np.bool_],
) -> None:
    print(
        f"{len(both)} photographs, no face {int((~measured.valid).sum())} (dlib) and "
        f"{int((~compared.valid).sum())} (mediapipe), {int(frontal.sum())} turned by at most "
        f"{FRONTAL:g} degrees\n\n"
        "| AU | all | frontal | ranks, all | mean openface-models | mean mediapipe | |\n"
        "|---|---|---|---|---|---|---|"
    )
    for au, name in enumerate(AU_NAMES):
        a, b = measured.aus[:, au], compared.aus[:, au]
        if np.isnan(b[both]).all():
            print(f"| {name} | not measured by mediapipe | | | {a[both].mean():.2f} | | |")
            continue
        everybody = correlation(a[both], b[both])
        cells = (
            f"{everybody:.2f} | {correlation(a[frontal], b[frontal]):.2f} | "
            f"{correlation(ranks(a[both]), ranks(b[both])):.2f} | {a[both].mean():.2f} | "
            f"{b[both].mean():.2f}"
        )
        print(f"| {name} | {cells} | {'weak' if everybody < WEAK else ''} |")


def speed(file: Path, minutes: float, estimators: Sequence[AUEstimator]) -> None:
    """Measure frames per second and memory on a long video, which repeats a short one."""
    clip = list(read_video(file))
    landmarker = dlib_landmarker()
    start = time.process_time()
    landmarks = find_landmarks(clip, landmarker)
    spent = time.process_time() - start
    print(
        f"{file.name} {clip[0].shape[1]} x {clip[0].shape[0]}, looped to {minutes:g} minutes at 30 "
        f"frames/s\n\nlandmarks (dlib, each frame by itself): {len(clip) / spent:.0f} frames/s\n\n"
        "| landmarks known | frames | frames/s | ms processor time | MiB at 1/10 | at end |"
        "\n|---|---|---|---|---|---|"
    )
    count = round(minutes * 60 * 30)
    for estimator in estimators:
        memory: list[float] = []
        frames = 0
        begin, busy = time.perf_counter(), time.process_time()
        source = itertools.islice(itertools.cycle(clip), count)
        for part in stream(estimator, source, replay(landmarks)):
            frames += len(part)
            memory.append(psutil.Process().memory_info().rss / 2**20)
        wall, busy = time.perf_counter() - begin, time.process_time() - busy
        print(
            f"| {estimator.name} | {frames} | {frames / wall:.0f} | {busy / frames * 1e3:.2f} | "
            f"{memory[len(memory) // 10]:.0f} | {memory[-1]:.0f} |",
            flush=True,
        )


def sample_videos() -> list[Path]:
    found = sorted((SHARED / "videos").glob("*.mov"))
    spec = importlib.util.find_spec("feat")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found += Path(folder).glob("tests/data/single_face.mp4")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("videos", "faces", "speed")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--openface", type=Path, default=SHARED / "openface_au")
    parser.add_argument("--mediapipe", type=Path, default=SHARED / "mediapipe/face_landmarker.task")
    parser.add_argument("--photographs", type=Path, default=SHARED / "lfw")
    parser.add_argument("--videos", type=Path, nargs="+", default=sample_videos())
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--pairs", type=Path, help="file for the estimates on the photographs")
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    spec = f"openface-models:{arguments.openface}"
    estimators: list[AUEstimator] = []
    for one in (spec, f"mediapipe:{arguments.mediapipe}"):
        try:
            estimators.append(create_estimator(one))
        except (FileNotFoundError, ModuleNotFoundError) as error:
            print(f"skipped: {error}")
    both = len(estimators) == 2
    for part in arguments.only:
        print(f"\n## {part}\n", flush=True)
        if part == "speed" and arguments.videos:
            measured = [*estimators, *map(create_estimator, NO_MODEL)]
            speed(arguments.videos[-1], arguments.minutes, measured)
        elif part == "videos" and arguments.videos and both:
            videos(arguments.videos, spec, estimators[1])
        elif part == "faces" and arguments.photographs.is_dir() and both:
            openface, mediapipe = estimators
            assert isinstance(mediapipe, MediaPipeEstimator)
            faces(arguments.photographs, arguments.faces, openface, mediapipe, arguments.pairs)
        else:
            print("skipped: data or weights for this part were not found")


if __name__ == "__main__":
    main()
