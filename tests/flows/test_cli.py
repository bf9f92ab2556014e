"""The command `miex`, on a small dataset of the embedded faces."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from miex.flows import synthesis
from miex.flows.cli import app

COMMANDS = (
    "synthesize",
    "demo",
    "faces",
    "faces-download",
    "faces-like",
    "verify",
    "sheet",
    "report",
    "redraw",
    "extract-aus",
    "clips",
    "calibrate",
    "pool",
    "doctor",
)


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faces") / "faces.parquet"
    result = call("faces", "samples", "--out", path, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "identities out of" in result.stdout
    assert f"miex synthesize --faces {path}" in result.stdout
    return path


@pytest.fixture(scope="module")
def dataset(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "made here"
    result = call(*make(faces, folder))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("6 samples, 12 frames, 2 identities")
    assert f"miex verify '{folder}'" in result.stdout
    assert result.stderr.startswith("AU source expert: table micro")
    assert "render: 6 samples in" in result.stderr
    assert "\x1b" not in result.output
    return folder


def make(faces: Path, folder: Path, *more: object) -> list[object]:
    known = ["synthesize", "--faces", faces, "-n", 2, "--samples", 6, "--workers", 1]
    return [*known, "--out", folder, *more]


def test_version() -> None:
    assert call("--version").stdout == f"miex {metadata.version('miex')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_texts(command: str) -> None:
    assert command in call("--help").stdout
    assert call(command, "--help").exit_code == 0


def test_importing_the_command_is_cheap() -> None:
    code = (
        "import sys, miex.flows.cli; "
        "print({'torch', 'prefect', 'feat', 'cv2', 'pyarrow'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()"


def test_flags_win_over_the_config_file_and_settings_over_flags(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text("name: lab\nseed: 7\nidentities: 3\nsources: ['expert:miex']\n")
    flags = ("--seed", 0, "-n", 5, "--set", "identities=9", "--intensity", 0.4, 1, "--frames", 4)
    result = call("synthesize", "-c", path, *flags, "--back-to-offset", "--drift", "--show-config")
    shown = yaml.safe_load(result.stdout)
    assert (shown["name"], shown["seed"], shown["identities"]) == ("lab", 0, 9)
    assert shown["sources"] == ["expert:miex"]
    assert shown["intensity"] == [0.4, 1.0]
    assert shown["sequence"] == {"frames": 4, "easing": "linear", "back_to_offset": True}
    assert shown["drift"] == {"shift": 0.01, "turn": 0.1, "scale": 0.003}


def test_the_shown_config_is_a_config_file(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    first = call("synthesize", "--source", "expert:miex", "--show-config").stdout
    path.write_text(first)
    assert call("synthesize", "-c", path, "--show-config").stdout == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("synthesize", "-c", "nowhere.yaml"), "no config in YAML at nowhere.yaml"),
        (("synthesize", "--seed", "-1"), "seed: Input should be greater than or equal to 0"),
        (("synthesize", "--set", "sedd=1"), "sedd: there is no such field"),
        (
            ("synthesize", "--faces", "nowhere.parquet"),
            "nowhere.parquet; prepare the faces with",
        ),
        (("synthesize", "--generator", "magic"), "no generator is called 'magic'"),
        (("faces", "folder:nowhere"), "nowhere"),
        (("faces", "samples", "--out", "table.csv"), "a face table ends in .parquet"),
        (("faces", "a.parquet"), "is a face table already"),
        (("sheet", "nowhere"), "no dataset of miex at nowhere"),
        (("redraw", "nowhere", "miex-0"), "no dataset of miex at nowhere"),
        (("doctor", "nowhere"), "is not a folder"),
    ],
)
def test_errors_are_one_red_line_and_exit_code_2(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_debug_shows_the_traceback(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["synthesize", "-c", "nowhere.yaml"]
    if place == "environment":
        monkeypatch.setenv("MIEX_DEBUG", "1")
    else:
        words = ["--debug", *words] if place == "before" else [*words, "--debug"]
    assert isinstance(call(*words).exception, FileNotFoundError)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "finished shards are kept in"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "free some space"),
        (MemoryError(), 2, "for instance --workers 1"),
        (RuntimeError("a worker process was killed"), 2, "a worker process was killed"),
    ],
)
def test_what_can_happen_to_a_run(
    error: BaseException,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(synthesis, "synthesize", fail)
    result = call("demo", "--out", tmp_path / "demo")
    assert result.exit_code == code
    assert message in result.stderr


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(synthesis, "synthesize", lambda *_, **__: [].missing)  # type: ignore[attr-defined]
    assert isinstance(call("demo", "--out", tmp_path / "demo").exception, AttributeError)


def test_the_same_command_again_changes_nothing(faces: Path, dataset: Path) -> None:
    before = {path: path.read_bytes() for path in (dataset / "data").iterdir()}
    assert call(*make(faces, dataset)).exit_code == 0
    assert {path: path.read_bytes() for path in (dataset / "data").iterdir()} == before


def test_a_folder_with_another_dataset_is_refused(faces: Path, dataset: Path) -> None:
    result = call(*make(faces, dataset, "--seed", 9))
    assert result.exit_code == 2
    assert "holds another dataset; it differs in config.seed" in result.stderr


def test_every_face_left_out_is_listed_with_its_reason(faces: Path) -> None:
    account = json.loads(faces.with_suffix(".json").read_text())
    assert [entry["reason"] for entry in account["left_out"]] == ["turned"]
    assert all(entry["origin"] and entry["detail"] for entry in account["left_out"])


def test_verify(dataset: Path) -> None:
    result = call("verify", dataset)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"ok {dataset}: 6 samples, no problems\n"


def test_verify_lists_problems(dataset: Path, tmp_path: Path) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["counts"]["written"] += 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    result = call("verify", tmp_path)
    assert result.exit_code == 1
    assert f"error: {manifest['shards'][0]['path']}: is missing" in result.stderr
    assert "error: manifest.json: written is 7" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("see the lines above")


def test_verify_of_no_dataset_fails(tmp_path: Path) -> None:
    result = call("verify", tmp_path)
    assert result.exit_code == 2
    assert "holds no finished miex dataset" in result.stderr


def test_sheet(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    result = call("sheet", dataset, "--out", path, "--samples", 4)
    assert result.stdout == f"contact sheet: {path}\n"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_redraw(dataset: Path) -> None:
    result = call("redraw", dataset, "miex-00000003")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "ok miex-00000003: rendered again from its seed, equal in every column\n"
    )


def test_redraw_of_a_sample_that_is_not_there(dataset: Path) -> None:
    result = call("redraw", dataset, "miex-00000099")
    assert result.exit_code == 2
    assert "has no sample 'miex-00000099'" in result.stderr


def test_redraw_notices_a_difference(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = synthesis.redraw
    monkeypatch.setattr(synthesis, "redraw", lambda *a: {**genuine(*a), "motion": 0.5})
    result = call("redraw", dataset, "miex-00000003")
    assert result.exit_code == 1
    assert "differs from its shard in motion; its pixels are equal" in result.stderr


def test_doctor() -> None:
    result = call("doctor")
    assert result.exit_code == 0, result.output
    assert metadata.version("torch") in result.stdout


class _Images(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/1.png" else 404)
        self.end_headers()
        if self.path == "/1.png":
            Image.new("RGB", (8, 8)).save(self.wfile, "PNG")

    def log_message(self, *_: object) -> None:
        pass


def test_faces_download(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Images)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    links = [[f"{address}/{name}.png", "", *["0"] * 60] for name in (1, 2)]
    urls = tmp_path / "emotionet.txt"
    urls.write_text("".join("\t".join(link) + "\n" for link in links))
    result = call("faces-download", urls, "--out", tmp_path / "images", "--set", "delay=0")
    server.shutdown()
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 images downloaded, 0 were present, 1 of 2 links failed")
    assert "  1      http_404\n" in result.stdout
    assert f"miex faces 'emotionnet:{tmp_path}/images?lists={urls}'" in result.stdout
    assert call("faces-download", urls, "--set", "speed=9").exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_interrupting_keeps_finished_shards(faces: Path, tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "long"
    sizes = ("--set", "rows_per_shard=20", "--samples", 20_000, "--workers", workers)
    words = json.dumps([str(word) for word in make(faces, folder, *sizes)])
    # Jobs that a shell started in the background ignore SIGINT, and their children inherit that.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{listen}; from miex.flows.cli import app; app({words})"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        patience = time.monotonic() + 60
        while not list(folder.glob("data/train-*.parquet")) and time.monotonic() < patience:
            time.sleep(0.05)
        # A terminal sends the signal to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert f"finished shards are kept in {folder}" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert list(folder.glob("data/train-*.parquet"))
    assert not list(folder.glob("data/.*"))
