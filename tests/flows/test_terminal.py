"""Tables and errors, with and without a terminal."""

import errno
import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from miex.datasets.files import DiskFullError
from miex.flows import progress as module
from miex.flows.terminal import Terminal, describe, reasons


def plain() -> tuple[Terminal, io.StringIO, io.StringIO]:
    terminal, out, err = Terminal(), io.StringIO(), io.StringIO()
    terminal.out = Console(file=out, highlight=False)
    terminal.err = Console(file=err, highlight=False)
    return terminal, out, err


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
    assert "fewer processes, smaller batches" in describe(MemoryError())


def test_long_paths_stay_on_one_line_and_brackets_are_no_markup() -> None:
    terminal, out, err = plain()
    path = str(Path("/a" * 120) / "[red]x")
    terminal.table("left [out]", ("count", "reason"), [("3", path)])
    terminal.fail(f"no file {path}")
    assert f"  3      {path}" in out.getvalue().splitlines()
    assert err.getvalue() == f"error: no file {path}\n"


def test_a_terminal_wraps_between_words_and_leaves_paths_whole() -> None:
    terminal, out, err = plain()
    path = "a/folder/with/a/long/name/evaluation.json"
    for name in ("out", "err"):
        file = getattr(terminal, name).file
        console = Console(file=file, highlight=False, force_terminal=True, width=30)
        setattr(terminal, name, console)
    terminal.fail(f"interrupted; finished folds are kept in {path}")
    terminal.tell(f"the page is {path}")
    lines = [Text.from_ansi(line).plain.rstrip() for line in err.getvalue().splitlines()]
    assert lines == ["error: interrupted; finished", "folds are kept in", path]
    assert out.getvalue().splitlines() == ["the page is", path]


def test_columns_of_measurements_have_a_head_in_a_log() -> None:
    terminal, out, _ = plain()
    terminal.table("fit", ("AU", "error", "faces"), [("AU12", "0.28", "200")])
    assert out.getvalue().splitlines() == ["fit", "  AU    error  faces", "  AU12  0.28   200"]


@pytest.mark.parametrize("width", [80, 120])
def test_names_in_tables_are_not_wrapped(width: int) -> None:
    terminal, out, _ = plain()
    terminal.out = Console(file=out, force_terminal=True, color_system=None, width=width)
    rows = [("stand_in_identities", "words " * 20, "compmie_3fold"), ("rcn", "one", "casme2")]
    terminal.table("Experiments", ("name", "what it shows", "protocol"), rows)
    lines = out.getvalue().splitlines()
    assert any("stand_in_identities" in line and "compmie_3fold" in line for line in lines)
    assert max(map(len, lines)) <= width
    assert "…" not in out.getvalue()


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
