import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from miex.pipeline.workers import map_in_processes, map_in_threads

SCRIPT = """
import time
from pathlib import Path
from miex.pipeline.workers import map_in_processes
{work}
if __name__ == "__main__":
    map_in_processes(work, Path({folder!r}), range(4), workers=2)
"""


def run_script(folder: Path, work: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT.format(work=work, folder=str(folder)))
    return subprocess.Popen(
        [sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_every_number_is_worked_on_and_reported(tmp_path: Path) -> None:
    reported: list[int] = []

    def work(job: Path, number: int, report: Callable[[int], None] | None) -> None:
        (job / str(number)).touch()
        assert report is not None
        report(number)

    map_in_processes(work, tmp_path, range(4), workers=1, on_progress=reported.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]
    assert reported == [0, 1, 2, 3]


def test_workers_die_with_the_process_that_started_them(tmp_path: Path) -> None:
    work = "def work(job, number, report):\n"
    work += "    import os\n    (job / f'{os.getpid()}.pid').touch()\n    time.sleep(60)"
    process = run_script(tmp_path, work)
    deadline = time.monotonic() + 60
    while len(pids := list(tmp_path.glob("*.pid"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    workers = [int(path.stem) for path in pids]
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_killed_worker_is_a_clear_error(tmp_path: Path) -> None:
    process = run_script(
        tmp_path, "def work(job, number, report):\n    import os\n    os.kill(os.getpid(), 9)"
    )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a worker process was killed" in error
    assert "fewer workers" in error


def test_threads_keep_the_order() -> None:
    assert list(map_in_threads(lambda x: x * x, range(5), 3)) == [0, 1, 4, 9, 16]


def test_an_error_arrives(tmp_path: Path) -> None:
    def work(job: Path, number: int, report: Callable[[int], None] | None) -> None:
        raise ValueError(f"shard {number}")

    with pytest.raises(ValueError, match="shard 0"):
        map_in_processes(work, tmp_path, range(2), workers=1)
