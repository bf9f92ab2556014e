import pytest
import torch
from torch.nn import functional

from miex.pipeline.recognition.recognizers._flow_baseline import FlowBaselineConfig, scaled
from miex.pipeline.recognition.recognizers.base import create_recognizer
from miex.pipeline.recognition.recognizers.ststnet import STSTNetConfig


@pytest.fixture
def flow():
    return torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0)).half()


def test_the_paper_s_sizes(flow):
    torch.manual_seed(0)
    model = create_recognizer("ststnet", 3)
    # 3 x 3 x 3 weights and a bias for 16 filters, batch normalisation, 400 values to 3 classes
    assert sum(each.numel() for each in model.parameters()) == 16 * 28 + 2 * 16 + 3 * 401
    assert [tuple(stream(flow.float()).shape[1:]) for stream in model.streams] == [
        (3, 10, 10),
        (5, 10, 10),
        (8, 10, 10),
    ]
    assert model.head.in_features == 400
    training = model.config.training
    assert (training.learning_rate, training.batch_size, training.epochs) == (5e-5, 256, 800)
    assert model.representation.config.strain


def test_layer_by_layer(flow):
    torch.manual_seed(0)
    model = create_recognizer("ststnet", 3).eval()
    maps = []
    for convolution, _, norm, _, _ in model.streams:
        norm.running_mean.uniform_(0, 1)
        norm.running_var.uniform_(0.5, 2)
        image = flow.float() * torch.tensor([1.0, 1.0, 10.0])[:, None, None]
        found = functional.conv2d(image, convolution.weight, convolution.bias, padding=2)
        found = found.clamp(min=0) - norm.running_mean[:, None, None]
        found = found / (norm.running_var + norm.eps).sqrt()[:, None, None]
        maps.append(functional.max_pool2d(found, 3, 3, 1))
    pooled = functional.avg_pool2d(torch.cat(maps, 1), 2).flatten(1)
    expected = pooled @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model({"flow": flow}), expected)


@pytest.mark.parametrize("side", [24, 28, 32, 60])
def test_other_sides(side):
    model = create_recognizer("ststnet", 5, {"side": side}).eval()
    assert model({"flow": torch.zeros(2, 3, side, side)}).shape == (2, 5)


def test_scaling():
    flow = torch.tensor([[-1.0, 3.0], [0.0, 0.0], [0.1, 0.2]]).reshape(1, 3, 1, 2)

    def form(scaling: str) -> FlowBaselineConfig:
        return STSTNetConfig(form="face", scaling=scaling)

    fixed = scaled(flow, form("fixed")).flatten()
    torch.testing.assert_close(fixed, torch.tensor([-1.0, 3.0, 0, 0, 1.0, 2.0]))
    image = scaled(flow, form("image")).flatten()
    torch.testing.assert_close(image, torch.tensor([0.0, 1, 0, 0, 0, 1]))
    assert scaled(flow[:, :2].half(), form("fixed")).dtype == torch.float32


def test_wrong_parameters_are_named():
    with pytest.raises(ValueError, match="side"):
        create_recognizer("ststnet", 3, {"side": 30})
    with pytest.raises(ValueError, match="scaling"):
        create_recognizer("ststnet", 3, {"scaling": "byte"})
