"""What the renderers of `warp` take and return."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True, slots=True)
class WarpState:
    """Face prepared for rendering, on the device of the generator.

    Attributes:
        crop: ``uint8 (3, S, S)``.
        coefficients: ``(3, S + 4, S + 4)`` B-spline coefficients of the crop.
        basis: ``(17, 2, 2, NODES, NODES)`` motion at intensity 1: AU, layer, x and y; pixels.
        edges: ``(2, S, S)`` pixels above the upper and below the lower edge of eye or mouth.
        eyeballs: ``(S, S, 2)`` where to read an uncovered eyeball, pixels to add.
        mouth: ``(2, S, S)`` weights of an open mouth, whose inside is stretched, and of a closed
            mouth that opens; fractions for slightly parted lips.
        cavity: ``(3, 1, 1)`` colour of the inside of a closed mouth.
        movable: ``bool (1, S, S)`` pixels that may change.
        softness: ``(1, 1, 1)`` width of an edge, pixels.
    """

    crop: Tensor
    coefficients: Tensor
    basis: Tensor
    edges: Tensor
    eyeballs: Tensor
    mouth: Tensor
    cavity: Tensor
    movable: Tensor
    softness: Tensor


class MovedFrames(NamedTuple):
    """N frames and the origin of their pixels.

    Attributes:
        frames: ``uint8 (N, 3, S, S)``.
        source: ``(N, S, S, 2)``, x and y of the position in the photograph that each pixel shows.
    """

    frames: Tensor
    source: Tensor
