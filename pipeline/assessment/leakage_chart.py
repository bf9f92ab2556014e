"""Draws the leakage matrix: which AUs change when another one is asked for."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from miex.au_sources.action_units import AU_NAMES

_SIDE, _LEFT, _TOP = 34, 60, 22
_FULL = 1.0
"""Change, in units of the change asked for, that gets the full colour."""

Matrix = Sequence[Sequence[float | None]]


def leakage_chart(matrix: Matrix, label: str) -> Markup:
    """Heat map of a leakage matrix: rises in one colour, falls in another, blank: not measured.

    Args:
        matrix: 17 rows (asked for) of 17 columns (estimated), in units of the change asked for.
        label: What to call the generator.
    """
    end = _LEFT + _SIDE * len(AU_NAMES)
    parts = [
        f'<rect class="frame" x="{_LEFT - 1}" y="{_TOP - 1}" width="{end - _LEFT + 1}" '
        f'height="{end - _LEFT + 1}"/>'
    ]
    for a, asked in enumerate(AU_NAMES):
        y, x = _TOP + a * _SIDE, _LEFT + a * _SIDE
        parts.append(f'<text class="strong" x="0" y="{y + 22}">{asked}</text>')
        parts.append(f'<text x="{x + _SIDE / 2}" y="14" text-anchor="middle">{asked[2:]}</text>')
        for b, seen in enumerate(AU_NAMES):
            parts += _cell(matrix[a][b], asked, seen, _LEFT + b * _SIDE, y, a == b)
    return Markup(
        f'<svg class="heatmap leakage" viewBox="0 0 {end + 2} {end - _LEFT + _TOP + 4}" role="img" '
        f'aria-label="{escape(label)}: change of every AU (columns) when one is asked for (rows), '
        f'in units of the change asked for">{"".join(parts)}</svg>'
    )


def _cell(value: float | None, asked: str, seen: str, x: int, y: int, own: bool) -> list[str]:
    if value is None:
        return []
    strength = min(abs(value) / _FULL, 1) ** 0.6
    words = f"{asked} asked for, {seen} changes by {value:+.2f}"
    kind = "up" if value >= 0 else "down"
    minus = "\u2212"
    parts = [
        f'<rect class="{kind}{" own" if own else ""}" x="{x}" y="{y}" width="{_SIDE - 1}" '
        f'height="{_SIDE - 1}" fill-opacity="{strength:.2f}"><title>{words}</title></rect>'
    ]
    if abs(value) >= 0.1:
        parts.append(
            f'<text class="value" x="{x + _SIDE / 2}" y="{y + 21}" text-anchor="middle">'
            f"{format(value, '.1f').replace('-', minus)}</text>"
        )
    return parts
