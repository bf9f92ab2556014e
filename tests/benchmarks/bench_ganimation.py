"""Measure the frames per second of `ganimation`, of a plain implementation and of the network.

    python tests/benchmarks/bench_ganimation.py [--device cuda] [--precision fp32] [--compile]

The weights are random, and every frame has a different AU vector, so that no frame is reused. All
ways alternate in every round. The table shows medians over the rounds, and the median of the ratio
within a round, which depends less on other work on the machine. On a busy machine, compare the
processor time per frame with OMP_NUM_THREADS=1, since waiting threads count as busy.

- plain: two images per call, float32, contiguous memory, `InstanceNorm2d`, as MiE-X renders;
- network: `GANimation`, one call per batch, `channels_last`, in the precision of the generator;
- fast network: `FastGANimation` in the batches of the generator;
- generator: `render`, from faces and AUs to uint8 images.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from miex.datasets.base import Face, FaceQuality
from miex.generators.base import GeneratorConfig
from miex.generators.ganimation.checkpoint import load_checkpoint, save_checkpoint
from miex.generators.ganimation.generator import GANimationGenerator, threads_that_compute_alone
from miex.generators.ganimation.network import (
    FastGANimation,
    GANimation,
    NormalizedConv,
    random_network,
)


def plain_network(network: GANimation) -> GANimation:
    """Return a network with the same weights and PyTorch's instance normalization."""
    plain = copy.deepcopy(network)
    for layer in plain.modules():
        if isinstance(layer, NormalizedConv):
            norm = nn.InstanceNorm2d(layer.conv.out_channels, affine=True)
            norm.load_state_dict(layer.norm.state_dict())
            layer.norm = norm
    return plain


def drawn_faces(count: int, side: int) -> list[Face]:
    """Return faces of smooth noise, since only the number of pixels matters."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 8, 8)))
    crops = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    none = FaceQuality(60.0, 100.0, 0.0, 0.0, 0.0)
    return [
        Face(
            crop=crop.permute(1, 2, 0).to(torch.uint8).numpy(),
            landmarks=np.zeros((68, 2), np.float32),
            identity=str(index),
            origin=f"drawn:{index}",
            sha256="0" * 64,
            quality=none,
            embedding=np.zeros(128, np.float32),
        )
        for index, crop in enumerate(crops)
    ]


def ways(
    generator: GANimationGenerator, network: GANimation, arguments: argparse.Namespace
) -> dict[str, Callable[[], object]]:
    """Return the four ways by name; each call renders `arguments.frames` frames."""
    frames, size = arguments.frames, arguments.batch_size
    device, dtype = generator.device, generator.dtype
    faces = drawn_faces(-(-frames // 9), arguments.side)
    states = [generator.prepare(faces[index // 9]) for index in range(frames)]
    aus = np.random.default_rng(1).uniform(0, 1.5, (frames, 17)).astype(np.float32)
    image = torch.cat([state.image for state in states]).contiguous()
    features = torch.cat([state.features for state in states])
    condition = torch.from_numpy(aus / 5).to(device)
    plain = plain_network(network).to(device)
    last = copy.deepcopy(network).to(device, dtype).to(memory_format=torch.channels_last)
    fast = FastGANimation(network, dtype, device)
    call = torch.compile(fast, dynamic=False) if arguments.compile else fast
    pool = threads_that_compute_alone(torch.get_num_threads())

    @torch.inference_mode()
    def batches(model: Callable[..., object], at_once: int, *inputs: Tensor) -> None:
        for start in range(0, frames, at_once):
            model(*(each[start : start + at_once] for each in inputs))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    @torch.inference_mode()
    def one(index: int) -> None:
        call(*(each[index : index + 1] for each in (image, features, condition)))

    def fast_alone() -> None:
        if device.type == "cpu":
            list(pool.map(one, range(frames)))
        else:
            batches(call, size, image, features, condition)

    lasting = image.to(dtype, memory_format=torch.channels_last), condition.to(dtype)
    return {
        "plain": lambda: batches(plain, 2, image, condition),
        "network": lambda: batches(last, size, *lasting),
        "fast network": fast_alone,
        "generator": lambda: generator.render(states, aus),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--frames", type=int, default=32, help="a multiple of the batch size")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.frames % arguments.batch_size or arguments.frames % 2:
        parser.error("--frames must be even and a multiple of --batch-size")
    network = random_network(0)
    config = GeneratorConfig(
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
        batch_size=arguments.batch_size,
    )
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(network, Path(folder) / "random.safetensors")
        checkpoint = load_checkpoint(Path(folder) / "random.safetensors")
    generator = GANimationGenerator(checkpoint, config)
    measured = ways(generator, network, arguments)
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    busy: dict[str, list[float]] = {name: [] for name in measured}
    for round_ in range(arguments.rounds + 1):
        for name, render in measured.items():
            began, busy_before = time.perf_counter(), time.process_time()
            render()
            if round_:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
                busy[name].append(time.process_time() - busy_before)
    print(
        f"{arguments.frames} frames of {arguments.side} x {arguments.side}, batches of"
        f" {arguments.batch_size}, {generator.dtype} on {generator.device.type}"
        f" ({torch.get_num_threads()} threads), {arguments.rounds} rounds"
    )
    print(
        f"{'':14} {'frames/s':>9} {'best':>9} {'x plain':>9} {'x network':>10} {'x fast':>8}"
        f" {'CPU ms/frame':>13}"
    )
    for name, times in seconds.items():
        rate = arguments.frames / np.array(times)
        ratios = [
            float(np.median(np.array(seconds[other]) / np.array(times)))
            for other in ("plain", "network", "fast network")
        ]
        print(
            f"{name:14} {np.median(rate):9.1f} {rate.max():9.1f}"
            f" {ratios[0]:9.2f} {ratios[1]:10.2f} {ratios[2]:8.3f}"
            f" {np.median(busy[name]) / arguments.frames * 1e3:13.1f}"
        )


if __name__ == "__main__":
    main()
