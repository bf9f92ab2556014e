"""Predictions of a trained recognizer."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from miex.datasets.device import choose_device, exact_kernels
from miex.pipeline.recognition.cache import Batches, CachedInputs
from miex.pipeline.recognition.recognizers.base import AnyRecognizer, FittedRecognizer


def predict(
    recognizer: AnyRecognizer,
    inputs: CachedInputs,
    indices: Sequence[int],
    *,
    device: str = "auto",
    batch_size: int | None = None,
) -> NDArray[np.float32]:
    """Score samples, without randomness and without augmentation.

    Args:
        recognizer: Trained recognizer.
        inputs: Cached representations.
        indices: Indices of the samples.
        device: The device.
        batch_size: Samples per batch, which affects only the memory. By default that of training,
            at most 64.

    Returns:
        ``float32 (len(indices), classes)``; the largest score of a row is the prediction.

    Raises:
        ValueError: A score is not finite.
    """
    if not len(indices):
        return np.zeros((0, recognizer.classes), np.float32)
    if isinstance(recognizer, FittedRecognizer):
        fitted: NDArray[np.float32] = recognizer.scores(inputs.take(list(indices))).numpy()
        return fitted
    where = choose_device(device)
    size = batch_size or min(64, recognizer.config.training.batch_size)
    recognizer.to(where).eval()
    order = [np.asarray(indices[i : i + size], np.int64) for i in range(0, len(indices), size)]
    with torch.inference_mode(), exact_kernels(where):
        parts = [recognizer(batch).float().cpu() for batch, _ in Batches(inputs, order, where)]
    found: NDArray[np.float32] = torch.cat(parts).numpy()
    if not np.isfinite(found).all():
        raise ValueError(
            f"{recognizer.name} answers NaN or infinity: its last steps of training diverged; lower"
            " the learning rate, clip the gradient, or use precision=fp32"
        )
    return found
