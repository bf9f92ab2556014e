"""How a recognizer is placed for training."""

import torch
from torch import nn

from miex.pipeline.recognition.optimization import place


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten())


def test_bf16_stores_convolutions_channels_last_without_a_change_of_values():
    plain, fast = network(), network()
    volumes = nn.Sequential(fast, nn.ModuleList([nn.Conv3d(1, 2, 3)]))
    place(plain, torch.device("cpu"), bf16=False)
    place(volumes, torch.device("cpu"), bf16=True)
    assert plain[2].weight.is_contiguous()
    assert fast[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert not fast[2].weight.is_contiguous()
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        assert torch.equal(one, other)
    images = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(fast(images), plain(images))
