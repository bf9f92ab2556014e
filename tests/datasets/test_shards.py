import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from miex.datasets.dataset_format import SCHEMA, DatasetFolder, decode_frames
from miex.datasets.shards import COLUMNS, MiexDataset, MiexStream, load_dataset
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import SynthesisConfig


@pytest.fixture(scope="module")
def folder(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("torch") / "dataset"
    synthesize(
        SynthesisConfig(faces=str(sample_table), identities=2, rows_per_shard=7), out, workers=1
    )
    return out


def test_it_is_a_map_style_dataset_that_equals_the_rows(folder: Path) -> None:
    dataset = MiexDataset(folder)
    assert isinstance(dataset, Dataset)
    rows = list(DatasetFolder.open(folder).rows())
    assert len(dataset) == len(rows) == 18
    for number in (0, 6, 7, 17, -1):
        sample, row = dataset[number], rows[number]
        assert tuple(sample) == COLUMNS
        frames = np.moveaxis(sample["frames"].numpy(), 1, -1)
        assert np.array_equal(frames, decode_frames(row))
        assert sample["frames"].dtype == torch.uint8
        assert torch.equal(sample["aus"], torch.tensor(row["aus"]))
        assert dataset.classes[sample["label"]] == row["emotion"]
    for number in (18, -19):
        with pytest.raises(IndexError, match="dataset of 18 samples"):
            dataset[number]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_every_column(folder: Path, workers: int) -> None:
    dataset = MiexDataset(folder, columns=SCHEMA.names)
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
    )
    batches = list(loader)
    assert [len(batch["label"]) for batch in batches] == [4, 4, 4, 4, 2]
    assert batches[0]["frames"].shape == (4, 2, 3, 128, 128)
    names = [name for batch in batches for name in batch["sample_id"]]
    assert names == [row["sample_id"] for row in DatasetFolder.open(folder).rows(["sample_id"])]
    # Expert tables have no source clip.
    assert set(batches[0]["source_clip"]) == {""}
    assert batches[0]["source_onset_frame"].tolist() == [-1] * 4
    assert torch.isnan(batches[0]["au_fidelity"]).all()


def test_it_can_be_pickled_and_transformed(folder: Path) -> None:
    dataset = MiexDataset(folder, transform=_label_only)
    before = dataset[3]
    again = pickle.loads(pickle.dumps(dataset))
    assert again[3] == before
    assert len(pickle.dumps(dataset)) < 100_000


def _label_only(sample: dict) -> int:
    return sample["label"]


def test_a_stream_gives_the_same_samples(folder: Path) -> None:
    stream = MiexStream(folder)
    assert isinstance(stream, IterableDataset)
    assert len(stream) == 18
    for one, other in zip(stream, MiexDataset(folder), strict=True):
        assert one["sample_id"] == other["sample_id"]
        assert torch.equal(one["frames"], other["frames"])
    loader = DataLoader(stream, 4, num_workers=2, multiprocessing_context="forkserver")
    both = [n for batch in loader for n in batch["sample_id"]]
    assert sorted(both) == [sample["sample_id"] for sample in stream]


def test_a_stream_reads_an_address_and_draws_an_order_by_epoch(folder: Path) -> None:
    place = f"file://{folder}"
    stream = load_dataset(place)
    assert isinstance(stream, MiexStream)
    shuffled = MiexStream(place, shuffle=True, seed=3)
    first = [sample["sample_id"] for sample in shuffled]
    assert first == [sample["sample_id"] for sample in shuffled]
    shuffled.set_epoch(1)
    second = [sample["sample_id"] for sample in shuffled]
    assert sorted(first) == sorted(second) == [sample["sample_id"] for sample in stream]
    assert first != second != sorted(second)


def test_a_changed_shard_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    shard = copy / json.loads((copy / "manifest.json").read_text())["shards"][0]["path"]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-00000.*differs from the sha256"):
        next(iter(MiexStream(copy)))


def test_unknown_columns_and_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"columns: colour; a dataset has sample_id"):
        MiexDataset(folder, columns=["label", "colour"])
    for kind in (MiexDataset, MiexStream):
        with pytest.raises(FileNotFoundError, match="no finished miex dataset"):
            kind(tmp_path)
