"""Measure the time of every stage and the memory of a dataset at growing numbers of people.

    python tests/benchmarks/bench_scale.py --people 1000 10000 100000 1000000 --most 250000
    python tests/benchmarks/bench_scale.py --samples 1000 10000 100000 [--workers 2]
    python tests/benchmarks/bench_scale.py --near 10000 100000 1000000

Ten faces, each with other noise for every person, stand for any number of people, so that the
table, the plan, the shards and the manifest have their real numbers of rows. With `--samples`,
`warp` renders frames of 64 pixels as usual, nine samples for each person. With `--people`,
rendering is simulated: a frame of 32 pixels is the photograph moved by some pixels, and its motion
is not measured; everybody has one sample, or `--most` people have one, spread over the table.

Stages are given in CPU seconds; `manifest` sums the records of all shards. The report, which shows
at most 50,000 samples, is left out. `--tables` keeps the face tables. Each size runs in a process
of its own; its peak memory is that of this process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from miex.au_sources.action_units import AUArray
from miex.datasets.base import Face
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.faces.base import open_face_source
from miex.datasets.image_tables import IMAGE
from miex.datasets.registry import Facts
from miex.datasets.storage import sizes
from miex.generators import base
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.near import near_pairs, search_method
from miex.pipeline.faces.prepare import prepare_faces
from miex.pipeline.faces.table import FaceTable, has_face_table, write_face_table
from miex.pipeline.faces.table_file import SCHEMA
from miex.pipeline.synthesis import quality
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.job import start
from miex.pipeline.synthesis.records import pending
from miex.pipeline.synthesis.run import complete, render_shard

_AT_A_TIME = 2048


class Moved:
    """Generator whose frames are the photograph moved by some pixels."""

    name = "moved"
    sha256 = None
    max_intensity = 5.0
    condition = "absolute"

    def prepare(self, face: Face) -> NDArray[np.uint8]:
        """Return the photograph."""
        return face.crop

    def render(self, states: Sequence[NDArray[np.uint8]], aus: AUArray) -> NDArray[np.uint8]:
        """Return a frame for each photograph and AU vector."""
        steps = np.ceil(aus.sum(axis=1)).astype(int).tolist()
        return np.stack([np.roll(s, n, axis=0) for s, n in zip(states, steps, strict=True)])


def simulate_rendering() -> None:
    """Register the generator `moved`, and take any change of a frame for motion."""

    def create(_config: base.GeneratorConfig) -> Any:
        return Moved()

    base.register_generator("moved", Facts("moves the photograph", "moved", "moved"))(create)
    quality.motion_between = lambda one, other: float(not np.array_equal(one, other))


def write_people(out: Path, people: int, side: int) -> None:
    """Write a face table in which the sample faces are repeated."""
    small = FaceConfig(size=side, min_face_size=1, min_sharpness=0)
    few = out.with_name(f"few-{side}.parquet")
    first = prepare_faces(open_face_source("samples"), few, small, workers=1)
    rows = first.parts[0].read(0)
    crops = np.stack([face.crop[..., ::-1] for face in first.load(range(len(first)))])
    head = cv2.imencode(".bmp", crops[0])[1].tobytes()[: -crops[0].size]
    rng = np.random.default_rng(0)

    def batches() -> Iterator[pa.Table]:
        for begin in range(0, people, _AT_A_TIME):
            numbers = np.arange(begin, min(begin + _AT_A_TIME, people))
            names = pa.array([f"person {number}" for number in numbers.tolist()])
            batch = rows.take(pa.array(numbers % len(rows)))
            vectors = pa.array(strangers(len(numbers), begin).ravel())
            coarse = rng.integers(-50, 50, (len(numbers), 8, 8, 1), np.int16)
            noise = coarse.repeat(side // 8, axis=1).repeat(side // 8, axis=2)
            noisy = np.clip(crops[numbers % len(rows)] + noise, 0, 255).astype(np.uint8)
            images = pa.array([head + image.tobytes() for image in noisy], pa.binary())
            columns = {
                "identity": names,
                "crop": pa.StructArray.from_arrays([images, names], fields=list(IMAGE)),
                "embedding": pa.FixedSizeListArray.from_arrays(vectors, 128),
            }
            for name, column in columns.items():
                batch = batch.set_column(SCHEMA.get_field_index(name), name, column)
            yield batch.cast(SCHEMA)

    notes = replace(first.notes, photographs=people, fingerprint=f"{people} people")
    write_face_table(out, batches(), notes, [], people)


def strangers(count: int, seed: int) -> NDArray[np.float32]:
    """Return embeddings ``(count, 128)`` like dlib's: of norm 1.4, and strangers 0.8 apart."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(0).normal(size=128)
    vectors = 0.05 * rng.standard_normal((count, 128), np.float32)
    vectors += (1.25 * common / np.linalg.norm(common)).astype(np.float32)
    return vectors.astype(np.float32)


