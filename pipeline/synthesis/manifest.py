"""The manifest of a dataset: its content, its origin and every rejected sample."""

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from miex.datasets.dataset_format import FORMAT, MANIFEST
from miex.datasets.documents import write_document
from miex.datasets.labels import LabelSpace
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.inputs import Inputs
from miex.pipeline.synthesis.shard_files import ShardRecord

_PACKAGES = (
    "miex",
    "dlib-bin",
    "numpy",
    "opencv-contrib-python-headless",
    "pillow",
    "pyarrow",
    "torch",
)

NOT_ANNOTATED = "not annotated"
"""Name under which samples without a fine emotion are counted."""

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
        spec_of: Returns the spec of the AU source of a sample, by its id.
    """

    config: SynthesisConfig
    inputs: dict[str, Any]
    label_space: LabelSpace
    missing: Sequence[tuple[str, str]]
    planned: int
    spec_of: Callable[[str], str]

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
            lambda sample_id: plan.source_specs[plan.source_of(plan.index_of(sample_id))],
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


def _count_rows(folder: Path, origin: Origin, records: Sequence[ShardRecord]) -> dict[str, Any]:
    """Return the counts of a dataset, read from its shards."""
    by: dict[str, Counter[str]] = {
        name: Counter() for name in ("emotion", "spec", "fine_emotion", "au_source")
    }
    identities: set[str] = set()
    redrawn = frames = 0
    columns = ["sample_id", "identity", "emotion", "fine_emotion", "au_source", "attempt", "aus"]
    for record in records:
        with pq.ParquetFile(folder / record.path) as file:
            for batch in file.iter_batches(1024, columns=columns):
                table = batch.to_pydict()
                identities.update(table["identity"])
                redrawn += sum(attempt > 0 for attempt in table["attempt"])
                frames += sum(len(aus) for aus in table["aus"])
                for name in ("emotion", "au_source"):
                    by[name].update(table[name])
                by["fine_emotion"].update(name or NOT_ANNOTATED for name in table["fine_emotion"])
                by["spec"].update(map(origin.spec_of, table["sample_id"]))
    return {
        "planned": origin.planned,
        "written": sum(record.rows for record in records),
        "rejected": sum(len(record.rejections) for record in records),
        "redrawn": redrawn,
        "frames": frames,
        "identities": len(identities),
        "by_class": {name: by["emotion"][name] for name in origin.label_space.classes},
        "by_source": {spec: by["spec"][spec] for spec in origin.config.sources},
        "by_emotion": dict(sorted(by["fine_emotion"].items())),
        "by_au_source": dict(sorted(by["au_source"].items())),
    }


def build_manifest(
    folder: Path, fingerprint: str, origin: Origin, records: Sequence[ShardRecord]
) -> dict[str, Any]:
    """Return the manifest of a finished dataset; equal datasets have equal manifests.

    Args:
        folder: The dataset folder.
        fingerprint: Fingerprint of the dataset, see `identify`.
        origin: Where the samples come from.
        records: The records of all shards, in order.
    """
    config, space = origin.config, origin.label_space
    return {
        "format": FORMAT,
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
        "counts": _count_rows(folder, origin, records),
        "shards": [
            {
                "path": record.path,
                "rows": record.rows,
                "sha256": record.sha256,
                "bytes": record.bytes,
                "first": record.first,
                "last": record.last,
            }
            for record in records
        ],
        "rejections": [asdict(rejection) for record in records for rejection in record.rejections],
    }


def write_manifest(folder: Path, manifest: dict[str, Any]) -> Path:
    """Write `manifest.json`, which marks the dataset as complete, and return its path."""
    path = folder / MANIFEST
    write_json(path, manifest)
    return path


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON with its checksum atomically."""
    write_document(path, content)
