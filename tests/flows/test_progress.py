"""Progress of the stages of a command, as bars and as lines."""

import io
import re
import threading

import pytest
from rich.console import Console

from miex.flows import progress as module
from miex.flows import recognition
from miex.flows.progress import duration, fitted, pace, rough
from miex.flows.terminal import Terminal


def plain() -> tuple[Terminal, io.StringIO]:
    terminal, err = Terminal(), io.StringIO()
    terminal.err = Console(file=err, highlight=False)
    return terminal, err


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(module, "time", moved)
    monkeypatch.setattr(recognition, "time", moved)
    return moved


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


def test_lines_instead_of_bars_and_no_control_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    terminal, err = plain()
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
    terminal, err = plain()
    with terminal.stages() as stages:
        for done in range(1000):
            stages.of("render", "samples").to(done + 1, 1000)
    assert len(err.getvalue().splitlines()) == 1


def test_the_rate_does_not_count_what_an_earlier_run_did(clock: Clock) -> None:
    terminal, err = plain()
    with terminal.stages() as stages:
        meter = stages.of("render", "samples")
        meter.to(0, 1300)
        meter.advance(1000, timed=False)
        clock.now = 110.0
        meter.advance(100)
    assert "render: 1100 samples of 1300, 20 s left, 10.0 samples/s" in err.getvalue()


def test_meters_count_from_several_threads() -> None:
    terminal, _ = plain()
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


def bars(width: int) -> tuple[Terminal, io.StringIO]:
    terminal, shown = Terminal(), io.StringIO()
    terminal.err = Console(
        file=shown, force_terminal=True, no_color=True, width=width, legacy_windows=False
    )
    return terminal, shown


@pytest.mark.parametrize("width", [60, 80, 120])
def test_bars_fit_the_terminal(width: int, clock: Clock) -> None:
    terminal, shown = bars(width)
    with terminal.stages() as stages:
        meter = stages.of("flow and strain of synthetic samples", "samples")
        meter.to(0, 90)
        clock.now += 9
        meter.to(90, 90)
        meter = stages.of("training", "steps")
        meter.to(0, 20_000)
        clock.now += 10
        meter.note = "loss 0.532, accuracy 81 %"
        meter.to(100, 20_000)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()).rstrip().splitlines()[-2:]
    assert all(len(line) <= width for line in last)
    assert "90/90" in last[0]
    assert "in 9.0 s" in last[0]
    assert "100/20000" in last[1]
    assert "33 min left" in last[1]
    if width >= 80:
        assert "loss 0.532, accuracy 81 %" in last[1]
    assert ("10.0 steps/s" in last[1]) is (width >= 120)


def test_the_rate_is_that_of_the_last_minute(clock: Clock) -> None:
    terminal, _ = plain()
    with terminal.stages() as stages:
        meter = stages.of("training", "steps")
        meter.to(0, 10_000)
        for _ in range(100):  # fast at first
            clock.now += 1
            meter.advance(50)
        assert meter.remaining() == pytest.approx(100, rel=0.05)
        for _ in range(100):  # then fifty times slower
            clock.now += 1
            meter.advance(1)
        assert meter.rate() == pytest.approx(1, rel=0.05)
        assert meter.remaining() == pytest.approx(4900, rel=0.05)


def test_the_first_seconds_promise_nothing(clock: Clock) -> None:
    terminal, _ = plain()
    with terminal.stages() as stages:
        meter = stages.of("folds", "folds")
        meter.to(0, 204)
        clock.now += 0.1
        meter.to(100, 204)
        assert meter.remaining() is None
        clock.now += module.SETTLED
        meter.to(101, 204)
        assert meter.remaining() is not None


def test_units_of_minutes_keep_their_rate(clock: Clock) -> None:
    terminal, _ = plain()
    with terminal.stages() as stages:
        meter = stages.of("folds", "folds")
        meter.to(0, 10)
        for _ in range(3):
            clock.now += 300
            meter.advance()
        clock.now += 100
        assert meter.remaining() == pytest.approx(7 * 300 - 100)


def test_a_stage_that_begins_again_has_a_new_rate(clock: Clock) -> None:
    terminal, _ = plain()
    with terminal.stages() as stages:
        meter = stages.of("evaluate", "folds")
        meter.to(3, 3)
        clock.now += 120
        meter.to(0, 3)
        for done in (1, 2):
            clock.now += 5
            meter.to(done, 3)
        assert meter.parts() == ["5.0 s left", "", "5.0 s each"]


def test_an_expected_time_is_used_until_the_first_unit_is_finished(clock: Clock) -> None:
    terminal, _ = plain()
    with terminal.stages() as stages:
        meter = stages.of("folds", "folds")
        meter.to(0, 10)
        clock.now += 20
        meter.expect(100.0)
        assert meter.remaining() == pytest.approx(980)
        clock.now += 30
        meter.to(1, 10)
        assert meter.remaining() == pytest.approx(9 * 50)


def test_a_long_stage_is_announced_once_with_the_faster_choice(clock: Clock) -> None:
    terminal, err = plain()
    with terminal.stages() as stages:
        meter = stages.of("training", "steps")
        meter.to(0, 1000)
        for _ in range(3):
            clock.now += 10
            meter.advance(1)
            stages.announce("training", "-r ststnet")
        meter = stages.of("short", "steps")
        meter.to(0, 10)
        clock.now += 10
        meter.advance(5)
        stages.announce("short", "nothing")
    long = [line for line in err.getvalue().splitlines() if line.startswith("note")]
    assert long == [
        "note: the stage training needs about 2 h 47 min on this machine; faster: -r ststnet"
    ]


def test_parts_that_do_not_fit_are_cut_or_left_out() -> None:
    assert fitted(["3 min left", "", "loss 0.5"], 40) == "3 min left, loss 0.5"
    assert fitted(["3 min left", "seed 0, sub01, step 10 of 400"], 26) == (
        "3 min left, seed 0, sub01…"
    )
    assert fitted(["3 min left", "loss 0.5"], 15) == "3 min left"


def test_rates_below_one_a_second_are_told_as_times() -> None:
    assert pace(5.14, "samples") == "5.1 samples/s"
    assert pace(0.1, "videos") == "10 s each"
    assert pace(None, "samples") == ""


def test_expected_times_of_minutes_have_no_seconds() -> None:
    assert [rough(seconds) for seconds in (12, 299, 400, 7100)] == [
        "12 s",
        "4 min 59 s",
        "7 min",
        "1 h 58 min",
    ]


def test_the_trainings_of_a_fold_estimate_the_evaluation(clock: Clock) -> None:
    terminal, err = plain()
    with terminal.stages() as stages:
        folds = recognition._Folds(stages, "-r ststnet")
        meter = stages.of("folds", "folds")
        meter.note = "seed 0, sub01"
        meter.to(0, 12)
        for stage in (1, 2):  # pretraining and fine-tuning
            for step in range(1, 4):
                folds.step(step, 40, {"loss": 0.5, "accuracy": 0.75})
                clock.now += 60
            assert meter.note == "loss 0.500, accuracy 75 %, step 3 of 40, seed 0, sub01", stage
    assert "note: the stage folds needs about " in err.getvalue()
    assert err.getvalue().count("faster: -r ststnet") == 1
