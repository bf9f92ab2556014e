"""Training as a paper states it and as its released code does it."""

from pathlib import Path

import pytest
import torch
from torch import nn

from miex.pipeline.recognition.optimization import clip_gradients, learning_rate
from miex.pipeline.recognition.recognizer_config import Hyperparameters
from miex.pipeline.recognition.recognizers import _miex
from miex.pipeline.recognition.recognizers.base import (
    IS_CLIP,
    create_recognizer,
    recognizer_class,
    recognizer_names,
    with_preset,
)

SMALL = {"weights": "random", "side": 32, "resized": 32, "crop": 32}


def rates(hyper: Hyperparameters, epochs: list[int]) -> list[float]:
    return [learning_rate(hyper, epoch, 1) for epoch in epochs]


def test_schedules_of_the_released_code() -> None:
    config = recognizer_class("branches").Config(**with_preset("branches", "code", {}))
    scratch = config.hyperparameters({}, "training")
    assert (scratch.learning_rate, scratch.epochs) == (1e-4, 80)
    assert rates(scratch, [0, 40, 60]) == pytest.approx([1e-4, 1e-4, 5e-5])
    alone = config.hyperparameters({}, "alone")
    assert (alone.learning_rate, alone.epochs) == (1e-5, 30)
    assert rates(alone, [0, 19, 20, 25]) == pytest.approx([1e-5, 1e-5, 1e-5, 5e-6])
    before = config.hyperparameters({}, "pretraining")
    assert (before.learning_rate, before.epochs) == (1e-4, 20)
    assert rates(before, [0, 10, 15]) == pytest.approx([1e-4, 1e-4, 5e-5])
    after = config.hyperparameters({}, "fine_tuning")
    assert rates(after, [0, 9, 10, 20]) == pytest.approx([8e-5, 8e-5, 6.4e-5, 5.12e-5])
    apex = recognizer_class("apex_me").Config(**with_preset("apex_me", "code", {}))
    after = apex.hyperparameters({}, "fine_tuning")
    assert rates(after, [0, 10, 20]) == pytest.approx([1e-4, 9e-5, 8.1e-5])
    for stage in ("training", "alone", "pretraining", "fine_tuning"):
        assert config.hyperparameters({}, stage).gradient_clip_of == "each_network"
        assert config.hyperparameters({"epochs": 3}, stage).epochs == 3


def test_the_paper_is_the_default_and_the_same_before_and_alone() -> None:
    config = recognizer_class("branches").Config(**with_preset("branches", "paper", {}))
    assert config == recognizer_class("branches").Config()
    assert config.hyperparameters({}, "alone") == config.hyperparameters({}, "pretraining")
    assert config.hyperparameters({}, "training").gradient_clip_of == "whole"


def test_changes_win_over_a_preset() -> None:
    own = with_preset("branches", "code", {"dropout": 0.1, "alone": {"epochs": 2}})
    config = recognizer_class("branches").Config(**own)
    assert config.dropout == 0.1
    alone = config.hyperparameters({}, "alone")
    assert (alone.epochs, alone.learning_rate) == (2, 1e-5)


def test_recognizers_without_released_training_say_so() -> None:
    with pytest.raises(ValueError, match="ststnet has no preset 'code'; it has: paper"):
        with_preset("ststnet", "code", {})
    with_code = {name for name in recognizer_names() if "code" in recognizer_class(name).presets}
    assert with_code == {"apex_me", "branches"}


def test_gradients_are_clipped_for_each_network() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.large, self.small = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def gradients(of: str) -> list[float]:
        network = Two()
        network.large.weight.grad = torch.tensor([[30.0]])
        network.small.weight.grad = torch.tensor([[0.4]])
        hyper = Hyperparameters(gradient_clip=1.0, gradient_clip_of=of)
        clip_gradients(network, hyper)  # type: ignore[arg-type]
        return [float(each.grad) for each in network.parameters() if each.grad is not None]

    assert gradients("each_network") == pytest.approx([1.0, 0.4], rel=1e-4)
    assert gradients("whole") == pytest.approx([0.99991, 0.01333], rel=1e-3)


def test_clips_are_not_rotated_and_synthesized_samples_are() -> None:
    config = _miex.MiexConfig(**SMALL, rotation=30, rotation_of_clips=0, jitter=0)
    frames = torch.randint(0, 255, (6, 1, 3, 32, 32), dtype=torch.uint8)
    marks = torch.tensor([True, False] * 3)
    generator = torch.Generator().manual_seed(0)
    changed = _miex.augmented(frames, config, generator, marks)
    same = (changed - frames / 255).abs().amax((1, 2, 3, 4)) < 1e-5
    assert same.tolist() == marks.tolist()
    every = _miex.augmented(frames, config, torch.Generator().manual_seed(0))
    assert torch.equal(every[1::2], changed[1::2])
    assert not torch.allclose(every[::2], changed[::2])


@pytest.mark.parametrize("name", ["branches", "apex_me"])
def test_recognizers_of_mie_x_are_told_which_samples_are_clips(name: str) -> None:
    own = with_preset(name, "code", SMALL | {"jitter": 0})
    recognizer = create_recognizer(name, 3, own)
    assert recognizer.marks_clips
    frames = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    inputs = {"onset": frames, "apex": frames, IS_CLIP: torch.tensor([True, False])}
    changed = recognizer.augment(inputs, torch.Generator().manual_seed(0))["apex"]  # type: ignore[union-attr]
    assert torch.allclose(changed[0], frames[0] / 255, atol=1e-5)
    assert not torch.allclose(changed[1], frames[1] / 255, atol=1e-3)


def test_a_result_names_its_preset(tmp_path: Path) -> None:
    from miex.pipeline.recognition.evaluation import with_own_preset
    from miex.pipeline.recognition.evaluation_config import EvaluationConfig

    config = EvaluationConfig(recognizer="apex_me", preset="code")
    content = with_own_preset(config).model_dump(mode="json")
    assert content["preset"] == "code"
    assert content["config"]["alone"]["learning_rate"] == 1e-5
    assert content["config"]["rotation_of_clips"] == 0
    assert with_own_preset(with_own_preset(config)) == with_own_preset(config)
