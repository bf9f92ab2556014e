"""Recompute the statistics of batch normalisation on training samples before every test.

During training, the running mean and variance of batch normalisation follow the batches with a
momentum of .1: after n steps the share of their initial values 0 and 1 is still (1 - .1)^n, and
they belong to earlier parameters. After a short training they are wrong. Recomputing them after
training is the usual remedy (precise batch normalisation: Wu and Johnson, Rethinking "Batch" in
BatchNorm, 2021, section 3).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from miex.pipeline.recognition.cache import Batches, CachedInputs
from miex.pipeline.recognition.recognizers.base import Recognizer

_MOST_SAMPLES = 1024
"""Largest number of samples for the statistics: the standard error of their mean is then a
thirtieth of the standard deviation of the samples."""


def recompute_batch_statistics(
    recognizer: Recognizer,
    inputs: CachedInputs,
    indices: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
) -> int:
    """Replace the running statistics of batch normalisation by those of training samples.

    Statistics are means over batches of samples without augmentation and dropout, as in a test.
    Parameters do not change. A recognizer without batch normalisation is not changed.

    Args:
        recognizer: Trained recognizer on the device; in eval mode afterwards.
        inputs: Cached representations.
        indices: The training samples.
        batch_size: Samples per batch, at least two.
        seed: Seed of the choice of samples, if there are more than `_MOST_SAMPLES`, and their
        order.
        device: The device.

    Returns:
        Number of layers with new statistics.
    """
    recognizer.eval()
    layers = [
        layer
        for layer in recognizer.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    if not layers or len(indices) < 2:
        return 0
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # PyTorch: cumulative mean over all batches
            layer.train()
        batches = _even_batches(np.asarray(indices, np.int64), batch_size, seed)
        with torch.no_grad():
            for batch, _ in Batches(inputs, batches, device):
                recognizer(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
    return len(layers)


def _even_batches(
    indices: NDArray[np.int64], batch_size: int, seed: int
) -> list[NDArray[np.int64]]:
    """Return batches of similar size, since all have the same weight; none has a single sample."""
    order = np.random.default_rng(seed).permutation(indices)[:_MOST_SAMPLES]
    count = max(1, min(-(-len(order) // batch_size), len(order) // 2))
    return np.array_split(order, count)
