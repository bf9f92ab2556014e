"""The manifest of a dataset: its content, its origin and every rejected sample."""

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from miex.datasets.dataset_format import FORMAT, MANIFEST
from miex.datasets.documents import write_document
from miex.pipeline.synthesis.inputs import Inputs
from miex.pipeline.synthesis.plan import Plan
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


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change the dataset."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _count_rows(folder: Path, plan: Plan, records: Sequence[ShardRecord]) -> dict[str, Any]:
    """Return the counts of a dataset, read from its shards."""
    config_sources = plan.source_specs
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
                by["spec"].update(
                    config_sources[plan.source_of(plan.index_of(sample_id))]
                    for sample_id in table["sample_id"]
                )
    return {
        "planned": plan.samples,
        "written": sum(record.rows for record in records),
        "rejected": sum(len(record.rejections) for record in records),
        "redrawn": redrawn,
        "frames": frames,
        "identities": len(identities),
        "by_class": {name: by["emotion"][name] for name in plan.label_space.classes},
        "by_source": {spec: by["spec"][spec] for spec in config_sources},
        "by_emotion": dict(sorted(by["fine_emotion"].items())),
        "by_au_source": dict(sorted(by["au_source"].items())),
    }


def build_manifest(
    folder: Path, fingerprint: str, inputs: Inputs, records: Sequence[ShardRecord]
) -> dict[str, Any]:
    """Return the manifest of a finished dataset; equal datasets have equal manifests.

    Args:
        folder: The dataset folder.
        fingerprint: Fingerprint of the job.
        inputs: The opened inputs.
        records: The records of all shards, in order.
    """
    config, plan = inputs.config, inputs.plan
    return {
        "format": FORMAT,
        "name": config.name,
        "fingerprint": fingerprint,
        "config": config.record(),
        "config_sha256": config.sha256(),
        "inputs": inputs.description,
        "versions": versions(),
        "label_space": {
            "name": plan.label_space.name,
            "classes": list(plan.label_space.classes),
            "citation": plan.label_space.citation,
        },
        "missing_cells": [{"source": spec, "class": name} for spec, name in plan.missing],
        "counts": _count_rows(folder, plan, records),
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
