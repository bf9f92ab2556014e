"""Every changed field of a manifest is told, even where its checksum was made to fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.documents import write_document
from miex.pipeline.make_dataset import synthesize
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.synthesis.verify import verify


@pytest.fixture(scope="module")
def dataset(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verify") / "data"
    config = SynthesisConfig(
        faces=str(sample_table),
        identities=2,
        samples=6,
        rows_per_shard=3,
        generator={"name": "warp"},
    )
    synthesize(config, out, workers=1)
    return out


Change = Callable[[dict[str, Any]], object]

CHANGES: dict[str, Change] = {
    "name": lambda m: m.update(name="other"),
    "fingerprint": lambda m: m.update(fingerprint="0" * 64),
    "config": lambda m: m["config"].update(seed=m["config"]["seed"] + 1),
    "config_sha256": lambda m: m.update(config_sha256="0" * 64),
    "inputs": lambda m: m["inputs"]["faces"].update(sha256="0" * 64),
    "versions": lambda m: m["versions"].update(numpy="0.1"),
    "classes": lambda m: m["label_space"]["classes"].reverse(),
    "citation": lambda m: m["label_space"].update(citation="nobody"),
    "missing_cells": lambda m: m["missing_cells"].append({"source": "x", "class": "fear"}),
    "written": lambda m: m["counts"].update(written=m["counts"]["written"] + 1),
    "planned": lambda m: m["counts"].update(planned=m["counts"]["planned"] + 1),
    "by_class": lambda m: m["counts"]["by_class"].update(negative=99),
    "rows": lambda m: m["shards"][0].update(rows=99),
    "sha256": lambda m: m["shards"][0].update(sha256="0" * 64),
    "bytes": lambda m: m["shards"][1].update(bytes=1),
    "first": lambda m: m["shards"][1].update(first=1),
    "last": lambda m: m["shards"][1].update(last=99),
    "rejections": lambda m: m["rejections"].append({"sample_id": "x", "reason": "y"}),
    "a shard less": lambda m: m["shards"].pop(),
}


@pytest.mark.parametrize("resealed", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_every_changed_field_is_told(
    dataset: Path, tmp_path: Path, name: str, resealed: bool
) -> None:
    out = tmp_path / "data"
    shutil.copytree(dataset, out, copy_function=lambda a, b: Path(b).hardlink_to(a))
    manifest = json.loads((out / "manifest.json").read_text())
    CHANGES[name](manifest)
    (out / "manifest.json").unlink()
    if resealed:
        del manifest["checksum"]
        write_document(out / "manifest.json", manifest)
    else:
        (out / "manifest.json").write_text(json.dumps(manifest, indent=2))
    assert verify(out, workers=1) != []


def test_a_changed_label_in_a_shard_is_not_read(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    shutil.copytree(dataset, out)
    shard = DatasetFolder.open(out).shards[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"train-00000.*is damaged.*miex synthesize"):
        list(DatasetFolder.open(out).rows(["label"]))
