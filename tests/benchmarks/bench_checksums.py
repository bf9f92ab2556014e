"""Measure what checksums and locks cost: CPU seconds with them and without, as a paired ratio.

    python tests/benchmarks/bench_checksums.py [--samples 150] [--pairs 3]

Every pair runs each job once with checksums and locks and once without, in alternating order, in
one process. The ratio is the median over the pairs; 1.03 is 3 % slower.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import miex
from miex.datasets import files, seals
from miex.pipeline.faces.prepare import prepare_faces

SEAL_USERS = (
    "miex.datasets.documents.check_bytes",
    "miex.pipeline.faces.table.check_seal",
    "miex.pipeline.recognition.block_file.check_seal",
    "miex.pipeline.recognition.checkpoint.check_seal",
)

LOCK_USERS = ("miex.pipeline.make_dataset.locked", "miex.pipeline.faces.prepare.locked")


@contextlib.contextmanager
def nothing(*_: object) -> Iterator[None]:
    yield


@contextlib.contextmanager
def unprotected() -> Iterator[None]:
    """Leave out every checksum and lock while the block runs."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(files, "seal_file", return_value=None))
        for name in SEAL_USERS:
            stack.enter_context(mock.patch(name, return_value=True))
        for name in LOCK_USERS:
            stack.enter_context(mock.patch(name, nothing))
        stack.enter_context(mock.patch("miex.datasets.locks.locked", nothing))
        pool = "miex.au_sources.pool_file._checksum"
        stack.enter_context(mock.patch(pool, return_value="none"))
        yield


def cpu_seconds(job: Callable[[Path], object], out: Path, protected: bool) -> float:
    seals._verified.clear()
    with contextlib.nullcontext() if protected else unprotected():
        began = time.process_time()
        job(out)
        return time.process_time() - began


def compare(name: str, job: Callable[[Path], object], scratch: Path, pairs: int) -> None:
    job(scratch / f"{name}-warm")
    ratios, spent = [], []
    for pair in range(pairs):
        found = {}
        for protected in (True, False) if pair % 2 else (False, True):
            out = scratch / f"{name}-{pair}-{protected}"
            found[protected] = cpu_seconds(job, out, protected)
        ratios.append(found[True] / found[False])
        spent.append(found[True])
    print(
        f"{name:16} {statistics.median(spent):8.2f} {statistics.median(ratios):8.4f} "
        f"{min(ratios):8.4f} {max(ratios):8.4f}",
        flush=True,
    )


def main() -> None:
    """Print one line for each job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=150)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        from miex.datasets.faces.base import open_face_source

        table = scratch / "faces.parquet"
        prepare_faces(open_face_source("samples"), table, workers=1)
        quiet = {"progress": False}
        fields = {"faces": str(table), "samples": arguments.samples, "generator": "warp"}

        def synthesize(out: Path) -> object:
            return miex.synthesize(out, workers=1, **quiet, **fields)

        synthesize(scratch / "data")
        cache = scratch / "cache"

        def train(out: Path) -> object:
            given = {"epochs": 3, "device": "cpu", "cache": cache}
            return miex.pretrain("off_apexnet", [scratch / "data"], out, **given, **quiet)

        def extract(out: Path) -> object:
            given = {"source": "early_mae", "calibration": "none", "relative": True}
            return miex.extract_aus("samples", out.with_suffix(".parquet"), **given, **quiet)

        print(f"{'job':16} {'CPU s':>8} {'ratio':>8} {'lowest':>8} {'highest':>8}")
        for name, job in (
            ("synthesize", synthesize),
            ("training", train),
            ("extract-aus", extract),
        ):
            compare(name, job, scratch, arguments.pairs)


if __name__ == "__main__":
    main()
