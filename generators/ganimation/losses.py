"""Losses of GANimation's training, as functions of tensors.

Images are ``(N, 3, S, S)`` from -1 to 1, attention maps ``(N, 1, S, S)`` from 0 to 1 (1: the
photograph shows through), AUs ``(N, 17)`` as intensity / 5. Every loss is a scalar in float32.

Sources: P is Pumarola et al., "GANimation", ECCV 2018, whose losses have names, and its public
code, albertpumarola's, whose weights are in `miex.generators.ganimation.recipe`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_BLUR = 9
"""Side of the box filter that separates shading from edges, in pixels, for `teaching`. At 128
pixels the width of a nose is about 20, of the line of a lip 2."""

BROAD_BLUR, BROAD = 15, 4.0
"""Side of the box filter for broad shades, in pixels, and their weight, for `painting`."""

SHADING = 0.25
"""Weight of shading relative to edges in `teaching`: bulging skin also becomes brighter, which a
warp cannot render and the adversary shall add."""


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Return ``E[D(fake)] - E[D(real)]`` (Arjovsky et al., ICML 2017; P, adversarial loss)."""
    return fake.float().mean() - real.float().mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Return ``E[max(0, 1 - D(real))] + E[max(0, 1 + D(fake))]`` (Lim and Ye 2017)."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def deceive(fake: Tensor) -> Tensor:
    """Return ``-E[D(fake)]``, the generator's loss for both critics."""
    return -fake.float().mean()


def gradient_penalty(
    score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor
) -> Tensor:
    """Return ``E[(|grad D(x)| - 1)^2]`` between real and fake (Gulrajani et al. 2017; P).

    Args:
        score: Maps images to scores of patches, which are summed.
        real: Real images.
        fake: As many rendered images.
        share: ``(N, 1, 1, 1)``, 0 to 1, uniform: share of the real image.
    """
    between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(score(between).float().sum(), between, create_graph=True)
    lengths: Tensor = gradient.flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()


def r1_penalty(score: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Return ``E[|grad D(x)|^2] / 2`` on real images (Mescheder et al., ICML 2018, R1).

    Args:
        score: Maps images to scores of patches; the score of an image is their mean.
        real: Real images.
    """
    seen = real.detach().requires_grad_()
    scores = score(seen).float().reshape(len(seen), -1).mean(1)
    (gradient,) = torch.autograd.grad(scores.sum(), seen, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean() / 2


def au_error(found: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Return the mean squared error over the counted AUs; 0 if there are none.

    The conditional expression loss of P.

    Args:
        found: ``(N, 17)``, estimated AUs.
        wanted: ``(N, 17)``, target AUs; any value, also NaN, where not counted.
        counted: bool ``(N, 17)``, AUs that are used.
    """
    difference = torch.where(counted, found.float() - wanted, 0.0)
    return difference.square().sum() / counted.sum().clamp(min=1)


def absolute_error(image: Tensor, wanted: Tensor) -> Tensor:
    """Return ``E[|a - b|]``, the loss of cycles and unchanged faces (P, identity loss)."""
    return (image.float() - wanted).abs().mean()


def attention_mean(attention: Tensor) -> Tensor:
    """Return the mean of the attention map, against saturation at 1 (P, attention loss).

    The paper prints a norm of the map; both public codes use the mean. The weight of .1 is
    albertpumarola's; donydchen's code omits it by default.
    """
    return attention.float().mean()


def total_variation(attention: Tensor) -> Tensor:
    """Return the sum of absolute differences of neighbours, mean over images (P, attention loss).

    The paper and donydchen's code square them, albertpumarola's code does not.
    """
    a = attention.float()
    across = (a[..., 1:] - a[..., :-1]).abs().sum()
    down = (a[..., 1:, :] - a[..., :-1, :]).abs().sum()
    return (across + down) / len(a)


def attention_leak(attention: Tensor, face: Tensor) -> Tensor:
    """Return the mean of ``1 - attention`` outside the face.

    Loss of this project: nothing outside a face moves with its expression, so that every change
    there is an error.

    Args:
        attention: Attention maps.
        face: ``(N, 1, S, S)``, 1 in the face, 0 outside.
    """
    outside = 1 - face.float()
    return ((1 - attention.float()) * outside).sum() / outside.sum().clamp(min=1)


def attention_saturation(attention: Tensor, face: Tensor, ceiling: float) -> Tensor:
    """Return the excess of each map's mean over the face above a ceiling, mean over images.

    Loss of this project: unlike `attention_mean` it does not reward larger changes than an
    expression needs.

    Args:
        attention: Attention maps.
        face: ``(N, 1, S, S)``, 1 in the face, 0 outside.
        ceiling: 0 to 1; means below it give no loss.
    """
    inside = face.float()
    share = (attention.float() * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
    return F.relu(share - ceiling).mean()


def teaching(image: Tensor, taught: Tensor) -> Tensor:
    """Return the absolute difference to a warp of the same face; shading has a lower weight.

    Loss of this project. Edges (the image without a box blur of `_BLUR` pixels) show the geometry
    of a face; shading (the blurred image) has the weight `SHADING`, so that the adversary may
    change it.

    Args:
        image: Images of the generator.
        taught: Images of `miex.generators.warp`, of the same faces and AUs.
    """
    difference = image.float() - taught
    padded = F.pad(difference, [_BLUR // 2] * 4, mode="reflect")
    shading = F.avg_pool2d(padded, _BLUR, stride=1)
    return (difference - shading).abs().mean() + SHADING * shading.abs().mean()


def painting(image: Tensor, warped: Tensor) -> Tensor:
    """Return the absolute difference to the input warp; broad shades have a higher weight.

    Loss of this project. Furrows, folds and teeth are narrow. A dark forehead or a green nose can
    also satisfy an AU reader, so that the difference after a box blur of `BROAD_BLUR` pixels is
    added with the weight `BROAD`.

    Args:
        image: Images of the generator.
        warped: Its input.
    """
    difference = image.float() - warped
    broad = F.avg_pool2d(difference, BROAD_BLUR, stride=2)
    return difference.abs().mean() + BROAD * broad.abs().mean()


def answering(image: Tensor, answer: Tensor, face: Tensor) -> Tensor:
    """Return the absolute difference to a real expressive face; shading has a lower weight.

    Loss of this project. As in `teaching`, shading has the weight `SHADING`, since the light on a
    face changes between two frames of a video.

    Args:
        image: Images of the generator.
        answer: Real frames in the same geometry.
        face: ``(N, 1, S, S)``, 1 in the face, 0 outside.
    """
    difference = (image.float() - answer) * face
    padded = F.pad(difference, [_BLUR // 2] * 4, mode="reflect")
    shading = F.avg_pool2d(padded, _BLUR, stride=1)
    area = 3 * face.sum().clamp(min=1)
    return ((difference - shading).abs().sum() + SHADING * shading.abs().sum()) / area
