"""Grad-CAM: which places of its input speak for a class.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization,
ICCV 2017, section 3. With A_k the k-th map of the last convolution and y_c the score of class c
before softmax:

- equation 1: alpha_k = mean over the places of dy_c / dA_k;
- equation 2: L = ReLU(sum_k alpha_k A_k).

Equation 1 takes every place for alike, as a mean over the maps before the classifier does. Most
small networks for flow flatten their maps instead, and weigh every place apart; of those the mean
gradient can tell the opposite of the truth. HiResCAM leaves the mean out (Draelos and Carin, Use
HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks,
arXiv:2011.08891, 2020): L = ReLU(sum_k dy_c / dA_k * A_k), place by place.

The last convolutions are found by walking back from the logits: the first images on every way are
what is asked for, behind activation and normalisation, before pooling. A network with a branch for
each input has one on each. Maps of one size that see the same are added before the ReLU, as the
channels of one layer would be (the streams of STSTNet and of DTSCNN).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import dropout, pooling

from miex.pipeline.recognition.recognizers.base import (
    AnyRecognizer,
    FittedRecognizer,
    Recognizer,
)
from miex.pipeline.recognition.recognizers.dere_grl import DereGrl
from miex.pipeline.recognition.representations.base import Inputs

_PASSED = (
    nn.Sequential,
    nn.Identity,
    dropout._DropoutNd,
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    pooling._AdaptiveMaxPoolNd,
    pooling._AdaptiveAvgPoolNd,
)
"""A way goes through these to the layer before them: they make maps coarser, or nothing at all. A
sequence is its last member."""

_MOTION = ("u", "v", "strain")
"""Channels of an input of motion."""

_AT_ONCE = 4
"""Samples of one backward pass: UAMRN at full size keeps .7 GB for each."""


@dataclass(frozen=True, slots=True)
class BranchMaps:
    """Where one branch of a recognizer looks.

    Attributes:
        sees: What it looks at: names of inputs (``apex``), or of a channel of one (``flow u``).
        layers: Whose maps these are.
        maps: ``float32 (B, V, h, w)``, 0 and more, at the resolution of the layers; V is the number
            of images of a sample that go through the branch one by one (CropNet's views, UAMRN's
            magnifications), 1 in most.
    """

    sees: str
    layers: tuple[str, ...]
    maps: Tensor


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One call of a module that gave images.

    Attributes:
        name: Of the module.
        passed: Whether a way goes through it.
        images: What it gave, ``(N, C, H, W)`` or ``(N, C, T, H, W)``.
        node: Of the graph of gradients.
    """

    name: str
    passed: bool
    images: Tensor
    node: Any


def grad_cam(
    recognizer: AnyRecognizer,
    inputs: Inputs,
    classes: Tensor | None = None,
    layers: Sequence[str] | None = None,
    *,
    placewise: bool = False,
) -> list[BranchMaps]:
    """Computes Grad-CAM of every branch.

    Args:
        recognizer: Looked at as in eval mode; its mode and gradients stay as they are.
        inputs: Of B samples, on the recognizer's device.
        classes: ``int64 (B,)``, for which class of each sample; the class it answers by default.
        layers: Names of modules, as `named_modules` has them, in place of the last convolutions.
        placewise: HiResCAM in place of Grad-CAM.

    Returns:
        One or more branches. A map that is 0 everywhere says that nothing in this branch speaks
        for the class.

    Raises:
        ValueError: It has no layer that gives images, or none of a given name; what there is
            instead is named.
    """
    if isinstance(recognizer, FittedRecognizer):
        raise ValueError(
            f"{recognizer.name} is fitted without gradients: there is no Grad-CAM; its descriptor"
            " can be shown by t-SNE"
        )
    count = len(next(iter(inputs.values())))
    parts: list[list[Tensor]] = []
    with _in_eval_mode(recognizer), torch.enable_grad():
        first = {name: each[:1] for name, each in inputs.items()}
        targets, names, seen = _targets(recognizer, first, layers)
        for start in range(0, count, _AT_ONCE):
            few = slice(start, start + _AT_ONCE)
            recorded, logits = _run(recognizer, {name: each[few] for name, each in inputs.items()})
            chosen = logits.argmax(1) if classes is None else classes[few].to(logits.device)
            score = logits.gather(1, chosen[:, None]).sum()
            images = [recorded[target].images for target in targets]
            gradients = torch.autograd.grad(score, images)
            parts.append(
                [_weighted(a, da, placewise) for a, da in zip(images, gradients, strict=True)]
            )
    sums = [torch.cat(each) for each in zip(*parts, strict=True)]
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for place, (what, each) in enumerate(zip(seen, sums, strict=True)):
        groups.setdefault((what, tuple(each.shape)), []).append(place)
    return [
        BranchMaps(
            what,
            tuple(names[place] for place in places),
            _positive(torch.stack([sums[place] for place in places]).sum(0), count),
        )
        for (what, _), places in groups.items()
    ]


def _targets(
    recognizer: Recognizer, first: Inputs, layers: Sequence[str] | None
) -> tuple[list[int], list[str], list[str]]:
    """Places of the target layers among the recorded calls, their names, and what each sees."""
    recorded, logits = _run(recognizer, first)
    targets = _named(recognizer, recorded, layers) if layers else _last(recorded, logits)
    if not targets:
        raise ValueError(_without_layers(recognizer, first))
    names = [recorded[target].name for target in targets]
    return targets, names, _seen(recognizer, first, targets, recorded)


