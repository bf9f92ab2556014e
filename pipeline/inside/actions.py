"""Picture of the actions of DeRe-GRL: their landmarks and their weight in each class."""

from collections.abc import Sequence

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray
from torch import Tensor

from miex.au_sources import face_motion
from miex.datasets.quantity import quantity
from miex.pipeline.inside.canvas import LINE, Picture, svg_picture
from miex.pipeline.recognition.recognizers.dere_grl import Decomposition, DereGrl
from miex.pipeline.recognition.representations.landmark_graph import COMPONENTS, NODES
from miex.pipeline.reports.sheet import CLASS_COLOURS

_FACE, _GAP, _BARS, _TOP = 190, 18, 16, 40
_OUTLINES = (
    (range(17), False),
    (range(17, 22), False),
    (range(22, 27), False),
    (range(27, 31), False),
    (range(31, 36), False),
    (range(36, 42), True),
    (range(42, 48), True),
    (range(48, 60), True),
    (range(60, 68), True),
)
"""Outlines of the 68 landmarks, and whether each of them is a closed line."""


def weights_by_class(weights: Tensor, labels: Tensor, classes: int) -> NDArray[np.float64]:
    """Return the mean weight of each action in each class.

    Args:
        weights: Weights of A actions in N samples, ``(N, A)``, from `DereGrl.action_weights`.
        labels: Labels of the samples, ``int64 (N,)``.
        classes: Number of classes C.

    Returns:
        ``float64 (C, A)``; NaN for a class without samples.
    """
    rows = weights.double().numpy()
    member = labels.numpy()
    found = np.full((classes, rows.shape[1]), np.nan)
    for label in range(classes):
        if (member == label).any():
            found[label] = rows[member == label].mean(0)
    return found


def actions_picture(
    recognizer: DereGrl, found: Decomposition, labels: Tensor, classes: Sequence[str]
) -> Picture:
    """Draw every action on a face, and its weight in each class.

    Args:
        recognizer: The recognizer.
        found: Its decomposition of N samples (`DereGrl.decomposition`), on the CPU.
        labels: Labels of the samples, ``int64 (N,)``.
        classes: Names of the classes.

    Raises:
        ValueError: The recognizer was built without decomposition and has no actions.
    """
    if not found.maps:
        raise ValueError(
            "dere_grl was built with decomposition: false and has no actions to draw; train it "
            "with decomposition: true"
        )
    shares = [each.mean(0).numpy() for each in found.maps]
    weights = None
    if found.weights is not None:
        weights = weights_by_class(found.weights, labels, len(classes))
    actions = recognizer.config.actions
    bars = 0 if weights is None else len(classes) * _BARS + 14
    parts: list[str] = _legend(classes) if weights is not None else []
    for line, (component, part) in enumerate(COMPONENTS.items()):
        for number in range(actions):
            left = _GAP + number * (_FACE + _GAP)
            top = _TOP + line * (_FACE + 34 + bars)
            share = shares[line][:, number]
            parts += _face(f"{component} {number + 1}", NODES[part], share, left, top)
            if weights is not None:
                row = weights[:, line * actions + number]
                most = float(np.nanmax(weights))
                parts += _weights(row, most, left, top + _FACE + 30, classes)
    size = (_GAP + actions * (_FACE + _GAP), _TOP + len(COMPONENTS) * (_FACE + 34 + bars) + 8)
    caption = (
        f"The {len(COMPONENTS) * actions} actions of DeRe-GRL, averaged over"
        f" {quantity(len(labels), 'sample')}. The area of a dot is the share of its"
        " landmark in the action. The ring shows the area for"
        " equal shares of all landmarks of the component."
    )
    if weights is not None:
        caption += " A bar is the mean weight of the action in the samples of a class."
    else:
        caption += " The recognizer was built without reconstruction, so actions have no weights."
    return svg_picture("actions.svg", caption, size, parts)


def _legend(classes: Sequence[str]) -> list[str]:
    parts, x = [], float(_GAP)
    for label, name in enumerate(classes):
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        parts.append(f'<rect x="{x}" y="12" width="13" height="13" fill="{colour}"/>')
        parts.append(f'<text x="{x + 19}" y="23">{escape(name)}</text>')
        x += 36 + 7.4 * len(name)
    return parts


def _face(
    title: str, landmarks: Sequence[int], share: NDArray[np.float32], left: float, top: float
) -> list[str]:
    neutral = np.asarray(face_motion.motion_table().neutral, np.float64)[:, :2]
    low, high = neutral.min(0), neutral.max(0)
    scale = (_FACE - 30) / float((high - low).max())
    points = (neutral - (low + high) / 2) * scale + (left + _FACE / 2, top + 24 + _FACE / 2)
    parts = [
        f'<rect x="{left}" y="{top + 20}" width="{_FACE}" height="{_FACE}" fill="#ffffff" '
        f'stroke="{LINE}"/>',
        f'<text class="strong" x="{left}" y="{top + 14}">{escape(title)}</text>',
        f'<text class="small" x="{left + _FACE}" y="{top + 14}" text-anchor="end">shares'
        f" {share.min():.1%} to {share.max():.1%}</text>",
    ]
    for outline, closed in _OUTLINES:
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points[list(outline)])
        close = "Z" if closed else ""
        parts.append(f'<path d="M{line}{close}" fill="none" stroke="#b9b3a8"/>')
    even = 1 / len(landmarks)
    for landmark, part in zip(landmarks, share.tolist(), strict=True):
        x, y = points[landmark]
        radius = 4.2 * float(np.sqrt(part / even))
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#0060a0" fill-opacity=".65">'
            f"<title>landmark {landmark}: {part:.1%}</title></circle>"
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2" fill="none" stroke="#b8430a" '
            f'stroke-width=".8"/>'
        )
    return parts


def _weights(
    weights: NDArray[np.float64], most: float, left: float, top: float, classes: Sequence[str]
) -> list[str]:
    parts = []
    for label, name in enumerate(classes):
        y, value = top + label * _BARS, float(weights[label])
        if np.isnan(value):
            parts.append(f'<text class="small" x="{left}" y="{y + 10}">no sample</text>')
            continue
        width = (_FACE - 44) * value / max(most, 1e-9)
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        parts.append(
            f'<rect x="{left}" y="{y}" width="{width:.1f}" height="12" fill="{colour}">'
            f"<title>{escape(name)}</title></rect>"
            f'<text class="small" x="{left + width + 5:.1f}" y="{y + 10}">{value:.3f}</text>'
        )
    return parts
