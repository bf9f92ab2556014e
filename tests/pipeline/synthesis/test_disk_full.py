import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from miex.datasets.files import PARTIAL, DiskFullError, whole_file
from miex.generators.ganimation.run_state import save_state
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.recognition.block_file import write_block
from miex.pipeline.synthesis.config import QualityConfig, SynthesisConfig
from miex.pipeline.synthesis.verify import verify


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 1.5 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no `mount` here to make a small disk with")
    if made.returncode:
        pytest.skip("not allowed to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_half_written_stays(
    small_disk: Path, sample_table: Path
) -> None:
    out = small_disk / "dataset"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(800_000))
    config = SynthesisConfig(
        faces=str(sample_table),
        identities=3,
        samples=120,
        rows_per_shard=20,
        quality=QualityConfig(identity_share=0),
    )
    with pytest.raises(DiskFullError, match=r"disk is full.*train-0000.*same command again"):
        synthesize(config, out, workers=1)
    kept = list(out.glob("data/*.parquet"))
    assert kept
    assert not list(out.rglob(f"*{PARTIAL}"))
    filler.unlink()
    with pytest.raises(DiskFullError):
        synthesize(config, out, workers=1)
    assert not list(out.rglob(f"*{PARTIAL}"))
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    times = {path: path.stat().st_mtime_ns for path in kept}
    synthesize(config, out, workers=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == times
    assert verify(out) == []


def test_what_trainings_and_caches_write_on_a_full_disk(small_disk: Path) -> None:
    for write in (
        lambda path: save_state(path, 1, {}, {"network": nn.Linear(1000, 1000)}, {}),
        lambda path: write_block(path / "block", [{"frames": torch.zeros(2, 1000, 1000)}], 2, {}),
    ):
        with pytest.raises(DiskFullError, match=rf"the disk is full while writing {small_disk}"):
            write(small_disk)
        assert list(small_disk.iterdir()) == []


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    with pytest.raises(ZeroDivisionError):
        write_and_raise(path, ZeroDivisionError())
    with pytest.raises(DiskFullError, match="disk is full"):
        write_and_raise(path, OSError(errno.ENOSPC, "No space left on device"))
    assert path.read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def write_and_raise(path: Path, error: Exception) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("two")
        raise error
