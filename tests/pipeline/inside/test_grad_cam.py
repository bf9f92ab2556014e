import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from toy_recognition import ToyInputs, ToySamples

from miex.pipeline.inside import grad_cam as inside_grad_cam
from miex.pipeline.inside.canvas import PANEL
from miex.pipeline.inside.grad_cam import grad_cam, upsample
from miex.pipeline.inside.grad_cam_sheet import heat_maps, normalized
from miex.pipeline.recognition.checkpoint import Card
from miex.pipeline.recognition.recognizers.base import (
    Recognizer,
    RecognizerConfig,
    create_recognizer,
)
from miex.pipeline.recognition.representations.base import Inputs, Representation
from miex.pipeline.recognition.representations.flow_strain import FlowStrain
from miex.pipeline.recognition.run_config import RunConfig
from miex.pipeline.recognition.sample import Sample
from miex.pipeline.recognition.training import Data, train


class _TinyConfig(RecognizerConfig):
    side: int = Field(8)


class _Tiny(Recognizer):
    """Two branches, each a convolution and a pooling, and two layers on top."""

    name = "tiny"
    paper = "none, 2022"
    Config = _TinyConfig
    class_layers = ("head.",)

    def __init__(self) -> None:
        super().__init__(_TinyConfig(), 3)
        self.left, self.right = (
            nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Dropout())
            for _ in range(2)
        )
        self.hidden = nn.Linear(2 * 4 * 16, 6)
        self.head = nn.Linear(6, 3)

    @property
    def representation(self) -> Representation:
        return FlowStrain()

    def tail(self, left: Tensor, right: Tensor) -> Tensor:
        pooled = [self.left[2](left), self.right[2](right)]
        return self.head(torch.tanh(self.hidden(torch.cat(pooled, 1).flatten(1))))

    def forward(self, inputs: Inputs) -> Tensor:
        features = torch.cat((self.left(inputs["a"]), self.right(inputs["b"])), 1)
        return self.head(torch.tanh(self.hidden(features.flatten(1))))


@pytest.fixture
def tiny() -> tuple[_Tiny, dict[str, Tensor]]:
    torch.manual_seed(0)
    inputs = {name: torch.randn(3, 2, 8, 8, dtype=torch.float64) for name in "ab"}
    return _Tiny().double(), inputs


def test_it_is_equations_1_and_2_with_gradients_by_finite_differences(
    tiny: tuple[_Tiny, dict[str, Tensor]],
) -> None:
    network, inputs = tiny
    network.train()
    classes = torch.tensor([0, 2, 1])
    found = grad_cam(network, inputs, classes)
    assert [(each.input, each.layers) for each in found] == [
        ("a", ("left.1",)),
        ("b", ("right.1",)),
    ]
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    network.eval()
    step = 1e-5
    with torch.no_grad():
        maps = {"a": network.left[:2](inputs["a"]), "b": network.right[:2](inputs["b"])}
        for branch in found:
            assert branch.maps.shape == (3, 1, 8, 8)
            for sample in range(3):
                expected = torch.zeros(8, 8, dtype=torch.float64)
                for k in range(4):
                    alpha = 0.0
                    for y in range(8):
                        for x in range(8):
                            scores = []
                            for sign in (1, -1):
                                moved = {
                                    n: each[sample : sample + 1].clone() for n, each in maps.items()
                                }
                                moved[branch.input][0, k, y, x] += sign * step
                                scores.append(
                                    network.tail(moved["a"], moved["b"])[0, classes[sample]]
                                )
                            alpha += float(scores[0] - scores[1]) / (2 * step)
                    expected += alpha / 64 * maps[branch.input][sample, k]
                torch.testing.assert_close(
                    branch.maps[sample, 0].double(), expected.relu(), atol=1e-7, rtol=1e-4
                )


def test_the_default_is_the_class_that_it_answers(tiny: tuple[_Tiny, dict[str, Tensor]]) -> None:
    network, inputs = tiny
    network.eval()
    answered = network(inputs).argmax(1)
    for mine, default in zip(
        grad_cam(network, inputs, answered), grad_cam(network, inputs), strict=True
    ):
        assert torch.equal(mine.maps, default.maps)
    alone = grad_cam(network, {name: each[1:2] for name, each in inputs.items()})
    torch.testing.assert_close(alone[0].maps[0], grad_cam(network, inputs)[0].maps[1])


