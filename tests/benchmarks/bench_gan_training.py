"""Measure the images per second of a training step of `ganimation` and of a plain loop.

    python tests/benchmarks/bench_gan_training.py                      # tiny, on a CPU
    python tests/benchmarks/bench_gan_training.py --full [--compile]   # paper's size, on a GPU

An image counts once per step of the generator. Both ways alternate in every round, so that other
work on the machine affects both. The table shows medians over rounds of whole periods.

- plain: the recipe `pumarola` as in both public implementations: float32, contiguous memory, five
  discriminator steps with a gradient penalty per generator step, images normalized on the CPU and
  copied for each batch;
- miex: the recipe `miex`: bfloat16 if the device supports it, `channels_last`, images on the
  device, one step each, with warps rendered at the same time.

The share of the peak counts the multiply-adds of convolutions only (two operations each, forward
and backward). The peak of the device in bfloat16 is measured in the same run by a matrix product.
"""

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from miex.au_sources.face_motion import motion_table
from miex.datasets.processes import Processes
from miex.generators.ganimation.adversaries import Adversaries, Precision
from miex.generators.ganimation.batches import Batch, Batches
from miex.generators.ganimation.recipe import Recipe, choose_recipe
from miex.generators.ganimation.teacher import Teacher
from miex.generators.ganimation.training_set import TrainingFaces


def drawn_faces(count: int, side: int) -> TrainingFaces:
    """Return faces of smooth noise with face landmarks, which cost as much as real faces."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    images = np.stack([cv2.resize(one, (side, side)) for one in noise])
    points = 0.3 * side * motion_table().neutral[:, :2] + np.array([0.5, 0.42]) * side
    jitter = rng.normal(0, 0.01 * side, (count, 1, 2))
    aus = rng.uniform(0, 2, (count, 17)).astype(np.float32)
    names = tuple(map(str, range(count)))
    return TrainingFaces(images, (points + jitter).astype(np.float32), aus, names, names)


def contiguous(batch: Batch, device: torch.device) -> Batch:
    """Copy a batch from the CPU in contiguous memory, as a plain loop does."""
    values = {
        name: getattr(batch, name).contiguous().to(device) for name in Batch.__dataclass_fields__
    }
    return Batch(**values)


def way(
    recipe: Recipe, faces: TrainingFaces, precision: Precision, plain: bool
) -> Callable[[int], None]:
    """Return a function that trains for one step."""
    device, side = precision.device, faces.images.shape[1]
    networks = Adversaries(recipe, side, 0, precision, Processes(0, 1, device))
    trusted = np.ones(17, bool)
    if plain:
        for network in networks.modules.values():
            network.to(memory_format=torch.contiguous_format)
        batches = Batches(faces, trusted, recipe, 0, torch.device("cpu"))
        return lambda step: _forget(networks.step(contiguous(batches.at(step), device), step, 1.0))
    batches = Batches(faces, trusted, recipe, 0, device, Teacher(faces, device))
    return lambda step: _forget(networks.step(batches.at(step), step, 1.0))


def _forget(_: object) -> None:
    """Ignore the losses, which stay on the device."""


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[int], None], steps: int, device: torch.device) -> float:
    """Return the seconds of a period of steps."""
    synchronise(device)
    began = time.perf_counter()
    for step in range(steps):
        run(step)
    synchronise(device)
    return time.perf_counter() - began


def operations(run: Callable[[int], None]) -> float:
    """Return the floating-point operations of a step, two per multiply-add.

    The step has no R1 penalty, which the counter does not support. One in sixteen steps has it, for
    the discriminator only.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        run(1)
    return float(counter.get_total_flops())


def peak(device: torch.device, side: int = 8192) -> float:
    """Return the operations per second of a matrix product in bfloat16."""
    a, b = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    run = [seconds(lambda _: _forget(a @ b), 10, device) for _ in range(4)]
    return 10 * 2 * side**3 / min(run[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="128 pixels, the paper's widths")
    parser.add_argument("--compile", action="store_true", help="torch.compile of the generator")
    parser.add_argument(
        "--batch", type=int, help="batch size of the recipe miex; by default 64 with --full, else 8"
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    side, width, count = (128, 64, 512) if given.full else (64, 8, 16)
    size = {"width": width, "critic_width": width}
    batch = given.batch or (64 if given.full else 8)
    recipes = {
        "plain": choose_recipe("pumarola", size | {"batch": 25 if given.full else 8}),
        "miex": choose_recipe("miex", size | {"batch": batch}),
    }
    faces = drawn_faces(count, side)
    exact = Precision(device)
    fast = Precision(device, bf16=device.type == "cuda", compile=given.compile)
    # Compiled code hides its operations from the counter.
    counted = way(recipes["miex"], faces, exact, plain=False)
    ways = {
        "plain": way(recipes["plain"], faces, exact, plain=True),
        "miex": way(recipes["miex"], faces, fast, plain=False),
    }
    periods = {"plain": recipes["plain"].critic_steps, "miex": recipes["miex"].r1_every}
    if not given.full:
        periods["miex"] = 4
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(given.rounds + 1):
        for name, run in ways.items():
            # Only the recipe miex searches for the fastest cuDNN algorithms.
            with torch.backends.cudnn.flags(benchmark=name == "miex", allow_tf32=name == "miex"):
                spent = seconds(run, periods[name], device)
            if round_number:
                images = recipes[name].batch * (periods[name] // recipes[name].critic_steps)
                times[name].append(images / spent)
    rates = {name: float(np.median(values)) for name, values in times.items()}
    ratio = float(np.median(np.array(times["miex"]) / np.array(times["plain"])))
    print(f"{side} pixels, width {width}, {device}, {torch.get_num_threads()} threads")
    for name, rate in rates.items():
        print(f"{name:6} {rate:9.1f} images/s")
    print(f"ratio  {ratio:9.1f}")
    work = operations(counted) / batch
    print(f"miex   {work / 1e9:9.1f} GFLOP for an image, {work * rates['miex'] / 1e12:.2f} TFLOP/s")
    if device.type == "cuda":
        top = peak(device)
        share = 100 * work * rates["miex"] / top
        print(f"peak   {top / 1e12:9.1f} TFLOP/s in bfloat16; share {share:.1f} %")


if __name__ == "__main__":
    main()
