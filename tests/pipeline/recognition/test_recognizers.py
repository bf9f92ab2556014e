"""What every recognizer must be able to do; a new one is tested by being registered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_recognition import ToyInputs, ToySamples

from miex.pipeline.recognition.cache import CachedInputs
from miex.pipeline.recognition.checkpoint import Card, load_checkpoint, save_checkpoint
from miex.pipeline.recognition.prediction import predict
from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    Recognizer,
    create_recognizer,
    recognizer_class,
    recognizer_names,
)
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.training import Data, train

CPU = RunConfig(device="cpu")


_QUICK = {"schedule": "constant", "optimizer": "adam", "gradient_clip": 1.0}
STRENGTHS = ("jitter", "hue", "grey", "flip", "rotation")


def make(name: str, classes: int = 3) -> AnyRecognizer:
    torch.manual_seed(0)
    found = recognizer_class(name)
    training = {**found.Config().training.model_dump(), **_QUICK, **found.toy.training}
    return create_recognizer(name, classes, {**found.toy.config, "training": training})


@pytest.fixture(params=recognizer_names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def inputs(name: str, toy_samples: ToySamples, toy_inputs: ToyInputs) -> CachedInputs:
    return toy_inputs(make(name), toy_samples(60) + toy_samples(60, seed=1))


def test_it_learns_a_separable_problem_and_comes_back_from_disk(
    name: str, inputs: CachedInputs, tmp_path: Path
) -> None:
    recognizer = make(name)
    card = Card(name, recognizer.config.model_dump(mode="json"), "three_class", recognizer.weights)
    card = train(recognizer, Data(inputs, range(60), "toy"), card, "finetune", CPU)
    scores = predict(recognizer, inputs, range(60, 120), device="cpu")
    labels = [info.label for info in inputs.infos[60:]]
    assert scores.shape == (60, 3)
    assert (scores.argmax(1) == labels).mean() > 0.95
    save_checkpoint(tmp_path / "r.safetensors", recognizer, card)
    again = load_checkpoint(tmp_path / "r.safetensors").create()
    one = predict(again, inputs, [60], device="cpu")
    assert one.shape == (1, 3)
    np.testing.assert_allclose(one[0], scores[0], atol=1e-3)
    assert again.weights == recognizer.weights


def networks() -> list[str]:
    return [name for name in recognizer_names() if issubclass(recognizer_class(name), Recognizer)]


@pytest.mark.parametrize("name", networks())
def test_gradients_reach_every_parameter(name: str, inputs: CachedInputs) -> None:
    recognizer = make(name)
    assert isinstance(recognizer, Recognizer)
    labels = inputs.labels
    reached: dict[str, float] = {}
    for step in range(4):
        batch = recognizer.augment(
            inputs.take(range(16 * step, 16 * step + 16)), torch.Generator().manual_seed(step)
        )
        terms = recognizer.loss(batch, labels[16 * step : 16 * step + 16])
        assert terms["loss"].shape == ()
        recognizer.zero_grad()
        torch.autograd.backward(terms["loss"])
        for key, parameter in recognizer.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, key
                grown = reached.get(key, 0.0) + float(parameter.grad.abs().sum())
                reached[key] = grown
    assert [key for key, total in reached.items() if not total] == []


@pytest.mark.parametrize("name", networks())
def test_it_runs_in_bf16_on_one_sample_and_with_other_classes(
    name: str, inputs: CachedInputs
) -> None:
    recognizer = make(name, classes=5)
    assert isinstance(recognizer, Recognizer)
    recognizer.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = recognizer(inputs.take([3]))
    assert logits.shape == (1, 5)
    assert logits.isfinite().all()
    layers = tuple(
        key for key in recognizer.state_dict() if key.startswith(recognizer.class_layers)
    )
    assert layers
    three = make(name)
    assert isinstance(three, Recognizer)
    differ = {
        key
        for key, tensor in recognizer.state_dict().items()
        if three.state_dict()[key].shape != tensor.shape
    }
    assert differ
    assert differ <= set(layers)


@pytest.mark.parametrize("name", networks())
def test_what_it_answers_is_not_random_and_does_not_depend_on_neighbours(
    name: str, inputs: CachedInputs
) -> None:
    recognizer = make(name)
    one = predict(recognizer, inputs, range(10), device="cpu")
    torch.manual_seed(1)
    two = predict(recognizer, inputs, range(10), device="cpu", batch_size=3)
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_augmentation_draws_from_its_generator_alone(name: str, inputs: CachedInputs) -> None:
    recognizer = make(name)
    if isinstance(recognizer, FittedRecognizer):
        assert recognizer.weights.startswith("none")
        return
    # As strong as in the paper; the toys do without.
    found = recognizer_class(name)
    defaults = found.Config().model_dump()
    strong = {key: defaults[key] for key in STRENGTHS if key in defaults}
    recognizer = create_recognizer(name, 3, {**found.toy.config, **strong})
    assert not isinstance(recognizer, FittedRecognizer)
    batch = inputs.take(range(8))
    drawn = []
    for noise, seed in ((0, 5), (1, 5), (0, 6)):
        torch.manual_seed(noise)
        drawn.append(recognizer.augment(batch, torch.Generator().manual_seed(seed)))
    for key, tensor in drawn[0].items():
        assert torch.equal(tensor, drawn[1][key]), key
    changes = any(not torch.equal(tensor, drawn[2][key]) for key, tensor in drawn[0].items())
    # Recognizers of published flow augment that, and leave the flow of frames as it is.
    overrides = type(recognizer).augment is not Recognizer.augment
    assert changes == (overrides and not found.takes_flow_images)


def test_it_names_its_paper_and_knows_no_other_parameters(name: str) -> None:
    found = recognizer_class(name)
    assert found.name == name
    assert str(found.year) in found.paper
    assert str(found.year) in found.citation
    assert found.title.strip()
    assert found.looks_at.strip()
    with pytest.raises(ValueError, match="no_such_parameter"):
        create_recognizer(name, 3, {"no_such_parameter": 1})
    with pytest.raises(ValueError, match="at least two"):
        create_recognizer(name, 1, found.toy.config)


def test_the_seven_of_the_papers_and_the_baselines_are_here() -> None:
    papers = {"branches", "apex_me", "dtscnn", "uamrn", "dual_atme", "dere_grl", "cropnet"}
    baselines = {"ststnet", "off_apexnet", "dual_inception", "lbp_top", "bi_woof"}
    assert papers | baselines <= set(recognizer_names())
    titles = [recognizer_class(name).title for name in recognizer_names()]
    assert len(set(titles)) == len(titles)
    with pytest.raises(ValueError, match="no recognizer is called 'vgg'; there are: apex_me"):
        recognizer_class("vgg")
