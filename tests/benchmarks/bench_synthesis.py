"""Measure the frames per second and the memory of `miex synthesize` at two sizes.

    python tests/benchmarks/bench_synthesis.py [--faces TABLE] [--samples 2000 8000] [--out DIR]

Memory is the proportional set size (PSS), which counts shared pages once, summed over the process
tree. It must not grow with the number of samples.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil


def tree_memory(process: psutil.Process) -> int:
    """Return the proportional set size of a process and its descendants in bytes."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the peak memory of its process tree in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    stopped = threading.Event()

    def watch() -> None:
        nonlocal peak
        tree = psutil.Process(process.pid)
        while not stopped.wait(0.5):
            try:
                peak = max(peak, tree_memory(tree))
            except psutil.Error:
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    code = process.wait()
    stopped.set()
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return time.perf_counter() - began, peak / 2**20


def main() -> None:
    """Print one line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", default="samples")
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--out", type=Path, help="folder in which the datasets are kept")
    arguments = parser.parse_args()
    scratch = arguments.out or Path(tempfile.mkdtemp())
    print(f"{'samples':>8} {'frames':>8} {'frames/s':>9} {'render frames/s':>16} {'peak MiB':>9}")
    for samples in arguments.samples:
        out = scratch / f"{samples}"
        command = [str(Path(sys.executable).with_name("miex")), "synthesize"]
        command += ["--faces", arguments.faces, "--samples", str(samples), "--out", str(out)]
        seconds, peak = measure(command)
        frames = json.loads((out / "manifest.json").read_text())["counts"]["frames"]
        rendering = frames / json.loads((out / "run.json").read_text())["seconds"]["render"]
        rate = frames / seconds
        print(f"{samples:8d} {frames:8d} {rate:9.1f} {rendering:16.1f} {peak:9.0f}", flush=True)
    if not arguments.out:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
