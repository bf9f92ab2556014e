"""Measure what checksums and locks cost: CPU seconds with them and without, as a paired ratio.

    python tests/benchmarks/bench_checksums.py [--samples 300] [--pairs 9] [--epochs 20] [--only X]

Every pair runs each job once with checksums and locks and once without, in alternating order, in
one process. 1.03 is 3 % slower. Other processes only add to a time, so that `fastest`, the ratio
of the fastest run of each kind, is more exact on a busy machine than the median over the pairs;
`inside` also states the CPU time spent in the functions that seal, verify, hash and lock, as a
share of the rest of the protected run. Recognizers of published flow train for 800 epochs in their
papers; 20 is a short training.
"""

import argparse
import contextlib
import pkgutil
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
    "miex.pipeline.faces.table_file.check_seal",
    "miex.pipeline.recognition.block_file.check_seal",
    "miex.pipeline.recognition.checkpoint.check_seal",
)

WATCHED = (
    "miex.datasets.files.seal_file",
    "miex.datasets.files.remember_hash",
    *SEAL_USERS,
    "miex.datasets.dataset_format.known_sha256",
    "miex.pipeline.synthesis.shard_files.known_sha256",
    "miex.pipeline.recognition.shard_samples.known_sha256",
    "miex.pipeline.synthesis.records.has_valid_seal",
    "miex.au_sources.pool_file._checksum",
    "filelock.FileLock.acquire",
    "filelock.FileLock.release",
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


class Inside:
    """CPU seconds spent in the functions of checksums and locks, outermost calls only."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def watch(self, function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            self._depth += 1
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - began

        return call


def share_inside(job: Callable[[Path], object], out: Path) -> float:
    """Return the CPU time of checksums and locks as a share of the rest of a job."""
    seals._verified.clear()
    seals._hashes.clear()
    inside = Inside()
    with contextlib.ExitStack() as stack:
        for name in WATCHED:
            original = pkgutil.resolve_name(name)
            stack.enter_context(mock.patch(name, inside.watch(original)))
        began = time.process_time()
        job(out)
        total = time.process_time() - began
    return inside.seconds / (total - inside.seconds)


def cpu_seconds(job: Callable[[Path], object], out: Path, protected: bool) -> float:
    seals._verified.clear()
    seals._hashes.clear()
    with contextlib.nullcontext() if protected else unprotected():
        began = time.process_time()
        job(out)
        return time.process_time() - began


def compare(name: str, job: Callable[[Path], object], scratch: Path, pairs: int) -> None:
    job(scratch / f"{name}-warm")
    inside = share_inside(job, scratch / f"{name}-inside")
    spent: dict[bool, list[float]] = {True: [], False: []}
    for pair in range(pairs):
        for protected in (True, False) if pair % 2 else (False, True):
            out = scratch / f"{name}-{pair}-{protected}"
            spent[protected].append(cpu_seconds(job, out, protected))
    ratios = [one / other for one, other in zip(spent[True], spent[False], strict=True)]
    print(
        f"{name:16} {statistics.median(spent[True]):8.2f} "
        f"{min(spent[True]) / min(spent[False]):8.4f} {statistics.median(ratios):8.4f} "
        f"{min(ratios):8.4f} {max(ratios):8.4f} {100 * inside:7.2f} %",
        flush=True,
    )


def main() -> None:
    """Print one line for each job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", action="append")
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
            given = {"epochs": arguments.epochs, "device": "cpu", "cache": cache}
            return miex.pretrain("off_apexnet", [scratch / "data"], out, **given, **quiet)

        def extract(out: Path) -> object:
            given = {"source": "early_mae", "calibration": "none", "relative": True}
            return miex.extract_aus("samples", out.with_suffix(".parquet"), **given, **quiet)

        titles = ("CPU s", "fastest", "median", "lowest", "highest", "inside")
        print(f"{'job':16} " + " ".join(f"{title:>8}" for title in titles))
        for name, job in (
            ("synthesize", synthesize),
            ("training", train),
            ("extract-aus", extract),
        ):
            if not arguments.only or name in arguments.only:
                compare(name, job, scratch, arguments.pairs)


if __name__ == "__main__":
    main()
