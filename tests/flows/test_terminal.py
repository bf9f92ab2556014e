"""Progress, tables and errors without a terminal."""

import errno
import io
import re
import threading
from pathlib import Path

import pytest
from rich.console import Console

from miex.datasets.files import DiskFullError
from miex.flows import terminal as module
from miex.flows.terminal import Terminal, describe, duration, reasons


def plain() -> tuple[Terminal, io.StringIO, io.StringIO]:
    terminal, out, err = Terminal(), io.StringIO(), io.StringIO()
    terminal.out = Console(file=out, highlight=False, soft_wrap=True)
    terminal.err = Console(file=err, highlight=False, soft_wrap=True)
    return terminal, out, err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (12.4, "12 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 05 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("x has no sample 'y'"), "x has no sample 'y'"),
        (ValueError("two\nlines"), "two lines"),
        (RuntimeError(), "RuntimeError"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.yaml"),
            "a.yaml: No such file or directory",
        ),
        (FileNotFoundError("no face table at x"), "no face table at x"),
        (
            DiskFullError(errno.ENOSPC, "the disk is full while writing x"),
            "the disk is full while writing x",
        ),
    ],
)
def test_an_error_is_one_line(error: Exception, text: str) -> None:
    assert describe(error) == text


def test_a_full_disk_and_full_memory_say_the_way_out() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "shard")
    assert describe(full).startswith("shard: No space left on device; free some space")
    assert "fewer --workers" in describe(MemoryError())


def test_lines_instead_of_bars_and_no_control_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    terminal, _, err = plain()
    with terminal.stages() as stages:
        stages.of("faces", "photographs").to(10, 40)
        stages.of("render", "samples").to(0, 90)
        for _ in range(3):
            stages.of("render", "samples").advance(30)
    lines = err.getvalue().splitlines()
    assert lines[0].startswith("faces: 10 photographs of 40")
    assert any(re.match(r"faces: 10 photographs in \d+\.\d s", line) for line in lines)
    assert any(line.startswith("render: 60 samples of 90, ") for line in lines)
    assert lines[-1].startswith("render: 90 samples in 0.0 s")
    assert "\x1b" not in err.getvalue()


def test_progress_lines_come_every_few_seconds_only() -> None:
    terminal, _, err = plain()
    with terminal.stages() as stages:
        for done in range(1000):
            stages.of("render", "samples").to(done + 1, 1000)
    assert len(err.getvalue().splitlines()) == 1


def test_the_rate_does_not_count_what_an_earlier_run_did(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    terminal, _, err = plain()
    with terminal.stages() as stages:
        meter = stages.of("render", "samples")
        meter.to(0, 1300)
        meter.advance(1000, timed=False)
        now = 110.0
        meter.advance(100)
    assert "render: 1100 samples of 1300, 10.0 samples/s, 20 s left" in err.getvalue()


def test_meters_count_from_several_threads() -> None:
    terminal, _, _ = plain()
    with terminal.stages() as stages:
        meter = stages.of("render", "samples")
        meter.to(0, 4000)
        threads = [
            threading.Thread(target=lambda: [meter.advance() for _ in range(1000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert meter.done == 4000


def test_bars_in_a_terminal() -> None:
    terminal, _, _ = plain()
    shown = io.StringIO()
    terminal.err = Console(file=shown, force_terminal=True, width=100)
    with terminal.stages() as stages:
        stages.of("render", "samples").to(0, 90)
        stages.of("render", "samples").advance(45)
        stages.of("render", "samples").advance(45)
    assert "90/90" in shown.getvalue()


def test_long_paths_stay_on_one_line_and_brackets_are_no_markup() -> None:
    terminal, out, err = plain()
    path = str(Path("/a" * 120) / "[red]x")
    terminal.table("left [out]", ("count", "reason"), [("3", path)])
    terminal.fail(f"no file {path}")
    assert f"  3      {path}" in out.getvalue().splitlines()
    assert err.getvalue() == f"error: no file {path}\n"


def test_columns_of_measurements_have_a_head_in_a_log() -> None:
    terminal, out, _ = plain()
    terminal.table("fit", ("AU", "error", "faces"), [("AU12", "0.28", "200")])
    assert out.getvalue().splitlines() == ["fit", "  AU    error  faces", "  AU12  0.28   200"]


def test_reasons_are_ordered_by_count() -> None:
    counts = {"blurred": 2, "no_face": 7, "as_many": 2}
    assert reasons(counts) == [("7", "no_face"), ("2", "as_many"), ("2", "blurred")]


def test_one_of_several_processes_speaks_for_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, said in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
        terminal = Terminal()
        terminal.say("trained")
        with terminal.stages() as stages:
            stages.of("training", "steps").to(1, 2)
        terminal.fail("out of memory")
        shown = capsys.readouterr()
        assert ("trained" in shown.out) is said
        assert ("training" in shown.err) is said
        assert "error: out of memory" in shown.err
