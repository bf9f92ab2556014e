"""What other libraries load: Hugging Face with PyTorch's collate function, and WebDataset."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from typer.testing import CliRunner, Result

from miex.datasets.dataset_format import ABSENT, SCHEMA, DatasetFolder
from miex.datasets.shards import load_dataset
from miex.flows.cli import app
from miex.pipeline.sharing.webdataset import export_webdataset


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def hugging_face(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    datasets = pytest.importorskip("datasets")
    cache = tmp_path_factory.mktemp("cache")
    return datasets.load_dataset(str(small_dataset), split="train", cache_dir=str(cache))


@pytest.mark.parametrize("workers", [0, 2])
def test_with_format_torch_and_the_default_collate(
    hugging_face: Any, small_dataset: Path, workers: int
) -> None:
    # A process that is forked after a Prefect flow ends with exit code 1.
    context = "forkserver" if workers else None
    rows = hugging_face.with_format("torch")
    loader = DataLoader(rows, 3, num_workers=workers, multiprocessing_context=context)
    batches = list(loader)
    assert len(batches) == 2
    assert set(batches[0]) == set(SCHEMA.names)
    assert batches[0]["frames"].shape == (3, 3, 3, 128, 128)
    assert batches[0]["aus"].shape == (3, 3, 17)
    assert batches[0]["label"].dtype == torch.int64
    ours = load_dataset(small_dataset)
    for number in range(6):
        batch, place = batches[number // 3], number % 3
        assert torch.equal(batch["frames"][place], ours[number]["frames"])
        assert batch["sample_id"][place] == ours[number]["sample_id"]


def test_only_floats_are_null(small_dataset: Path) -> None:
    rows = list(DatasetFolder.open(small_dataset).rows())
    null = {name for row in rows for name, value in row.items() if value is None}
    assert null <= {field.name for field in SCHEMA if str(field.type) == "float"}
    assert all(row["source_subject"] == "" and row["source_apex_frame"] == -1 for row in rows)
    nullable = {f.name for f in SCHEMA if f.nullable and str(f.type) != "float"} - {"frames"}
    assert set(ABSENT) == nullable


def test_an_export_holds_every_byte_and_column(small_dataset: Path, tmp_path: Path) -> None:
    result = call("export", small_dataset, "-o", tmp_path / "wds", "--samples", 4)
    assert result.exit_code == 0, result.output
    assert "6 samples in 2 shards" in result.stdout
    shards = sorted((tmp_path / "wds").glob("*.tar"))
    assert [path.name for path in shards] == ["small-000000.tar", "small-000001.tar"]
    content: dict[str, bytes] = {}
    for path in shards:
        with tarfile.open(path) as tar:
            content |= {each.name: tar.extractfile(each).read() for each in tar.getmembers()}
    for row in DatasetFolder.open(small_dataset).rows():
        key = row["sample_id"]
        for number, frame in enumerate(row.pop("frames")):
            suffix = frame["path"].rpartition(".")[2]
            assert content.pop(f"{key}.frame{number:02d}.{suffix}") == frame["bytes"]
        assert content.pop(f"{key}.cls") == str(row["label"]).encode()
        assert json.loads(content.pop(f"{key}.json")) == row
    assert content == {}
    assert (tmp_path / "wds" / "manifest.json").is_file()
    before = [path.read_bytes() for path in shards]
    export_webdataset(small_dataset, tmp_path / "wds", samples_per_shard=4)
    assert [path.read_bytes() for path in shards] == before


def test_hugging_face_streams_the_export(small_dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    shards = export_webdataset(small_dataset, tmp_path / "wds")
    files = [str(path) for path in shards]
    stream = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)
    samples = list(stream)
    ours = load_dataset(small_dataset)
    assert [each["__key__"] for each in samples] == [ours[n]["sample_id"] for n in range(6)]
    assert [each["cls"] for each in samples] == [ours[n]["label"] for n in range(6)]
    (frame,) = [name for name in samples[0] if name.startswith("frame02")]
    assert samples[0][frame].size == (128, 128)


def test_an_export_refuses_other_folders_and_damaged_shards(
    small_dataset: Path, tmp_path: Path
) -> None:
    result = call("export", small_dataset, "-o", small_dataset)
    assert result.exit_code == 2
    assert "holds other files" in result.stderr
    copy = shutil.copytree(small_dataset, tmp_path / "copy")
    shard = next((copy / "data").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    result = call("export", copy, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "differs from the manifest" in result.stderr
    assert not list(tmp_path.glob("out/*.tar"))
