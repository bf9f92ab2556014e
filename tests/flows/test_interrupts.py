"""Ctrl-C: what each command says is kept, and that it is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from miex.datasets.interrupts import deferred_interrupt
from miex.flows.cli import app
from miex.flows.command_line import when_interrupted

LONG = {
    "assess-generator",
    "calibrate",
    "clips",
    "demo",
    "evaluate",
    "experiment",
    "extract-aus",
    "faces",
    "faces-download",
    "fictitious",
    "finetune",
    "inspect",
    "pretrain",
    "report",
    "results",
    "sheet",
    "synthesize",
    "train-generator",
    "training-set",
    "verify",
}


# Jobs that a shell started in the background ignore SIGINT, and their children inherit that.
RUN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " from miex.flows.cli import app; app({})"
)

AT_THE_BEGINNING = """
import signal
from miex.flows.terminal import Terminal

usual = Terminal.__init__

def interrupt(self):
    Terminal.__init__ = usual
    signal.raise_signal(signal.SIGINT)

Terminal.__init__ = interrupt
"""


def interrupted(words: list[object], when: Callable[[], bool], folder: Path) -> tuple[int, str]:
    """Run a command, send Ctrl-C as a terminal does, and return exit code and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(json.dumps(list(map(str, words))))],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        patience = time.monotonic() + 240
        while not when() and process.poll() is None and time.monotonic() < patience:
            time.sleep(0.05)
        with suppress(ProcessLookupError):  # it may end at this moment
            os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, err


def test_every_long_command_says_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: Any = typer.main.get_command(app)
    for name in LONG:
        callback = commands.commands[name].callback
        assert hasattr(callback, "__wrapped__"), f"{name} does not say what Ctrl-C leaves"


def test_the_sentence_names_the_folder_of_the_command() -> None:
    own = typer.Typer()

    @own.command()
    @when_interrupted("finished folds are kept in {out}")
    def evaluate(out: Path = Path("out/evaluated")) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as error:
        evaluate()
    assert error.value.args == ("finished folds are kept in out/evaluated",)


def count_steps(interrupt_at: tuple[int, ...], made: list[int]) -> None:
    """Make steps until Ctrl-C is noticed; press it within the given steps."""
    with deferred_interrupt() as pressed:
        for step in range(1, 9):
            made.append(step)
            for _ in range(interrupt_at.count(step)):
                signal.raise_signal(signal.SIGINT)
            made.append(-step)
            if pressed():
                break


@pytest.fixture
def usual_handler() -> Iterator[None]:
    """Handle SIGINT as Python does in a terminal, also where a shell or another test changed it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_waits_for_the_step(usual_handler: None) -> None:
    made: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        count_steps((2,), made)
    assert made == [1, -1, 2, -2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_interrupt_ends_at_once(usual_handler: None) -> None:
    made: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        count_steps((2, 2), made)
    assert made == [1, -1, 2]


def test_a_handler_of_others_stays(usual_handler: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred_interrupt() as pressed:
        assert not pressed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    words = ["synthesize", "-n", "3", "--generator", "warp", "-j", "1", "-o", folder / "miex"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return folder / "miex"


@pytest.mark.slow
def test_an_interrupted_training_resumes_at_the_step_that_was_made(
    dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pretrained"
    words = ["pretrain", dataset, "-r", "ststnet", "--epochs", 3000, "-o", out]
    log = out / "metrics.jsonl"

    def trains() -> bool:
        return log.is_file() and log.read_text("utf-8").count("\n") > 20

    code, err = interrupted(words, trains, tmp_path)
    assert code == 130
    assert f"a training that has begun is kept in {out}" in err.splitlines()[-1]
    assert "Traceback" not in err
    made = log.read_text("utf-8").count("\n")
    assert (out / "unfinished.safetensors").is_file()
    code, err = interrupted(words, lambda: log.read_text("utf-8").count("\n") > made, tmp_path)
    steps = [json.loads(line)["step"] for line in log.read_text("utf-8").splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["faces", "samples", "-j", "1", "-o", "f.parquet"], "kept in f.parquet.parts"),
        (["extract-aus", "samples", "--source", "early_mae", "-o", "a.parquet"], "no pool was"),
        (["report", "DATASET", "-o", "report"], "the report is not finished"),
        (["sheet", "DATASET", "--samples", "9", "-o", "s.png"], "no contact sheet was written"),
        (["verify", "DATASET", "-j", "1"], "nothing was changed in"),
        (["fictitious", "casme2", "-o", "casme2"], "casme2 is not complete: delete it"),
        (["demo", "-o", "demo", "-j", "2"], "finished shards are kept in demo"),
        (["experiment", "stand_in", "--clips", "samples"], "finished datasets and evaluations"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_command_says_what_it_keeps(
    words: list[str], sentence: str, dataset: Path, tmp_path: Path
) -> None:
    given = [str(dataset) if word == "DATASET" else word for word in words]
    # The signal comes when the command has begun: at a time, it could come before or after it.
    ended = subprocess.run(
        [sys.executable, "-c", f"{AT_THE_BEGINNING}{RUN.format(json.dumps(given))}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 130
    assert sentence in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
