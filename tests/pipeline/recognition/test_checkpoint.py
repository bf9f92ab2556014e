from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from miex.datasets.labels import LABEL_SPACES
from miex.pipeline.recognition import checkpoint as checkpoints
from miex.pipeline.recognition.checkpoint import (
    CHECKPOINT,
    Card,
    load_checkpoint,
    save_checkpoint,
    transfer,
)
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    create_recognizer,
)
from miex.pipeline.recognition.training import (
    UNFINISHED,
)


def fresh(seed: int = 0, classes: int = 3) -> Any:
    torch.manual_seed(seed)
    return create_recognizer("dere_grl", classes)


def card_of(recognizer: AnyRecognizer) -> Card:
    return Card(recognizer.name, recognizer.config.model_dump(mode="json"), "three_class", "random")


def test_transfer_keeps_what_does_not_depend_on_the_classes(tmp_path: Path) -> None:
    source = fresh()
    save_checkpoint(tmp_path / "a.safetensors", source, card_of(source))
    found = load_checkpoint(tmp_path / "a.safetensors")
    same = fresh(seed=1)
    assert transfer(same, found, LABEL_SPACES["three_class"]) == ()
    assert all(
        torch.equal(a, b)
        for a, b in zip(same.state_dict().values(), source.state_dict().values(), strict=True)
    )
    other = fresh(seed=1, classes=5)
    kept = transfer(other, found, LABEL_SPACES["casme2_5class"])
    assert kept
    assert all(name.startswith(other.class_layers) for name in kept)
    rest = set(source.state_dict()) - set(kept)
    assert rest
    assert all(torch.equal(other.state_dict()[n], source.state_dict()[n]) for n in rest)
    assert "then pretrained on" in other.weights


def test_as_many_classes_need_not_be_the_same(tmp_path: Path) -> None:
    source = fresh(classes=5)
    card = replace(card_of(source), label_space="casme2_5class")
    save_checkpoint(tmp_path / "a.safetensors", source, card)
    found = load_checkpoint(tmp_path / "a.safetensors")
    other = fresh(seed=1, classes=5)
    assert transfer(other, found, LABEL_SPACES["samm_5class"])
    assert transfer(other, found, LABEL_SPACES["casme2_5class"]) == ()


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ValueError, match=r"x\.safetensors: no checkpoint of a recognizer"):
        load_checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError, match="`miex pretrain` writes them"):
        load_checkpoint(tmp_path / "y.safetensors")


def test_a_file_of_a_later_miex_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it has that this version does not know: that it is later counts first."""
    source, path = fresh(), tmp_path / "a.safetensors"
    with monkeypatch.context() as later:
        later.setattr(checkpoints, "_VERSION", 2)
        later.setattr(checkpoints, "asdict", lambda card: {**asdict(card), "new": 1})
        save_checkpoint(path, source, card_of(source))
    with pytest.raises(ValueError, match="version 2 of miex-recognizer; update miex"):
        load_checkpoint(path)


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path: Path) -> None:
    source = fresh()
    save_checkpoint(tmp_path / "a.safetensors", source, card_of(source))
    found = load_checkpoint(tmp_path / "a.safetensors")
    other = create_recognizer("dere_grl", 3, {"shape_jitter": 0.5})
    with pytest.raises(ValueError, match=r"trained with shape_jitter=.*, not 0\.5"):
        transfer(other, found, LABEL_SPACES["three_class"])  # type: ignore[arg-type]
    stranger = create_recognizer("ststnet", 3)
    with pytest.raises(ValueError, match=r"holds 'dere_grl', not 'ststnet'"):
        transfer(stranger, found, LABEL_SPACES["three_class"])  # type: ignore[arg-type]
    longer = create_recognizer("dere_grl", 3, {"training": {"epochs": 5}})
    assert transfer(longer, found, LABEL_SPACES["three_class"]) == ()  # type: ignore[arg-type]


def test_an_unfinished_training_is_nothing_to_start_from(tmp_path: Path) -> None:
    source = fresh()
    path = tmp_path / UNFINISHED
    save_checkpoint(path, source, card_of(source), checkpoints.Progress(1, {}))
    with pytest.raises(ValueError, match=r"was interrupted after 1 steps; start that training"):
        transfer(fresh(), load_checkpoint(path), LABEL_SPACES["three_class"])


def test_frames_that_are_magnified_otherwise_are_other_inputs(tmp_path: Path) -> None:
    tiny = {"length": 2, "model_size": 8, "hidden_size": 8, "blocks": 1, "stages": 1}
    source = create_recognizer("uamrn", 3, tiny)
    card = card_of(source)
    learned = replace(card, config={**card.config, "magnification_weights": "net.pth"})
    save_checkpoint(tmp_path / "a.safetensors", source, learned)
    found = load_checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"trained with magnification_weights=net\.pth, not None"):
        transfer(create_recognizer("uamrn", 3, tiny), found, LABEL_SPACES["three_class"])


def test_the_folder_of_a_training_stands_for_its_recognizer(tmp_path: Path) -> None:
    source = fresh()
    save_checkpoint(tmp_path / CHECKPOINT, source, card_of(source))
    assert load_checkpoint(tmp_path).path == tmp_path / CHECKPOINT
    with pytest.raises(FileNotFoundError, match="no checkpoint of a recognizer"):
        load_checkpoint(tmp_path / "empty")
