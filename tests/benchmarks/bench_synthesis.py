"""Measure time and memory of `miex faces` and `miex synthesize`, for several sizes and workers.

    python tests/benchmarks/bench_synthesis.py [--faces TABLE] [--samples 1000 4000] [--workers 1 2]
    python tests/benchmarks/bench_synthesis.py --photographs folder:LFW --samples 45000 --workers 2

Processor time is that of the process tree, sampled twice a second; it depends little on other work
on the machine, wall time does. Memory is the proportional set size (PSS), which counts shared pages
once, summed over the tree. It must not grow with the number of samples. The line of a further frame
is the difference of the first and the last size with one worker.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Cost:
    """Cost of one command: wall and processor seconds, and peak memory in MiB."""

    wall: float
    processor: float
    peak: float


def measure(command: list[str]) -> Cost:
    """Run a command and return its cost with that of its children."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    times: dict[tuple[int, float], float] = {}
    stopped = threading.Event()

    def watch() -> None:
        nonlocal peak
        tree = psutil.Process(process.pid)
        turn = 0
        while not stopped.wait(0.1):
            turn += 1
            memory = 0
            try:
                members = [tree, *tree.children(recursive=True)]
            except psutil.Error:
                return
            for member in members:
                try:
                    spent = member.cpu_times()
                    times[member.pid, member.create_time()] = spent.user + spent.system
                    # The kernel adds up every page for this: not at every turn.
                    memory += member.memory_full_info().pss if turn % 20 == 0 else 0
                except psutil.Error:
                    continue
            peak = max(peak, memory / 2**20)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    code = process.wait()
    stopped.set()
    watcher.join()
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return Cost(time.perf_counter() - began, sum(times.values()), peak)


def miex(*arguments: object) -> Cost:
    """Run a command of miex."""
    return measure([str(Path(sys.executable).with_name("miex")), *map(str, arguments)])


def show(name: str, cost: Cost, items: int, unit: str, note: str = "") -> None:
    """Print one line."""
    print(
        f"{name:22} {cost.wall:8.1f} s wall {cost.processor:8.1f} s CPU "
        f"{1000 * cost.processor / items:8.2f} ms CPU a {unit:10} {cost.peak:6.0f} MiB {note}",
        flush=True,
    )


def main() -> None:
    """Print one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", help="prepare these faces first, as `folder:PATH`")
    parser.add_argument("--faces", default="samples")
    parser.add_argument("--generator", default="warp")
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--identities", type=int)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--out", type=Path, help="folder in which the datasets are kept")
    arguments = parser.parse_args()
    scratch = arguments.out or Path(tempfile.mkdtemp())
    scratch.mkdir(parents=True, exist_ok=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    faces = arguments.faces
    if arguments.photographs:
        faces = str(scratch / "faces.parquet")
        cost = miex("faces", arguments.photographs, "-o", faces, "-j", max(arguments.workers))
        account = json.loads(Path(faces).with_suffix(".json").read_text(encoding="utf-8"))
        show("faces", cost, 1, "table", f"{len(account['left_out'])} photographs left out")
    spent: dict[int, tuple[int, float]] = {}
    for samples in arguments.samples:
        for workers in arguments.workers:
            out = scratch / f"{samples}-{workers}"
            options = ["-n", arguments.identities] if arguments.identities else []
            options += ["--faces", faces, "--samples", samples, "-g", arguments.generator]
            cost = miex("synthesize", *options, "-j", workers, "--out", out)
            frames = json.loads((out / "manifest.json").read_text())["counts"]["frames"]
            seconds = json.loads((out / "run.json").read_text())["seconds"]
            note = f"prepare {seconds['prepare']} s, render {seconds['render']} s"
            show(f"{samples} samples -j {workers}", cost, frames, "frame", note)
            if workers == 1:
                spent[samples] = frames, cost.processor
    if len(spent) > 1:
        (less, first), *_, (more, last) = spent.values()
        print(f"a further frame: {1000 * (last - first) / (more - less):.2f} ms CPU")
    if not arguments.out:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