def run(
    people: int, samples: int, simulated: bool, folder: Path, tables: Path | None = None
) -> dict[str, Any]:
    """Make a dataset and return its figures."""
    if simulated:
        simulate_rendering()
    seconds: dict[str, float] = {}
    began = time.process_time()

    def stage(name: str) -> None:
        nonlocal began
        seconds[name] = time.process_time() - began
        began = time.process_time()

    side = 32 if simulated else 64
    table = (tables or folder) / f"{people}-{side}.parquet"
    if not has_face_table(table):
        write_people(table, people, side)
    written = memory()
    stage("table")
    config = SynthesisConfig(
        faces=str(table),
        samples=samples,
        generator={"name": "moved" if simulated else "warp"},
        quality={"identity_share": 0},
        image={"format": "jpeg"},
    )
    job = start(config, folder / "data", workers=1)
    todo = pending(job)
    stage("start")
    for number in todo:
        render_shard(job, number)
    stage("render")
    rendered = memory()
    manifest = complete(job)
    stage("manifest")
    assert pending(job) == []
    stage("resume")
    files = sizes(folder / "data" / "data")
    return {
        "people": len(FaceTable.open(table).people),
        "samples": manifest["counts"]["written"] + manifest["counts"]["rejected"],
        "shards": len(DatasetFolder.open(folder / "data").manifest["shards"]),
        **{name: round(value, 1) for name, value in seconds.items()},
        "ms a sample": round(1000 * seconds["render"] / samples, 2),
        "MB table": written,
        "MB render": rendered,
        "MB manifest": memory(),
        "GB": round(sum(files.values()) / 1e9, 2),
        "manifest KB": (folder / "data" / "manifest.json").stat().st_size // 1000,
    }


def memory() -> int:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


def search(count: int) -> dict[str, Any]:
    """Search near faces among a number of embeddings; a tenth of the people are there twice."""
    rng = np.random.default_rng(1)
    vectors = strangers(count, 2)
    twice = count // 10
    doubles = rng.standard_normal((twice, 128), np.float32)
    doubles *= rng.uniform(0.02, 0.33, (twice, 1)) / np.linalg.norm(doubles, axis=1)[:, None]
    vectors[-twice:] = vectors[:twice] + doubles
    method = search_method(count)
    began, before = time.perf_counter(), time.process_time()
    found = {(i, j) for i, j, _ in near_pairs(vectors, 0.35, method)}
    share = sum((n, count - twice + n) in found for n in range(twice)) / twice
    return {
        "faces": count,
        "method": method,
        "seconds": round(time.perf_counter() - began, 1),
        "CPU seconds": round(time.process_time() - before, 1),
        "doubles found": f"{share:.3%}",
        "MB": memory(),
    }


def main() -> None:
    """Print one row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, nargs="*", default=[], help="simulated rendering")
    parser.add_argument("--most", type=int, default=10**8, help="most samples of --people")
    parser.add_argument("--samples", type=int, nargs="*", default=[], help="nine of each person")
    parser.add_argument("--tables", type=Path, help="folder in which face tables are kept")
    parser.add_argument("--near", type=int, nargs="*", default=[], help="numbers of embeddings")
    parser.add_argument("--one", nargs=3, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        people, samples, simulated = given.one
        if not samples:
            print(json.dumps(search(people)))
            return
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run(people, samples, bool(simulated), Path(folder), given.tables)))
        return
    every = [(people, min(people, given.most), 1) for people in given.people]
    every += [(max(1, samples // 9), samples, 0) for samples in given.samples]
    every += [(count, 0, 1) for count in given.near]
    for size in every or [(1000, 1000, 1), (10_000, 10_000, 1)]:
        command = [sys.executable, __file__, "--one", *map(str, size)]
        command += [] if given.tables is None else ["--tables", str(given.tables)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
