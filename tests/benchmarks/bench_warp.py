"""Measure the frames per second of `warp` and of two simple ways to warp a photograph.

    python tests/benchmarks/bench_warp.py [--size 128] [--frames 64] [--rounds 5] [--device cpu]

All ways use one thread and alternate in every round. Times are processor times, which depend little
on other work on the machine, or wall times on a GPU. The table shows the medians.

- prepare: from a face to a state;
- render: from states and AUs to uint8 images, with motion in every frame;
- plain affine: scikit-image's `PiecewiseAffineTransform` between the landmarks before and after,
  fitted and applied for each frame;
- plain spline: SciPy's thin-plate `RBFInterpolator` through the same landmarks, and `cv2.remap`,
  for each frame.

The plain ways render less: they have no layers at eyes and mouth and no inside of the mouth.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from scipy.interpolate import RBFInterpolator
from skimage.transform import PiecewiseAffineTransform, warp

from miex.au_sources.action_units import AU_COUNT, AUArray
from miex.au_sources.face_motion import landmark_motion, motion_table
from miex.datasets.base import Face, FaceQuality
from miex.generators.base import GeneratorConfig, create_generator


def textured_face(size: int, seed: int) -> Face:
    """Return a face of smooth noise with the landmarks of a neutral, frontal face."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (size, size, 3)).astype(np.float32), (0, 0), 2)
    landmarks = 0.3 * size * motion_table().neutral[:, :2] + np.array([0.5, 0.42]) * size
    return Face(
        crop=np.clip(128 + 200 * noise, 0, 255).astype(np.uint8),
        landmarks=landmarks.astype(np.float32),
        identity=str(seed),
        origin=f"noise:{seed}",
        sha256="",
        quality=FaceQuality(0.3 * size, 100.0, 0.0, 0.0, 0.0),
        embedding=np.zeros(128, np.float32),
    )


def control_points(face: Face, aus: AUArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the landmarks before and after, both with fixed points at the image border."""
    line = np.linspace(0, face.crop.shape[0] - 1, 5)
    border = [(x, y) for x in line for y in line if {x, y} & {line[0], line[-1]}]
    before = np.vstack([face.landmarks, border])
    motion = np.tensordot(aus / 5, landmark_motion(face.landmarks), axes=1)
    return before, np.vstack([face.landmarks + motion, border])


def plain_affine(face: Face, aus: AUArray) -> np.ndarray:
    """Render one frame by a piecewise affine map."""
    before, after = control_points(face, aus)
    transform = PiecewiseAffineTransform.from_estimate(after, before)
    return np.asarray(warp(face.crop, transform, order=3, preserve_range=True)).astype(np.uint8)


def plain_spline(face: Face, aus: AUArray) -> np.ndarray:
    """Render one frame by a thin-plate spline."""
    before, after = control_points(face, aus)
    size = face.crop.shape[0]
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2)
    source = RBFInterpolator(after, before)(pixels).reshape(size, size, 2).astype(np.float32)
    return np.asarray(cv2.remap(face.crop, source[..., 0], source[..., 1], cv2.INTER_CUBIC))


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the time of one call."""
    start = clock()
    work()
    return clock() - start


def main() -> None:
    """Measure all ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clock = time.process_time if args.device == "cpu" else time.perf_counter

    generator = create_generator(GeneratorConfig(name="warp", device=args.device))
    faces = [textured_face(args.size, seed) for seed in range(16)]
    states = [generator.prepare(face) for face in faces]
    rng = np.random.default_rng(0)
    aus = rng.uniform(0.5, 1.5, (args.frames, AU_COUNT)).astype(np.float32)
    aus[rng.random(aus.shape) > 0.2] = 0.0
    aus[:, 0] = 1.0
    which = [states[i % len(states)] for i in range(args.frames)]
    few = min(args.frames, 4)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "prepare": (len(faces), lambda: [generator.prepare(face) for face in faces]),
        "render": (args.frames, lambda: generator.render(which, aus)),
        "plain affine": (few, lambda: [plain_affine(faces[i], aus[i]) for i in range(few)]),
        "plain spline": (few, lambda: [plain_spline(faces[i], aus[i]) for i in range(few)]),
    }
    generator.render(which, aus)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, (count, work) in ways.items():
            times[name].append(seconds(work, clock) / count)

    print(f"warp, {args.size} px, {args.device}, one thread, median of {args.rounds} rounds")
    render = statistics.median(times["render"])
    for name, values in times.items():
        each = statistics.median(values)
        ratio = "" if name == "prepare" else f"  {each / render:6.1f} x the time of render"
        print(f"  {name:13s} {1000 * each:8.2f} ms each  {1 / each:8.1f} per second{ratio}")


if __name__ == "__main__":
    main()
