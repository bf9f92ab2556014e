"""Verification of the fields of a manifest against each other and against the shards.

The checksum tells that a manifest was changed; this tells what, and also of a manifest whose
checksum was made to fit or that has none.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.labels import LABEL_SPACES
from miex.datasets.storage import size
from miex.pipeline.synthesis.shard_files import read_footer


def check_manifest(dataset: DatasetFolder) -> Iterator[str]:
    """Return what does not fit in a manifest; shards that cannot be read are left out here."""
    manifest = dataset.manifest
    try:
        yield from _check_origin(manifest)
        yield from _check_label_space(manifest)
        yield from _check_shards(dataset)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield f"it is incomplete: {error!r}"


def _check_origin(manifest: dict[str, Any]) -> Iterator[str]:
    config = manifest["config"]
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    if manifest["config_sha256"] != hashlib.sha256(canonical.encode()).hexdigest():
        yield "config_sha256 is not the SHA-256 of config: one of them was changed"
    parts = {name: manifest[name] for name in ("config", "inputs", "versions")}
    found = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    if manifest["fingerprint"] != found:
        yield "fingerprint is not that of config, inputs and versions: one of them was changed"
    if manifest["name"] != config["name"]:
        yield f"name is {manifest['name']!r}, but config.name is {config['name']!r}"


def _check_label_space(manifest: dict[str, Any]) -> Iterator[str]:
    stated = manifest["label_space"]
    known = LABEL_SPACES.get(stated["name"])
    if known is None:
        yield f"label_space is {stated['name']!r}, which this version does not know"
        return
    if list(known.classes) != stated["classes"] or known.citation != stated["citation"]:
        yield f"label_space has other classes or another citation than {known.name!r}"
    for cell in manifest["missing_cells"]:
        if cell["class"] not in known.classes:
            yield f"missing_cells names the class {cell['class']!r}, which does not exist"


def _check_shards(dataset: DatasetFolder) -> Iterator[str]:
    """Compare the entries of the shards with what each shard states of itself."""
    manifest = dataset.manifest
    entries, expected = manifest["shards"], 0
    listed: Iterator[dict[str, Any]] | None = dataset.rejections()
    for entry, path in zip(entries, dataset.shards, strict=True):
        if entry["first"] != expected:
            yield f"{entry['path']}: first is {entry['first']}, expected {expected}"
        expected = entry["last"] + 1
        footer = read_footer(path)
        if footer is None:
            # Without this shard it is not known which of the listed rejections come next.
            listed = None
            continue
        if size(path) != entry["bytes"]:
            yield f"{entry['path']}: bytes is {entry['bytes']}, the file has {size(path)}"
        for name in ("first", "last"):
            if entry[name] != footer[name]:
                yield f"{entry['path']}: {name} is {entry[name]}, the shard says {footer[name]}"
        if footer["count"] != len(entries):
            yield f"it lists {len(entries)} shards, {entry['path']} is one of {footer['count']}"
        if footer["config"] != manifest["config"]:
            yield f"config differs from the one in {entry['path']}"
        stated = footer["rejections"]
        if listed is not None and list(islice(listed, len(stated))) != stated:
            yield "rejections differ from those that the shards state"
            listed = None
    if expected != manifest["counts"]["planned"]:
        yield f"planned is {manifest['counts']['planned']}, but the last sample is {expected - 1}"
    if listed is not None and next(listed, None) is not None:
        yield "rejections differ from those that the shards state"