def upsample(maps: Tensor, side: int) -> Tensor:
    """Maps at the size of the image they belong to, bilinear.

    Args:
        maps: ``(B, h, w)``.
        side: Of the image, pixels.

    Returns:
        ``(B, side, side)``.
    """
    size = (side, side)
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _weighted(images: Tensor, gradients: Tensor, placewise: bool) -> Tensor:
    """sum_k alpha_k A_k (eqs. 1 and 2), ``(N, H, W)`` or ``(N, T, H, W)``."""
    alpha = gradients
    if not placewise:
        alpha = gradients.mean(tuple(range(2, gradients.ndim)), keepdim=True)
    return (alpha * images).sum(1).detach().float()


def _positive(sums: Tensor, count: int) -> Tensor:
    """ReLU of eq. 2, and the mean over time, ``(B, V, H, W)``."""
    heat = sums.relu()
    if heat.ndim == 4:
        heat = heat.mean(1)
    return heat.reshape(count, -1, *heat.shape[1:])


@contextmanager
def _in_eval_mode(recognizer: Recognizer) -> Iterator[None]:
    was_training = recognizer.training
    recognizer.eval()
    try:
        yield
    finally:
        recognizer.train(was_training)


def _run(recognizer: Recognizer, inputs: Inputs) -> tuple[list[_Recorded], Tensor]:
    """A forward pass: every call of a module that gave images, in order, and the logits."""
    recorded: list[_Recorded] = []

    def record(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _given: Any, found: Any) -> None:
            if isinstance(found, Tensor) and _are_images(found):
                passed = isinstance(module, _PASSED)
                recorded.append(_Recorded(name, passed, found, found.grad_fn))

        return module.register_forward_hook(hook)

    hooks = [record(name, module) for name, module in recognizer.named_modules() if name]
    try:
        logits = recognizer(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return recorded, logits


def _are_images(tensor: Tensor) -> bool:
    """Square maps of more than one place that a gradient reaches."""
    square = tensor.ndim in (4, 5) and tensor.shape[-1] == tensor.shape[-2] > 1
    return square and tensor.grad_fn is not None


def _last(recorded: Sequence[_Recorded], logits: Tensor) -> list[int]:
    """The first images on every way back from the logits, in the order of the forward pass."""
    # The outermost of the modules that gave the same images comes last and has the best name.
    owner = {each.node: place for place, each in enumerate(recorded) if not each.passed}
    found: set[int] = set()
    visited, waiting = set(), [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        if node in owner:
            found.add(owner[node])
        else:
            waiting += [following for following, _ in node.next_functions]
    return sorted(found)


def _named(
    recognizer: Recognizer, recorded: Sequence[_Recorded], names: Sequence[str]
) -> list[int]:
    there = list(dict.fromkeys(each.name for each in recorded))
    for name in names:
        if name not in there:
            raise ValueError(
                f"{recognizer.name} has no layer {name!r} that gives images; there are:"
                f" {', '.join(there) or 'none'}"
            )
    return [place for place, each in enumerate(recorded) if each.name in names]


def _without_layers(recognizer: Recognizer, inputs: Inputs) -> str:
    shapes = ", ".join(f"{name} {tuple(each.shape[1:])}" for name, each in inputs.items())
    text = f"{recognizer.name} has no layer that gives images (it looks at {shapes}): no Grad-CAM"
    if isinstance(recognizer, DereGrl):
        text += "; the weights of its actions say what it looks at"
    return text


def _seen(
    recognizer: Recognizer, first: Inputs, targets: Sequence[int], still: Sequence[_Recorded]
) -> list[str]:
    """What each target depends on: found by changing one input of a sample after the other."""
    parts: list[dict[str, list[str]]] = [{} for _ in targets]
    for name, label, changed in _changes(first):
        moved, _ = _run(recognizer, changed)
        for part, target in zip(parts, targets, strict=True):
            if not torch.equal(still[target].images, moved[target].images):
                part.setdefault(name, []).append(label)
    channels = {name: len(_labels(each)) for name, each in first.items()}
    return [
        " and ".join(
            name if len(labels) == channels[name] else f"{name} {'+'.join(labels)}"
            for name, labels in part.items()
        )
        or still[target].name
        for part, target in zip(parts, targets, strict=True)
    ]


def _labels(images: Tensor) -> tuple[str, ...]:
    """Parts of an input that a branch may see alone: the channels of motion, colours together."""
    if images.is_floating_point() and images.ndim >= 4 and images.shape[-3] <= len(_MOTION):
        return _MOTION[: images.shape[-3]]
    return ("",)


def _changes(inputs: Inputs) -> Iterator[tuple[str, str, Mapping[str, Tensor]]]:
    for name, images in inputs.items():
        labels = _labels(images)
        for channel, label in enumerate(labels):
            changed = images.clone()
            part = changed if len(labels) == 1 else changed.select(-3, channel)
            # Turned around and inverted: no picture stays as it was, in no place.
            part.copy_((255 - part if part.dtype == torch.uint8 else 1 - part).flip(-1))
            yield name, label, {**inputs, name: changed}
