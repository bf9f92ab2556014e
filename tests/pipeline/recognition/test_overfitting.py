"""Every network learns 60 clear samples by heart, as it answers when it is tested."""

import contextlib

import numpy as np
import pytest
import torch
from toy_recognition import ToyInputs, ToySamples

from miex.pipeline.recognition.checkpoint import Card
from miex.pipeline.recognition.prediction import predict
from miex.pipeline.recognition.recognizers.base import (
    Recognizer,
    create_recognizer,
    recognizer_class,
    recognizer_names,
)
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.training import Data, train

MOST_EPOCHS = 60


def networks() -> list[str]:
    return [name for name in recognizer_names() if issubclass(recognizer_class(name), Recognizer)]


class _LearntByHeart(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("name", networks())
def test_sixty_clear_samples_are_learnt_by_heart_in_eval_mode(
    name: str, toy_samples: ToySamples, toy_inputs: ToyInputs
) -> None:
    found = recognizer_class(name)
    training = found.Config().training.model_dump() | dict(found.toy.training)
    training |= {"schedule": "constant", "optimizer": "adam", "epochs": MOST_EPOCHS}
    torch.manual_seed(0)
    recognizer = create_recognizer(name, 3, {**found.toy.config, "training": training})
    inputs = toy_inputs(recognizer, toy_samples(60))
    labels = np.array([info.label for info in inputs.infos])
    best = 0.0

    def judge(epoch: int) -> None:
        nonlocal best
        answers = predict(recognizer, inputs, range(60), device="cpu").argmax(1)
        best = max(best, float((answers == labels).mean()))
        if best == 1.0:
            raise _LearntByHeart

    card = Card(name, recognizer.config.model_dump(mode="json"), "three_class", "random")
    with contextlib.suppress(_LearntByHeart):
        train(
            recognizer,
            Data(inputs, range(60), "toy"),
            card,
            "finetune",
            RunConfig(device="cpu"),
            on_epoch=judge,
        )
    assert best == 1.0, f"{name}: at most {best:.0%} of the samples in {MOST_EPOCHS} epochs"
