"""Measure what one core does, row by row: miex, the alternative in the same run, and their ratio.

    python tests/benchmarks/bench_limits.py [--faces TABLE] [--rounds 5] [--rows tvl1 render ...]

Times are processor times of one thread, which depend little on other work on the machine; both
ways of a row alternate in every round, and the table shows medians. docs/performance.md has the
results.

- embed: dlib's descriptor of a face in PyTorch; alternative: dlib.
- prepare: state of a face for `warp`; alternative: without the compiled kernels.
- render: a frame by `warp`; alternative: without the compiled kernels.
- least: a frame by `warp`; alternative: one cubic `cv2.remap` of the frame, what any warp needs.
- encode: a lossless WebP of a frame; alternative: PNG.
- motion: the motion that `warp` states, with its frame; alternative: optical flow (DIS), the frame
  not counted.
- tvl1: TV-L1 flow of a pair; alternative: OpenCV's `DualTVL1OpticalFlow`.
- tvl1_torch: the same without the compiled kernels; alternative: OpenCV's.
- branches: a training step of the recognizer `branches` in bf16, for one sample; alternative: fp32.
- commands: `miex recognizers`; alternative: `miex doctor`.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import dlib
import numpy as np
import torch

from miex.au_sources.action_units import AU_COUNT
from miex.datasets import kernels
from miex.datasets.encoding import ImageConfig, encode_frame
from miex.datasets.faces.base import open_face_source
from miex.generators.base import GeneratorConfig, create_generator
from miex.pipeline.faces.embedding import read_model
from miex.pipeline.faces.models import CHIP_SIDE, EMBEDDING_MODEL, model_file
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable
from miex.pipeline.recognition.optimization import create_optimizer, place
from miex.pipeline.recognition.recognizers.base import Recognizer, create_recognizer
from miex.pipeline.recognition.representations.optical_flow import to_grey, tvl1
from miex.pipeline.synthesis.quality import motion_between

FRAMES = 48

Work = Callable[[], object]


def without_kernels(work: Work) -> Work:
    """Return a function that does the same with the kernels switched off."""

    def run() -> object:
        os.environ[kernels.SWITCH] = "off"
        kernels.reload()
        try:
            return work()
        finally:
            del os.environ[kernels.SWITCH]
            kernels.reload()

    return run


def command(*words: str) -> Work:
    """Return a function that runs a command of miex."""
    miex = str(Path(sys.executable).with_name("miex"))
    return lambda: subprocess.run([miex, *words], stdout=subprocess.DEVNULL, check=True)


def seconds(work: Work) -> float:
    """Return the processor seconds of a call, with those of its child processes."""
    children = resource.RUSAGE_CHILDREN
    before = resource.getrusage(children)
    start = time.process_time()
    work()
    after = resource.getrusage(children)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.process_time() - start + spent


def training_step(recognizer: Recognizer, bf16: bool) -> Work:
    """Return a function that makes one training step with 8 samples."""
    place(recognizer, torch.device("cpu"), bf16)
    optimizer = create_optimizer(recognizer, recognizer.config.training)
    pixels = torch.randint(0, 256, (8, 3, 128, 128), dtype=torch.uint8)
    inputs = {"onset": pixels, "apex": pixels.flip(0)}
    labels = torch.arange(8) % 3

    def run() -> None:
        augmented = dict(recognizer.augment(inputs, torch.Generator().manual_seed(0)))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = recognizer.loss(augmented, labels)["loss"]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    return run


def rows_of(table: Path) -> dict[str, tuple[int, Work, Work]]:
    """Return for each row: number of items, work of miex, and work of the alternative."""
    faces = FaceTable.open(table)
    faces = faces.load(range(min(8, len(faces))))
    generator = create_generator(GeneratorConfig(name="warp", device="cpu"))
    states = [generator.prepare(face) for face in faces]
    which = [states[i % len(states)] for i in range(FRAMES)]
    rng = np.random.default_rng(0)
    aus = rng.uniform(0.5, 1.5, (FRAMES, AU_COUNT)).astype(np.float32)
    aus[rng.random(aus.shape) > 0.25] = 0.0
    aus[:, 0] = 1.0
    frames = generator.render(which, aus)
    onsets = [faces[i % len(faces)].crop for i in range(FRAMES)]
    grid = np.stack(np.meshgrid(*[np.arange(frames.shape[1], dtype=np.float32)] * 2)) + 0.3

    def flow_of_frames() -> None:
        for onset, frame in zip(onsets, frames, strict=True):
            motion_between(onset, frame)

    def prepare() -> object:
        return [generator.prepare(face) for face in faces]

    def render() -> object:
        return generator.render(which, aus)

    pair = torch.from_numpy(np.stack([np.stack(onsets[:8]), frames[:8]])).permute(0, 1, 4, 2, 3)
    first, second = (to_grey(each).round() for each in pair)

    def opencv() -> None:
        solver = cv2.optflow.DualTVL1OpticalFlow_create()
        for one, two in zip(first.numpy(), second.numpy(), strict=True):
            solver.calc(one / 255, two / 255, None)

    webp, png = (ImageConfig(format=name) for name in ("webp", "png"))
    networks = [create_recognizer("branches", 3) for _ in range(2)]
    assert all(isinstance(network, Recognizer) for network in networks)
    chips = rng.integers(0, 256, (4, CHIP_SIDE, CHIP_SIDE, 3), dtype=np.uint8)
    model = model_file(EMBEDDING_MODEL)
    network, theirs = read_model(model), dlib.face_recognition_model_v1(str(model))
    return {
        "embed": (
            len(chips),
            lambda: [network.embed(chip) for chip in chips],
            lambda: [theirs.compute_face_descriptor(chip) for chip in chips],
        ),
        "prepare": (len(faces), prepare, without_kernels(prepare)),
        "render": (FRAMES, render, without_kernels(render)),
        "least": (
            FRAMES,
            render,
            lambda: [cv2.remap(image, *grid, cv2.INTER_CUBIC) for image in onsets],
        ),
        "encode": (
            FRAMES,
            lambda: [encode_frame(frame, webp) for frame in frames],
            lambda: [encode_frame(frame, png) for frame in frames],
        ),
        "motion": (FRAMES, lambda: generator.render_with_motion(which, aus), flow_of_frames),
        "tvl1": (len(first), lambda: tvl1(first, second), opencv),
        "tvl1_torch": (len(first), without_kernels(lambda: tvl1(first, second)), opencv),
        "branches": (8, training_step(networks[0], True), training_step(networks[1], False)),
        "commands": (1, command("recognizers"), command("doctor")),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, help="face table; by default that of the samples")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="*", help="names of rows; all by default")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        table = given.faces or Path(scratch) / "faces.parquet"
        if given.faces is None:
            prepare_faces(open_face_source("samples"), table, workers=1)
        rows = rows_of(table)
    print(f"kernels {kernels.kernels_state()}; load {os.getloadavg()[0]:.1f}")
    print(f"{'row':12}{'miex, ms':>12}{'other, ms':>12}{'ratio':>8}{'of the rounds':>18}")
    for name in given.rows or rows:
        count, work, other = rows[name]
        work(), other()
        times = [(seconds(work), seconds(other)) for _ in range(given.rounds)]
        mine, theirs = (1000 * statistics.median(each) / count for each in zip(*times, strict=True))
        ratios = sorted(their / my for my, their in times)
        span = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"{name:12}{mine:12.2f}{theirs:12.2f}{theirs / mine:8.2f}{span:>18}", flush=True)


if __name__ == "__main__":
    main()
