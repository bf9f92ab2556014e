"""The part of a large dataset that its sheet and report show."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from miex.datasets.dataset_format import DatasetFolder

_MOST_SAMPLES = 50_000
"""Most samples that sheet and report read, so that they cost the same for every larger dataset."""


def open_overview(folder: Path) -> DatasetFolder:
    """Open a dataset, or evenly spaced shards of one with more than `_MOST_SAMPLES` samples.

    The counts in its manifest are those of the whole dataset.

    Args:
        folder: The dataset folder, or its address.

    Raises:
        FileNotFoundError: The folder holds no finished dataset.
        ValueError: The manifest is damaged.
    """
    dataset = DatasetFolder.open(folder)
    shards = dataset.manifest["shards"]
    if len(dataset) <= _MOST_SAMPLES:
        return dataset
    wanted = max(1, len(shards) * _MOST_SAMPLES // len(dataset))
    chosen = np.linspace(0, len(shards) - 1, wanted).round().astype(int).tolist()
    part = [shards[number] for number in dict.fromkeys(chosen)]
    return replace(dataset, manifest=dataset.manifest | {"shards": part})
