"""The page of an assessment, one HTML file that loads no other file."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from PIL import Image

from miex.au_sources.action_units import AU_NAMES
from miex.datasets.files import whole_file
from miex.pipeline.assessment.embeddings import DESCRIPTIONS
from miex.pipeline.reports import charts
from miex.pipeline.reports.templates import load_template

_TEMPLATE = Path(__file__).with_name("page.html")

_SIDE, _LEFT, _TOP = 34, 60, 22
_FULL = 1.0
"""Change, relative to the requested change, that is drawn with full opacity."""


def write_page(
    document: Mapping[str, Any], sheets: Sequence[tuple[str, Image.Image]], path: Path
) -> None:
    """Write the page of an assessment.

    Args:
        document: The content of `assessment.json`.
        sheets: Title and image of each contact sheet; the images are embedded in the page.
        path: The HTML file to write.
    """
    text = load_template(
        _TEMPLATE, percent=charts.percent, number="{:,}".format, digits=_digits
    ).render(
        document=document,
        generators=document["generators"],
        colours=[],
        embeddings=DESCRIPTIONS,
        leakage=[
            _leakage_chart(one["fidelity"][0]["leakage"], one["label"])
            for one in document["generators"]
        ],
        sheets=[(title, _data_uri(image)) for title, image in sheets],
    )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _digits(value: float | None, form: str = ".2f") -> str:
    """Format a number with a typographic minus sign, or None as a dash."""
    return "\u2013" if value is None else format(value, form).replace("-", "\u2212")


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _leakage_chart(matrix: Sequence[Sequence[float | None]], label: str) -> Markup:
    """Return a heat map of a leakage matrix as SVG.

    Rising and falling AUs have different colours; cells that were not measured are empty.

    Args:
        matrix: 17 rows (requested AU) of 17 columns (estimated AU); the estimated change divided
            by the requested change, None where not measured.
        label: Name of the generator.
    """
    end = _LEFT + _SIDE * len(AU_NAMES)
    parts = [
        f'<rect class="frame" x="{_LEFT - 1}" y="{_TOP - 1}" width="{end - _LEFT + 1}" '
        f'height="{end - _LEFT + 1}"/>'
    ]
    for a, requested in enumerate(AU_NAMES):
        y, x = _TOP + a * _SIDE, _LEFT + a * _SIDE
        parts.append(f'<text class="strong" x="0" y="{y + 22}">{requested}</text>')
        parts.append(
            f'<text x="{x + _SIDE / 2}" y="14" text-anchor="middle">{requested[2:]}</text>'
        )
        for b, estimated in enumerate(AU_NAMES):
            parts += _cell(matrix[a][b], requested, estimated, _LEFT + b * _SIDE, y, a == b)
    return Markup(
        f'<svg class="heatmap leakage" viewBox="0 0 {end + 2} {end - _LEFT + _TOP + 4}" role="img" '
        f'aria-label="{escape(label)}: change of every AU (columns) when one AU is requested '
        f'(rows), divided by the requested change">{"".join(parts)}</svg>'
    )


def _cell(
    value: float | None, requested: str, estimated: str, x: int, y: int, own: bool
) -> list[str]:
    if value is None:
        return []
    strength = min(abs(value) / _FULL, 1) ** 0.6
    words = f"{requested} requested, {estimated} changes by {value:+.2f}"
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
