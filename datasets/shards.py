"""PyTorch datasets of the datasets that miex writes.

`MiexDataset` reads samples of a folder by number. `MiexStream` reads shard after shard from a
folder or an address (``hf://``, ``s3://``, ``https://``) without a local copy. Both return the
same samples, work in a `DataLoader` with workers, and can be pickled.
"""

import bisect
import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from miex.datasets.dataset_format import MANIFEST, SCHEMA, DatasetFolder, decode_frames
from miex.datasets.remote import is_remote, read_address, read_manifest
from miex.datasets.storage import open_address

COLUMNS = ("sample_id", "identity", "label", "aus", "frames", "apex_index", "landmarks")
"""Default columns of a sample; they are never null."""

_ROW_GROUPS_KEPT = 4
"""Row groups that each dataset object keeps in memory, for reading in order."""

Transform = Callable[[dict[str, Any]], Any]


class MiexDataset(Dataset[Any]):
    """The samples of a dataset folder by number, for `torch.utils.data.DataLoader`.

    A sample is a dictionary by column:

    - `frames`: ``uint8 (T, 3, S, S)`` RGB; the onset is frame 0, the apex frame `apex_index`.
    - `aus`: ``float32 (T, 17)``, FACS intensity 0 to 5. `landmarks`: ``float32 (68, 2)``, pixels.
    - `label` and other numbers: Python numbers; strings stay strings.
    - Null becomes NaN in a column of floats, -1 in a column of integers and "" in a column of
      strings, so that the default collate function of PyTorch accepts every column.

    Args:
        folder: A finished dataset.
        columns: Columns of `miex.datasets.dataset_format.SCHEMA`; `COLUMNS` by default.
        transform: Applied to each sample; the dataset returns its result.

    Raises:
        FileNotFoundError: The folder holds no finished dataset.
        ValueError: The manifest is damaged, or a column does not exist.
    """

    def __init__(
        self,
        folder: str | Path,
        columns: Sequence[str] = COLUMNS,
        transform: Transform | None = None,
    ) -> None:
        self._dataset = DatasetFolder.open(Path(folder).expanduser())
        self.columns = _known(columns)
        self.transform = transform
        self._ends = list(accumulate(int(s["rows"]) for s in self.manifest["shards"]))
        self._groups: OrderedDict[tuple[int, int], list[dict[str, Any]]] = OrderedDict()
        self._starts: dict[int, list[int]] = {}

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest: config, versions, counts, licences and rejections."""
        return self._dataset.manifest

    @property
    def classes(self) -> list[str]:
        """Names of the classes; `label` is an index into them."""
        return list(self.manifest["label_space"]["classes"])

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Any:
        """Return a sample.

        Raises:
            IndexError: There is no such number.
            ValueError: The shard is damaged, or a frame cannot be decoded; the message names it.
        """
        size = len(self)
        number = index + size if index < 0 else index
        if not 0 <= number < size:
            raise IndexError(f"sample {index} of a dataset of {size} samples")
        shard = bisect.bisect_right(self._ends, number)
        row = number - (self._ends[shard - 1] if shard else 0)
        return _sample(self._row(shard, row), self.transform)

    def _row(self, shard: int, row: int) -> dict[str, Any]:
        path = self._dataset.intact(shard)
        if shard not in self._starts:
            with pq.ParquetFile(path) as file:
                counts = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            self._starts[shard] = [0, *accumulate(counts)]
        starts = self._starts[shard]
        group = bisect.bisect_right(starts, row) - 1
        key = (shard, group)
        if key not in self._groups:
            with pq.ParquetFile(path) as file:
                self._groups[key] = file.read_row_group(group, columns=self.columns).to_pylist()
            if len(self._groups) > _ROW_GROUPS_KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key][row - starts[group]]

    def __getstate__(self) -> dict[str, Any]:
        # Rows in memory would be copied to every worker process.
        return {**self.__dict__, "_groups": OrderedDict()}


class MiexStream(IterableDataset[Any]):
    """The samples of a dataset folder or address, shard after shard, without a local copy.

    Each shard is read whole, compared with its checksum in the manifest, and then gives its
    samples. With several workers in a `DataLoader` each shard is read by one of them.

    Args:
        place: A folder, or an address that fsspec reads.
        columns: As in `MiexDataset`.
        transform: As in `MiexDataset`.
        shuffle: Draw the order of the shards, and of the samples within a shard.
        seed: Seed of the order; call `set_epoch` for another order in each epoch.

    Raises:
        FileNotFoundError: There is no finished dataset.
        ValueError: The manifest is damaged, a column does not exist, or the address cannot be read.
    """

    def __init__(
        self,
        place: str | Path,
        columns: Sequence[str] = COLUMNS,
        transform: Transform | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self._place = str(place) if is_remote(str(place)) else str(Path(place).expanduser())
        self.manifest: dict[str, Any] = read_manifest(self._place)
        self.columns = _known(columns)
        self.transform = transform
        self._shuffle, self._seed, self._epoch = shuffle, seed, 0

    def __len__(self) -> int:
        return sum(int(shard["rows"]) for shard in self.manifest["shards"])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which changes the order of a shuffled stream."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        shards = list(enumerate(self.manifest["shards"]))
        if self._shuffle:
            np.random.default_rng((self._seed, self._epoch)).shuffle(shards)
        worker = get_worker_info()
        if worker is not None:
            shards = shards[worker.id :: worker.num_workers]
        for number, shard in shards:
            yield from self._samples(number, shard)

    def _samples(self, number: int, shard: Mapping[str, Any]) -> Iterator[Any]:
        files, root = open_address(self._place)
        content = read_address(files, f"{root}/{shard['path']}", self._place)
        if hashlib.sha256(content).hexdigest() != shard["sha256"]:
            raise ValueError(
                f"{self._place}/{shard['path']} differs from the sha256 in {MANIFEST}: it was "
                "changed or not completely copied; copy the dataset again"
            )
        table = pq.read_table(io.BytesIO(content), columns=self.columns)
        order = np.arange(table.num_rows)
        if self._shuffle:
            np.random.default_rng((self._seed, self._epoch, number)).shuffle(order)
        for row in order.tolist():
            yield _sample(table.slice(row, 1).to_pylist()[0], self.transform)


def load_dataset(
    place: str | Path, columns: Sequence[str] = COLUMNS, transform: Transform | None = None
) -> MiexDataset | MiexStream:
    """Open a dataset: a folder as `MiexDataset`, an address as `MiexStream`.

    Args:
        place: A folder, or an address such as ``hf://datasets/USER/NAME``.
        columns: Columns of a sample.
        transform: Applied to each sample.

    Raises:
        FileNotFoundError: There is no finished dataset.
        ValueError: The manifest is damaged, or a column does not exist.
    """
    if is_remote(str(place)):
        return MiexStream(place, columns, transform)
    return MiexDataset(place, columns, transform)


def _known(columns: Sequence[str]) -> list[str]:
    unknown = [name for name in columns if name not in SCHEMA.names]
    if unknown or not columns:
        raise ValueError(
            f"columns: {', '.join(unknown) or 'none'}; a dataset has {', '.join(SCHEMA.names)}"
        )
    return list(columns)


def _sample(row: Mapping[str, Any], transform: Transform | None) -> Any:
    sample: dict[str, Any] = {}
    for name, value in row.items():
        if name == "frames":
            frames = torch.from_numpy(decode_frames({**row, "frames": value}))
            sample[name] = frames.permute(0, 3, 1, 2).contiguous()
        elif isinstance(value, list):
            sample[name] = torch.tensor(value, dtype=torch.float32)
        else:
            sample[name] = _absent(name) if value is None else value
    return transform(sample) if transform else sample


def _absent(name: str) -> float | int | str:
    kind = SCHEMA.field(name).type
    if pa.types.is_floating(kind):
        return float("nan")
    return -1 if pa.types.is_integer(kind) else ""
