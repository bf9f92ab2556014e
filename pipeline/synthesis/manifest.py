"""The manifest of a dataset: its content, its origin and every rejected sample."""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from miex.datasets.dataset_format import (
    FORMAT,
    MANIFEST,
    PART_LIST,
    PARTITIONED,
    SHARDS_PER_FOLDER,
)
from miex.datasets.documents import write_document
from miex.datasets.labels import LabelSpace
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.inputs import Inputs
from miex.pipeline.synthesis.shard_files import ShardRecord
from miex.pipeline.synthesis.tally import Tally

_PACKAGES = (
    "miex",
    "dlib-bin",
    "numpy",
    "opencv-contrib-python-headless",
    "pillow",
    "pyarrow",
    "torch",
)

BY_HAND = "by-hand"
"""Name of datasets, and beginning of AU sources, of samples that were set by hand (`miex app`)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a manifest states of a dataset besides what its shards hold.

    Attributes:
        config: The config.
        inputs: Hashes, licences and citations of every input, see `Inputs.description`.
        label_space: The classes.
        missing: Pairs (spec of the AU source, class) for which the source has no AUs.
        planned: Number of planned samples.
    """

    config: SynthesisConfig
    inputs: dict[str, Any]
    label_space: LabelSpace
    missing: Sequence[tuple[str, str]]
    planned: int

    @classmethod
    def of(cls, inputs: Inputs) -> "Origin":
        """Return the origin of a synthesized dataset."""
        plan = inputs.plan
        return cls(
            inputs.config,
            inputs.description,
            plan.label_space,
            plan.missing,
            plan.samples,
        )


def identify(config: SynthesisConfig, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return format, fingerprint, config, inputs and versions of a dataset.

    Args:
        config: The config.
        inputs: Description of the inputs, see `Inputs.description`.
    """
    parts = {"config": config.record(), "inputs": inputs, "versions": versions()}
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return {"format": FORMAT, "fingerprint": fingerprint, **parts}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change the dataset."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def build_manifest(
    folder: Path, fingerprint: str, origin: Origin, records: Iterable[ShardRecord], count: int
) -> dict[str, Any]:
    """Return the manifest of a finished dataset; equal datasets have equal manifests.

    The records are summed one by one. Of more than `SHARDS_PER_FOLDER` shards, the list of those
    in each folder is written there, and the manifest names these lists.

    Args:
        folder: The dataset folder.
        fingerprint: Fingerprint of the dataset, see `identify`.
        origin: Where the samples come from.
        records: The records of all shards, in order, with their tallies.
        count: Number of shards.

    Raises:
        ValueError: Every sample was rejected; see also what `records` raises.
    """
    tally, rejected = Tally(), Counter[str]()
    shards: list[dict[str, Any]] = []
    rejections: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    first = None
    for record in records:
        if record.tally is not None:
            tally.add(record.tally)
        rejected.update(rejection.reason for rejection in record.rejections)
        first = first or next(iter(record.rejections), None)
        shards.append(record.entry())
        rejections += map(asdict, record.rejections)
        last_of_folder = len(shards) == SHARDS_PER_FOLDER or record.number == count - 1
        if count > SHARDS_PER_FOLDER and last_of_folder:
            parts.append(_write_part(folder, fingerprint, shards, rejections))
            shards, rejections = [], []
    if not tally.written and first is not None:
        raise ValueError(
            f"{folder}: every sample was rejected, the first one because of {first.reason!r} "
            f"({first.detail}); lower quality.min_motion_iod or raise intensity"
        )
    lists: dict[str, Any] = {"shards": shards, "rejections": rejections}
    if parts:
        lists = {"parts": parts, "rejections_by_reason": dict(sorted(rejected.items()))}
    config, space = origin.config, origin.label_space
    return {
        "format": PARTITIONED if parts else FORMAT,
        "name": config.name,
        "fingerprint": fingerprint,
        "config": config.record(),
        "config_sha256": config.sha256(),
        "inputs": origin.inputs,
        "versions": versions(),
        "label_space": {
            "name": space.name,
            "classes": list(space.classes),
            "citation": space.citation,
        },
        "missing_cells": [{"source": spec, "class": name} for spec, name in origin.missing],
        "counts": tally.counts(
            origin.planned, sum(rejected.values()), space.classes, config.sources
        ),
        **lists,
    }


def _write_part(
    folder: Path,
    fingerprint: str,
    shards: list[dict[str, Any]],
    rejections: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write the list of the shards of one folder, and return its entry in the manifest."""
    path = f"{shards[0]['path'].rpartition('/')[0]}/{PART_LIST}"
    content = {"fingerprint": fingerprint, "shards": shards, "rejections": rejections}
    write_document(folder / path, content)
    return {
        "path": path,
        "shards": len(shards),
        "rejections": len(rejections),
        "rows": sum(shard["rows"] for shard in shards),
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> Path:
    """Write `manifest.json`, which marks the dataset as complete, and return its path."""
    path = folder / MANIFEST
    write_json(path, manifest)
    return path


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON with its checksum atomically."""
    write_document(path, content)
