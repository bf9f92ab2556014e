"""Draw the plots of a report as SVG that takes its colours from the page.

SVG drawings of a few kilobytes follow light and dark mode, print sharply, need no script and fit a
phone; plotly's library alone would add 4.8 MB to every report.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_NAMES, AU_WORDS, MAX_INTENSITY
from miex.pipeline.reports.references import Published, RealDatabase
from miex.pipeline.reports.statistics import Bar, GroupStatistics, Summary

_WIDTH, _LEFT, _RIGHT, _ROW = 760, 210, 740, 26
MARKS = 5
"""How many real databases can be told apart by shape and colour."""


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


def au_bars(group: GroupStatistics, real: Sequence[RealDatabase], top: float, name: str) -> Markup:
    """Draw how often each AU is active, beside real databases.

    Args:
        group: Whose bars.
        real: Whose marks.
        top: The share at the right end, the same in all groups.
        name: What to call the group.
    """
    scale = (_RIGHT - _LEFT) / top
    parts = [_axis([k / 10 for k in range(11) if k / 10 <= top], scale, "{:.0%}")]
    for au, (au_name, words) in enumerate(zip(AU_NAMES, AU_WORDS, strict=True)):
        y = _ROW * au + _ROW / 2
        share = float(group.share[au])
        parts.append(_label(au_name, words, y))
        if np.isnan(share):
            parts.append(f'<text x="{_LEFT + 4}" y="{y + 5}">not measured</text>')
        else:
            parts.append(
                f'<rect class="ours" x="{_LEFT}" y="{y - 8}" width="{share * scale:.1f}" '
                f'height="16"><title>{au_name}, {escape(name)}: {percent(share)} '
                f"({int(group.active[au]):,} of {int(group.measured[au]):,})</title></rect>"
            )
        for shape, database in enumerate(real):
            known = database.shares[au]
            if known is not None:
                parts.append(
                    f'<g class="mark{shape % MARKS}"><title>{au_name}, {escape(database.name)}: '
                    f"{percent(known)}</title>{mark(shape, _LEFT + known * scale, y)}</g>"
                )
    return _rows_svg(parts, f"Share of {name} samples in which each Action Unit is active")


def count_bars(shares: Sequence[float], real: Sequence[RealDatabase], name: str) -> Markup:
    """Draw how often 0, 1, 2, ... AUs are active, beside real databases.

    Args:
        shares: Share of the samples, 0 to 1, by number of active AUs.
        real: Whose marks, where their `cardinality` is known.
        name: What to call the samples.
    """
    known = [share for database in real for share in database.cardinality.values()]
    top = min(1.0, max([*shares, *known]) + 0.04)
    scale = (_RIGHT - _LEFT) / top
    height = _ROW * len(shares)
    parts = [_axis([k / 10 for k in range(11) if k / 10 <= top], scale, "{:.0%}", height)]
    for count, share in enumerate(shares):
        y = _ROW * count + _ROW / 2
        words = "1 AU" if count == 1 else f"{count} AUs"
        parts.append(f'<text class="strong" x="0" y="{y + 5}">{words}</text>')
        parts.append(
            f'<rect class="ours" x="{_LEFT}" y="{y - 8}" width="{share * scale:.1f}" height="16">'
            f"<title>{words}, {escape(name)}: {percent(share)}</title></rect>"
        )
        for shape, database in enumerate(real):
            if database.cardinality:
                value = database.cardinality.get(count, 0.0)
                parts.append(
                    f'<g class="mark{shape % MARKS}"><title>{words}, {escape(database.name)}: '
                    f"{percent(value)}</title>{mark(shape, _LEFT + value * scale, y)}</g>"
                )
    return _rows_svg(parts, f"Share of {name} samples by number of active Action Units", height)


def intensity_boxes(group: GroupStatistics, top: float, name: str) -> Markup:
    """Draw the distribution of the intensity at the apex of each AU where it is active.

    5 to 95 % as a line, the middle half as a box, the median as a stroke; the mean at the onset as
    a ring.

    Args:
        group: Whose AUs.
        top: The intensity at the right end, the same in all groups.
        name: What to call the group.
    """
    scale = (_RIGHT - _LEFT) / top
    ticks = [k / 2 for k in range(int(2 * MAX_INTENSITY) + 1) if k / 2 <= top]
    parts = [_axis(ticks if top <= 3 else ticks[::2], scale, "{:g}")]
    for au, (au_name, words) in enumerate(zip(AU_NAMES, AU_WORDS, strict=True)):
        y = _ROW * au + _ROW / 2
        parts.append(_label(au_name, words, y))
        if group.intensity[au].count:
            parts.append(_box(group.intensity[au], scale, y, f"{au_name}, {name}"))
            onset = group.onset[au].mean
            parts.append(
                f'<circle class="ring" cx="{_LEFT + onset * scale:.1f}" cy="{y}" r="4"><title>'
                f"{au_name} at the onset: mean {number(onset)}</title></circle>"
            )
    return _rows_svg(parts, f"Intensity of each Action Unit at the apex of {name} samples")


def _box(summary: Summary, scale: float, y: float, name: str) -> str:
    at = [_LEFT + value * scale for value in summary.quantiles]
    width = max(at[3] - at[1], 1)
    quantiles = ", ".join(number(value) for value in summary.quantiles)
    return (
        f"<g><title>{escape(name)}: {summary.count:,} active, mean {number(summary.mean)}, "
        f"5, 25, 50, 75 and 95 %: {quantiles}</title>"
        f'<path class="whisker" d="M{at[0]:.1f} {y}H{at[4]:.1f}"/>'
        f'<rect class="ours" x="{at[1]:.1f}" y="{y - 7}" width="{width:.1f}" height="14"/>'
        f'<path class="middle" d="M{at[2]:.1f} {y - 7}v14"/></g>'
    )


def co_occurrence(group: GroupStatistics, name: str) -> Markup:
    """Draw a heat map of the AUs that are active together, as shares of the samples."""
    side, left, top = 34, 60, 22
    total = max(group.samples, 1)
    most = max(float(group.together.max()) / total, 1e-9)
    parts = []
    for a, first in enumerate(AU_NAMES):
        y, x = top + a * side, left + a * side
        parts.append(f'<text class="strong" x="0" y="{y + 22}">{first}</text>')
        parts.append(f'<text x="{x + side / 2}" y="14" text-anchor="middle">{first[2:]}</text>')
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
    frame = (
        f'<rect class="frame" x="{left - 1}" y="{top - 1}" width="{end - left + 1}" '
        f'height="{end - left + 1}"/>'
    )
    return Markup(
        f'<svg class="heatmap" viewBox="0 0 {end + 2} {end - left + top + 4}" role="img" '
        f'aria-label="Share of {escape(name)} samples in which two Action Units are active '
        f'together, up to {percent(most)}">{frame}{"".join(parts)}</svg>'
    )


def histogram_chart(
    bars: Sequence[Bar],
    summary: Summary,
    unit: str,
    label: str,
    published: Sequence[Published] = (),
    other: tuple[str, Sequence[Bar]] | None = None,
) -> Markup:
    """Draw a histogram with its 5, 50 and 95 % lines, beside published ranges or a second dataset.

    Args:
        bars: Of equal width.
        summary: Of the same values.
        unit: Of the horizontal axis.
        label: What is counted.
        published: Ranges drawn below, 5 to 95 % with the median.
        other: Name and bars of what it is compared with, drawn as an outline.
    """
    if not bars:
        return Markup("")
    second = other[1] if other else ()
    low = min([bars[0].low, *(b.low for b in second[:1]), *(p.low for p in published)])
    high = max([bars[-1].high, *(b.high for b in second[-1:]), *(p.high for p in published)])
    scale = 720 / (high - low)

    def at(value: float) -> float:
        return 20 + (value - low) * scale

    density = _densities(bars)
    outline = _densities(second)
    tallest = max([*density, *outline])
    parts = ['<line class="axis" x1="20" y1="210" x2="740" y2="210"/>']
    for bar, share in zip(bars, density, strict=True):
        height = 180 * share / tallest
        parts.append(
            f'<rect x="{at(bar.low) + 0.5:.1f}" y="{210 - height:.1f}" '
            f'width="{max((bar.high - bar.low) * scale - 1, 0.5):.1f}" height="{height:.1f}">'
            f"<title>{number(bar.low)} to {number(bar.high)} {escape(unit)}: {bar.count:,}</title>"
            "</rect>"
        )
    if other and second:
        steps = [f"M{at(second[0].low):.1f} 210"]
        for bar, share in zip(second, outline, strict=True):
            steps.append(f"V{210 - 180 * share / tallest:.1f}H{at(bar.high):.1f}")
        parts.append(
            f'<path class="other" d="{"".join(steps)}V210"><title>{escape(other[0])}</title></path>'
        )
    for place, quantile in enumerate((0, 2, 4)):
        x = at(min(max(summary.quantiles[quantile], low), high))
        style = "mark median" if place == 1 else "mark"
        parts.append(f'<line class="{style}" x1="{x:.1f}" y1="14" x2="{x:.1f}" y2="210"/>')
    for tick in _ticks(low, high):
        parts.append(f'<text x="{at(tick):.1f}" y="230" text-anchor="middle">{tick:g}</text>')
    parts += _published(published, at(low), scale, low)
    bottom = 244 + 22 * len(published)
    parts.append(f'<text x="740" y="{bottom}" text-anchor="end">{escape(unit)}</text>')
    return Markup(
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {bottom + 6}" role="img" aria-label="'
        f"{escape(label)}: median {number(summary.median)} {escape(unit)}, 90 % between "
        f'{number(summary.quantiles[0])} and {number(summary.quantiles[4])}">{"".join(parts)}</svg>'
    )


def _densities(bars: Sequence[Bar]) -> list[float]:
    """Return the share of all values per unit of width, so that bars of different width compare."""
    total = max(sum(bar.count for bar in bars), 1)
    return [bar.count / total / (bar.high - bar.low) for bar in bars]


def _published(published: Sequence[Published], start: float, scale: float, low: float) -> list[str]:
    parts = []
    for place, entry in enumerate(published):
        y = 246 + 22 * place
        ends = [start + (value - low) * scale for value in (entry.low, entry.median, entry.high)]
        parts.append(
            f'<g class="mark{place % MARKS}"><title>{escape(entry.name)}, {entry.pairs:,} pairs: '
            f"median {entry.median:g}, 5 to 95 % {entry.low:g} to {entry.high:g}</title>"
            f'<rect x="{ends[0]:.1f}" y="{y - 2}" width="{ends[2] - ends[0]:.1f}" height="4"/>'
            f'{mark(place, ends[1], y)}</g><text x="{ends[2] + 8:.1f}" y="{y + 5}">'
            f"{escape(entry.name)}</text>"
        )
    return parts


def _ticks(low: float, high: float) -> list[float]:
    step = 10 ** np.floor(np.log10((high - low) / 4))
    step *= next(k for k in (1, 2, 5, 10) if (high - low) / (step * k) <= 9)
    first = np.ceil(low / step - 1e-9)
    ticks = (first + np.arange(12)) * step
    return [float(round(tick, 10)) for tick in ticks if tick <= high + 1e-9 * step]


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
    x = 30 + 700 * (points[:, 0] - low[0]) / span[0]
    y = 410 - 380 * (points[:, 1] - low[1]) / span[1]
    dots = "".join(
        f'<circle class="c{kind}" cx="{a:.0f}" cy="{b:.0f}" r="4"><title>{escape(title)}</title>'
        "</circle>"
        for a, b, kind, title in zip(x, y, kinds, titles, strict=True)
    )
    return Markup(
        f'<svg class="scatter" viewBox="0 0 {_WIDTH} 450" role="img" aria-label="{escape(label)}">'
        f'<path class="axis" fill="none" d="M20 20V420H740"/>{dots}'
        f'<text x="740" y="440" text-anchor="end">{escape(axes[0])} \u2192</text>'
        f'<text x="26" y="16">\u2191 {escape(axes[1])}</text></svg>'
    )


def direction_words(axis: NDArray[np.float64]) -> str:
    """Return the AUs of a direction, strongest first: `AU12 +0.8, AU25 +0.5`."""
    strongest = [int(au) for au in np.argsort(-np.abs(axis))[:3] if abs(axis[au]) > 0.2]
    return ", ".join(f"{AU_NAMES[au]} {axis[au]:+.1f}" for au in strongest) or "none"


def _axis(
    ticks: Sequence[float], scale: float, form: str, height: int = _ROW * len(AU_NAMES)
) -> str:
    parts = []
    for tick in ticks:
        x = _LEFT + tick * scale
        words = form.format(tick).replace("%", " %")
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height + 20}" text-anchor="middle">{words}</text>')
    return "".join(parts)


def _label(name: str, words: str, y: float) -> str:
    return (
        f'<text class="strong" x="0" y="{y + 5}">{name}</text>'
        f'<text x="54" y="{y + 5}">{words}</text>'
    )


def _rows_svg(parts: Sequence[str], label: str, height: int = _ROW * len(AU_NAMES)) -> Markup:
    return Markup(
        f'<svg class="aus" viewBox="0 0 {_WIDTH} {height + 30}" role="img" aria-label="'
        f'{escape(label)}; the tables hold the same numbers">{"".join(parts)}</svg>'
    )