def test_many_samples_are_looked_at_a_few_at_a_time(
    tiny: tuple[_Tiny, dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, inputs = tiny
    classes = torch.tensor([0, 2, 1])
    whole = grad_cam(network, inputs, classes)
    monkeypatch.setattr(inside_grad_cam, "_AT_ONCE", 2)
    for one, other in zip(grad_cam(network, inputs, classes), whole, strict=True):
        assert (one.input, one.layers) == (other.input, other.layers)
        torch.testing.assert_close(one.maps, other.maps, atol=1e-12, rtol=0)


def test_place_by_place_no_gradient_is_averaged(tiny: tuple[_Tiny, dict[str, Tensor]]) -> None:
    """Compare HiResCAM with the feature maps times their gradients, summed over channels."""
    network, inputs = tiny
    network.eval()
    classes = torch.tensor([1, 1, 1])
    maps = [network.left[:2](inputs["a"]), network.right[:2](inputs["b"])]
    gradients = torch.autograd.grad(network.tail(*maps)[:, 1].sum(), maps)
    for found, each, gradient in zip(
        grad_cam(network, inputs, classes, hirescam=True), maps, gradients, strict=True
    ):
        expected = (each * gradient).sum(1).relu()
        torch.testing.assert_close(found.maps[:, 0].double(), expected, atol=1e-7, rtol=1e-4)


def test_layers_by_name(tiny: tuple[_Tiny, dict[str, Tensor]]) -> None:
    network, inputs = tiny
    (branch,) = grad_cam(network, inputs, layers=["left.0"])
    assert (branch.input, branch.layers) == ("a", ("left.0",))
    (pooled,) = grad_cam(network, inputs, layers=["right.2"])
    assert pooled.maps.shape == (3, 1, 4, 4)
    with pytest.raises(
        ValueError,
        match=r"no layer 'middle' with feature maps; its layers with feature maps are: left\.0",
    ):
        grad_cam(network, inputs, layers=["middle"])
    with pytest.raises(ValueError, match="no layer 'head'"):
        grad_cam(network, inputs, layers=["head"])


def test_those_without_maps_say_what_there_is_instead() -> None:
    nodes = {"nodes": torch.randn(2, 2, 3, 31)}
    with pytest.raises(ValueError, match=r"inputs are nodes .*weights of its actions"):
        grad_cam(create_recognizer("dere_grl", 3), nodes)
    with pytest.raises(ValueError, match=r"lbp_top is fitted without gradients.*t-SNE"):
        grad_cam(create_recognizer("lbp_top", 3), {})


def test_residual_networks_end_in_their_last_block() -> None:
    config = {"weights": "random", "side": 32, "resized": 36, "crop": 32}
    network = create_recognizer("branches", 3, config)
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    inputs = {"onset": images, "apex": images.flip(-1)}
    network = create_recognizer("branches", 3, config | {"side": 64, "resized": 72, "crop": 64})
    inputs = {name: each.repeat(1, 1, 2, 2) for name, each in inputs.items()}
    found = grad_cam(network, inputs)
    assert [(each.input, each.layers) for each in found] == [
        ("onset", ("onset.layer4.1",)),
        ("apex", ("apex.layer4.1",)),
    ]
    of = torch.tensor([0, 1])
    heat = heat_maps(network, inputs, of)["apex"]
    assert heat.shape == (2, PANEL, PANEL)
    # The network sees the middle 64 of 72 pixels: nothing beyond speaks for anything.
    edge = PANEL // 18 - 2
    assert not heat[:, :edge].any()
    assert not heat[:, :, -edge:].any()


def test_branches_are_told_apart_by_what_they_see() -> None:
    torch.manual_seed(0)
    flow = {"flow": torch.randn(2, 2, 28, 28).half()}
    sees = [each.input for each in grad_cam(create_recognizer("off_apexnet", 3), flow)]
    assert sees == ["flow u", "flow v"]
    flow = {"flow": torch.randn(2, 3, 28, 28).half()}
    (one,) = grad_cam(create_recognizer("ststnet", 3), flow)
    assert one.input == "flow"
    assert len(one.layers) == 3


def test_views_are_put_back_where_they_were_cut() -> None:
    config = {"weights": "random", "backbone": "test_efficientnet", "side": 128, "features": 8}
    network = create_recognizer("cropnet", 3, config)
    torch.manual_seed(0)
    image = {"image": torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)}
    (branch,) = grad_cam(network, image)
    assert branch.maps.shape[:2] == (2, 10)
    heat = heat_maps(network, image, torch.tensor([0, 1]))
    assert set(heat) == {"image, whole", "image, tiles"}
    assert heat["image, tiles"].shape == (2, PANEL, PANEL)


def test_a_map_is_scaled_by_its_largest_value_and_nothing_stays_nothing() -> None:
    assert normalized(np.array([[0, 2], [4, 1]], np.float32)).max() == 1
    assert not normalized(np.zeros((2, 2), np.float32)).any()
    assert upsample(torch.ones(1, 7, 7), 28).eq(1).all()


def test_it_finds_the_part_of_the_face_that_tells_the_class(
    toy_samples: ToySamples, toy_inputs: ToyInputs
) -> None:
    """Train on samples in which the brows rise in class 0 and the lip corners in class 1."""
    torch.manual_seed(0)
    training = {"schedule": "constant", "epochs": 15, "learning_rate": 3e-3, "batch_size": 16}
    config = {"flow_side": 64, "method": "dis", "training": training}
    network = create_recognizer("ststnet", 3, config)
    samples = toy_samples(60)
    inputs = toy_inputs(network, samples)
    card = Card("ststnet", {}, "three_class", "random")
    train(network, Data(inputs, range(60), "toy"), card, "finetune", RunConfig(device="cpu"))
    unseen = toy_samples(30, seed=1)
    batch = toy_inputs(network, unseen).take(range(30))
    labels = torch.tensor([sample.info.label for sample in unseen])
    plain = heat_maps(network, batch, labels)["flow"]
    placewise = heat_maps(network, batch, labels, hirescam=True)["flow"]
    assert heat_at(plain, unseen, 0, BROWS) > 1.5 * heat_at(plain, unseen, 0, MOUTH)
    assert heat_at(placewise, unseen, 0, BROWS) > 1.5 * heat_at(placewise, unseen, 0, MOUTH)
    assert heat_at(placewise, unseen, 1, MOUTH) > 1.5 * heat_at(placewise, unseen, 1, BROWS)


BROWS, MOUTH = slice(17, 27), slice(48, 60)


def heat_at(heat: np.ndarray, samples: list[Sample], label: int, landmarks: slice) -> float:
    means = []
    for sample, each in zip(samples, heat, strict=True):
        if sample.info.label == label:
            points = (sample.landmarks[0] * PANEL / 64).round().astype(int)
            x, y = points[landmarks].T
            means.append(normalized(each)[y, x].mean())
    return float(np.mean(means))
