"""Two processes share every batch of a training; killed, it goes on as if it had not been."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from miex.pipeline.recognition.checkpoint import CHECKPOINT, load_checkpoint
from miex.pipeline.recognition.training import UNFINISHED
from miex.pipeline.recognition.training_log import METRICS

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent


def start(dataset: Path, cache: Path, out: Path) -> "subprocess.Popen[bytes]":
    words = ["torchrun", "--nproc-per-node", "2", "--no-python", str(BIN / "miex"), "pretrain"]
    options = ["-r", "dere_grl", "--epochs", "20", "--batch-size", "16", "--device", "cpu"]
    saving = ["--set", "run.checkpoint_seconds=0.000001", "--cache", str(cache), "-o", str(out)]
    return subprocess.Popen(
        [str(BIN / words[0]), *words[1:], str(dataset), *options, *saving],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )


def losses(folder: Path) -> list[float]:
    lines = (folder / METRICS).read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_two_processes_go_on_with_identical_losses(small_dataset: Path, tmp_path: Path) -> None:
    whole, killed, cache = tmp_path / "whole", tmp_path / "killed", tmp_path / "cache"
    assert start(small_dataset, cache, whole).wait(300) == 0
    process = start(small_dataset, cache, killed)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (
        (killed / UNFINISHED).is_file() and len(losses(killed)) > 8
    ):
        time.sleep(0.005)
    # The launcher and its workers, which are in sessions of their own.
    family = psutil.Process(process.pid)
    for each in [*family.children(recursive=True), family]:
        each.kill()
    process.wait()
    stood = len(losses(killed))
    assert (killed / UNFINISHED).is_file()
    assert not (killed / CHECKPOINT).exists()
    assert stood < len(losses(whole)) - 4
    assert start(small_dataset, cache, killed).wait(300) == 0
    assert losses(killed) == losses(whole)
    one, two = (load_checkpoint(folder / CHECKPOINT) for folder in (whole, killed))
    assert one.card == two.card
    assert one.card.stages[-1].samples == 54
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, two.tensors[name]), name
