"""Optical strain: the deformation of the face by a flow field, without rigid motion."""

import torch
from torch import Tensor


def strain_magnitude(flow: Tensor) -> Tensor:
    """Return the magnitude of the optical strain.

    The infinitesimal strain tensor is the symmetric part of the flow's gradient,

        e_xx = du/dx,  e_yy = dv/dy,  e_xy = e_yx = (du/dy + dv/dx) / 2,

    and its magnitude sqrt(e_xx^2 + e_yy^2 + e_xy^2 + e_yx^2), as in Shreve, Godavarthy, Goldgof
    and Sarkar, "Macro- and micro-expression spotting in long videos using spatio-temporal
    strain", FG 2011, section III. Translation and small rotations have none. Derivatives are
    central differences, one-sided at the border.

    Args:
        flow: ``float (B, 2, H, W)``, u to the right and v down, pixels; H and W at least 2.

    Returns:
        ``(B, H, W)``, per pixel (a stretch by a tenth in one direction is 0.1), never negative.
    """
    u, v = flow.unbind(1)
    du_dy, du_dx = torch.gradient(u, dim=(-2, -1))
    dv_dy, dv_dx = torch.gradient(v, dim=(-2, -1))
    shear = (du_dy + dv_dx) / 2
    return (du_dx.square() + dv_dy.square() + 2 * shear.square()).sqrt()
