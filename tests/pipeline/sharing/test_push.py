"""Publication on the Hub and loading from there, against a local stand-in of its interface."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hub_server import TOKEN, Hub, Repository
from typer.testing import CliRunner, Result

from miex.datasets.dataset_format import MANIFEST
from miex.datasets.files import sha256_file
from miex.datasets.shards import load_dataset
from miex.flows.cli import app
from miex.generators._auto import embedded_weights
from miex.generators.base import GeneratorConfig, create_generator
from miex.generators.ganimation import checkpoint as generator_files
from miex.pipeline.recognition.checkpoint import load_checkpoint
from miex.pipeline.sharing.push import prepare_upload, push


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_dry_run_lists_everything_and_publishes_nothing(hub: Hub, small_dataset: Path) -> None:
    result = call("push", small_dataset, "somebody/small", "--dry-run")
    assert result.exit_code == 0, result.output
    for name in (MANIFEST, "README.md", "data/train-00000-of-00001.parquet", "report/index.html"):
        assert name in result.stdout
    assert "private dataset somebody/small" in result.stdout
    assert "dry run: nothing was published" in result.stdout
    assert hub.requests == []


def test_a_dataset_makes_the_round_trip(hub: Hub, small_dataset: Path) -> None:
    result = call("push", small_dataset, "somebody/small")
    assert result.exit_code == 0, result.output
    repository = hub.repositories["datasets", "somebody/small"]
    assert repository.private
    assert len(repository.messages) == 1
    assert set(repository.files) == set(prepare_upload(small_dataset).sizes())
    assert all(
        data == (small_dataset / name).read_bytes() for name, data in repository.files.items()
    )
    assert any(name.endswith(".parquet") for name in repository.large)
    matter = yaml.safe_load(repository.files["README.md"].decode().split("---")[1])
    assert matter["configs"][0]["data_files"][0]["path"] == "data/train-*.parquet"


@pytest.mark.slow
def test_everything_from_the_shell(hub: Hub, small_dataset: Path, trained: Path) -> None:
    """As a user does it: HF_ENDPOINT and HF_TOKEN in the environment, each command a process."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(trained / "hf-home"),
    }

    def python(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python("-m", "miex", "push", str(small_dataset), "somebody/small")
    python("-m", "miex", "push", str(trained), "somebody/ststnet")
    code = (
        "import datasets, miex\n"
        "theirs = datasets.load_dataset('somebody/small', split='train')\n"
        "ours = list(miex.load_dataset('hf://datasets/somebody/small'))\n"
        "card = miex.load_checkpoint('hf-hub:somebody/ststnet').card\n"
        "print(len(theirs), len(ours), card.recognizer)\n"
        "print(theirs.features['label'].names)\n"
        "print(sum(int(each['frames'].sum()) for each in ours))\n"
    )
    counts, classes, pixels = python("-c", code).splitlines()
    assert counts == "6 6 ststnet"
    assert classes == "['negative', 'positive', 'surprise']"
    assert int(pixels) == sum(int(each["frames"].sum()) for each in load_dataset(small_dataset))


def test_what_does_not_belong_to_a_dataset_stays_here(hub: Hub, small_dataset: Path) -> None:
    names = set(prepare_upload(small_dataset).sizes())
    assert (small_dataset / "run.json").is_file()
    assert not {name for name in names if name.startswith(("run.json", "faces", "."))}
    assert hub.requests == []


def test_a_damaged_dataset_is_not_published(hub: Hub, small_dataset: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(small_dataset, tmp_path / "copy")
    shard = next((copy / "data").glob("*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    result = call("push", copy, "somebody/small")
    assert result.exit_code == 1
    assert "nothing was published" in result.stderr
    assert hub.repositories == {}
    with pytest.raises(ValueError, match="nothing was published"):
        push(prepare_upload(copy), "somebody/small")


def test_a_recognizer_makes_the_round_trip(hub: Hub, trained: Path) -> None:
    result = call("push", trained, "somebody/ststnet")
    assert result.exit_code == 0, result.output
    repository = hub.repositories["models", "somebody/ststnet"]
    assert repository.private
    assert set(repository.files) == {"README.md", "recognizer.safetensors"}
    text = repository.files["README.md"].decode()
    assert "casme2 2" in text
    assert "hf-hub:USER/NAME" in text
    found = load_checkpoint(Path("hf-hub:somebody/ststnet"))
    local = load_checkpoint(trained)
    assert found.card == local.card
    assert all(torch.equal(found.tensors[name], local.tensors[name]) for name in local.tensors)
    before = len(hub.requests)
    load_checkpoint(Path("hf-hub:somebody/ststnet"))
    assert not [line for line in hub.requests[before:] if line.startswith("GET")]


def test_a_generator_makes_the_round_trip(hub: Hub) -> None:
    weights = embedded_weights()
    assert weights is not None
    push(prepare_upload(weights), "somebody/guided", public=True)
    repository = hub.repositories["models", "somebody/guided"]
    assert not repository.private
    assert f"# {weights.stem}" in repository.files["README.md"].decode()
    config = GeneratorConfig(name="ganimation", checkpoint="hf-hub:somebody/guided")
    assert create_generator(config).sha256 == sha256_file(weights)


def test_the_only_checkpoint_of_a_repository_is_found(hub: Hub, trained: Path) -> None:
    content = (trained / "recognizer.safetensors").read_bytes()
    other = Repository(False, {"model.safetensors": content})
    hub.repositories["models", "somebody/other"] = other
    assert load_checkpoint(Path("hf-hub:somebody/other")).card.recognizer == "ststnet"
    assert load_checkpoint(Path("hf-hub:somebody/other@main")).card.recognizer == "ststnet"
    other.files["second.pth"] = b"x"
    with pytest.raises(ValueError, match=r"2 checkpoints \(model\.safetensors, second\.pth\)"):
        generator_files.load_checkpoint(Path("hf-hub:somebody/other"))
    hub.repositories["models", "somebody/none"] = Repository(False, {"README.md": b"x"})
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_checkpoint(Path("hf-hub:somebody/none"))


@pytest.mark.parametrize("name", ["nobody", "a/b/c", "a/..", "/b", "a b/c"])
def test_names_that_are_no_repository(hub: Hub, trained: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected USER/NAME"):
        push(prepare_upload(trained), name)
    with pytest.raises(ValueError, match="expected USER/NAME"):
        load_checkpoint(Path(f"hf-hub:{name}"))
    assert hub.requests == []


def test_errors_name_a_way_out(hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="hf auth login"):
        load_checkpoint(Path("hf-hub:somebody/absent"))
    hub.repositories["models", "somebody/open"] = Repository(private=False)
    with pytest.raises(ValueError, match=r"exists and is public; give --public"):
        push(prepare_upload(trained), "somebody/open")
    assert hub.repositories["models", "somebody/open"].files == {}
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    result = call("push", trained, "somebody/refused")
    assert result.exit_code == 2
    assert "somebody/refused" in result.stderr
    assert "Traceback" not in result.output
    assert ("models", "somebody/refused") not in hub.repositories


def test_nothing_there_to_publish(tmp_path: Path) -> None:
    result = call("push", tmp_path, "somebody/x", "--dry-run")
    assert result.exit_code == 2
    assert "neither a finished dataset" in result.stderr


def test_a_private_repository_needs_a_token(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(prepare_upload(trained), "somebody/secret")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    with pytest.raises(FileNotFoundError, match="you may not read it"):
        load_checkpoint(Path("hf-hub:somebody/secret"))


def test_folders_of_this_machine_are_named(
    small_dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = json.loads((small_dataset / MANIFEST).read_text("utf-8"))
    table = Path(manifest["config"]["faces"])
    monkeypatch.chdir(table.parent)
    assert MANIFEST in prepare_upload(small_dataset).local_paths
    monkeypatch.chdir(tmp_path)
    assert np.all([name != MANIFEST for name in prepare_upload(small_dataset).local_paths])
