"""Measure the speed of every recognizer, from a synthesized dataset to a training step.

For each recognizer, at the sizes of its paper, three rates are measured: computing its
representation (once, then it is cached), reading batches from the cache, and training on them. The
last column is the ratio of the last two; above 1, training does not wait for its input. Training is
measured over as many steps as fit into --seconds, at least one.

    python tests/benchmarks/bench_recognizers.py                     # a demo-size dataset
    python tests/benchmarks/bench_recognizers.py --dataset out/miex --seconds 60 --device cuda
"""

import argparse
import contextlib
import os
import tempfile
import time
from pathlib import Path

import torch

from miex.datasets.dataset_format import DatasetFolder
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.recognition.cache import Batches, CachedInputs, open_inputs
from miex.pipeline.recognition.checkpoint import Card
from miex.pipeline.recognition.order import batches_of
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    create_recognizer,
    recognizer_names,
)
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.shard_samples import shard_blocks
from miex.pipeline.recognition.training import Data, train
from miex.pipeline.synthesis.config import SynthesisConfig


class _Enough(Exception):
    """Raised when the time for training is over."""


def input_rate(inputs: CachedInputs, size: int, device: torch.device, seconds: float) -> float:
    began, count, epoch = time.perf_counter(), 0, 0
    while time.perf_counter() - began < seconds:
        for _, labels in Batches(inputs, batches_of(len(inputs), size, 0, epoch, None), device):
            count += len(labels)
        epoch += 1
    return count / (time.perf_counter() - began)


def training_rate(
    recognizer: AnyRecognizer, inputs: CachedInputs, size: int, device: str, seconds: float
) -> tuple[float, int]:
    """Return samples per second and steps; the first step counts only if there is no other."""
    times: list[float] = []

    def on_step(step: int, _steps: int, _terms: dict[str, float]) -> None:
        times.append(time.perf_counter())
        if times[-1] - began > seconds:
            raise _Enough

    began = time.perf_counter()
    card = Card(recognizer.name, {}, "three_class", recognizer.weights)
    data, run = Data(inputs, range(len(inputs)), "benchmark"), RunConfig(device=device)
    if isinstance(recognizer, FittedRecognizer):
        train(recognizer, data, card, "pretrain", run)
        return len(inputs) / (time.perf_counter() - began), 1
    epochs = 1 + -(-4 * size // len(inputs))
    hyper = recognizer.config.training.model_copy(update={"batch_size": size, "epochs": epochs})
    with contextlib.suppress(_Enough):
        train(recognizer, data, card, "pretrain", run, hyper=hyper, on_step=on_step)
    # The last batch of an epoch can be smaller, which changes the rate only slightly.
    mean = len(inputs) / -(-len(inputs) // size)
    if len(times) == 1:
        return mean / (times[0] - began), 1
    return mean * (len(times) - 1) / (times[-1] - times[0]), len(times) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--dataset", type=Path, help="a dataset; by default a small one is synthesized"
    )
    parser.add_argument("--recognizers", nargs="*", default=recognizer_names())
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--batch", type=int, help="batch size; by default that of the paper")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    device = torch.device(
        given.device if given.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    )
    print(f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    head = ("recognizer", "params", "represent/s", "KiB", "input/s", "batch", "train/s", "steps")
    print("{:15}{:>11}{:>13}{:>7}{:>10}{:>7}{:>10}{:>7}   input".format(*head))
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.dataset
        if folder is None:
            folder = Path(scratch) / "dataset"
            synthesize(SynthesisConfig(), folder)
        blocks = shard_blocks(DatasetFolder.open(folder))
        for name in given.recognizers:
            torch.manual_seed(0)
            recognizer = create_recognizer(name, 3)
            cache = Path(scratch) / name
            began = time.perf_counter()
            inputs = open_inputs(blocks, recognizer.representation, cache, device=device)
            made = len(inputs) / (time.perf_counter() - began)
            stored = sum(path.stat().st_size for path in cache.rglob("*.safetensors"))
            size = given.batch or recognizer.config.training.batch_size
            ready = input_rate(inputs, size, device, 1.0)
            rate, steps = training_rate(recognizer, inputs, size, str(device), given.seconds)
            count = 0
            if isinstance(recognizer, torch.nn.Module):
                count = sum(each.numel() for each in recognizer.parameters())
            print(
                f"{name:15}{count:11,}{made:13.1f}{stored / len(inputs) / 1024:7.0f}{ready:10.0f}"
                f"{size:7}{rate:10.1f}{steps:7}   {ready / rate:.0f} x faster",
                flush=True,
            )


if __name__ == "__main__":
    main()
