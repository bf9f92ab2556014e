"""Statistics of batch normalisation, computed anew on training samples before every test.

While a network trains, the running mean and variance of its batch normalisation follow the batches
with a momentum of .1: after n steps they are still (1 - .1)^n their initial values 0 and 1, and
they describe parameters that have changed since. A short training is then tested with statistics
of no network at all. Recomputing them after training is the usual remedy (precise batch
normalisation: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, section 3).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.batchnorm import _BatchNorm

from miex.pipeline.recognition.cache import Batches, CachedInputs
from miex.pipeline.recognition.recognizers.base import Recognizer

MOST_SAMPLES = 1024
"""Samples that statistics are computed on, at most: their mean is then within a thirtieth of a
standard deviation of that of all samples."""


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

    Statistics are plain means over batches of samples that are not augmented, dropout is off:
    what the network sees when it is tested. Parameters and everything else stay as they are. A
    recognizer without batch normalisation is left alone.

    Args:
        recognizer: Trained on the device; in eval mode afterwards.
        inputs: Cached representations.
        indices: The training samples.
        batch_size: Samples at a time, at least two.
        seed: Draws the samples if there are more than `MOST_SAMPLES`, and their order.
        device: Where to compute.

    Returns:
        How many layers got new statistics.
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
    """Batches of like size, since each counts alike in the mean; none has a single sample."""
    order = np.random.default_rng(seed).permutation(indices)[:MOST_SAMPLES]
    count = max(1, min(-(-len(order) // batch_size), len(order) // 2))
    return np.array_split(order, count)


def answers_differ(
    recognizer: Recognizer, inputs: CachedInputs, indices: Sequence[int], device: torch.device
) -> bool:
    """Tell a network that answers from one that has died, on up to 32 samples.

    A network whose hidden units are all off passes nothing on but the bias of its last layer: it
    gives every sample the same logits, up to rounding.

    Args:
        recognizer: In eval mode afterwards.
        inputs: Cached representations.
        indices: Training samples.
        device: Where to compute.
    """
    step = max(1, len(indices) // _LOOKED_AT)
    looked_at = np.asarray(indices, np.int64)[::step][:_LOOKED_AT]
    if len(looked_at) < 2:
        return True
    recognizer.eval()
    with torch.no_grad():
        for batch, _ in Batches(inputs, [looked_at], device):
            logits = recognizer(batch).float()
    spread = (logits.amax(0) - logits.amin(0)).max()
    return bool(spread > _SPREAD * (1 + logits.abs().max()))


_LOOKED_AT = 32

_SPREAD = 1e-5
"""Smallest spread of logits of a network that answers, relative to their size: float32 rounds at
1e-7, and a fresh network of any recognizer spreads them by 1e-3 or more."""
