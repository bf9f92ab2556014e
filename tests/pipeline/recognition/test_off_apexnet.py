import torch

from miex.pipeline.recognition.recognizers.base import create_recognizer


def test_the_paper_s_sizes():
    model = create_recognizer("off_apexnet", 3)
    parameters = sum(each.numel() for each in model.parameters())
    streams = 2 * ((25 + 1) * 6 + (6 * 25 + 1) * 16)
    assert parameters == streams + (2 * 784 + 1) * 1024 + 1025 * 1024 + 1025 * 3
    assert round(parameters / 1e6, 2) == 2.66
    assert model.streams[0](torch.zeros(1, 1, 28, 28)).shape == (1, 16, 7, 7)
    config = model.representation.config
    assert (config.side, config.strain, config.target) == (28, False, "apex")


def test_each_component_has_its_own_stream():
    torch.manual_seed(0)
    model = create_recognizer("off_apexnet", 3, {"hidden": 16}).eval()
    flow = torch.randn(2, 2, 28, 28)
    u, v = (model.streams[index](flow[:, index : index + 1]).flatten(1) for index in (0, 1))
    expected = model.head(model.hidden(torch.cat([u, v], 1)))
    torch.testing.assert_close(model({"flow": flow}), expected)
    assert not torch.allclose(model({"flow": flow.flip(1)}), expected)
