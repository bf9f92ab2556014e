"""Kill every long command at random moments, resume it, and compare with an uninterrupted run.

    python tests/campaign/test_kills.py [--kills 6] [--seed 18] [--only COMMAND] [--pairs 3]

Prints one row for each command: kills, runs that were resumed, outputs that are equal byte by byte,
leftovers, tracebacks; then one row for each command that was started twice at once, and one for
each whose memory or disk was full in the middle of the work.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

LEFTOVERS = ("*.partial", "*.parts", "*.lock", "unfinished.safetensors")

TIMES = ("run.json", "sheet.png", "metrics.jsonl", "index.html", ".locks")
"""Files that state how long a run took, or show it, and so differ from run to run."""


def miex(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "miex", *map(str, words)]


def commands(folder: Path) -> dict[str, list[str]]:
    """Return each command without its output, at a tiny size."""
    faces, data, clips = folder / "faces.parquet", folder / "data", folder / "smic"
    synthesize = ["--faces", faces, "--samples", 24, "--set", "rows_per_shard=4", "-j", 1]
    train = ["-r", "ststnet", "--epochs", 4, "--device", "cpu", "--cache", folder / "cache"]
    train_generator = [folder / "training.parquet", "--recipe", "pumarola", "--steps", 60]
    for field in ("width=4", "critic_width=4", "batch=4", "save_every=10", "log_every=5"):
        train_generator += ["--set", field]
    return {
        "faces": miex("faces", "samples", "-j", 1),
        "synthesize": miex("synthesize", "--generator", "warp", *map(str, synthesize)),
        "extract-aus": miex("extract-aus", "samples", "--source", "early_mae"),
        "pretrain": miex("pretrain", data, *map(str, train)),
        "evaluate": miex("evaluate", "--clips", f"smic:{clips}", "-p", "loso", *map(str, train)),
        "train-generator": miex("train-generator", "--device", "cpu", *train_generator),
    }


def out_of(name: str, folder: Path) -> Path:
    return folder / ("out.parquet" if name in ("faces", "extract-aus") else "out")


def contents(out: Path) -> dict[str, str]:
    """Return the hash of every file of an output that should not differ between runs."""
    files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    return {
        path.relative_to(out.parent).as_posix(): _hash(path)
        for path in files
        if path.name not in TIMES and "report" not in path.parts
    }


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        document = json.loads(content)
        for name in ("checksum", "seconds", "about", "images_per_second", "losses"):
            document.pop(name, None)
        content = json.dumps(document, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def run(command: Sequence[str], out: Path, seconds: float | None = None) -> tuple[int, str]:
    """Run a command, killed after some seconds; return its exit status and standard error."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=environment, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        told = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        told = process.communicate()[1]
    return process.returncode, told


WORK = {
    "faces": "miex.pipeline.faces.detection.DlibDetector.landmarks",
    "synthesize": "miex.generators.warp.WarpGenerator.prepare",
    "extract-aus": "miex.au_sources.estimators.landmarks.LandmarkEstimator.estimate",
    "pretrain": "torch.optim.Adam.step",
    "evaluate": "torch.optim.Adam.step",
    "train-generator": "miex.generators.ganimation.adversaries.Adversaries.step",
}
"""What each command calls again and again."""

SHORT_OF_MEMORY = """
import itertools, pkgutil, sys
from miex.flows.cli import app

place, at = sys.argv.pop(1), int(sys.argv.pop(1))
owner, _, name = place.rpartition(".")
work, calls = pkgutil.resolve_name(place), itertools.count(1)

def short(*args, **kwargs):
    if next(calls) == at:
        raise MemoryError
    return work(*args, **kwargs)

setattr(pkgutil.resolve_name(owner), name, short)
app(prog_name="miex")
"""
"""A program that runs a command, whose memory is full at one call of a function."""


def fill_memory(name: str, command: list[str], scratch: Path, calls: Sequence[int]) -> list[object]:
    """Raise `MemoryError` in the middle of a command, resume it; return the row of the table."""
    right = contents(out_of(name, scratch / f"{name}-whole"))
    told_right = resumed = equal = left = 0
    for at in calls:
        out = out_of(name, scratch / f"{name}-memory-{at}")
        out.parent.mkdir()
        short = [sys.executable, "-c", SHORT_OF_MEMORY, WORK[name], str(at), *command[3:]]
        status, told = run(short, out)
        told_right += status == 2 and "Traceback" not in told and is_last("out of memory", told)
        left += bool(leftovers(out, during=True))
        resumed += run(command, out)[0] == 0
        equal += contents(out) == right
        shutil.rmtree(out.parent)
    return [name, len(calls), told_right, resumed, equal, left]


def fill_disk(
    name: str, command: list[str], scratch: Path, shares: Sequence[float]
) -> list[object]:
    """Run a command on disks that are too small for its output, then enlarge them and resume."""
    whole = out_of(name, scratch / f"{name}-whole")
    right = contents(whole)
    size = sum(path.stat().st_size for path in whole.parent.rglob("*") if path.is_file())
    told_right = resumed = equal = left = 0
    for share in shares:
        disk = scratch / f"{name}-disk-{share}"
        disk.mkdir()
        mount = f"size={max(8, int(share * size / 1024))}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", mount, "tmpfs", str(disk)], check=True)
        try:
            out = out_of(name, disk)
            status, told = run(command, out)
            told_right += status == 2 and "Traceback" not in told and is_last("disk is full", told)
            left += bool(leftovers(out, during=True))
            enlarge = ["mount", "-o", "remount,size=100m", str(disk)]
            subprocess.run(enlarge, check=True)
            resumed += run(command, out)[0] == 0
            equal += contents(out) == right
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    return [name, len(shares), told_right, resumed, equal, left]


