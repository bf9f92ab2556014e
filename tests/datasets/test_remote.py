import json
from pathlib import Path

import fsspec
import pytest

from miex.datasets.files import sha256_file
from miex.datasets.remote import is_remote, local_copy


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A published dataset: a manifest and two shards."""
    files = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}/ours"
    shards = []
    for number in range(2):
        path, content = f"data/train-{number}.parquet", bytes([number]) * 100
        files.pipe(f"{root}/{path}", content)
        (tmp_path / "x").write_bytes(content)
        shards.append({"path": path, "sha256": sha256_file(tmp_path / "x"), "bytes": 100})
    files.pipe(f"{root}/manifest.json", json.dumps({"shards": shards}).encode())
    return f"memory:/{root}"


def test_a_copy_is_whole_and_made_once(tmp_path: Path, address: str) -> None:
    progress: list[tuple[int, int]] = []
    out = local_copy(address, tmp_path / "copies", lambda *each: progress.append(each))
    assert progress == [(100, 200), (200, 200)]
    assert (out / "data" / "train-1.parquet").read_bytes() == b"\x01" * 100
    stamp = (out / "data" / "train-1.parquet").stat().st_mtime_ns
    (out / "data" / "train-0.parquet").write_bytes(b"cut")
    assert local_copy(address, tmp_path / "copies") == out
    assert (out / "data" / "train-0.parquet").read_bytes() == b"\x00" * 100
    assert (out / "data" / "train-1.parquet").stat().st_mtime_ns == stamp


def test_a_changed_shard_is_refused(tmp_path: Path, address: str) -> None:
    path = address.removeprefix("memory:/") + "/data/train-1.parquet"
    fsspec.filesystem("memory").pipe(path, b"other")
    with pytest.raises(ValueError, match=r"train-1\.parquet differs from its manifest"):
        local_copy(address, tmp_path / "copies")
    assert not list((tmp_path / "copies").rglob("train-1.parquet"))
    assert not list((tmp_path / "copies").rglob("manifest.json"))


def test_places_that_hold_nothing(tmp_path: Path, address: str) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished miex dataset"):
        local_copy(address + "-not", tmp_path)
    with pytest.raises(ValueError, match="cannot be read"):
        local_copy("nonsense://x", tmp_path)
    manifest = {"shards": [{"path": "../../x", "sha256": "", "bytes": 1}]}
    place = address.removeprefix("memory:/") + "/manifest.json"
    fsspec.filesystem("memory").pipe(place, json.dumps(manifest).encode())
    with pytest.raises(ValueError, match="names a shard outside the dataset"):
        local_copy(address, tmp_path / "copies")
    assert is_remote("s3://bucket/x")
    assert not is_remote("/data/x")


def test_a_network_that_fails_is_one_line(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(Exception):
        """What a library of a file system raises; no OSError."""

    def refuse(*_: object, **__: object) -> bytes:
        raise Refused("connection refused")

    files = fsspec.filesystem("memory")
    monkeypatch.setattr(type(files), "open", refuse)
    with pytest.raises(ValueError, match=r"ours cannot be read \(Refused: connection refused\)"):
        local_copy(address, tmp_path / "copies")
    monkeypatch.setattr(type(files), "cat_file", refuse)
    with pytest.raises(ValueError, match=r"ours cannot be read .* start the same command again"):
        local_copy(address, tmp_path / "copies")
