"""The losses of GANimation's training, each a function of tensors alone.

Images are ``(N, 3, S, S)`` from -1 to 1, attention maps ``(N, 1, S, S)`` from 0 to 1 (1: the
photograph shows through), AUs ``(N, 17)`` as intensity / 5. Every loss is a scalar in float32.

Sources: P is Pumarola et al., "GANimation", ECCV 2018, whose losses have names, and its public
code, albertpumarola's, whose weights stand in `miex.generators.ganimation.recipe`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

BLUR = 9
"""Side of the box that parts the shading of a face from its edges, pixels, for `teaching`. A nose
is about 20 wide at 128 pixels, the line of a lip 2."""

BROAD_BLUR, BROAD = 15, 4.0
"""Side of the box that leaves broad shades, pixels, and what they count, for `painting`."""

SHADING = 0.25
"""What a difference of shading counts beside one of edges in `teaching`: skin that bulges also
brightens, which no warp shows and the adversary shall add."""


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """``E[D(fake)] - E[D(real)]`` (Arjovsky et al., ICML 2017; P, image adversarial loss)."""
    return fake.float().mean() - real.float().mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """``E[max(0, 1 - D(real))] + E[max(0, 1 + D(fake))]`` (Lim and Ye 2017, Geometric GAN)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def deceive(fake: Tensor) -> Tensor:
    """``-E[D(fake)]``, the generator's side of both critics."""
    return -fake.float().mean()


def gradient_penalty(
    score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor
) -> Tensor:
    """``E[(|grad D(x)| - 1)^2]`` on lines between real and fake (Gulrajani et al. 2017; P).

    Args:
        score: Images to scores of patches, which are summed.
        real: Images.
        fake: As many.
        share: ``(N, 1, 1, 1)``, 0 to 1, uniform: how much of the real one.
    """
    between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(score(between).float().sum(), between, create_graph=True)
    lengths: Tensor = gradient.flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()


def r1_penalty(score: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """``E[|grad D(x)|^2] / 2`` on real images (Mescheder et al., ICML 2018, R1).

    Args:
        score: Images to scores of patches; an image's score is the mean of its patches.
        real: Images.
    """
    seen = real.detach().requires_grad_()
    scores = score(seen).float().reshape(len(seen), -1).mean(1)
    (gradient,) = torch.autograd.grad(scores.sum(), seen, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean() / 2


def au_error(found: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Mean squared difference of AUs over those that count; 0 if none does.

    P's conditional expression loss.

    Args:
        found: ``(N, 17)``.
        wanted: ``(N, 17)``; any value, NaN too, where it does not count.
        counted: bool ``(N, 17)``.
    """
    difference = torch.where(counted, found.float() - wanted, 0.0)
    return difference.square().sum() / counted.sum().clamp(min=1)


def absolute_error(image: Tensor, wanted: Tensor) -> Tensor:
    """``E[|a - b|]``: what cycles and unchanged faces are held to (P, identity loss)."""
    return (image.float() - wanted).abs().mean()


def attention_mean(attention: Tensor) -> Tensor:
    """Mean of the attention map, against saturation at 1 where nothing moves (P, attention loss).

    The paper prints a norm of the map; both public codes have the mean. The weight of .1 is
    albertpumarola's; donydchen's code leaves it out by default.
    """
    return attention.float().mean()


def total_variation(attention: Tensor) -> Tensor:
    """Sum of absolute differences of neighbours, mean over images (P, attention loss).

    The paper and donydchen's code square them, albertpumarola's code does not.
    """
    a = attention.float()
    across = (a[..., 1:] - a[..., :-1]).abs().sum()
    down = (a[..., 1:, :] - a[..., :-1, :]).abs().sum()
    return (across + down) / len(a)


def attention_leak(attention: Tensor, face: Tensor) -> Tensor:
    """How much of the image outside the face is replaced: mean of ``1 - attention`` there.

    Own: nothing outside a face moves with its expression, so every change there is a fault.

    Args:
        attention: Attention maps.
        face: ``(N, 1, S, S)``, 1 in the face, 0 outside.
    """
    outside = 1 - face.float()
    return ((1 - attention.float()) * outside).sum() / outside.sum().clamp(min=1)


def attention_saturation(attention: Tensor, face: Tensor, ceiling: float) -> Tensor:
    """How far each map's mean over the face lies above a ceiling, mean over images.

    Own: unlike `attention_mean` it does not reward replacing more than an expression needs.

    Args:
        attention: Attention maps.
        face: ``(N, 1, S, S)``, 1 in the face, 0 outside.
        ceiling: 0 to 1; a mean below it costs nothing.
    """
    inside = face.float()
    share = (attention.float() * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
    return F.relu(share - ceiling).mean()


def teaching(image: Tensor, taught: Tensor) -> Tensor:
    """Absolute difference to what a warp made of the same face, edges before shading.

    Own. A face's geometry is where its edges lie: what a box blur of `BLUR` pixels takes away.
    What the blur leaves, shading, counts `SHADING` as much: there the adversary may differ.

    Args:
        image: The generator's images.
        taught: `miex.generators.warp`'s, of the same faces and AUs.
    """
    difference = image.float() - taught
    padded = F.pad(difference, [BLUR // 2] * 4, mode="reflect")
    shading = F.avg_pool2d(padded, BLUR, stride=1)
    return (difference - shading).abs().mean() + SHADING * shading.abs().mean()


def painting(image: Tensor, warped: Tensor) -> Tensor:
    """Absolute difference to the warp that the guided network was given, broad shades above all.

    Own. Furrows, folds and teeth are narrow. A reader of AUs can also be pleased by a dark forehead
    or a green nose, so what a box blur of `BROAD_BLUR` pixels leaves counts `BROAD` times as much
    again.

    Args:
        image: The generator's images.
        warped: What it was given.
    """
    difference = image.float() - warped
    broad = F.avg_pool2d(difference, BROAD_BLUR, stride=2)
    return difference.abs().mean() + BROAD * broad.abs().mean()


def answering(image: Tensor, answer: Tensor, face: Tensor) -> Tensor:
    """Absolute difference to a real expressive face, edges before shading, in the face.

    Own. As in `teaching`, what a box blur of `BLUR` pixels leaves counts `SHADING` as much:
    between two frames of a video the light on a face changes, too.

    Args:
        image: The generator's images.
        answer: Real frames in the same geometry.
        face: ``(N, 1, S, S)``, 1 in the face, 0 outside.
    """
    difference = (image.float() - answer) * face
    padded = F.pad(difference, [BLUR // 2] * 4, mode="reflect")
    shading = F.avg_pool2d(padded, BLUR, stride=1)
    area = 3 * face.sum().clamp(min=1)
    return ((difference - shading).abs().sum() + SHADING * shading.abs().sum()) / area
