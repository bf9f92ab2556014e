import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from miex.pipeline import workers
from miex.pipeline.workers import beside, keep_freed_memory, map_in_processes, map_in_threads

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


def count_up_to(number: int, on_stage: workers.OnStage | None) -> tuple[int, int]:
    for step in range(number):
        if on_stage:
            on_stage("count", step + 1, number)
    return os.getpid(), number


def fail(_on_stage: workers.OnStage | None) -> None:
    raise ValueError("no picture")


def wait(_job: object, _number: int, _report: object) -> None:
    pass


@pytest.mark.parametrize("count", [1, 2])
def test_calls_run_beside_and_report_their_stages(count):
    map_in_processes(wait, None, range(2), workers=2)
    stages: list[tuple[str, int, int]] = []
    with beside(count, lambda *stage: stages.append(stage)) as submit:
        done = submit(count_up_to, 3)
        process, number = done.result()
    assert number == 3
    assert (process == os.getpid()) == (count == 1)
    assert stages == [("count", 1, 3), ("count", 2, 3), ("count", 3, 3)]
    with pytest.raises(ValueError, match="no picture"), beside(count) as submit:
        submit(fail).result()


def test_no_process_is_started_for_calls_beside(monkeypatch):
    monkeypatch.setattr(workers, "_server_runs", False)
    with beside(2) as submit:
        process, _ = submit(count_up_to, 1).result()
    assert process == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_reused():
    keep_freed_memory()
    assert np.ones(10**5).sum() == 10**5
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.ones(10**5)
    # Mapped anew, each array would cost 195 pages.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 5000