def is_last(words: str, told: str) -> bool:
    return words in (told.strip().splitlines() or [""])[-1]


def leftovers(out: Path, during: bool = False) -> list[str]:
    """Return files that a finished run must not leave; while resumable, only half-written ones."""
    marks = ("*.partial", "*.lock") if during else LEFTOVERS
    return sorted(
        str(path.relative_to(out.parent)) for mark in marks for path in out.parent.rglob(mark)
    )


def kill_often(name: str, command: list[str], scratch: Path, kills: int, seed: int) -> list[object]:
    """Kill a command at random moments, resume it, and return the row of the table."""
    rng = random.Random(f"{seed} {name}")
    whole = out_of(name, scratch / f"{name}-whole")
    began = time.monotonic()
    status, told = run(command, whole)
    seconds = time.monotonic() - began
    if status:
        raise RuntimeError(f"{name} does not run: {told}")
    right = contents(whole)
    killed = equal = resumed = left = tracebacks = 0
    for number in range(kills):
        out = out_of(name, scratch / f"{name}-{number}")
        out.parent.mkdir()
        status, told = run(command, out, rng.uniform(0.15, 0.95) * seconds)
        killed += status == -signal.SIGKILL
        tracebacks += "Traceback" in told
        status, told = run(command, out)
        tracebacks += "Traceback" in told
        resumed += status == 0
        equal += status == 0 and contents(out) == right
        left += bool(leftovers(out))
        shutil.rmtree(out.parent)
    return [name, killed, resumed, equal, left, tracebacks, f"{seconds:.1f}"]


def run_twice(name: str, command: list[str], scratch: Path, pairs: int) -> list[object]:
    """Start a command twice at once, some times, and return the row of the table."""
    right = contents(out_of(name, scratch / f"{name}-whole"))
    fine = equal = tracebacks = 0
    for number in range(pairs):
        out = out_of(name, scratch / f"{name}-pair-{number}")
        out.parent.mkdir()
        both = [
            subprocess.Popen(
                [*command, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        told = [process.communicate()[1] for process in both]
        fine += all(process.returncode == 0 for process in both)
        tracebacks += sum("Traceback" in text for text in told)
        equal += contents(out) == right
        shutil.rmtree(out.parent)
    return [name, pairs, fine, equal, tracebacks]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(commands(Path())))
def test_a_killed_command_is_resumed_and_two_at_once_make_one_output(name, tmp_path):
    command = prepared([name], tmp_path)[name]
    killed, resumed, equal, left, tracebacks = kill_often(name, command, tmp_path, 2, 18)[1:6]
    assert killed
    assert (resumed, equal, left, tracebacks) == (2, 2, 0, 0)
    assert run_twice(name, command, tmp_path, 1) == [name, 1, 1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(WORK))
def test_a_full_memory_in_the_middle_of_the_work(name, tmp_path):
    command = prepared([name], tmp_path)[name]
    assert run(command, out_of(name, tmp_path / f"{name}-whole"))[0] == 0
    assert fill_memory(name, command, tmp_path, [2]) == [name, 1, 1, 1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(WORK))
def test_a_full_disk_in_the_middle_of_the_work(name, tmp_path):
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("not allowed to mount a small disk")
    command = prepared([name], tmp_path)[name]
    assert run(command, out_of(name, tmp_path / f"{name}-whole"))[0] == 0
    assert fill_disk(name, command, tmp_path, [0.5]) == [name, 1, 1, 1, 1, 0]


def prepared(names: Sequence[str], scratch: Path) -> dict[str, list[str]]:
    """Return chosen commands, and write the inputs that they need."""
    setup = commands(scratch)
    run(setup["faces"], scratch / "faces.parquet")
    if "pretrain" in names:
        run(setup["synthesize"], scratch / "data")
    if "evaluate" in names:
        run(miex("fictitious", "smic"), scratch / "smic")
    if "train-generator" in names:
        faces = scratch / "faces.parquet"
        run(miex("training-set", faces, "--size", 64, "-j", 1), scratch / "training.parquet")
    return {name: setup[name] for name in names}


def show(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    for row in (titles, *rows):
        print("  ".join(str(cell).rjust(11) for cell in row), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--only", action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        chosen = prepared(given.only or list(commands(scratch)), scratch)
        rows = [
            kill_often(name, command, scratch, given.kills, given.seed)
            for name, command in chosen.items()
        ]
        show(["command", "killed", "resumed", "equal", "leftovers", "tracebacks", "seconds"], rows)
        pairs = [run_twice(name, each, scratch, given.pairs) for name, each in chosen.items()]
        show(["command", "pairs", "both end", "equal", "tracebacks"], pairs)
        titles = ["command", "tries", "one line", "resumed", "equal", "leftovers"]
        memory = [fill_memory(name, each, scratch, (1, 2, 3)) for name, each in chosen.items()]
        show([*titles, "memory"], [[*row, ""] for row in memory])
        if not os.geteuid():
            disk = [
                fill_disk(name, each, scratch, (0.1, 0.5, 0.9)) for name, each in chosen.items()
            ]
            show([*titles, "disk"], [[*row, ""] for row in disk])


if __name__ == "__main__":
    main()
