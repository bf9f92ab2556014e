"""Draw the plots of a report as SVG that takes its colours from the page.

SVG drawings of a few kilobytes follow light and dark mode, print sharply, need no script and fit a
phone; plotly's library alone would add 4.8 MB to every report.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from miex.au_sources.action_units import AU_NAMES, AU_WORDS, MAX_INTENSITY
from miex.pipeline.reports.references import Published, RealDatabase
from miex.pipeline.reports.statistics import Bar, GroupStatistics, Summary

_ROW = 26
MARKS = 5
"""How many real databases can be told apart by shape and colour."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Measures of a drawing, in pixels of the screen that it is made for.

    Attributes:
        width: Width of the drawing.
        left: Where the bars begin; words stand before.
        right: Where the longest bar ends.
        words: Whether an AU is named in words beside its number.
        cell: Side of a cell of a heat map.
        height: Height of the bars of a histogram.
        ticks: Largest number of ticks.
    """

    width: int
    left: int
    right: int
    words: bool
    cell: int
    height: int
    ticks: int


WIDE = Frame(width=760, left=210, right=740, words=True, cell=34, height=180, ticks=9)
NARROW = Frame(width=350, left=58, right=326, words=False, cell=17, height=120, ticks=4)


def both(draw: Callable[[Frame], Markup]) -> Markup:
    """Return a chart drawn for a wide page and again for a phone; the style sheet shows one."""
    wide, narrow = draw(WIDE), draw(NARROW)
    if not wide:
        return wide
    return Markup(f'<div class="on-wide">{wide}</div><div class="on-narrow">{narrow}</div>')


def number(value: float) -> str:
    """Return a number with three significant digits; a dash for NaN."""
    return "\u2013" if np.isnan(value) else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Return a share of 1 as percent; a dash for what was not measured."""
    if share is None or np.isnan(share):
        return "\u2013"
    return "0" if share == 0 else f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def mark(shape: int, x: float, y: float) -> Markup:
    """Return the sign of the n-th real database."""
    match shape % MARKS:
        case 0:
            return Markup(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        case 1:
            return Markup(f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>')
        case 2:
            return Markup(f'<path d="M{x:.1f} {y - 5.5:.1f}l5.5 10h-11z"/>')
        case 3:
            return Markup(f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>')
        case _:
            return Markup(f'<path d="M{x:.1f} {y + 5.5:.1f}l5.5 -10h-11z"/>')


def au_bars(
    group: GroupStatistics,
    real: Sequence[RealDatabase],
    top: float,
    name: str,
    frame: Frame = WIDE,
) -> Markup:
    """Draw how often each AU is active, beside real databases.

    Args:
        group: Whose bars.
        real: Whose marks.
        top: The share at the right end, the same in all groups.
        name: What to call the group.
        frame: Measures of the drawing.
    """
    scale = (frame.right - frame.left) / top
    parts = [_axis(_shares(top, frame), scale, "{:.0%}", frame)]
    for au, (au_name, words) in enumerate(zip(AU_NAMES, AU_WORDS, strict=True)):
        y = _ROW * au + _ROW / 2
        share = float(group.share[au])
        parts.append(_label(au_name, words, y, frame))
        if np.isnan(share):
            parts.append(f'<text x="{frame.left + 4}" y="{y + 5}">not measured</text>')
        else:
            parts.append(
                f'<rect class="ours" x="{frame.left}" y="{y - 8}" width="{share * scale:.1f}" '
                f'height="16"><title>{au_name}, {escape(name)}: {percent(share)} '
                f"({int(group.active[au]):,} of {int(group.measured[au]):,})</title></rect>"
            )
        for shape, database in enumerate(real):
            known = database.shares[au]
            if known is not None:
                parts.append(
                    f'<g class="mark{shape % MARKS}"><title>{au_name}, {escape(database.name)}: '
                    f"{percent(known)}</title>{mark(shape, frame.left + known * scale, y)}</g>"
                )
    return _rows_svg(parts, f"Share of {name} in which each Action Unit is active", frame)


def count_bars(
    shares: Sequence[float], real: Sequence[RealDatabase], name: str, frame: Frame = WIDE
) -> Markup:
    """Draw how often 0, 1, 2, ... AUs are active, beside real databases.

    Args:
        shares: Share of the samples, 0 to 1, by number of active AUs.
        real: Whose marks, where their `cardinality` is known.
        name: What to call the samples.
        frame: Measures of the drawing.
    """
    known = [share for database in real for share in database.cardinality.values()]
    top = min(1.0, max([*shares, *known]) + 0.04)
    scale = (frame.right - frame.left) / top
    height = _ROW * len(shares)
    parts = [_axis(_shares(top, frame), scale, "{:.0%}", frame, height)]
    for count, share in enumerate(shares):
        y = _ROW * count + _ROW / 2
        words = "1 AU" if count == 1 else f"{count} AUs"
        parts.append(f'<text class="strong" x="0" y="{y + 5}">{words}</text>')
        parts.append(
            f'<rect class="ours" x="{frame.left}" y="{y - 8}" width="{share * scale:.1f}" '
            f'height="16"><title>{words}, {escape(name)}: {percent(share)}</title></rect>'
        )
        for shape, database in enumerate(real):
            if database.cardinality:
                value = database.cardinality.get(count, 0.0)
                parts.append(
                    f'<g class="mark{shape % MARKS}"><title>{words}, {escape(database.name)}: '
                    f"{percent(value)}</title>{mark(shape, frame.left + value * scale, y)}</g>"
                )
    return _rows_svg(parts, f"Share of {name} by number of active Action Units", frame, height)


def intensity_boxes(group: GroupStatistics, top: float, name: str, frame: Frame = WIDE) -> Markup:
    """Draw the distribution of the intensity at the apex of each AU where it is active.

    5 to 95 % as a line, the middle half as a box, the median as a stroke; the mean at the onset as
    a ring.

    Args:
        group: Whose AUs.
        top: The intensity at the right end, the same in all groups.
        name: What to call the group.
        frame: Measures of the drawing.
    """
    scale = (frame.right - frame.left) / top
    ticks = [k / 2 for k in range(int(2 * MAX_INTENSITY) + 1) if k / 2 <= top]
    parts = [_axis(ticks if top <= 3 else ticks[::2], scale, "{:g}", frame)]
    for au, (au_name, words) in enumerate(zip(AU_NAMES, AU_WORDS, strict=True)):
        y = _ROW * au + _ROW / 2
        parts.append(_label(au_name, words, y, frame))
        if group.intensity[au].count:
            parts.append(_box(group.intensity[au], scale, y, f"{au_name}, {name}", frame.left))
            onset = group.onset[au].mean
            parts.append(
                f'<circle class="ring" cx="{frame.left + onset * scale:.1f}" cy="{y}" r="4"><title>'
                f"{au_name} at the onset: mean {number(onset)}</title></circle>"
            )
    return _rows_svg(parts, f"Intensity of each Action Unit at the apex of {name}", frame)


def _box(summary: Summary, scale: float, y: float, name: str, left: float) -> str:
    at = [left + value * scale for value in summary.quantiles]
    width = max(at[3] - at[1], 1)
    quantiles = ", ".join(number(value) for value in summary.quantiles)
    return (
        f"<g><title>{escape(name)}: {summary.count:,} active, mean {number(summary.mean)}, "
        f"5, 25, 50, 75 and 95 %: {quantiles}</title>"
        f'<path class="whisker" d="M{at[0]:.1f} {y}H{at[4]:.1f}"/>'
        f'<rect class="ours" x="{at[1]:.1f}" y="{y - 7}" width="{width:.1f}" height="14"/>'
        f'<path class="middle" d="M{at[2]:.1f} {y - 7}v14"/></g>'
    )


def histogram_chart(
    bars: Sequence[Bar],
    summary: Summary,
    unit: str,
    label: str,
    published: Sequence[Published] = (),
    other: tuple[str, Sequence[Bar]] | None = None,
    frame: Frame = WIDE,
) -> Markup:
    """Draw a histogram with its 5, 50 and 95 % lines, beside published ranges or a second dataset.

    Args:
        bars: Of equal width.
        summary: Of the same values.
        unit: Of the horizontal axis.
        label: What is counted.
        published: Ranges drawn below, 5 to 95 % with the median.
        other: Name and bars of what it is compared with, drawn as an outline.
        frame: Measures of the drawing.
    """
    if not bars:
        return Markup("")
    second = other[1] if other else ()
    low = min([bars[0].low, *(b.low for b in second[:1]), *(p.low for p in published)])
    high = max([bars[-1].high, *(b.high for b in second[-1:]), *(p.high for p in published)])
    start, stop, base = 20, frame.width - 20, frame.height + 30
    scale = (stop - start) / (high - low)

    def at(value: float) -> float:
        return start + (value - low) * scale

    density, outline = _densities(bars), _densities(second)
    tallest = max([*density, *outline])
    parts = [f'<line class="axis" x1="{start}" y1="{base}" x2="{stop}" y2="{base}"/>']
    for bar, share in zip(bars, density, strict=True):
        height = frame.height * share / tallest
        parts.append(
            f'<rect x="{at(bar.low) + 0.5:.1f}" y="{base - height:.1f}" '
            f'width="{max((bar.high - bar.low) * scale - 1, 0.5):.1f}" height="{height:.1f}">'
            f"<title>{number(bar.low)} to {number(bar.high)} {escape(unit)}: {bar.count:,}</title>"
            "</rect>"
        )
    if other and second:
        steps = [f"M{at(second[0].low):.1f} {base}"]
        for bar, share in zip(second, outline, strict=True):
            steps.append(f"V{base - frame.height * share / tallest:.1f}H{at(bar.high):.1f}")
        parts.append(
            f'<path class="other" d="{"".join(steps)}V{base}"><title>{escape(other[0])}</title>'
            "</path>"
        )
    for place, quantile in enumerate((0, 2, 4)):
        x = at(min(max(summary.quantiles[quantile], low), high))
        style = "mark median" if place == 1 else "mark"
        parts.append(f'<line class="{style}" x1="{x:.1f}" y1="14" x2="{x:.1f}" y2="{base}"/>')
    for tick in _ticks(low, high, frame.ticks):
        parts.append(
            f'<text x="{at(tick):.1f}" y="{base + 20}" text-anchor="middle">{tick:g}</text>'
        )
    parts += _published(published, at, base + 36, frame)
    bottom = base + 34 + 22 * len(published)
    parts.append(f'<text x="{stop}" y="{bottom + 4}" text-anchor="end">{escape(unit)}</text>')
    return Markup(
        f'<svg class="histogram" viewBox="0 0 {frame.width} {bottom + 10}" role="img" aria-label="'
        f"{escape(label)}: median {number(summary.median)} {escape(unit)}, 90 % between "
        f'{number(summary.quantiles[0])} and {number(summary.quantiles[4])}">{"".join(parts)}</svg>'
    )


def _densities(bars: Sequence[Bar]) -> list[float]:
    """Return the share of all values per unit of width, so that bars of different width compare."""
    total = max(sum(bar.count for bar in bars), 1)
    return [bar.count / total / (bar.high - bar.low) for bar in bars]


def _published(
    published: Sequence[Published], at: Callable[[float], float], top: float, frame: Frame
) -> list[str]:
    parts = []
    for place, entry in enumerate(published):
        y = top + 22 * place
        ends = [at(value) for value in (entry.low, entry.median, entry.high)]
        # The name stands behind the range, or before it where there is no room.
        behind = ends[2] + 8 + 7 * len(entry.name) < frame.width
        x, anchor = (ends[2] + 8, "start") if behind else (ends[0] - 8, "end")
        parts.append(
            f'<g class="mark{place % MARKS}"><title>{escape(entry.name)}, {entry.pairs:,} pairs: '
            f"median {entry.median:g}, 5 to 95 % {entry.low:g} to {entry.high:g}</title>"
            f'<rect x="{ends[0]:.1f}" y="{y - 2}" width="{ends[2] - ends[0]:.1f}" height="4"/>'
            f'{mark(place, ends[1], y)}</g><text x="{x:.1f}" y="{y + 5}" '
            f'text-anchor="{anchor}">{escape(entry.name)}</text>'
        )
    return parts


def _ticks(low: float, high: float, most: int = 9) -> list[float]:
    step = 10 ** np.floor(np.log10((high - low) / 4))
    step *= next(k for k in (1, 2, 5, 10, 20, 50) if (high - low) / (step * k) <= most)
    first = np.ceil(low / step - 1e-9)
    ticks = (first + np.arange(12)) * step
    return [float(round(tick, 10)) for tick in ticks if tick <= high + 1e-9 * step]


def _shares(top: float, frame: Frame) -> list[float]:
    """Return the ticks of an axis of shares that ends at `top`."""
    step = 1 if top * 10 <= frame.ticks else 2
    return [k / 10 for k in range(0, 11, step) if k / 10 <= top]


def _axis(
    ticks: Sequence[float],
    scale: float,
    form: str,
    frame: Frame,
    height: int = _ROW * len(AU_NAMES),
) -> str:
    parts = []
    for tick in ticks:
        x = frame.left + tick * scale
        words = form.format(tick).replace("%", " %")
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height + 20}" text-anchor="middle">{words}</text>')
    return "".join(parts)


def _label(name: str, words: str, y: float, frame: Frame) -> str:
    label = f'<text class="strong" x="0" y="{y + 5}">{name}</text>'
    return f'{label}<text x="54" y="{y + 5}">{words}</text>' if frame.words else label


def _rows_svg(
    parts: Sequence[str], label: str, frame: Frame, height: int = _ROW * len(AU_NAMES)
) -> Markup:
    return Markup(
        f'<svg class="aus" viewBox="0 0 {frame.width} {height + 30}" role="img" aria-label="'
        f'{escape(label)}; the tables hold the same numbers">{"".join(parts)}</svg>'
    )
