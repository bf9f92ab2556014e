"""The page of `miex app`, in a headless browser and without one."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from typer.testing import CliRunner

from miex.datasets.dataset_format import DatasetFolder
from miex.flows import app_command
from miex.flows.cli import app
from miex.pipeline.synthesis.verify import verify


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> None:
        raise app_command.PackageNotFoundError(package)

    monkeypatch.setattr(app_command, "distribution", absent)
    result = CliRunner().invoke(app, ["app"])
    assert result.exit_code == 2
    assert "pip install 'miex[app]'" in result.stderr


@pytest.fixture(scope="module")
def address(
    sample_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The command, running."""
    pytest.importorskip("gradio")
    if browser.chromium() is None:
        pytest.skip("no Chromium on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path_factory.mktemp("app") / "saved"
    words = ["-m", "miex", "app", "--faces", str(sample_table), "--no-browser"]
    process = subprocess.Popen(
        [sys.executable, *words, "--port", str(port), "-o", str(out)],
        stdout=subprocess.PIPE,
        text=True,
        # Jobs that a shell started in the background ignore SIGINT, and so do their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert "miex app: http://127.0.0.1" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}/", out
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def until(page: browser.Page, expression: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not page.run(expression):
        assert time.monotonic() < deadline, f"never became true: {expression}"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(address: tuple[str, Path], width: int) -> None:
    url, samples = address
    program = browser.chromium()
    assert program is not None
    with browser.open_page(program) as page:
        page.size(width, 900)
        page.open(url)
        until(page, "document.querySelectorAll('#apex img').length == 1")
        first = page.run("document.querySelector('#apex img').src")
        assert page.run("document.querySelectorAll('#aus input[type=range]').length") == 17
        page.run("document.querySelector('#draw').click()")
        until(page, f"document.querySelector('#apex img').src != {first!r}")
        drawn = "[...document.querySelectorAll('#aus input[type=number]')].map(e => +e.value)"
        until(page, f"Math.max(...{drawn}) > 0")
        page.run("document.querySelector('#save').click()")
        until(page, "document.querySelector('#said').innerText.includes('Saved by-hand-')")
        assert page.run("document.documentElement.scrollWidth") <= width
        assert [each for each in page.requests if not each.startswith(url)] == []
    assert verify(samples) == []
    saved = list(DatasetFolder.open(samples).rows())[-1]
    assert max(saved["aus"][1]) > 0
    assert saved["generator"] == "ganimation"
