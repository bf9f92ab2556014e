"""A stand-in of the Hub, and things to publish there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, Hub, running_hub
from small_dataset import synthesize_small

from miex.pipeline.recognition.checkpoint import CHECKPOINT, Card, Stage, save_checkpoint
from miex.pipeline.recognition.recognizers.base import create_recognizer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The stand-in in the place of huggingface.co, with a token and a cache of its own."""
    from huggingface_hub import constants

    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub


@pytest.fixture(scope="session")
def small_dataset(sample_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six samples of two people, synthesized, with card, sheet and report."""
    return synthesize_small(sample_table, tmp_path_factory.mktemp("small") / "small")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a recognizer that claims to be pretrained on two subjects."""
    torch.manual_seed(0)
    recognizer = create_recognizer("ststnet", 3)
    stage = Stage(
        "pretrain", "miex", 6, {"expert": 6}, (("casme2", "01"), ("casme2", "02")), {}, 0, steps=4
    )
    card = Card(
        "ststnet",
        recognizer.config.model_dump(mode="json"),
        "three_class",
        "random",
        (stage,),
    )
    folder = tmp_path_factory.mktemp("trained")
    save_checkpoint(folder / CHECKPOINT, recognizer, card)
    return folder
