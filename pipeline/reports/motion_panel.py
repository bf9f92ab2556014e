"""Draw where a face moves: a heat map with arrows on the grey onset."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Flow: TypeAlias = NDArray[np.float32]
"""``(S, S, 2)``, x and y in pixels of the frame."""

_DIMMED = 0.55
_OPAQUE = 0.85
_ARROWS = 13
"""Arrows in a row of the panel."""

ARROW_LENGTH = 0.11
"""Of the longest arrow, as a share of the panel's side."""

_ARROW_FROM = 0.22
"""Share of the scale under which no arrow is drawn."""

_SUPERSAMPLED = 4
"""Pillow draws without antialiasing; drawn larger and scaled down, lines are smooth."""


def measure_flow(onset: NDArray[np.uint8], apex: NDArray[np.uint8]) -> Flow:
    """Return the dense optical flow from onset to apex (Farneback, SCIA 2003; OpenCV).

    Of the three flows that docs/image_formats.md compares it comes closest to known motion.

    Args:
        onset: ``uint8 (S, S, 3)`` RGB.
        apex: The same shape.

    Returns:
        ``(S, S, 2)``, pixels.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex)]
    flow = np.zeros((*grey[0].shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(
        grey[0],
        grey[1],
        flow,
        pyr_scale=0.5,
        levels=5,
        winsize=13,
        iterations=10,
        poly_n=5,
        poly_sigma=1.1,
        flags=0,
    )
    return np.asarray(flow, dtype=np.float32)


def flow_length(flow: Flow) -> NDArray[np.float32]:
    """Return the length of every vector, ``(S, S)`` pixels."""
    return np.asarray(np.hypot(flow[..., 0], flow[..., 1]), dtype=np.float32)


def heat_colours(length: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return colours ``(H, W, 3)``, RGB, of lengths ``(H, W)`` from 0 to 1."""
    levels = np.rint(np.clip(length, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1], dtype=np.uint8)


def motion_panel(onset: NDArray[np.uint8], flow: Flow, scale: float, side: int) -> Image.Image:
    """Draw the motion of one sample.

    Args:
        onset: ``uint8 (S, S, 3)`` RGB.
        flow: ``(S, S, 2)`` from onset to apex, pixels of the frame.
        scale: Length in pixels that gets the brightest colour and the longest arrow.
        side: Side of the panel, pixels.

    Returns:
        An RGB image of ``side`` by ``side`` pixels.
    """
    larger = np.asarray(cv2.resize(flow, (side, side)), dtype=np.float32)
    share = flow_length(larger) / scale
    grey = cv2.cvtColor(cv2.resize(onset, (side, side)), cv2.COLOR_RGB2GRAY)
    base = np.repeat(grey[..., None] * _DIMMED, 3, axis=2)
    opacity = np.clip(share, 0, 1)[..., None] ** 0.6 * _OPAQUE
    blended = base * (1 - opacity) + heat_colours(share) * opacity
    panel = Image.fromarray(np.rint(blended).astype(np.uint8))
    arrows = _arrows(larger, share, side, side * ARROW_LENGTH / scale)
    panel.paste("#ffffff", mask=arrows)
    return panel


def _arrows(flow: Flow, share: NDArray[np.float32], side: int, factor: float) -> Image.Image:
    mask = Image.new("L", (side * _SUPERSAMPLED,) * 2)
    draw = ImageDraw.Draw(mask)
    step = side / _ARROWS
    for row in range(_ARROWS):
        for column in range(_ARROWS):
            at = np.array([(column + 0.5) * step, (row + 0.5) * step])
            x, y = at.astype(int)
            if share[y, x] >= _ARROW_FROM:
                # Never longer than the scale's arrow: one outlier must not cross the face.
                vector = flow[y, x] * factor / max(1.0, float(share[y, x]))
                _draw_arrow(draw, at * _SUPERSAMPLED, vector * _SUPERSAMPLED)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


def _draw_arrow(
    draw: ImageDraw.ImageDraw, start: NDArray[np.float64], vector: NDArray[np.float32]
) -> None:
    """Draw an arrow that begins at `start`; its head takes a third of the length."""
    end = start + vector
    width = round(1.6 * _SUPERSAMPLED)
    draw.line([*start, *(end - vector * 0.2)], fill=255, width=width)
    back = end - vector * 0.42
    across = np.array([-vector[1], vector[0]]) * 0.24
    draw.polygon([tuple(end), tuple(back + across), tuple(back - across)], fill=255)
