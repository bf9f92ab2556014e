"""Measure face preparation: time per stage, and photographs per second by number of workers.

    python tests/benchmarks/bench_faces.py [SOURCE] [--photographs N]

SOURCE is a face source (``folder:PATH``, ...). By default it is LFW in the shared data, or the
sample photographs if there is no LFW.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from miex.datasets.base import FaceSource, Photograph, Rejection
from miex.datasets.faces.base import open_face_source
from miex.datasets.images import open_photograph
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.crop import crop_transform, cut
from miex.pipeline.faces.detection import DlibDetector
from miex.pipeline.faces.prepare import prepare_faces

LFW = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "lfw"


class Part:
    """Every n-th photograph of a source."""

    def __init__(self, source: FaceSource, count: int) -> None:
        self.name, self.licence = source.name, source.licence
        photographs = source.photographs()
        self._chosen = list(photographs[:: max(1, len(photographs) // count)])[:count]

    def photographs(self) -> Sequence[Photograph]:
        return self._chosen

    def skipped(self) -> Sequence[Rejection]:
        return []


def stages(source: FaceSource, config: FaceConfig) -> None:
    """Print the milliseconds of each stage for one photograph on one core."""
    detector = DlibDetector(config)
    spent: dict[str, list[float]] = {}

    def clock(stage: str, function, *arguments):
        start = time.perf_counter()
        result = function(*arguments)
        spent.setdefault(stage, []).append(1000 * (time.perf_counter() - start))
        return result

    chips: list[np.ndarray] = []
    for photograph in source.photographs()[:50]:
        limits = (config.max_megapixels, config.max_side)
        image = clock("open", open_photograph, photograph.path, *limits).pixels
        boxes = clock("detect", detector.find, image)
        if boxes:
            points = clock("landmarks", detector.landmarks, image, boxes[0])
            matrix = crop_transform(points, config.size, config.eye_distance, config.eye_height)
            clock("crop", cut, image, matrix, config.size)
            chips.append(clock("align", detector.align, image, points))
    batches = [chips[start : start + 4] for start in range(0, len(chips), 4)]
    for batch in batches:
        clock("embed 4", detector.embed_all, batch)
    for stage, times in spent.items():
        print(f"  {stage:10} median {np.median(times):7.2f} ms   mean {np.mean(times):7.2f} ms")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = f"folder:{LFW}" if LFW.is_dir() else "samples"
    parser.add_argument("source", nargs="?", default=default)
    parser.add_argument("--photographs", type=int, default=150)
    arguments = parser.parse_args()
    source = Part(open_face_source(arguments.source), arguments.photographs)
    total = len(source.photographs())
    print(f"{total} photographs of {source.name}, load {os.getloadavg()[0]:.1f}")
    stages(source, FaceConfig())
    for workers in sorted({1, os.cpu_count() or 1}):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            table = prepare_faces(source, Path(folder) / "faces.parquet", workers=workers)
            seconds = time.perf_counter() - start
            print(
                f"  {workers} workers {total / seconds:6.1f} photographs/s, {len(table)} faces kept"
            )
    unit = 1024  # Linux counts in KiB
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit
    print(f"  peak memory {own:.0f} MiB, largest worker {worker:.0f} MiB")


if __name__ == "__main__":
    main()
