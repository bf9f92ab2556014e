"""Find networks that have learnt nothing, so that no table shows them as a result."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from miex.pipeline.recognition.cache import Batches, CachedInputs
from miex.pipeline.recognition.metrics import confusion, scores
from miex.pipeline.recognition.recognizers.base import Recognizer

_LOOKED_AT_FOR_LOGITS = 32

_LOOKED_AT_FOR_CLASSES = 256

_SPREAD = 1e-5
"""Smallest spread of the logits relative to their size: float32 rounds at 1e-7, and the spread of
an untrained network of any recognizer is 1e-3 or more."""

_LEARNT = 0.1
"""Smallest UAR on training samples, as a share of the way from chance to 1."""


def dead_warning(
    recognizer: Recognizer,
    inputs: CachedInputs,
    indices: Sequence[int],
    device: torch.device,
    epoch: int,
    loss: float,
) -> str | None:
    """Return a sentence if up to 32 training samples have the same logits, else None.

    A network with only inactive hidden units (dead ReLUs) gives every sample the bias of its last
    layer as logits, up to rounding.

    Args:
        recognizer: The recognizer; in eval mode afterwards.
        inputs: Cached representations.
        indices: Training samples.
        device: The device.
        epoch: Number of the epoch, from 1, for the sentence.
        loss: Mean loss of the epoch, for the sentence.
    """
    logits, _ = _answers(recognizer, inputs, indices, device, _LOOKED_AT_FOR_LOGITS)
    if len(logits) < 2:
        return None
    spread = (logits.amax(0) - logits.amin(0)).max()
    if spread > _SPREAD * (1 + logits.abs().max()):
        return None
    return (
        f"{recognizer.name} has died in epoch {epoch}: it gives every sample the same logits (loss"
        f" {loss:.3f}, log of classes {math.log(recognizer.classes):.3f}); lower the learning rate,"
        " or start from pretrained weights"
    )


def untrained_warning(
    recognizer: Recognizer, inputs: CachedInputs, indices: Sequence[int], device: torch.device
) -> str | None:
    """Return a sentence if up to 256 training samples are told apart hardly better than by chance.

    The limit is a tenth of the way from the UAR of chance to 1, .40 for three classes. A network
    that gives all samples the same class has the UAR of chance.

    None if these samples have the same label. Only the classes that they have count.

    Args:
        recognizer: The trained recognizer; in eval mode afterwards.
        inputs: Cached representations.
        indices: Training samples.
        device: The device.
    """
    logits, labels = _answers(recognizer, inputs, indices, device, _LOOKED_AT_FOR_CLASSES)
    answers = logits.argmax(1)
    counted = scores(confusion(labels.numpy(), answers.numpy(), recognizer.classes))
    recalls = [recall for recall, clips in zip(counted.recall, counted.clips, strict=True) if clips]
    if len(recalls) < 2:
        return None
    uar, chance = sum(recalls) / len(recalls), 1 / len(recalls)
    if uar > chance + _LEARNT * (1 - chance):
        return None
    found = (
        "it gives every training sample the same class"
        if len(set(answers.tolist())) == 1
        else f"its UAR on training samples is {uar:.2f} (chance {chance:.2f})"
    )
    return (
        f"{recognizer.name} has learnt nothing: after the last epoch {found}; train for longer,"
        " change the learning rate, or start from a pretrained recognizer"
    )


def _answers(
    recognizer: Recognizer,
    inputs: CachedInputs,
    indices: Sequence[int],
    device: torch.device,
    most: int,
) -> tuple[Tensor, Tensor]:
    """Return logits ``(N, classes)`` and labels ``(N,)`` of evenly spaced samples, N <= `most`."""
    step = max(1, len(indices) // most)
    looked_at = np.asarray(indices, np.int64)[::step][:most]
    parts = np.array_split(looked_at, -(-len(looked_at) // _LOOKED_AT_FOR_LOGITS))
    recognizer.eval()
    with torch.no_grad():
        found = [
            (recognizer(batch).float().cpu(), labels.cpu())
            for batch, labels in Batches(inputs, parts, device)
        ]
    return torch.cat([each for each, _ in found]), torch.cat([each for _, each in found])
