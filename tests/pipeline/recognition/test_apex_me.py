import torch
from torch import Generator, nn

from miex.pipeline.recognition.recognizers.apex_me import ApexME
from miex.pipeline.recognition.recognizers.base import create_recognizer


def test_one_resnet_and_the_papers_head() -> None:
    network = create_recognizer("apex_me", 5, {"weights": "random"})
    assert isinstance(network, ApexME)
    layers = [layer for layer in network.head if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in layers] == [512, 128, 32]
    head = 512 * 128 + 128 + 128 * 32 + 32 + 32 * 5 + 5
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 11_689_512 - 513_000 + head
    network.eval()
    assert network({"apex": torch.zeros(1, 3, 128, 128, dtype=torch.uint8)}).shape == (1, 5)


def test_the_onset_is_not_looked_at(toy_samples) -> None:
    network = create_recognizer(
        "apex_me", 3, {"weights": "random", "backbone": "test_resnet", "side": 64}
    )
    assert isinstance(network, ApexME)
    inputs = network.representation.compute(toy_samples(3), torch.device("cpu"))
    assert set(inputs) == {"apex"}
    changed = network.augment(inputs, Generator().manual_seed(0))
    assert changed["apex"].shape == (3, 3, 224, 224)
    network.eval()
    assert network(changed).shape == (3, 3)
