"""Verification of the fields of a manifest against each other and against the shards.

The checksum tells that a manifest was changed; this tells what, and also of a manifest whose
checksum was made to fit or that has none.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.labels import LABEL_SPACES
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
    manifest = dataset.manifest
    footers = [read_footer(path) for path in dataset.shards]
    expected = 0
    for shard, path, footer in zip(manifest["shards"], dataset.shards, footers, strict=True):
        if shard["first"] != expected:
            yield f"{shard['path']}: first is {shard['first']}, expected {expected}"
        expected = shard["last"] + 1
        if footer is None:
            continue
        if path.stat().st_size != shard["bytes"]:
            yield f"{shard['path']}: bytes is {shard['bytes']}, the file has {path.stat().st_size}"
        for name in ("first", "last"):
            if shard[name] != footer[name]:
                yield f"{shard['path']}: {name} is {shard[name]}, the shard says {footer[name]}"
        if footer["count"] != len(footers):
            yield f"it lists {len(footers)} shards, {shard['path']} is one of {footer['count']}"
        if footer["config"] != manifest["config"]:
            yield f"config differs from the one in {shard['path']}"
    if expected != manifest["counts"]["planned"]:
        yield f"planned is {manifest['counts']['planned']}, but the last sample is {expected - 1}"
    if all(footer is not None for footer in footers):
        rejections = [each for footer in footers if footer for each in footer["rejections"]]
        if rejections != manifest["rejections"]:
            yield "rejections differ from those that the shards state"
