"""Measure how fast pretraining reads samples: shards, a folder of PNGs, and Hugging Face.

All ways alternate in one run on the same machine. Each yields shuffled batches of onset and apex as
uint8 tensors. `shards, decoded` is the first epoch of the first training on a dataset; all other
epochs are `shards, cached`.

    python tests/benchmarks/bench_pretraining_input.py --samples 2000
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.recognition.cache import Batches, CachedInputs, open_inputs
from miex.pipeline.recognition.order import batches_of
from miex.pipeline.recognition.representations.frames import FramePair, FramesConfig
from miex.pipeline.recognition.shard_samples import ShardBlock, shard_blocks
from miex.pipeline.synthesis.config import SynthesisConfig

BATCH = 32
CPU = torch.device("cpu")


class PngFolder(Dataset[tuple[Tensor, Tensor, int]]):
    """A simple dataset of two PNG files per sample, as users often write it."""

    def __init__(self, folder: Path) -> None:
        self.folders = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        frames = []
        for name in ("onset.png", "apex.png"):
            with Image.open(self.folders[index] / name) as image:
                frames.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
        return frames[0], frames[1], int(self.folders[index].name.rpartition("-")[2])


def write_folder(dataset: DatasetFolder, folder: Path) -> None:
    for row in dataset.rows(["sample_id", "frames", "apex_index", "label"]):
        frames = decode_frames(row)
        place = folder / f"{row['sample_id']}-{row['label']}"
        place.mkdir(parents=True)
        for name, frame in (("onset", frames[0]), ("apex", frames[row["apex_index"]])):
            Image.fromarray(frame).save(place / f"{name}.png")


def from_folder(folder: Path, workers: int) -> Iterator[int]:
    loader = DataLoader(PngFolder(folder), BATCH, shuffle=True, num_workers=workers)
    yield from (len(labels) for _, _, labels in loader)


def open_hugging_face(dataset: DatasetFolder, cache: Path) -> Any:
    from datasets import load_dataset

    files = [str(path) for path in dataset.shards]
    rows = load_dataset("parquet", data_files=files, split="train", cache_dir=str(cache))
    return rows.select_columns(["frames", "label"]).with_transform(_stacked)


def from_hugging_face(rows: Any, workers: int) -> Iterator[int]:
    loader = DataLoader(rows, BATCH, shuffle=True, num_workers=workers)
    yield from (len(batch["label"]) for batch in loader)


def _stacked(rows: dict[str, list]) -> dict[str, list]:
    frames = [
        torch.from_numpy(np.stack([np.array(frame) for frame in each])) for each in rows["frames"]
    ]
    return {"frames": frames, "label": rows["label"]}


def from_cache(inputs: CachedInputs, seed: int) -> Iterator[int]:
    order = batches_of(len(inputs), BATCH, seed, 0, None)
    yield from (len(labels) for _, labels in Batches(inputs, order, CPU))


def decoded(blocks: list[ShardBlock], representation: FramePair) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        yield len(open_inputs(blocks, representation, Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--dataset", type=Path, help="a dataset; by default one is synthesized")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="workers of DataLoader")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.dataset
        if folder is None:
            folder = Path(scratch) / "dataset"
            synthesize(SynthesisConfig(samples=given.samples), folder)
        dataset = DatasetFolder.open(folder)
        write_folder(dataset, Path(scratch) / "png")
        blocks, pair = shard_blocks(dataset), FramePair(FramesConfig(side=128))
        inputs = open_inputs(blocks, pair, Path(scratch) / "cache")
        rows = open_hugging_face(dataset, Path(scratch) / "hf")
        ways: dict[str, Callable[[int], Iterator[int]]] = {
            "folder of PNGs, DataLoader": lambda _: from_folder(
                Path(scratch) / "png", given.workers
            ),
            "Hugging Face, DataLoader": lambda _: from_hugging_face(rows, given.workers),
            "shards, decoded": lambda _: decoded(blocks, pair),
            "shards, cached": lambda seed: from_cache(inputs, seed),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(given.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                count = sum(way(number))
                rates[name].append(count / (time.perf_counter() - began))
        base = statistics.median(rates["folder of PNGs, DataLoader"])
        print(f"{len(dataset)} samples of two frames, {given.workers} workers, median of rounds")
        for name, each in rates.items():
            rate = statistics.median(each)
            print(f"  {name:28} {rate:8.0f} samples/s   {rate / base:5.2f} x the folder")


if __name__ == "__main__":
    main()
