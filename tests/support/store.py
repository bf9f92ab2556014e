"""An S3-compatible store on this machine (moto), and processes that end with the test."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from miex.datasets import storage


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a module of Python in a folder of its own; all are ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(name: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "MIEX_CACHE": str(folder / "cache")},
                start_new_session=True,
            )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def bucket(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    # A file system that an earlier test opened would go on asking that test's server.
    s3fs.S3FileSystem.clear_instance_cache()
    port = free_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MIEX_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    start("store", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    files, _ = storage.open_address("s3://bucket")
    until = time.monotonic() + 60
    while True:
        try:
            files.mkdir("bucket")
            return "s3://bucket"
        except Exception:
            assert time.monotonic() < until, "the store does not start"
            time.sleep(0.5)
