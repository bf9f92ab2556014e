from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_recognition import ToyInputs, ToySamples

from miex.pipeline.recognition.batch_statistics import recompute_batch_statistics
from miex.pipeline.recognition.checkpoint import Card, load_checkpoint
from miex.pipeline.recognition.dead_networks import untrained_warning
from miex.pipeline.recognition.prediction import predict
from miex.pipeline.recognition.recognizers.base import AnyRecognizer, create_recognizer
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.training import Data, train
from miex.pipeline.recognition.training_log import METRICS

CPU = RunConfig(device="cpu")
SMALL = {"flow_side": 64, "method": "dis"}


def ststnet(**training: Any) -> Any:
    torch.manual_seed(0)
    given = {"epochs": 3, "learning_rate": 3e-3, "batch_size": 16, **training}
    return create_recognizer("ststnet", 3, {**SMALL, "training": given})


def card_of(recognizer: AnyRecognizer) -> Card:
    return Card(recognizer.name, recognizer.config.model_dump(mode="json"), "three_class", "random")


@pytest.fixture(scope="module")
def data(toy_samples: ToySamples, toy_inputs: ToyInputs) -> Data:
    return Data(toy_inputs(ststnet(), toy_samples(60)), range(60), "toy")


def true_statistics(recognizer: Any, data: Data) -> tuple[Tensor, Tensor]:
    """Mean and variance of what reaches the first layer of batch normalisation, all at once."""
    seen: list[Tensor] = []
    layer = next(each for each in recognizer.modules() if isinstance(each, nn.BatchNorm2d))
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    recognizer.eval()
    with torch.no_grad():
        recognizer(data.inputs.take(list(data.indices)))
    hook.remove()
    return seen[0].mean((0, 2, 3)), seen[0].var((0, 2, 3))


def test_a_short_training_is_tested_with_statistics_of_its_samples(data: Data) -> None:
    recognizer = ststnet()
    train(recognizer, data, card_of(recognizer), "finetune", CPU)
    mean, variance = true_statistics(recognizer, data)
    layer = recognizer.streams[0][2]
    # Twelve steps with a momentum of .1 leave .28 of the initial 0 and 1 in a running average.
    torch.testing.assert_close(layer.running_mean, mean, rtol=0.02, atol=1e-4)
    torch.testing.assert_close(layer.running_var, variance, rtol=0.05, atol=1e-4)


def test_the_epoch_is_chosen_with_them_too(data: Data) -> None:
    recognizer = ststnet()
    differences = []

    def judge(epoch: int) -> None:
        mean, _ = true_statistics(recognizer, data)
        differences.append(float((recognizer.streams[0][2].running_mean - mean).abs().max()))

    train(recognizer, data, card_of(recognizer), "finetune", CPU, on_epoch=judge)
    assert len(differences) == 3
    assert max(differences) < 1e-2


def test_they_are_in_the_checkpoint_and_parameters_stay(data: Data, tmp_path: Path) -> None:
    recognizer = ststnet()
    train(recognizer, data, card_of(recognizer), "finetune", CPU, folder=tmp_path)
    again: Any = load_checkpoint(tmp_path).create()
    mean, _ = true_statistics(again, data)
    torch.testing.assert_close(again.streams[0][2].running_mean, mean, rtol=0.02, atol=1e-4)
    before = {name: each.clone() for name, each in again.named_parameters()}
    layers = recompute_batch_statistics(
        again, data.inputs, data.indices, batch_size=16, seed=0, device=torch.device("cpu")
    )
    assert layers == 3
    assert not again.training
    assert again.streams[0][2].momentum == 0.1
    assert all(torch.equal(each, before[name]) for name, each in again.named_parameters())
    np.testing.assert_allclose(
        predict(again, data.inputs, range(8), device="cpu"),
        predict(recognizer, data.inputs, range(8), device="cpu"),
        atol=1e-5,
    )


def test_a_network_without_batch_normalisation_is_left_alone(
    toy_samples: ToySamples, toy_inputs: ToyInputs
) -> None:
    torch.manual_seed(0)
    recognizer: Any = create_recognizer("off_apexnet", 3, SMALL)
    inputs = toy_inputs(recognizer, toy_samples(6))
    before = {name: each.clone() for name, each in recognizer.state_dict().items()}
    assert not recompute_batch_statistics(
        recognizer, inputs, range(6), batch_size=4, seed=0, device=torch.device("cpu")
    )
    assert all(torch.equal(each, before[name]) for name, each in recognizer.state_dict().items())


def test_a_network_that_dies_is_named_while_it_trains(data: Data, tmp_path: Path) -> None:
    recognizer = ststnet()
    with torch.no_grad():
        for stream in recognizer.streams:  # no unit of the first layer will ever fire
            stream[0].weight.zero_()
            stream[0].bias.fill_(-1.0)
    said: list[tuple[int, str]] = []
    steps: list[int] = []
    train(
        recognizer,
        data,
        card_of(recognizer),
        "finetune",
        CPU,
        folder=tmp_path,
        on_step=lambda step, *_: steps.append(step),
        on_warning=lambda message: said.append((len(steps), message)),
    )
    assert len(said) == 1
    assert said[0][0] < len(steps), "named before the training ends"
    assert "ststnet has died in epoch 1" in said[0][1]
    assert "learning rate" in said[0][1]
    assert "has died" in (tmp_path / METRICS).read_text()


def test_a_network_that_lives_is_not_called_dead(data: Data) -> None:
    recognizer = ststnet(epochs=15)
    said: list[str] = []
    train(recognizer, data, card_of(recognizer), "finetune", CPU, on_warning=said.append)
    assert said == []


def test_a_network_with_one_answer_for_all_is_named(data: Data) -> None:
    recognizer = ststnet(learning_rate=1e-6)  # its logits differ and are not those of a dead one
    with torch.no_grad():
        recognizer.head.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    said: list[str] = []
    train(recognizer, data, card_of(recognizer), "finetune", CPU, on_warning=said.append)
    assert len(said) == 1
    assert "ststnet has learnt nothing" in said[0]
    assert "the same class" in said[0]


class Answers(nn.Module):
    """Give the samples, in their order, the given classes."""

    name, classes = "answers", 3

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        self.remaining = answers

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        count = len(next(iter(inputs.values())))
        given, self.remaining = self.remaining[:count], self.remaining[count:]
        return nn.functional.one_hot(torch.tensor(given), 3).float()


@pytest.mark.parametrize(
    ("right", "said"),
    [(0, "the same class"), (1, "UAR on training samples is 0.37 (chance 0.33)"), (3, None)],
)
def test_a_network_that_hardly_leaves_the_most_frequent_class_is_named(
    data: Data, right: int, said: str | None
) -> None:
    labels = [info.label for info in data.inputs.infos]
    indices = [index for each in range(3) for index in np.flatnonzero(np.equal(labels, each))[:10]]
    # Of the other two classes one has `right` of 10 samples right: UAR (1 + right / 10) / 3.
    answers = [0] * 10 + [1] * right + [0] * (20 - right)
    network: Any = Answers(answers)
    warning = untrained_warning(network, data.inputs, indices, torch.device("cpu"))
    assert (warning is None) if said is None else (warning is not None and said in warning)
