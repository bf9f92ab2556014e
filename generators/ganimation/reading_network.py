"""Small differentiable network that estimates AUs, for the training of generators.

The estimators of `miex.au_sources` are not differentiable. This network is trained on photographs
with labels of such an estimator, and its gradients train the generator. It is trained once, before
the generator, and then fixed: unlike the AU head of the critic it never sees rendered faces, so
that it cannot adapt to them.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from miex.au_sources.action_units import AU_COUNT, MAX_INTENSITY
from miex.generators.ganimation.augmentation import augment, draw_augmentations
from miex.generators.ganimation.losses import au_error
from miex.generators.ganimation.network import to_network_range
from miex.generators.ganimation.training_set import TrainingFaces

_CHANNELS = (16, 32, 64, 96, 128)
_BATCH = 32
_RATE = 2e-3
_STREAM = 3
"""First seed number of its random streams; `batches` and `monitor` have others."""


class ReadingNetwork(nn.Module):
    """Five convolutions of stride 2 and a linear layer: 22 M multiply-adds at 128 pixels."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip((3, *_CHANNELS[:-1]), _CHANNELS, strict=True)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 5 if i == 3 else 3, stride=2, padding=2 if i == 3 else 1)
            for i, o in pairs
        )
        self.head = nn.Linear(_CHANNELS[-1] * 16, AU_COUNT)

    def forward(self, image: Tensor) -> Tensor:
        """Estimate ``(N, 17)`` intensities / 5 from ``(N, 3, S, S)`` images, -1 to 1."""
        x = image
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
        x = F.adaptive_avg_pool2d(x, 4)
        reading: Tensor = self.head(x.flatten(1))
        return reading


def random_reading_network(seed: int) -> ReadingNetwork:
    """Return an untrained network; equal seeds give equal weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        network = ReadingNetwork()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 4:
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
            else:
                weight.zero_()
    return network


def teach_reading(
    network: ReadingNetwork,
    faces: Sequence[TrainingFaces],
    trusted: NDArray[np.bool_],
    seed: int,
    device: torch.device,
    steps: int,
    *,
    bf16: bool = False,
) -> float:
    """Train a network on the labels of photographs.

    Args:
        network: The network; trained in place, without gradients afterwards.
        faces: Sets of photographs with AUs; all photographs have the same probability.
        trusted: bool ``(17,)``, AUs whose labels are used.
        seed: Seed of the order and of the augmentation.
        device: The device.
        steps: Number of steps, of 32 photographs each.
        bf16: Whether matrix products are bfloat16.

    Returns:
        Mean squared error of the last tenth of the steps, intensity squared.
    """
    network.to(device).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=0.02)
    last: list[float] = []
    images = np.concatenate([one.images for one in faces])
    labels = np.concatenate([one.aus for one in faces])
    for step in range(steps):
        rng = np.random.default_rng([seed, _STREAM, step])
        rows = rng.integers(sum(map(len, faces)), size=_BATCH)
        image = _batch(images, rows, rng).to(device)
        aus = torch.from_numpy(labels[rows] / np.float32(MAX_INTENSITY)).to(device)
        counted = torch.from_numpy(np.isfinite(labels[rows]) & trusted).to(device)
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1, step / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = network(image)
        error = au_error(found, aus, counted)
        optimiser.zero_grad(set_to_none=True)
        error.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step >= steps - max(1, steps // 10):
            last.append(error.item() * MAX_INTENSITY**2)
    network.requires_grad_(False).eval()
    return float(np.mean(last))


def _batch(images: NDArray[np.uint8], rows: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    image = to_network_range(torch.from_numpy(images[rows]).permute(0, 3, 1, 2))
    flipped = torch.from_numpy(rng.random((len(rows), 1, 1, 1)) < 0.5)
    image = torch.where(flipped, image.flip(3), image)
    changed = augment(image, torch.from_numpy(draw_augmentations(len(rows), 1.0, rng)))
    return changed.contiguous(memory_format=torch.channels_last)
