"""Grad-CAM and HiResCAM: the regions of the input that increase the score of a class.

Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization,
ICCV 2017, section 3. Let A_k be the k-th feature map of the last convolution and y_c the score of
class c before softmax:

- equation 1: alpha_k = mean of dy_c / dA_k over all positions;
- equation 2: L = ReLU(sum_k alpha_k A_k).

Equation 1 gives all positions the same weight, which is exact for networks that average the maps
before the classifier. Most small networks for optical flow flatten the maps and have a weight for
every position. For them the mean gradient can indicate the wrong regions. HiResCAM omits the mean
(Draelos and Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
neural networks, arXiv:2011.08891, 2020): L = ReLU(sum_k dy_c / dA_k * A_k), for each position.

The last convolutions are found by following the graph of gradients back from the logits. On every
path the first feature maps are taken, after activation and normalization and before pooling. A
network with one branch per input has one such layer in each branch. Maps of equal size that depend
on the same input are added before the ReLU, like the channels of one layer (for example the streams
of STSTNet and DTSCNN).
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
"""Modules that are skipped on the way back from the logits.

They reduce the resolution of the maps or do not change them. The output of a sequence is that of
its last member.
"""

_MOTION = ("u", "v", "strain")
"""Names of the channels of a motion input."""

_AT_ONCE = 4
"""Number of samples per backward pass; UAMRN at full size needs 0.7 GB for each."""


@dataclass(frozen=True, slots=True)
class BranchMaps:
    """Heat maps of one branch of a recognizer.

    Attributes:
        input: Name of the input on which the branch depends (``apex``), of one of its channels
            (``flow u``), or of several inputs.
        layers: Names of the layers from which the maps were computed.
        maps: ``float32 (B, V, h, w)``, at least 0, at the resolution of the layers. V is the number
            of images per sample that pass through the branch one by one (CropNet's views, UAMRN's
            magnifications); in most recognizers it is 1.
    """

    input: str
    layers: tuple[str, ...]
    maps: Tensor


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One call of a module that returned feature maps.

    Attributes:
        name: Name of the module.
        passed: Whether the module is one of `_PASSED`.
        images: The feature maps, ``(N, C, H, W)`` or ``(N, C, T, H, W)``.
        node: Their node in the graph of gradients.
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
    hirescam: bool = False,
) -> list[BranchMaps]:
    """Compute Grad-CAM or HiResCAM for every branch of a recognizer.

    Args:
        recognizer: The recognizer; it is evaluated in eval mode, and its mode and gradients are
            not changed.
        inputs: Inputs of B samples, on the device of the recognizer.
        classes: Class of interest of each sample, ``int64 (B,)``; the predicted class by default.
        layers: Names of modules as in `named_modules`; the last convolutions by default.
        hirescam: Compute HiResCAM instead of Grad-CAM.

    Returns:
        The maps of at least one branch. A map of zeros means that no region in this branch
        increases the score of the class.

    Raises:
        ValueError: The recognizer has no feature maps, or no layer with a given name; the message
            lists the layers that exist.
    """
    if isinstance(recognizer, FittedRecognizer):
        raise ValueError(
            f"{recognizer.name} is fitted without gradients, so Grad-CAM is not defined; its"
            " descriptor can be shown by t-SNE"
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
                [_weighted(a, da, hirescam) for a, da in zip(images, gradients, strict=True)]
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
    """Return the indices of the target layers in the recorded calls, their names and inputs."""
    recorded, logits = _run(recognizer, first)
    targets = _named(recognizer, recorded, layers) if layers else _last(recorded, logits)
    if not targets:
        raise ValueError(_without_layers(recognizer, first))
    names = [recorded[target].name for target in targets]
    return targets, names, _seen(recognizer, first, targets, recorded)


def upsample(maps: Tensor, side: int) -> Tensor:
    """Resize maps to the size of their image by bilinear interpolation.

    Args:
        maps: ``(B, h, w)``.
        side: Side of the image, pixels.

    Returns:
        ``(B, side, side)``.
    """
    size = (side, side)
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _weighted(images: Tensor, gradients: Tensor, hirescam: bool) -> Tensor:
    """Return sum_k alpha_k A_k (equations 1 and 2), ``(N, H, W)`` or ``(N, T, H, W)``."""
    alpha = gradients
    if not hirescam:
        alpha = gradients.mean(tuple(range(2, gradients.ndim)), keepdim=True)
    return (alpha * images).sum(1).detach().float()


def _positive(sums: Tensor, count: int) -> Tensor:
    """Return the ReLU of equation 2 and the mean over time, ``(B, V, H, W)``."""
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
    """Run a forward pass; return the calls that gave feature maps, in order, and the logits."""
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
    """Return whether a tensor holds square maps of more than one position that need gradients."""
    square = tensor.ndim in (4, 5) and tensor.shape[-1] == tensor.shape[-2] > 1
    return square and tensor.grad_fn is not None


def _last(recorded: Sequence[_Recorded], logits: Tensor) -> list[int]:
    """Return the first feature maps on every path back from the logits, in forward order."""
    # Of the modules that returned the same maps, the outermost is called last and names them best.
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
                f"{recognizer.name} has no layer {name!r} with feature maps; its layers with"
                f" feature maps are: {', '.join(there) or 'none'}"
            )
    return [place for place, each in enumerate(recorded) if each.name in names]


def _without_layers(recognizer: Recognizer, inputs: Inputs) -> str:
    shapes = ", ".join(f"{name} {tuple(each.shape[1:])}" for name, each in inputs.items())
    text = (
        f"{recognizer.name} has no layer with feature maps (its inputs are {shapes}), so Grad-CAM"
        " is not defined"
    )
    if isinstance(recognizer, DereGrl):
        text += "; the weights of its actions show which motion it uses"
    return text


def _seen(
    recognizer: Recognizer, first: Inputs, targets: Sequence[int], still: Sequence[_Recorded]
) -> list[str]:
    """Return the inputs on which each target depends, found by changing one input at a time."""
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
    """Return the names of the channels that a branch can use separately; colours are one part."""
    if images.is_floating_point() and images.ndim >= 4 and images.shape[-3] <= len(_MOTION):
        return _MOTION[: images.shape[-3]]
    return ("",)


def _changes(inputs: Inputs) -> Iterator[tuple[str, str, Mapping[str, Tensor]]]:
    for name, images in inputs.items():
        labels = _labels(images)
        for channel, label in enumerate(labels):
            changed = images.clone()
            part = changed if len(labels) == 1 else changed.select(-3, channel)
            # Mirrored and inverted, so that every part of the image changes.
            part.copy_((255 - part if part.dtype == torch.uint8 else 1 - part).flip(-1))
            yield name, label, {**inputs, name: changed}
