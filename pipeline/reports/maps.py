"""Draw AUs that occur together as a heat map, and the AU space as a plane."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_NAMES
from miex.pipeline.reports.charts import WIDE, Frame, percent
from miex.pipeline.reports.statistics import GroupStatistics


def co_occurrence(group: GroupStatistics, name: str, frame: Frame = WIDE) -> Markup:
    """Draw a heat map of the AUs that are active together, as shares of the samples.

    A scale below gives the share that each colour stands for.

    Args:
        group: Whose AUs.
        name: What to call the group.
        frame: Measures of the drawing.
    """
    side, left, top = frame.cell, 52, 22
    dense = "" if frame.words else ' class="dense"'
    total = max(group.samples, 1)
    most = max(float(group.together.max()) / total, 1e-9)
    parts = []
    for a, first in enumerate(AU_NAMES):
        y, x = top + a * side, left + a * side
        parts.append(f'<text class="strong" x="0" y="{y + side * 0.68:.0f}">{first}</text>')
        parts.append(
            f'<text{dense} x="{x + side / 2}" y="14" text-anchor="middle">{first[2:]}</text>'
        )
        for b, second in enumerate(AU_NAMES):
            share = float(group.together[a, b]) / total
            if not share:
                continue
            words = first if a == b else f"{first} and {second}"
            parts.append(
                f'<rect x="{left + b * side}" y="{y}" width="{side - 1}" height="{side - 1}" '
                f'fill-opacity="{(share / most) ** 0.6:.2f}"><title>{words}: {percent(share)}'
                f"</title></rect>"
            )
    end = left + side * len(AU_NAMES)
    bottom = top + end - left
    border = (
        f'<rect class="frame" x="{left - 1}" y="{top - 1}" width="{end - left + 1}" '
        f'height="{end - left + 1}"/>'
    )
    parts.append(_colour_scale(left, bottom + 14, end - left, most))
    return Markup(
        f'<svg class="heatmap" viewBox="0 0 {end + 2} {bottom + 50}" role="img" '
        f'aria-label="Share of {escape(name)} in which two Action Units are active '
        f'together, up to {percent(most)}">{border}{"".join(parts)}</svg>'
    )


def _colour_scale(x: float, y: float, width: float, most: float) -> str:
    """Draw the shares that the colours of a heat map stand for, from 0 to the largest."""
    steps = 24
    cells = "".join(
        f'<rect x="{x + width * step / steps:.1f}" y="{y}" width="{width / steps + 0.3:.1f}" '
        f'height="12" fill-opacity="{((step + 0.5) / steps) ** 0.6:.2f}"/>'
        for step in range(steps)
    )
    marks = "".join(
        f'<text x="{x + width * part:.1f}" y="{y + 28}" text-anchor="{anchor}">'
        f"{percent(most * part)}</text>"
        for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    )
    return f'<g class="scale">{cells}{marks}</g>'


def scatter(
    points: NDArray[np.float64],
    kinds: Sequence[int],
    titles: Sequence[str],
    axes: tuple[str, str],
    label: str,
) -> Markup:
    """Draw points in a plane, coloured by kind.

    Args:
        points: ``(M, 2)``.
        kinds: ``(M,)`` kind of each, 0, 1, ...
        titles: What to say about each.
        axes: Words for right and up.
        label: What is shown.
    """
    if not len(points):
        return Markup("")
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 1e-9)
    x = 20 + 720 * (points[:, 0] - low[0]) / span[0]
    y = 410 - 380 * (points[:, 1] - low[1]) / span[1]
    dots = "".join(
        f'<circle class="c{kind}" cx="{a:.0f}" cy="{b:.0f}" r="4"><title>{escape(title)}</title>'
        "</circle>"
        for a, b, kind, title in zip(x, y, kinds, titles, strict=True)
    )
    return Markup(
        f'<p class="axes">\u2191 {escape(axes[1])}</p>'
        f'<svg class="scatter" viewBox="0 0 {WIDE.width} 430" role="img" '
        f'aria-label="{escape(label)}">'
        f'<path class="axis" fill="none" d="M10 10V420H750"/>{dots}</svg>'
        f'<p class="axes right">{escape(axes[0])} \u2192</p>'
    )


def direction_words(axis: NDArray[np.float64]) -> str:
    """Return the AUs of a direction, strongest first: `AU12 +0.8, AU25 +0.5`."""
    strongest = [int(au) for au in np.argsort(-np.abs(axis))[:3] if abs(axis[au]) > 0.2]
    return ", ".join(f"{AU_NAMES[au]} {axis[au]:+.1f}" for au in strongest) or "none"
