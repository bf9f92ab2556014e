import torch
from torch.nn import functional

from miex.pipeline.recognition.recognizers.base import create_recognizer


def inception(channels, filters):
    """Parameters of a block, counted by hand."""
    one = (channels + 1) * filters
    return 4 * one + (9 * filters + 1) * filters + (25 * filters + 1) * filters


def test_the_paper_s_sizes():
    model = create_recognizer("dual_inception", 3)
    parameters = sum(each.numel() for each in model.parameters())
    streams = 2 * (inception(1, 6) + inception(24, 16))
    assert parameters == streams + (2 * 64 * 49 + 1) * 1024 + 1025 * 3
    assert round(parameters / 1e6, 2) == 6.45
    stream = model.streams[0]
    assert stream[:2](torch.zeros(1, 1, 28, 28)).shape == (1, 24, 14, 14)
    assert stream(torch.zeros(1, 1, 28, 28)).shape == (1, 64, 7, 7)
    config = model.representation.config
    assert (config.side, config.strain, config.target) == (28, False, "middle")


def test_a_block_path_by_path():
    torch.manual_seed(0)
    block = create_recognizer("dual_inception", 3, {"hidden": 8}).streams[1][0]
    image = torch.randn(2, 1, 12, 12)

    def apply(layer, features):
        convolution = layer[0]
        margin = convolution.kernel_size[0] // 2
        found = functional.conv2d(features, convolution.weight, convolution.bias, padding=margin)
        return found.clamp(min=0)

    alone, three, five, pooled = block.paths
    expected = [
        apply(alone, image),
        apply(three[1], apply(three[0], image)),
        apply(five[1], apply(five[0], image)),
        apply(pooled[1], functional.max_pool2d(image, 3, 1, 1)),
    ]
    torch.testing.assert_close(block(image), torch.cat(expected, 1))


def test_switches():
    model = create_recognizer("dual_inception", 3, {"target": "apex", "filters": (6, 12)}).eval()
    assert model.representation.config.target == "apex"
    assert model({"flow": torch.zeros(1, 2, 28, 28)}).shape == (1, 3)


def test_both_directions_of_the_flow_count():
    torch.manual_seed(0)
    model = create_recognizer("dual_inception", 3).eval()
    flow = torch.randn(2, 2, 28, 28)
    before = model({"flow": flow})
    for channel in (0, 1):
        changed = flow.clone()
        changed[:, channel] = -changed[:, channel]
        assert not torch.allclose(model({"flow": changed}), before)
